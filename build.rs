//! How the shared library is linked: its name, and what it shows of itself.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    match target.as_str() {
        "linux" => {
            // The number is that of the C interface, which only grows: it does not follow the crate's version.
            println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libdicast.so.0");
            // Dependencies export C functions of their own, which are nobody's business.
            println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
        }
        "macos" => println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libdicast.0.dylib"),
        _ => {}
    }
}
