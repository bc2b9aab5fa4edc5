//! Builds the C++ side of the engines that have one and that llama.cpp's own crate does not build.

#[cfg(feature = "trtllm")]
#[path = "build/trtllm.rs"]
mod trtllm;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "trtllm")]
    if let Err(message) = trtllm::build() {
        // One message, and no trace of this program behind it.
        println!("cargo::error={}", message.replace('\n', "\ncargo::error="));
    }
}
