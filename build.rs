//! Sets how the shared library is linked, and builds the C++ side of the engines.

#[cfg(feature = "local")]
#[path = "build/llama.rs"]
mod llama;
#[cfg(feature = "trtllm")]
#[path = "build/trtllm.rs"]
mod trtllm;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    name_shared_library();
    #[cfg(feature = "local")]
    report(llama::build());
    #[cfg(feature = "trtllm")]
    report(trtllm::build());
}

/// Fails the build with only the message: a panic would add a backtrace of this program.
#[cfg(any(feature = "local", feature = "trtllm"))]
fn report(outcome: Result<(), String>) {
    if let Err(message) = outcome {
        println!("cargo::error={}", message.replace('\n', "\ncargo::error="));
    }
}

/// Sets the SONAME of the shared library, and hides all symbols but its own functions.
fn name_shared_library() {
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    match target.as_str() {
        "linux" => {
            // The number of the C interface, which only grows. It does not follow the version of the crate.
            println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libdicast.so.0");
            println!("cargo::rerun-if-env-changed=CARGO_ZIGBUILD_TARGET");
            // Dependencies export C functions too: they would clash with those of the program.
            if std::env::var_os("CARGO_ZIGBUILD_TARGET").is_some() {
                // zig knows no --exclude-libs, and of several version scripts it takes the last: this one, not that of rustc.
                let script = std::path::Path::new(&std::env::var_os("OUT_DIR").unwrap_or_default()).join("exports.map");
                let names = include_str!("tests/data/abi/symbols.txt").replace('\n', "; ");
                if let Err(error) = std::fs::write(&script, format!("{{ global: {names} local: *; }};\n")) {
                    println!("cargo::error=cannot write {}: {error}", script.display());
                }
                println!("cargo::rustc-cdylib-link-arg=-Wl,--version-script={}", script.display());
            } else {
                println!("cargo::rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
            }
        }
        "macos" => println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libdicast.0.dylib"),
        _ => {}
    }
}
