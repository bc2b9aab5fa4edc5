//! What happens to engines when the process ends.
//!
//! `exit` runs the destructors of static objects, including those of llama.cpp, while other threads go on: an engine
//! thread that computes would then read freed memory. So engines are closed first, in a handler. It is registered once
//! the library's static objects exist, and therefore runs before they are destroyed.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::warm;

use super::Engine;

/// Longest wait for busy threads. A load gets the signal to stop, and checks for it several times a second.
const PATIENCE: Duration = Duration::from_secs(10);

static EXITING: AtomicBool = AtomicBool::new(false);
static OPEN: Mutex<Open> = Mutex::new(Open { process: 0, busy: 0, engines: Vec::new() });

struct Open {
    /// The process of these engines: a child of `fork` has none of its parent's.
    process: u32,
    /// How many threads use a library with static objects.
    busy: usize,
    engines: Vec<Weak<dyn Engine>>,
}

/// Works on what is open. No thread may fork meanwhile: in the child the lock would stay locked.
fn with_open<T>(work: impl FnOnce(&mut Open) -> T) -> T {
    warm::without_fork(|| {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if open.process != process {
            // The parent's engines are left alone: their threads do not exist in this process.
            std::mem::forget(std::mem::take(&mut open.engines));
            (open.process, open.busy) = (process, 0);
        }
        work(&mut open)
    })
}

/// Whether the process is ending: nothing is opened any more, and memory of llama.cpp is not freed.
pub(super) fn is_exiting() -> bool {
    EXITING.load(Ordering::Acquire)
}

thread_local! {
    /// How many of the busy holders are on this thread.
    static MINE: Cell<usize> = const { Cell::new(0) };
}

/// Held by a thread that uses a library with static objects: while it loads or frees a model, and by an engine's thread
/// for as long as it runs. The end of the process waits for it.
pub(super) struct Busy {
    /// It stays on its thread.
    thread: PhantomData<*const ()>,
}

impl Busy {
    /// `None` if the process is ending: then nothing new may begin.
    pub(super) fn begin() -> Option<Self> {
        let begun = with_open(|open| {
            let begins = !is_exiting();
            open.busy += usize::from(begins);
            begins
        });
        begun.then(|| {
            let _ = MINE.try_with(|mine| mine.set(mine.get() + 1));
            Self { thread: PhantomData }
        })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = MINE.try_with(|mine| mine.set(mine.get().saturating_sub(1)));
        with_open(|open| open.busy = open.busy.saturating_sub(1));
    }
}

/// Registers an open engine, to be closed when the process ends.
///
/// # Errors
/// [`ErrorKind::Closed`](crate::ErrorKind::Closed) if the process is ending.
pub(super) fn watch(engine: Weak<dyn Engine>) -> Result<()> {
    register();
    with_open(|open| {
        if is_exiting() {
            return Err(Error::closed());
        }
        open.engines.retain(|engine| engine.strong_count() > 0);
        open.engines.push(engine);
        Ok(())
    })
}

/// Registers the handler. Handlers run in the reverse order of their registration, and so do the destructors of static
/// objects. So this is called again when a library has created more of them. After a number of calls it does nothing.
pub(super) fn register() {
    /// More than the steps of setting libraries up, and a few openings.
    const MOST: u32 = 16;
    static REGISTERED: AtomicU32 = AtomicU32::new(0);
    if REGISTERED.load(Ordering::Relaxed) < MOST {
        REGISTERED.fetch_add(1, Ordering::Relaxed);
        at_exit();
    }
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "registers a function of C")]
fn at_exit() {
    // SAFETY: the handler does not unwind, and stays for as long as the process: a library with threads is not unloaded.
    unsafe { libc::atexit(close_all) };
}

#[cfg(not(unix))]
fn at_exit() {}

/// Closes every engine, and waits for the busy threads.
#[cfg_attr(not(unix), expect(dead_code, reason = "nothing calls it"))]
extern "C" fn close_all() {
    /// All calls of this handler have the same patience.
    static UNTIL: OnceLock<Instant> = OnceLock::new();
    let work = || {
        with_open(|_| EXITING.store(true, Ordering::Release));
        let mine = MINE.try_with(Cell::get).unwrap_or(0);
        let until = *UNTIL.get_or_init(|| Instant::now() + PATIENCE);
        loop {
            for engine in with_open(|open| std::mem::take(&mut open.engines)).iter().filter_map(Weak::upgrade) {
                engine.close();
                // If this were the last reference, dropping it would free the engine when static objects are already
                // destroyed.
                std::mem::forget(engine);
            }
            if with_open(|open| open.busy) <= mine || Instant::now() >= until {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    // Nothing may unwind into the C library.
    let _ = std::panic::catch_unwind(work);
}
