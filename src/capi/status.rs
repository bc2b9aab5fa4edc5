//! Status codes: the C column of the crate's one table of errors.

use std::sync::LazyLock;

use super::text::{Text, dicast_str};
use crate::error::ErrorKind;

/// Done.
pub const DICAST_OK: i32 = 0;
/// Not an error: the waiting time ended before there was an outcome. Wait again, or cancel.
pub const DICAST_PENDING: i32 = -1;
/// The request is malformed: no responses, a name given twice, text that is not UTF-8, options out of range. Nothing was
/// generated. Correct the request.
pub const DICAST_INVALID_REQUEST: i32 = 1;
/// The request exceeds a limit of the configuration (`limits`). Nothing was generated. Make it smaller or raise the limit.
pub const DICAST_TOO_LARGE: i32 = 2;
/// The request and the tokens to be generated do not fit the context of the model; the message has the numbers. Nothing
/// was generated. Shorten the request, or lower `max_reasoning_tokens`.
pub const DICAST_CONTEXT_OVERFLOW: i32 = 3;
/// A setting is unknown or out of its range; the message names the key. Nothing was opened.
pub const DICAST_INVALID_CONFIG: i32 = 4;
/// A judge profile cannot be read, or the model needs one and has none. Nothing was opened.
pub const DICAST_INVALID_PROFILE: i32 = 5;
/// There is no model at this path. Nothing was opened.
pub const DICAST_MODEL_NOT_FOUND: i32 = 6;
/// The model is damaged or lacks something that a judge needs. Nothing was opened.
pub const DICAST_INVALID_MODEL: i32 = 7;
/// This build or this engine cannot do this; the message names what is missing.
pub const DICAST_UNSUPPORTED: i32 = 8;
/// The queue is full (`limits.max_queue`). Nothing was queued. Send the request again later; see
/// dicast_judge_wait_for_room.
pub const DICAST_OVERLOADED: i32 = 9;
/// The deadline of the request passed (`timeout_ms`). Its place in the queue is free. It may work when the judge is less
/// busy.
pub const DICAST_TIMEOUT: i32 = 10;
/// The judgment was cancelled. Its place in the queue is free.
pub const DICAST_CANCELLED: i32 = 11;
/// The answer of the judge is not a complete verdict. The error has the whole output and the parts that could be read. If the
/// temperature is above 0, another seed may help.
pub const DICAST_INVALID_VERDICT: i32 = 12;
/// The engine failed while it worked on the request. Other requests may not be affected.
pub const DICAST_ENGINE: i32 = 13;
/// The judge was closed, or another process opened it: fork does not copy threads. Open a new one.
pub const DICAST_CLOSED: i32 = 14;
/// A file could not be read or written.
pub const DICAST_IO: i32 = 15;
/// A remote service could not be reached, or refused the request. It may work later.
pub const DICAST_NETWORK: i32 = 16;
/// A defect of the library. The judge can still be used. Please report it.
pub const DICAST_INTERNAL: i32 = 17;
/// The call breaks a rule of this header, such as NULL for a required object or a wrong `struct_size`. It had no effect.
pub const DICAST_INVALID_ARGUMENT: i32 = 18;
/// The engine is dead: this request and all others of the judge fail. Close the judge and open it again.
pub const DICAST_ENGINE_DEAD: i32 = 19;
/// The judge sleeps, and dicast_judge_sleep was called so that requests do not wait. Nothing was queued. Wake the judge, or
/// send the request again later.
pub const DICAST_ASLEEP: i32 = 20;

/// The name of a status, such as `context_overflow`: `ok`, `pending`, or the `kind` of an error in JSON. `data` is NULL for
/// a number that is not a status in this release.
///
/// Any thread, at any time. The result is valid until the program ends.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_status_name(status: i32) -> dicast_str {
    boundary!(else dicast_str::NONE; {
        static NAMES: LazyLock<Vec<(i32, Text)>> =
            LazyLock::new(|| ErrorKind::all().map(|kind| (kind.c_status(), Text::new(kind.name()))).collect());
        match status {
            DICAST_OK => Some(dicast_str::of(c"ok")),
            DICAST_PENDING => Some(dicast_str::of(c"pending")),
            _ => NAMES.iter().find(|(code, _)| *code == status).map(|(_, name)| name.view()),
        }
    })
}

/// Whether the same request may succeed when it is sent again after an error of this status. dicast_error_is_retryable answers
/// for one error.
///
/// Any thread, at any time.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_status_is_retryable(status: i32) -> bool {
    boundary!(else false; {
        ErrorKind::all().find(|kind| kind.c_status() == status).map(ErrorKind::is_retryable)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_the_column_of_the_table() {
        let source = include_str!("status.rs");
        let constants: Vec<(String, i32)> = source
            .lines()
            .filter_map(|line| line.strip_prefix("pub const DICAST_")?.strip_suffix(';')?.split_once(": i32 = "))
            .map(|(name, code)| (name.to_ascii_lowercase(), code.parse().unwrap()))
            .collect();
        let mut wanted = vec![("ok".to_owned(), 0), ("pending".to_owned(), -1)];
        wanted.extend(ErrorKind::all().map(|kind| (kind.name().to_owned(), kind.c_status())));
        wanted[2..].sort_by_key(|(_, code)| *code);
        assert_eq!(constants, wanted);
    }
}
