//! `dicast_events`: outcomes for an event loop.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::boundary::{Status, given, misuse};
use super::error::dicast_error;
use super::layout::{self, Layout};
use super::status::{DICAST_OK, DICAST_PENDING};
use super::verdict::dicast_verdict;
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::profile::Scale;
use crate::verdict::Verdict;

/// A list of outcomes with a file descriptor that is readable while the list is not empty: for poll, epoll, libuv and the like.
///
/// Any number of threads, judges and submissions may use one at once. You own it, until dicast_events_free.
pub struct dicast_events(Arc<Events>);

/// The outcome of one judgment. Set `struct_size` before the call, which writes the other fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dicast_event {
    /// sizeof(dicast_event).
    pub struct_size: usize,
    /// The tag that the judgment was submitted with.
    pub tag: u64,
    /// DICAST_OK, or why there is no verdict.
    pub status: i32,
    /// 0.
    pub reserved: u32,
    /// On DICAST_OK the verdict, which you own; otherwise NULL.
    pub verdict: *mut dicast_verdict,
    /// On any other status the error, which you own; otherwise NULL.
    pub error: *mut dicast_error,
}

// SAFETY: `repr(C)`, words and a pair of halves.
unsafe impl Layout for dicast_event {
    const FIRST_SIZE: usize = 40;
    const NAME: &'static str = "dicast_event";
}

struct Events {
    state: Mutex<State>,
    /// Signals an outcome.
    came: Condvar,
    bell: Bell,
    limit: usize,
}

#[derive(Default)]
struct State {
    ended: VecDeque<(u64, Result<(Verdict, Scale)>)>,
    /// Judgments that were submitted and have not ended.
    pending: usize,
}

impl Events {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An outcome was put into the list.
    fn tell(&self, state: MutexGuard<'_, State>, was_empty: bool) {
        if was_empty {
            // Under the lock, so that the descriptor agrees with the list.
            self.bell.ring();
        }
        drop(state);
        self.came.notify_all();
    }
}

/// A place for the outcome of one judgment.
pub(super) struct Awaited {
    events: Arc<Events>,
    tag: u64,
    /// Whether the place was used, or is given back.
    used: bool,
}

impl dicast_events {
    /// Reserves a place for an outcome.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] if there is none.
    pub(super) fn expect(&self, tag: u64) -> Result<Awaited> {
        let mut state = self.0.state();
        if state.pending + state.ended.len() >= self.0.limit {
            return Err(Error::new(
                ErrorKind::Overloaded,
                format!(
                    "{} judgments are pending or wait for dicast_events_next: take some outcomes first",
                    self.0.limit
                ),
            ));
        }
        state.pending += 1;
        Ok(Awaited { events: self.0.clone(), tag, used: false })
    }
}

impl Awaited {
    pub(super) fn deliver(mut self, outcome: Result<Verdict>, scale: Scale) {
        self.used = true;
        let mut state = self.events.state();
        state.pending -= 1;
        let was_empty = state.ended.is_empty();
        state.ended.push_back((self.tag, outcome.map(|verdict| (verdict, scale))));
        self.events.tell(state, was_empty);
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if !self.used {
            self.events.state().pending -= 1;
        }
    }
}

/// Makes a list for at most `limit` judgments. Pending ones count, and those whose outcome was not taken yet; a further
/// submission returns DICAST_OVERLOADED. 0 means 65536.
///
/// On success you own `*events`. DICAST_IO if the system has no descriptor left.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_events_new(
    limit: usize,
    events: Option<&mut MaybeUninit<*mut dicast_events>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let out = given(events, "events")?;
        let bell = Bell::new().map_err(|error| Error::new(ErrorKind::Io, format!("no descriptor for events: {error}")))?;
        let limit = if limit == 0 { 1 << 16 } else { limit };
        let made = Events { state: Mutex::default(), came: Condvar::new(), bell, limit };
        out.write(Box::into_raw(Box::new(dicast_events(Arc::new(made)))));
        Ok(())
    })
}

/// The descriptor: it is readable (POLLIN) while there is an outcome to take. Only poll it: do not read, write or close it. -1
/// for NULL and on systems without descriptors.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_events_fd(events: Option<&dicast_events>) -> i32 {
    boundary!(else -1; { Some(events?.0.bell.descriptor()) })
}

/// Takes the next outcome, in the order in which the judgments ended. Waits at most `timeout_ms` milliseconds; 0 does not wait.
/// DICAST_OK: `*event` was written, and you own its verdict or error. DICAST_PENDING: there is no outcome by then; `*event` is
/// unchanged. Set `event->struct_size` before the call.
///
/// When the descriptor is readable, call it until it returns DICAST_PENDING.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_events_next(
    events: Option<&dicast_events>,
    timeout_ms: u64,
    event: *mut dicast_event,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let list = &given(events, "events")?.0;
        // Checked before an outcome is taken, so that none gets lost.
        // SAFETY: the struct announces its size.
        unsafe { layout::check(event)? };
        let until = Instant::now().checked_add(Duration::from_millis(timeout_ms));
        let mut state = list.state();
        while state.ended.is_empty() {
            let left = until.map_or(Duration::from_secs(3600), |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(Status(DICAST_PENDING));
            }
            state = list.came.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let Some((tag, outcome)) = state.ended.pop_front() else {
            return Err(misuse("an outcome that is there is not there"));
        };
        if state.ended.is_empty() {
            list.bell.silence();
        }
        drop(state);
        let (status, verdict, failed) = match outcome {
            Ok((verdict, scale)) => (DICAST_OK, dicast_verdict::give(verdict, scale), std::ptr::null_mut()),
            Err(error) => (error.kind().c_status(), std::ptr::null_mut(), dicast_error::give(error)),
        };
        let value =
            dicast_event { struct_size: size_of::<dicast_event>(), tag, status, reserved: 0, verdict, error: failed };
        // SAFETY: the struct announces its size, which was checked.
        unsafe { layout::write(event, &value)? };
        Ok(Status(DICAST_OK))
    })
}

/// Gives back the outcome that dicast_events_next has written to `*event`: it becomes the next one again, and the descriptor
/// readable. For programs that may be interrupted before they can use an outcome, as by a signal that becomes an exception.
///
/// `event->verdict` or `event->error` must be one of this library that you own; on success they are the list's, and both fields
/// are NULL. DICAST_INVALID_ARGUMENT, if both are NULL or both are set; nothing has changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_events_return(
    events: Option<&dicast_events>,
    event: *mut dicast_event,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let list = &given(events, "events")?.0;
        // SAFETY: the struct announces its size.
        let given_back = unsafe { layout::read(event)? };
        let outcome = match (given_back.verdict.is_null(), given_back.error.is_null()) {
            // SAFETY: the caller owns it, and gives it away.
            (false, true) => Ok(unsafe { Box::from_raw(given_back.verdict) }.into_parts()),
            // SAFETY: as above.
            (true, false) => Err(unsafe { Box::from_raw(given_back.error) }.into_error()),
            _ => return Err(misuse("the event must have either a verdict or an error")),
        };
        let empty = dicast_event { verdict: std::ptr::null_mut(), error: std::ptr::null_mut(), ..given_back };
        // SAFETY: as above.
        unsafe { layout::write(event, &empty)? };
        let mut state = list.state();
        let was_empty = state.ended.is_empty();
        state.ended.push_front((given_back.tag, outcome));
        list.tell(state, was_empty);
        Ok(())
    })
}

/// Frees a list and the outcomes that were not taken. NULL does nothing. Judgments go on; their outcomes are dropped. Requires
/// that no other thread is using the list or polling its descriptor.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_events_free(events: Option<Box<dicast_events>>) {
    boundary!(else (); {
        drop(events);
        Some(())
    });
}

#[cfg(unix)]
use unix::Bell;

/// A descriptor that is readable after it was rung.
#[cfg(unix)]
mod unix {
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    pub(super) struct Bell {
        /// Both ends of a pipe; for an eventfd, which has only one end, the same one twice.
        read: OwnedFd,
        #[cfg(not(target_os = "linux"))]
        write: OwnedFd,
    }

    impl Bell {
        #[cfg(target_os = "linux")]
        pub(super) fn new() -> io::Result<Self> {
            // SAFETY: takes numbers only; the result is a descriptor that nobody else has, or -1.
            let read = unsafe {
                let raw = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
                if raw < 0 {
                    return Err(io::Error::last_os_error());
                }
                OwnedFd::from_raw_fd(raw)
            };
            Ok(Self { read })
        }

        #[cfg(not(target_os = "linux"))]
        pub(super) fn new() -> io::Result<Self> {
            let (read, write) = io::pipe()?;
            let (read, write) = (OwnedFd::from(read), OwnedFd::from(write));
            for end in [&read, &write] {
                // SAFETY: the descriptor is open, and the call changes a flag of it.
                unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
            }
            Ok(Self { read, write })
        }

        pub(super) fn descriptor(&self) -> i32 {
            self.read.as_raw_fd()
        }

        /// It was not rung, so there is room for the eight bytes.
        pub(super) fn ring(&self) {
            #[cfg(target_os = "linux")]
            let end = &self.read;
            #[cfg(not(target_os = "linux"))]
            let end = &self.write;
            let one = 1_u64.to_ne_bytes();
            // SAFETY: the descriptor is open, and the bytes are those of an array.
            unsafe { libc::write(end.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }

        pub(super) fn silence(&self) {
            let mut bytes = [0_u8; 8];
            // SAFETY: the descriptor is open and does not block, and the bytes are those of an array.
            unsafe { libc::read(self.read.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()) };
        }
    }
}

/// There is no descriptor here.
#[cfg(not(unix))]
struct Bell;

#[cfg(not(unix))]
impl Bell {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    fn descriptor(&self) -> i32 {
        -1
    }

    fn ring(&self) {}

    fn silence(&self) {}
}
