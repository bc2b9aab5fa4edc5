//! What the embedded engine could compute on.

use super::native;
use crate::error::Result;

/// A device that llama.cpp, as it was built here, can use on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What drives it: `CPU`, `CUDA`, `Metal`, `Vulkan`.
    pub backend: String,
    /// Its own name.
    pub description: String,
    /// Bytes of memory; 0 where it does not say.
    pub memory_total: u64,
    /// Bytes of these that are free.
    pub memory_free: u64,
}

/// The devices of this machine.
///
/// # Errors
/// [`crate::ErrorKind::Engine`] where llama.cpp cannot be set up.
pub fn devices() -> Result<Vec<Device>> {
    // Registers the devices, and keeps llama.cpp from printing what it finds.
    native::backend()?;
    let devices = llama_cpp_2::list_llama_ggml_backend_devices().into_iter();
    let devices = devices.map(|device| Device {
        backend: device.backend,
        description: device.description,
        memory_total: device.memory_total as u64,
        memory_free: device.memory_free as u64,
    });
    Ok(devices.collect())
}
