//! What is made once, when it is first used: made when a judge is opened, and never while another thread forks.
//!
//! A child of `fork` has one thread. Where another thread of the parent was just making such a value, nobody finishes it in
//! the child, and who asks for it there waits for ever.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Held by who makes such values, and by who forks.
static HELD: AtomicBool = AtomicBool::new(false);

/// Makes them all, once in a process.
pub(crate) fn warm() {
    static WARM: AtomicBool = AtomicBool::new(false);
    if WARM.load(Ordering::Acquire) {
        return;
    }
    guard_forks();
    // Again where two threads come at once: what is made already costs nothing.
    let made = without_fork(|| {
        std::panic::catch_unwind(|| {
            crate::capi::warm();
            crate::prompt::warm();
            #[cfg(feature = "local")]
            crate::engine::local::warm();
        })
    });
    // A panic here is found again where the value is used, with a typed error.
    WARM.store(made.is_ok(), Ordering::Release);
}

/// Runs `work` while no other thread of this process forks, and no other work of this kind runs. Not to be nested.
pub(crate) fn without_fork<T>(work: impl FnOnce() -> T) -> T {
    struct Held;
    impl Drop for Held {
        fn drop(&mut self) {
            release();
        }
    }
    hold();
    let _held = Held;
    work()
}

extern "C" fn hold() {
    while HELD.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        std::thread::yield_now();
    }
}

extern "C" fn release() {
    HELD.store(false, Ordering::Release);
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "registers functions of C")]
fn guard_forks() {
    static GUARDED: Once = Once::new();
    GUARDED.call_once(|| {
        // SAFETY: the handlers only change an atomic, and stay for as long as the process.
        unsafe { libc::pthread_atfork(Some(hold), Some(release), Some(release)) };
    });
}

#[cfg(not(unix))]
fn guard_forks() {
    static GUARDED: Once = Once::new();
    GUARDED.call_once(|| {});
}
