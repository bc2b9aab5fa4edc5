//! The types that a tensor's numbers can have.

/// 32-bit floating point: the required type of norms and biases.
pub(super) const F32: u32 = llama_cpp_sys_2::GGML_TYPE_F32;

/// Bytes of `rows` rows of `columns` elements of a ggml type, or why that is impossible.
pub(super) fn bytes(kind: u32, columns: u64, rows: u64) -> Result<u64, String> {
    if kind >= llama_cpp_sys_2::GGML_TYPE_COUNT {
        return Err(format!("has the unknown type {kind}"));
    }
    // SAFETY: both functions only look up a table of `GGML_TYPE_COUNT` entries, and `kind` is below that.
    let (block, size) = unsafe { (llama_cpp_sys_2::ggml_blck_size(kind), llama_cpp_sys_2::ggml_type_size(kind)) };
    let Some(block) = u64::try_from(block).ok().filter(|&block| block > 0) else {
        return Err(format!("has the type {kind}, which is no longer used: convert the model again"));
    };
    if !columns.is_multiple_of(block) {
        return Err(format!(
            "has rows of {columns} elements, which is not a multiple of its type's block size {block}"
        ));
    }
    let size = u64::try_from(size).ok();
    size.and_then(|size| (columns / block).checked_mul(rows)?.checked_mul(size))
        .ok_or_else(|| "has an impossible size".to_owned())
}

/// Whether matrices of this type can be multiplied: the others only hold intermediate results or indices.
pub(super) fn can_multiply(kind: u32) -> bool {
    if kind >= llama_cpp_sys_2::GGML_TYPE_COUNT {
        return false;
    }
    if kind == F32 {
        return true;
    }
    // SAFETY: looks up a table of `GGML_TYPE_COUNT` entries, which lives as long as the process; `kind` is below that.
    let traits = unsafe { llama_cpp_sys_2::ggml_get_type_traits(kind).as_ref() };
    // Q8_1 and Q8_K have blocks, but nothing reads a matrix of them.
    traits.is_some_and(|traits| traits.to_float.is_some())
        && ![llama_cpp_sys_2::GGML_TYPE_Q8_1, llama_cpp_sys_2::GGML_TYPE_Q8_K].contains(&kind)
}

/// The name of a type, such as `q4_K`.
pub(super) fn name(kind: u32) -> String {
    if kind >= llama_cpp_sys_2::GGML_TYPE_COUNT {
        return format!("type {kind}");
    }
    // SAFETY: looks up a table of `GGML_TYPE_COUNT` entries; `kind` is below that.
    let name = unsafe { llama_cpp_sys_2::ggml_type_name(kind) };
    if name.is_null() {
        return format!("type {kind}");
    }
    // SAFETY: the table's names are string literals.
    unsafe { std::ffi::CStr::from_ptr(name) }.to_string_lossy().into_owned()
}
