//! What is made once, when it is first used: made when a judge is opened, and never while another thread forks.
//!
//! A child of `fork` has one thread. Where another thread of the parent was just making such a value, nobody finishes it in
//! the child, and who asks for it there waits for ever.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The process of who makes such values, or forks; 0 while nobody does. One that is not this process forked while the lock was
/// held, before the handlers of fork were there: its holder is not here.
static HELD: AtomicU32 = AtomicU32::new(0);

/// What is done once in a process, never while another thread forks.
pub(crate) struct Once(AtomicBool);

impl Once {
    pub(crate) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Not within [`without_fork`], the first time.
    pub(crate) fn call(&self, work: impl FnOnce()) {
        if self.0.load(Ordering::Acquire) {
            return;
        }
        without_fork(|| {
            if !self.0.load(Ordering::Acquire) {
                work();
                self.0.store(true, Ordering::Release);
            }
        });
    }
}

/// Makes them all, once in a process.
pub(crate) fn warm() {
    static WARM: Once = Once::new();
    crate::capi::silence_own_panics();
    WARM.call(|| {
        let work = || {
            // A panic here is found again where the value is used, with a typed error.
            let _ = std::panic::catch_unwind(|| {
                crate::capi::warm();
                crate::prompt::warm();
                #[cfg(feature = "local")]
                crate::engine::local::warm();
            });
        };
        // The caller's stack may be small. Where there is no thread, the values are made when they are used.
        let _ = crate::thread::on_stack(crate::thread::ROOMY, work);
    });
}

/// The value of a cell; made, where it is not there yet, while nobody forks. Not within [`without_fork`].
pub(crate) fn made<T>(cell: &OnceLock<T>, make: impl FnOnce() -> T) -> &T {
    match cell.get() {
        Some(value) => value,
        None => without_fork(|| cell.get_or_init(make)),
    }
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
    guard_forks();
    work()
}

fn hold() {
    let me = std::process::id();
    while let Err(holder) = HELD.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed) {
        if holder != me && HELD.compare_exchange(holder, me, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            return;
        }
        std::thread::yield_now();
    }
}

fn release() {
    HELD.store(0, Ordering::Release);
}

/// Called while the lock is held.
#[cfg(unix)]
#[expect(unsafe_code, reason = "registers functions of C")]
fn guard_forks() {
    static GUARDED: AtomicBool = AtomicBool::new(false);
    if !GUARDED.swap(true, Ordering::Relaxed) {
        // SAFETY: the handlers change an atomic and take a lock of llama.cpp's; they stay for as long as the process.
        unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(after_fork)) };
    }
}

/// Nobody makes such values, nor is in the one section of llama.cpp that its threads enter one at a time.
#[cfg(unix)]
extern "C" fn before_fork() {
    hold();
    #[cfg(feature = "local")]
    crate::engine::local::enter_section();
}

#[cfg(unix)]
extern "C" fn after_fork() {
    #[cfg(feature = "local")]
    crate::engine::local::leave_section();
    release();
}

#[cfg(not(unix))]
fn guard_forks() {}
