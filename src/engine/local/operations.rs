//! What llama.cpp's operations and buffers take that are computed and held by code of our own (`cpp/llama_operations.h`,
//! `cpp/llama_memory.h`).

use super::gguf::Tensor;

unsafe extern "C" {
    fn dicast_memory_untouched() -> u64;
    fn dicast_operations_packed(kind: u32, width: u64, rows: u64, matrices: u64, bytes: u64) -> u64;
}

/// Bytes that the contexts of this process may still take: their pools take memory only as judgments use them.
pub(super) fn untouched() -> u64 {
    // SAFETY: looks at a table that any thread may read.
    unsafe { dicast_memory_untouched() }
}

/// Whether products and attention are computed by the kernels of `cpp/llama_products.h` and `cpp/llama_attention.h`.
pub(super) fn has_kernels() -> bool {
    const Q8_0: u32 = 8;
    // SAFETY: looks at its arguments and at the processor. Only these kernels take the smallest matrix.
    unsafe { dicast_operations_packed(Q8_0, 32, 16, 1, 0) > 0 }
}

/// The bytes that weights take when they are arranged for this processor, as they are when they are loaded; 0 if they are
/// computed as they lie in the file.
pub(super) fn packed(tensor: &Tensor) -> u64 {
    let [width, rows, planes, volumes] = tensor.shape;
    let matrices = planes.saturating_mul(volumes);
    // SAFETY: looks at its arguments and at the processor.
    unsafe { dicast_operations_packed(tensor.kind, width, rows, matrices, tensor.bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_arranged_counts_with_what_it_takes() {
        const F16: u32 = 1;
        const Q8_0: u32 = 8;
        const Q4_K: u32 = 12;
        let bytes = |kind, shape: [u64; 4], bytes| packed(&Tensor { shape, dimensions: 4, kind, bytes });
        // Eight experts, which ggml arranges, and a matrix that takes a little more than in the file.
        let matrix = 144 * 64;
        assert_eq!(bytes(Q4_K, [256, 64, 8, 1], 8 * matrix), 8 * matrix);
        assert!((matrix..=matrix * 103 / 100).contains(&bytes(Q4_K, [256, 64, 1, 1], matrix)));
        assert_eq!(bytes(F16, [256, 64, 1, 1], 2 * 256 * 64), 0);
        if has_kernels() {
            assert_eq!(bytes(Q8_0, [64, 32, 1, 1], 2 * 34 * 32), 2 * 34 * 32);
            // No whole groups of rows: left to ggml.
            assert_eq!(bytes(Q8_0, [64, 33, 1, 1], 2 * 34 * 33), 0);
        }
    }
}
