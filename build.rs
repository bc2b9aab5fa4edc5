//! How the shared library is linked, and the C++ side of the engines that have one (llama.cpp's own crate builds its own).

#[cfg(feature = "trtllm")]
#[path = "build/trtllm.rs"]
mod trtllm;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    name_shared_library();
    #[cfg(feature = "trtllm")]
    if let Err(message) = trtllm::build() {
        // One message, and no trace of this program behind it.
        println!("cargo::error={}", message.replace('\n', "\ncargo::error="));
    }
}

/// Gives the shared library its name, and lets it show nothing but its own functions.
fn name_shared_library() {
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    match target.as_str() {
        "linux" => {
            // The number is that of the C interface, which only grows: it does not follow the crate's version.
            println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libdicast.so.0");
            // Dependencies export C functions of their own, which are nobody's business.
            println!("cargo::rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
        }
        "macos" => println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libdicast.0.dylib"),
        _ => {}
    }
}
