//! The TensorRT-LLM engine, through the adapter, with the stand-in library of `tests/trtllm_standin`.
//!
//! `make trtllm-standin` builds the stand-in; `DICAST_TRTLLM_ROOT` names it. Nothing here needs a GPU.
#![cfg(feature = "trtllm")]

mod concurrency;
mod faults;
mod folders;
mod judging;
mod lifecycle;
#[path = "../support/planted_fault.rs"]
mod planted_fault;
mod support;

/// These tests script what is generated: they cannot test the vendor's library.
#[test]
fn the_library_is_the_stand_in() {
    let library = dicast::engine::trtllm::library();
    assert!(!library.label.is_empty(), "{library:?} is not the stand-in");
    assert!(library.version.contains("standin"), "{library:?} does not say that it is a stand-in");
}
