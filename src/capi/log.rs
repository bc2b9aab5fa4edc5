//! The log of one judge, and the options of opening one.

use std::ffi::c_void;

use super::boundary::misuse;
use super::layout::{self, Layout};
use super::text::{Text, dicast_str};
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
}

// SAFETY: `repr(C)`, words and a pair of halves; zero is no callback, and any other pattern is the program's word for one.
unsafe impl Layout for dicast_open_options {
    const FIRST_SIZE: usize = 32;
    const NAME: &'static str = "dicast_open_options";
}

/// A pointer of the program's that is only handed back to it.
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
    let level = match options.log_level {
        DICAST_LOG_ERROR => Level::Error,
        DICAST_LOG_WARN => Level::Warn,
        0 | DICAST_LOG_INFO => Level::Info,
        DICAST_LOG_DEBUG => Level::Debug,
        other => return Err(misuse(format!("log_level is {other}: it must be from 0 to {DICAST_LOG_DEBUG}"))),
    };
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
