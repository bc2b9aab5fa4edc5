//! The library's own threads. They have names and a fixed stack size, and block the host's signals, except those that report a
//! fault of the thread itself.

use std::io;

#[cfg(all(test, feature = "shuttle"))]
use shuttle::thread::Builder as Starter;
#[cfg(all(test, feature = "shuttle"))]
pub(crate) use shuttle::thread::{JoinHandle, ThreadId, current};
#[cfg(not(all(test, feature = "shuttle")))]
use std::thread::Builder as Starter;
#[cfg(all(unix, any(test, feature = "local", feature = "trtllm"), not(all(test, feature = "shuttle"))))]
pub(crate) use std::thread::ThreadId;
#[cfg(not(all(test, feature = "shuttle")))]
pub(crate) use std::thread::{JoinHandle, current};

/// Stack of a thread, whatever `RUST_MIN_STACK` says. Threads that llama.cpp makes have the system's default size.
const STACK_BYTES: usize = 2 << 20;

/// Starts a thread. Signals are blocked on it and on the threads that it starts, so that the host's handlers run only on the
/// host's threads. Signals of a fault, such as `SIGSEGV`, are not blocked: the system sends them to the thread at fault, and
/// if they were blocked, it would end the process without calling the host's crash handler.
///
/// # Errors
/// If the system cannot start a thread.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    spawn_boxed(name, Box::new(work))
}

/// Compiled once, not for each kind of work.
fn spawn_boxed(name: &str, work: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    // A thread begins with the signal mask of the one that starts it.
    let _blocked = signals::Blocked::but_faults();
    Starter::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(work)
}

/// Stack for work that needs more stack than a caller of the library may have.
pub(crate) const ROOMY: usize = 1 << 20;

/// Runs `work` on a thread with a stack of this many bytes, and waits for it. The callers' own stacks may be small.
///
/// # Errors
/// If the system cannot start a thread.
pub(crate) fn on_stack<T: Send>(bytes: usize, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let mut done = None;
    run_on_stack(bytes, Box::new(|| done = Some(work())))?;
    Ok(done.expect("a panic is passed on"))
}

/// Compiled once, not for each kind of work.
fn run_on_stack(bytes: usize, work: Box<dyn FnOnce() + Send + '_>) -> io::Result<()> {
    std::thread::scope(|scope| {
        let thread = {
            let _blocked = signals::Blocked::but_faults();
            std::thread::Builder::new().name("dicast-deep".into()).stack_size(bytes).spawn_scoped(scope, work)?
        };
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(())
    })
}

#[cfg(unix)]
mod signals {
    use std::mem::MaybeUninit;

    /// Signals of a fault of the thread that they are sent to. `abort` unblocks its own signal.
    pub(super) const FAULTS: [libc::c_int; 6] =
        [libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGSEGV, libc::SIGSYS, libc::SIGTRAP];

    /// The calling thread's signal mask as it was, set again when this is dropped.
    pub(super) struct Blocked(libc::sigset_t);

    impl Blocked {
        #[expect(unsafe_code, reason = "signal masks are set through the C library")]
        pub(super) fn but_faults() -> Self {
            let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
            // SAFETY: both sets are written by the calls before they are read: `sigfillset` writes the first;
            // `pthread_sigmask` writes the second, and fails only for an unknown `how`, which this is not.
            unsafe {
                libc::sigfillset(all.as_mut_ptr());
                for fault in FAULTS {
                    libc::sigdelset(all.as_mut_ptr(), fault);
                }
                libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
                Self(before.assume_init())
            }
        }
    }

    impl Drop for Blocked {
        #[expect(unsafe_code, reason = "signal masks are set through the C library")]
        fn drop(&mut self) {
            // SAFETY: the set was filled by `pthread_sigmask`; the old mask is not asked for.
            unsafe {
                libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut());
            }
        }
    }
}

#[cfg(not(unix))]
mod signals {
    /// There are no signals here.
    pub(super) struct Blocked;

    impl Blocked {
        pub(super) fn but_faults() -> Self {
            Self
        }
    }
}

#[cfg(all(test, target_os = "linux", not(feature = "shuttle")))]
mod tests {
    use super::*;

    /// The signals that a thread blocks, by `/proc`.
    fn blocked() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap()
    }

    #[test]
    fn a_thread_has_its_name_and_blocks_signals_but_those_of_faults_and_the_caller_does_not() {
        let before = blocked();
        let work = || {
            assert_eq!(current().name(), Some("dicast-test"));
            let bit = |bits, signal: &libc::c_int| bits | 1 << (signal - 1);
            let faults = signals::FAULTS.iter().fold(0, bit);
            assert_eq!(blocked() & faults, 0);
            // Nobody can block KILL and STOP, and the C library keeps two for itself.
            let never = [libc::SIGKILL, libc::SIGSTOP, 32, 33].iter().fold(0, bit);
            assert_eq!(blocked() | never | faults, u64::MAX);
        };
        spawn("dicast-test", work).unwrap().join().unwrap();
        assert_eq!(blocked(), before);
    }
}
