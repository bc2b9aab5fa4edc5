//! The log of one judge, the progress of loading, and the options of opening one.

use std::ffi::c_void;
use std::mem::MaybeUninit;

use super::boundary::{given, misuse};
use super::error::dicast_error;
use super::judge::dicast_judge;
use super::layout::{self, Layout};
use super::text::{Text, dicast_str};
use crate::engine::Progress;
use crate::error::Result;
use crate::log::{Level, Log};

/// Level of a log line: a defect of the library or of the engine.
pub const DICAST_LOG_ERROR: u32 = 1;
/// Level of a log line: a judgment that failed.
pub const DICAST_LOG_WARN: u32 = 2;
/// Level of a log line: opening and closing.
pub const DICAST_LOG_INFO: u32 = 3;
/// Level of a log line: every judgment.
pub const DICAST_LOG_DEBUG: u32 = 4;

/// Takes one line of a judge's log, without a line end. `line` is valid only during the call.
///
/// Any thread may call it, also several at once, from the start of dicast_judge_open until dicast_judge_free has returned.
/// It must return quickly. It must not call a function with this judge or its tickets, and must not throw or longjmp.
pub type dicast_log_callback = Option<unsafe extern "C" fn(user_data: *mut c_void, level: u32, line: dicast_str)>;

/// Gets the progress of loading a model: `part` is from 0 to 1 and rises. Returns true to continue; false ends the loading, and
/// the call that loads returns DICAST_CANCELLED.
///
/// Called on the thread that opens, wakes or reloads the judge, within that call. The embedded engine calls it many times,
/// the one for servers several times a second, others only at the beginning and at the end. It must not throw or longjmp, nor
/// use this judge.
pub type dicast_progress_callback = Option<unsafe extern "C" fn(user_data: *mut c_void, part: f64) -> bool>;

/// Options of dicast_judge_open besides the configuration. Zero everything, then set `struct_size`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dicast_open_options {
    /// sizeof(dicast_open_options).
    pub struct_size: usize,
    /// Receives the log of this judge; NULL for no log. The library itself never prints.
    pub log: dicast_log_callback,
    /// Passed to `log` unchanged.
    pub log_user_data: *mut c_void,
    /// The least important level to log: DICAST_LOG_ERROR to DICAST_LOG_DEBUG. 0 means DICAST_LOG_INFO.
    pub log_level: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Gets the progress of loading, and may end it; may be NULL. Must live as long as the judge.
    pub progress: dicast_progress_callback,
    /// Passed to `progress` unchanged.
    pub progress_user_data: *mut c_void,
}

// SAFETY: `repr(C)`, words and a pair of halves; zero is no callback, and any other pattern is the program's word for one.
unsafe impl Layout for dicast_open_options {
    const FIRST_SIZE: usize = 32;
    const NAME: &'static str = "dicast_open_options";
}

/// A pointer of the program that is only handed back to it.
#[derive(Clone, Copy)]
pub(super) struct UserData(pub(super) *mut c_void);

// SAFETY: it is never followed here. The header says from which threads it comes back.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    /// The pointer. A method, so that closures take the whole wrapper.
    pub(super) fn get(self) -> *mut c_void {
        self.0
    }
}

/// The log that options ask for; none for null.
///
/// # Safety
/// `options` is null or points to a struct of the size that it announces, with a callback that keeps its contract.
pub(super) unsafe fn log_of(options: *const dicast_open_options) -> Result<Log> {
    if options.is_null() {
        return Ok(Log::none());
    }
    // SAFETY: passed on.
    let options = unsafe { layout::read(options)? };
    let level = level_of(options.log_level)?;
    if options.reserved != 0 {
        return Err(misuse("reserved of dicast_open_options is not 0"));
    }
    let Some(callback) = options.log else { return Ok(Log::none()) };
    let user_data = UserData(options.log_user_data);
    Ok(Log::new(level, move |level, line| {
        let line = Text::new(line);
        // SAFETY: the program has promised that it can be called with its data from any thread.
        unsafe { callback(user_data.get(), level as u32, line.view()) };
    }))
}

/// The level of a number; 0 is the default level.
fn level_of(number: u32) -> Result<Level> {
    match number {
        DICAST_LOG_ERROR => Ok(Level::Error),
        DICAST_LOG_WARN => Ok(Level::Warn),
        0 | DICAST_LOG_INFO => Ok(Level::Info),
        DICAST_LOG_DEBUG => Ok(Level::Debug),
        other => Err(misuse(format!("log_level is {other}: it must be from 0 to {DICAST_LOG_DEBUG}"))),
    }
}

/// The callback that watches the loading; none for null.
///
/// # Safety
/// As [`log_of`].
pub(super) unsafe fn progress_of(options: *const dicast_open_options) -> Result<Progress> {
    if options.is_null() {
        return Ok(Progress::default());
    }
    // SAFETY: passed on.
    let options = unsafe { layout::read(options)? };
    let Some(callback) = options.progress else { return Ok(Progress::default()) };
    let user_data = UserData(options.progress_user_data);
    Ok(Progress::new(move |part| {
        // SAFETY: the program has promised that it can be called with its data as long as the judge lives.
        unsafe { callback(user_data.get(), part.into()) }
    }))
}

/// From now on, logs lines up to this level: DICAST_LOG_ERROR to DICAST_LOG_DEBUG; 0 means DICAST_LOG_INFO. Has no effect if the
/// judge was opened without a log. Any thread, at any time.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_judge_set_log_level(
    judge: Option<&dicast_judge>,
    log_level: u32,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        given(judge, "judge")?.get()?.set_log_level(level_of(log_level)?);
        Ok(())
    })
}
