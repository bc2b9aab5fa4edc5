//! Status codes: the C column of the crate's one table of errors.

use std::sync::LazyLock;

use super::text::{Text, dicast_str};
use crate::error::ErrorKind;

/// Done.
pub const DICAST_OK: i32 = 0;
/// Not an error: a wait ended before what it waited for. Wait again, or cancel.
pub const DICAST_PENDING: i32 = -1;
/// The request is malformed: no responses, a name given twice, text that is not UTF-8, options out of range. Nothing was
/// generated. Mend the request.
pub const DICAST_INVALID_REQUEST: i32 = 1;
/// The request passes a limit of the configuration (`limits`). Nothing was generated. Make it smaller or raise the limit.
pub const DICAST_TOO_LARGE: i32 = 2;
/// The request and what may be generated do not fit the model's context; the message has the numbers. Nothing was
/// generated. Shorten it, or lower `max_reasoning_tokens`.
pub const DICAST_CONTEXT_OVERFLOW: i32 = 3;
/// A setting is unknown or out of its range; the message names the key. Nothing was opened.
pub const DICAST_INVALID_CONFIG: i32 = 4;
/// A judge profile cannot be read, or is missing where the model needs one. Nothing was opened.
pub const DICAST_INVALID_PROFILE: i32 = 5;
/// There is no model at the given place. Nothing was opened.
pub const DICAST_MODEL_NOT_FOUND: i32 = 6;
/// The model is damaged or lacks something that a judge needs. Nothing was opened.
pub const DICAST_INVALID_MODEL: i32 = 7;
/// This build or this engine cannot do what was asked; the message names what is missing.
pub const DICAST_UNSUPPORTED: i32 = 8;
/// The queue is full (`limits.max_queue`). Nothing was queued. Send the same again when judgments have ended; see
/// dicast_judge_wait_for_room.
pub const DICAST_OVERLOADED: i32 = 9;
/// The deadline of the request passed (`timeout_ms`). Its place is free. The same may work when there is less to do.
pub const DICAST_TIMEOUT: i32 = 10;
/// The judgment was cancelled. Its place is free.
pub const DICAST_CANCELLED: i32 = 11;
/// The judge answered, but not with a complete verdict. The error keeps what could be read, and the judge's whole output.
/// Where the judge samples, the same may work with another seed.
pub const DICAST_INVALID_VERDICT: i32 = 12;
/// The engine failed while it worked on the request. Others may have gone on.
pub const DICAST_ENGINE: i32 = 13;
/// The judge was closed, or was opened by another process: threads do not come along through fork. Open a new one.
pub const DICAST_CLOSED: i32 = 14;
/// A file could not be read or written.
pub const DICAST_IO: i32 = 15;
/// A remote service could not be reached or refused. The same may work later.
pub const DICAST_NETWORK: i32 = 16;
/// A defect of the library. The call had no effect but what it says; the judge can still be used. Please report it.
pub const DICAST_INTERNAL: i32 = 17;
/// The call breaks a rule of this header: NULL where that is not allowed, a wrong `struct_size`. It had no effect.
pub const DICAST_INVALID_ARGUMENT: i32 = 18;
/// The engine is dead: this request and all others of the judge fail. Close the judge and open it again.
pub const DICAST_ENGINE_DEAD: i32 = 19;

/// The name of a status, such as `context_overflow`: `ok`, `pending`, or the `kind` of errors in JSON. `data` is NULL for a
/// number that is no status of this release.
///
/// Any thread, at any time. The result lives for ever.
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

/// Whether errors of this status may be gone when the same request is sent again. dicast_error_is_retryable answers for one
/// error.
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
