//! Products and attention as computed for this process, against the same in double precision. On a processor without the
//! instructions, ggml's own are tested. The same tests run again with the kernels for lesser processors.

use std::ffi::CStr;
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::{native, operations};

/// Numbers between -1 and 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let [.., low, high] = self.0.to_le_bytes();
        f32::from(i16::from_le_bytes([low, high])) / 32768.0
    }

    fn some(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// A graph of ggml, with its tensors in main memory.
struct Graph {
    context: NonNull<sys::ggml_context>,
    packed: Option<sys::ggml_backend_buffer_t>,
}

impl Graph {
    fn new() -> Self {
        native::set_up();
        let parameters =
            sys::ggml_init_params { mem_size: 64 << 20, mem_buffer: std::ptr::null_mut(), no_alloc: false };
        // SAFETY: plain parameters.
        Self { context: NonNull::new(unsafe { sys::ggml_init(parameters) }).unwrap(), packed: None }
    }

    fn tensor<T: Copy>(&self, kind: sys::ggml_type, shape: [usize; 4], values: &[T]) -> *mut sys::ggml_tensor {
        let [a, b, c, d] = shape.map(|size| i64::try_from(size).unwrap());
        // SAFETY: the tensor has memory in the context, as many bytes as `values` has.
        unsafe {
            let tensor = sys::ggml_new_tensor_4d(self.context.as_ptr(), kind, a, b, c, d);
            assert_eq!(sys::ggml_nbytes(tensor), size_of_val(values));
            std::ptr::copy_nonoverlapping(values.as_ptr(), (*tensor).data.cast(), values.len());
            tensor
        }
    }

    /// A quantized matrix, in the buffer that llama.cpp would give it, and its numbers.
    fn weights(&mut self, kind: sys::ggml_type, values: &[f32], width: usize) -> (*mut sys::ggml_tensor, Vec<f32>) {
        let rows = values.len() / width;
        let [wide, high] = [width, rows].map(|size| i64::try_from(size).unwrap());
        let mut numbers = vec![0.0; values.len()];
        // SAFETY: sizes as ggml asks for; the context of the tensor lives as long as the buffer.
        unsafe {
            let mut bytes = vec![0_u8; sys::ggml_row_size(kind, wide) * rows];
            let to = bytes.as_mut_ptr().cast();
            sys::ggml_quantize_chunk(kind, values.as_ptr(), to, 0, high, wide, std::ptr::null());
            let widen = (*sys::ggml_get_type_traits(kind)).to_float.unwrap();
            widen(bytes.as_ptr().cast(), numbers.as_mut_ptr(), wide * high);
            if !own(kind, rows) {
                return (self.tensor(kind, [width, rows, 1, 1], &bytes), numbers);
            }
            let context = self.context.as_ptr();
            sys::ggml_set_no_alloc(context, true);
            let tensor = sys::ggml_new_tensor_2d(context, kind, wide, high);
            sys::ggml_set_no_alloc(context, false);
            let place = packing();
            let buffer =
                sys::ggml_backend_buft_alloc_buffer(place, sys::ggml_backend_buft_get_alloc_size(place, tensor));
            let start = sys::ggml_backend_buffer_get_base(buffer);
            assert_eq!(sys::ggml_backend_tensor_alloc(buffer, tensor, start), sys::GGML_STATUS_SUCCESS);
            sys::ggml_backend_tensor_set(tensor, bytes.as_ptr().cast(), 0, bytes.len());
            assert!(self.packed.replace(buffer).is_none());
            (tensor, numbers)
        }
    }

    fn compute(&self, result: *mut sys::ggml_tensor, threads: usize) -> Vec<f32> {
        // SAFETY: the graph and its result are in the context; the result has single precision.
        unsafe {
            let graph = sys::ggml_new_graph(self.context.as_ptr());
            sys::ggml_build_forward_expand(graph, result);
            let status =
                sys::ggml_graph_compute_with_ctx(self.context.as_ptr(), graph, i32::try_from(threads).unwrap());
            assert_eq!(status, sys::GGML_STATUS_SUCCESS);
            let count = usize::try_from(sys::ggml_nelements(result)).unwrap();
            std::slice::from_raw_parts((*result).data.cast(), count).to_vec()
        }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: made here, and used no more.
        unsafe {
            sys::ggml_free(self.context.as_ptr());
            if let Some(buffer) = self.packed {
                sys::ggml_backend_buffer_free(buffer);
            }
        }
    }
}

const FORMATS: [sys::ggml_type; 5] =
    [sys::GGML_TYPE_Q8_0, sys::GGML_TYPE_Q4_0, sys::GGML_TYPE_Q4_K, sys::GGML_TYPE_Q5_K, sys::GGML_TYPE_Q6_K];

/// Whether products with such weights are computed by this process's own code.
fn own(kind: sys::ggml_type, rows: usize) -> bool {
    FORMATS.contains(&kind) && rows.is_multiple_of(16) && operations::has_kernels()
}

/// Whether this processor has what the kernels for AVX-512 use.
fn has_avx512() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has
}

/// Names lesser kernels than the best.
const VARIABLE: &str = "DICAST_KERNELS";

/// Whether products with weights in half precision are computed by this process's own code: with AVX2 they are.
fn own_halves() -> bool {
    operations::has_kernels() && (!has_avx512() || std::env::var_os(VARIABLE).is_some_and(|name| name == "avx2"))
}

/// The type of buffer that takes quantized weights.
unsafe fn packing() -> sys::ggml_backend_buffer_type_t {
    // SAFETY: as ggml-backend.h says; the list ends in null.
    unsafe {
        let device = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
        let reg = sys::ggml_backend_dev_backend_reg(device);
        let address = sys::ggml_backend_reg_get_proc_address(reg, c"ggml_backend_dev_get_extra_bufts".as_ptr());
        let list: unsafe extern "C" fn(sys::ggml_backend_dev_t) -> *mut sys::ggml_backend_buffer_type_t =
            std::mem::transmute(address);
        let mut types = list(device);
        while !(*types).is_null() {
            if CStr::from_ptr(sys::ggml_backend_buft_name(*types)) == c"CPU_DICAST" {
                return *types;
            }
            types = types.add(1);
        }
    }
    panic!("it is not in the list");
}

/// The length of the difference, as a part of the length of what was expected.
fn difference(results: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(results.len(), expected.len());
    let apart: f64 = results.iter().zip(expected).map(|(&one, other)| (f64::from(one) - other).powi(2)).sum();
    let length: f64 = expected.iter().map(|one| one.powi(2)).sum();
    (apart / length.max(f64::MIN_POSITIVE)).sqrt()
}

fn dot(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(&one, &other)| f64::from(one) * f64::from(other)).sum()
}

#[test]
fn products_are_those_of_double_precision_up_to_quantization() {
    let mut random = Random(1);
    for kind in FORMATS {
        for width in [32, 96, 256, 1024, 2816] {
            // SAFETY: a known type.
            if width % unsafe { sys::ggml_blck_size(kind) } != 0 {
                continue;
            }
            let width = usize::try_from(width).unwrap();
            for rows in [16, 17, 48] {
                // Blocks of other sizes have other scales, and other minima.
                let mut values = random.some(width * rows);
                for block in values.chunks_mut(16) {
                    let (size, shift) = (random.next(), random.next());
                    for number in block {
                        *number = *number * size + shift;
                    }
                }
                for (count, matrices, threads) in
                    [1, 2, 3, 7, 8, 9, 17, 130].map(|count| (count, 1 + count % 2, 1 + count % 3))
                {
                    let mut graph = Graph::new();
                    let (weights, numbers) = graph.weights(kind, &values, width);
                    let mut columns = random.some(width * count * matrices);
                    // Blocks of nothing, of the smallest numbers and of large ones.
                    if width > 64 {
                        columns[..32].fill(0.0);
                        columns[width - 32..width].fill(1e-42);
                    }
                    if count > 1 {
                        // ggml keeps the scale in half precision.
                        let large = if own(kind, rows) { 1e20 } else { 1e3 };
                        for number in &mut columns[width..2 * width] {
                            *number *= large;
                        }
                    }
                    let from = graph.tensor(sys::GGML_TYPE_F32, [width, count, matrices, 1], &columns);
                    // SAFETY: tensors of the graph's context.
                    let product = unsafe { sys::ggml_mul_mat(graph.context.as_ptr(), weights, from) };
                    let results = graph.compute(product, threads);
                    for (column, results) in columns.chunks(width).zip(results.chunks(rows)) {
                        let expected: Vec<f64> = numbers.chunks(width).map(|row| dot(row, column)).collect();
                        let far = difference(results, &expected);
                        assert!(far < 0.02, "type {kind}, {width} x {rows}, {count} columns: {far}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_column_has_the_same_product_alone_and_with_others() {
    let (width, rows) = (256, 64);
    let mut random = Random(2);
    let values = random.some(width * rows);
    let columns = random.some(width * 19);
    for kind in FORMATS.into_iter().filter(|&kind| own(kind, rows)) {
        let multiply = |columns: &[f32], threads| {
            let mut graph = Graph::new();
            let (weights, _) = graph.weights(kind, &values, width);
            let from = graph.tensor(sys::GGML_TYPE_F32, [width, columns.len() / width, 1, 1], columns);
            // SAFETY: tensors of the graph's context.
            let product = unsafe { sys::ggml_mul_mat(graph.context.as_ptr(), weights, from) };
            graph.compute(product, threads)
        };
        let together = multiply(&columns, 3);
        for (column, results) in columns.chunks(width).zip(together.chunks(rows)) {
            assert_eq!(multiply(column, 1), results);
        }
    }
}

#[test]
fn products_with_halves_are_those_of_double_precision() {
    let mut random = Random(4);
    for (width, rows) in [(32, 4), (40, 17), (256, 64), (260, 8), (1024, 12)] {
        let own = own_halves() && width % 8 == 0 && rows % 4 == 0;
        // ggml makes halves of the columns.
        let enough = if own { 1e-6 } else { 0.01 };
        let values = random.some(width * rows);
        for (count, matrices, threads) in [1, 2, 3, 5, 6, 7, 12, 130].map(|count| (count, 1 + count % 2, 1 + count % 3))
        {
            let columns = random.some(width * count * matrices);
            let multiply = |columns: &[f32], shape: [usize; 4], threads| {
                let mut graph = Graph::new();
                let (weights, numbers) = graph.weights(sys::GGML_TYPE_F16, &values, width);
                let from = graph.tensor(sys::GGML_TYPE_F32, shape, columns);
                // SAFETY: tensors of the graph's context.
                let product = unsafe { sys::ggml_mul_mat(graph.context.as_ptr(), weights, from) };
                (graph.compute(product, threads), numbers)
            };
            let (results, numbers) = multiply(&columns, [width, count, matrices, 1], threads);
            for (column, results) in columns.chunks(width).zip(results.chunks(rows)) {
                let expected: Vec<f64> = numbers.chunks(width).map(|row| dot(row, column)).collect();
                let far = difference(results, &expected);
                assert!(far < enough, "{width} x {rows}, {count} columns: {far}");
                if own {
                    assert_eq!(multiply(column, [width, 1, 1, 1], 1).0, results);
                }
            }
        }
    }
}

#[test]
fn what_is_no_number_stays_in_its_column() {
    let (width, rows) = (256, 32);
    let mut random = Random(3);
    let values = random.some(width * rows);
    for kind in FORMATS {
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut graph = Graph::new();
            let (weights, _) = graph.weights(kind, &values, width);
            let mut columns = random.some(width * 3);
            columns[width + 40] = odd;
            let from = graph.tensor(sys::GGML_TYPE_F32, [width, 3, 1, 1], &columns);
            // SAFETY: tensors of the graph's context.
            let product = unsafe { sys::ggml_mul_mat(graph.context.as_ptr(), weights, from) };
            let results = graph.compute(product, 2);
            assert!(results[..rows].iter().chain(&results[2 * rows..]).all(|result| result.is_finite()));
            if own(kind, rows) {
                assert!(results[rows..2 * rows].iter().all(|result| !result.is_finite()), "type {kind}, {odd}");
            }
        }
    }
}

/// Sizes of a problem of attention.
#[derive(Clone, Copy, Debug)]
struct Shape {
    size: usize,
    heads: usize,
    key_heads: usize,
    cells: usize,
    tokens: usize,
    threads: usize,
}

/// Computes attention where `sees` says which cells a token sees, and compares it with the same on one thread, and in double
/// precision. Unless `odd` is 0, it is in all cells that no other than the last token sees, and that token is not compared.
fn attend(shape: Shape, odd: f32, sees: impl Fn(usize, usize) -> bool) {
    let Shape { size, heads, key_heads, cells, tokens, threads } = shape;
    let mut random = Random((size * heads + cells * tokens) as u64);
    let half = |values: &[f32]| -> Vec<u16> {
        let mut halves = vec![0; values.len()];
        // SAFETY: as many numbers on both sides.
        unsafe {
            sys::ggml_fp32_to_fp16_row(values.as_ptr(), halves.as_mut_ptr(), i64::try_from(values.len()).unwrap());
        }
        halves
    };
    // SAFETY: a number.
    let whole = |half: u16| unsafe { sys::ggml_fp16_to_fp32(half) };
    let queries = random.some(size * heads * tokens);
    let [mut keys, mut values] = [(); 2].map(|()| random.some(size * key_heads * cells));
    let compared = if odd == 0.0 { tokens } else { tokens - 1 };
    let hidden = |cell: usize| !(0..compared).any(|token| sees(token, cell));
    for cell in (0..cells).filter(|&cell| hidden(cell)) {
        for numbers in [&mut keys, &mut values] {
            numbers[cell * size * key_heads..][..size * key_heads].fill(odd);
        }
    }
    let (keys, values) = (half(&keys), half(&values));
    let mask: Vec<f32> = (0..tokens)
        .flat_map(|token| (0..cells).map(move |cell| (token, cell)))
        .map(|(token, cell)| if sees(token, cell) { 0.0 } else { f32::NEG_INFINITY })
        .collect();

    let graph = Graph::new();
    let context = graph.context.as_ptr();
    let scale = 1.0 / f32::from(u16::try_from(size).unwrap()).sqrt();
    // SAFETY: tensors of the graph's context.
    let attention = unsafe {
        let turned = |tensor| sys::ggml_permute(context, tensor, 0, 2, 1, 3);
        sys::ggml_flash_attn_ext(
            context,
            turned(graph.tensor(sys::GGML_TYPE_F32, [size, heads, tokens, 1], &queries)),
            turned(graph.tensor(sys::GGML_TYPE_F16, [size, key_heads, cells, 1], &keys)),
            turned(graph.tensor(sys::GGML_TYPE_F16, [size, key_heads, cells, 1], &values)),
            graph.tensor(sys::GGML_TYPE_F16, [cells, tokens, 1, 1], &half(&mask)),
            scale,
            0.0,
            0.0,
        )
    };
    let results = graph.compute(attention, threads);
    let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<u32>>();
    assert!(bits(&results) == bits(&graph.compute(attention, 1)), "{shape:?}: not the same bits on one thread");
    let [keys, values] = [keys, values].map(|halves| halves.into_iter().map(whole).collect::<Vec<f32>>());
    let cells_seen: Vec<Vec<usize>> =
        (0..tokens).map(|token| (0..cells).filter(|&cell| sees(token, cell)).collect()).collect();
    for (at, result) in results.chunks(size).enumerate().take(compared * heads) {
        let (token, head) = (at / heads, at % heads);
        let shared = head / (heads / key_heads);
        let place = |cell: usize| (cell * key_heads + shared) * size;
        let query = &queries[at * size..][..size];
        let scores: Vec<f64> =
            cells_seen[token].iter().map(|&cell| dot(query, &keys[place(cell)..][..size]) * f64::from(scale)).collect();
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut expected = vec![0.0; size];
        let mut sum = 0.0;
        for (&cell, score) in cells_seen[token].iter().zip(&scores) {
            let weight = (score - most).exp();
            sum += weight;
            for (sum, &value) in expected.iter_mut().zip(&values[place(cell)..][..size]) {
                *sum += weight * f64::from(value);
            }
        }
        if sum > 0.0 {
            for number in &mut expected {
                *number /= sum;
            }
        }
        let apart = difference(result, &expected);
        // Where ggml's own attention is computed, as for heads of 112 numbers, it sums in half precision.
        let bound = if size != 112 && own(sys::GGML_TYPE_Q8_0, 16) { 1e-5 } else { 3e-2 };
        assert!(apart < bound, "{shape:?}, token {token}, head {head}: {apart}");
    }
}

#[test]
fn attention_is_that_of_double_precision() {
    for (size, heads, key_heads) in
        [(32, 4, 2), (64, 9, 3), (80, 6, 2), (96, 3, 1), (112, 6, 2), (128, 16, 8), (128, 71, 1), (256, 8, 1)]
    {
        for (tokens, threads) in [(1, 1), (1, 3), (2, 2), (9, 1), (10, 3), (41, 2), (6, 7)] {
            let shape = Shape { size, heads, key_heads, cells: 576, tokens, threads };
            // Each token after the other, as in a prompt.
            attend(shape, 0.0, |token, cell| cell <= 576 - tokens + token);
            // Judgments that share a beginning, as in a step of several.
            attend(shape, 0.0, |token, cell| cell < 70 || cell % tokens == token);
            // Some that see nothing.
            attend(shape, 0.0, |token, cell| token % 3 != 1 && (cell * 7 + token) % 5 == 0);
        }
    }
}

/// Pools from a MiB, whose cells are asked for ahead of their use.
#[test]
fn attention_in_large_pools_is_that_of_double_precision() {
    const CELLS: usize = 1600;
    for (size, heads, key_heads) in [(64, 9, 3), (80, 6, 6), (128, 7, 7), (256, 4, 1)] {
        for (tokens, threads) in [(1, 2), (3, 1), (8, 2), (8, 5)] {
            let shape = Shape { size, heads, key_heads, cells: CELLS, tokens, threads };
            // A beginning that all share, then a run of each, then their tokens by turns.
            let run = 900 / tokens;
            attend(shape, 0.0, |token, cell| match cell {
                0..200 => true,
                200..1100 => (cell - 200) / run == token,
                _ => cell % tokens == token,
            });
        }
    }
}

#[test]
fn what_is_no_number_stays_in_the_judgments_that_see_it() {
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for (heads, key_heads, tokens) in [(2, 2, 2), (2, 1, 4), (16, 2, 20)] {
            let shape = Shape { size: 128, heads, key_heads, cells: 192, tokens, threads: 2 };
            attend(shape, odd, |token, cell| if token == tokens - 1 { cell % 3 == 0 } else { cell % 3 == 1 });
        }
    }
}

/// The kernels are chosen once in a process: so it takes another one.
#[test]
fn so_do_the_kernels_for_lesser_processors() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let lesser: &[&str] = if has_avx512() { &["none", "avx2"] } else { &["none"] };
    for kernels in lesser {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .arg("operations_tests")
            .env(VARIABLE, kernels)
            .output()
            .unwrap();
        let [text, errors] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(output.status.success(), "{kernels}: {text}{errors}");
        assert!(text.contains("8 passed"), "{kernels}: {text}");
    }
}
