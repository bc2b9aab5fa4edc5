//! Failures that the library reports, as errors that say what to do.

use crate::error::{Error, ErrorKind};

use super::bridge::ffi::{Code, Status};

/// Longest part of a message of the library that is passed on: a stack trace follows it.
const MAX_MESSAGE: usize = 2000;

/// Texts of the library that announce an error, in lower case, with its kind and what to do about it.
const KNOWN: &[(&str, ErrorKind, &str)] = &[
    ("no cuda-capable device", ErrorKind::Unsupported, "this machine has no NVIDIA GPU that CUDA can use"),
    ("driver version is insufficient", ErrorKind::Unsupported, "the NVIDIA driver is too old for this CUDA: update it"),
    (
        "out of memory",
        ErrorKind::Engine,
        "the GPU has too little free memory: lower trtllm.kv_memory_fraction, free the GPU, or build a smaller engine \
         (FP8, or more GPUs)",
    ),
    (
        "plugin creator",
        ErrorKind::InvalidModel,
        "the engine needs plugins that the library lacks: build the engine with the release that is loaded",
    ),
    (
        "deserializ",
        ErrorKind::InvalidModel,
        "the engine file is damaged, or was built by another release or for another GPU: build it again on this machine",
    ),
    (
        "attention window too large",
        ErrorKind::InvalidConfig,
        "the KV cache is too small for one judgment of the engine's full length: raise trtllm.kv_memory_fraction or \
         trtllm.kv_cache_tokens, or build the engine with a smaller --max_seq_len",
    ),
    (
        "logits data type",
        ErrorKind::Unsupported,
        "guided decoding needs logits of float32 or float16: build the engine with --logits_dtype float32",
    ),
    ("queue size", ErrorKind::Overloaded, "the executor's queue is full: try again later"),
    ("exceeds maximum input length", ErrorKind::ContextOverflow, "build the engine with a larger --max_input_len"),
];

/// Texts of permanent CUDA errors, in lower case: after one, every further call of the process fails on that GPU, while
/// the executor goes on accepting requests.
const STICKY: &[&str] = &[
    "illegal memory access",
    "cudaerrorillegaladdress",
    "unspecified launch failure",
    "cudaerrorlaunchfailure",
    "device-side assert",
    "uncorrectable ecc",
    "illegal instruction",
    "misaligned address",
    "invalid program counter",
    "hardware stack error",
    "the launch timed out and was terminated",
    "uncorrectable nvlink",
    "mps client terminated",
    "context is destroyed",
    "device or handle may be in an invalid state",
    "gpu has fallen off the bus",
];

/// Whether an error of the library leaves the GPU unusable for this process.
pub(super) fn is_sticky(message: &str) -> bool {
    let lower = message.to_lowercase();
    STICKY.iter().any(|text| lower.contains(text))
}

/// What the library said, in one line: without the stack trace that its own exceptions carry.
pub(super) fn first_line(message: &str) -> &str {
    let line = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no message");
    let end = (0..=MAX_MESSAGE.min(line.len())).rev().find(|&end| line.is_char_boundary(end)).unwrap_or(0);
    &line[..end]
}

/// The error for a message of the library.
pub(super) fn told(doing: &str, message: &str) -> Error {
    let line = first_line(message);
    let lower = message.to_lowercase();
    match KNOWN.iter().find(|(text, ..)| lower.contains(text)) {
        Some((_, kind, advice)) => Error::new(*kind, format!("{doing}: {advice} (TensorRT-LLM says: {line})")),
        None => Error::new(ErrorKind::Engine, format!("{doing}: TensorRT-LLM says: {line}")),
    }
}

/// The error of a call that failed.
pub(super) fn failed(doing: &str, status: &Status) -> Error {
    match status.code {
        Code::Memory => Error::new(ErrorKind::Engine, format!("{doing}: out of host memory")),
        Code::Foreign => Error::new(
            ErrorKind::Engine,
            format!("{doing}: TensorRT-LLM threw something that is no C++ exception type"),
        ),
        _ => told(doing, &status.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_failures_say_what_to_do() {
        let error =
            told("opening", "[TensorRT-LLM][ERROR] CUDA runtime error in cudaMalloc: out of memory (x.cpp:1)\n1 0x7f");
        assert_eq!(error.kind(), ErrorKind::Engine);
        assert!(error.message().contains("kv_memory_fraction") && !error.message().contains("0x7f"), "{error}");
        assert_eq!(told("opening", "CUDA error: no CUDA-capable device is detected").kind(), ErrorKind::Unsupported);
        assert_eq!(told("running", "").message(), "running: TensorRT-LLM says: no message");
    }

    #[test]
    fn errors_that_stay_are_told_from_those_that_pass() {
        for text in [
            "CUDA runtime error in cudaEventSynchronize(get()): an illegal memory access was encountered (x.h:1)",
            "[TensorRT-LLM][ERROR] CUDA error 719: unspecified launch failure",
            "device-side assert triggered",
            "Uncorrectable ECC error encountered",
        ] {
            assert!(is_sticky(text), "{text}");
        }
        for text in ["CUDA runtime error in cudaMalloc: out of memory", "no room today", "the worker died", ""] {
            assert!(!is_sticky(text), "{text}");
        }
    }
}
