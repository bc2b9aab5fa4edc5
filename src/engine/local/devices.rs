//! What the embedded engine could compute on.

use std::ffi::{CStr, c_char};

use llama_cpp_sys_2 as sys;

use super::native;

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
#[must_use]
pub fn devices() -> Vec<Device> {
    // Registers the devices, and keeps llama.cpp from printing what it finds.
    native::set_up();
    // SAFETY: reads ggml's list of devices, which never shrinks.
    let count = unsafe { sys::ggml_backend_dev_count() };
    (0..count)
        .map(|index| {
            // SAFETY: the index is one of the list; all fields of the properties are set, and their texts are constants.
            unsafe {
                let device = sys::ggml_backend_dev_get(index);
                let mut properties = std::mem::zeroed();
                sys::ggml_backend_dev_get_props(device, &raw mut properties);
                Device {
                    backend: text(sys::ggml_backend_reg_name(sys::ggml_backend_dev_backend_reg(device))),
                    description: text(properties.description),
                    memory_total: properties.memory_total as u64,
                    memory_free: properties.memory_free as u64,
                }
            }
        })
        .collect()
}

/// # Safety
/// `text` is null, or ends in zero.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
