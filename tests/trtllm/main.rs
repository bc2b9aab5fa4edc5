//! The TensorRT-LLM engine, through the adapter, against the stand-in library of `tests/trtllm_standin`.
//!
//! `make trtllm-standin` builds the stand-in; `DICAST_TRTLLM_ROOT` names it. Nothing here needs a GPU.
#![cfg(feature = "trtllm")]

mod concurrency;
mod faults;
mod folders;
mod judging;
mod lifecycle;
mod support;

/// These tests script what is generated: they cannot test the vendor's library.
#[test]
fn the_library_is_the_stand_in() {
    let library = dicast::engine::trtllm::library();
    assert!(!library.label.is_empty(), "{library:?} is not the stand-in");
    assert!(library.version.contains("standin"), "{library:?} does not say that it is a stand-in");
}

/// A planted fault: `scripts/sanitize_trtllm.sh` runs it to prove that the sanitizer works.
#[test]
#[expect(unsafe_code, reason = "the fault has to be one")]
fn a_planted_fault_is_found() {
    let Ok(fault) = std::env::var("DICAST_TEST_FAULT") else { return };
    let value = Box::into_raw(Box::new(1_u64)) as usize;
    let add = move || {
        // SAFETY: none. This is the fault: memory that is freed, or that two threads write at once.
        unsafe { (value as *mut u64).write_volatile((value as *const u64).read_volatile() + 1) }
    };
    if fault == "address" {
        // SAFETY: it came out of a box and is freed once.
        drop(unsafe { Box::from_raw(value as *mut u64) });
        add();
    } else {
        let threads = [0, 1].map(|_| std::thread::spawn(move || (0..1000).for_each(|_| add())));
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
