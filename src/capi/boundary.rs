//! The boundary to C: every exported function is a `boundary!`.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::dicast_error;
use super::status::DICAST_OK;
use crate::error::{Error, ErrorKind, Result};
use crate::warm::Once;

/// Where a C function writes a handle that it returns.
pub(super) type Out<'a, T> = Option<&'a mut MaybeUninit<*mut T>>;

/// The body of an export.
///
/// `boundary!(error; { … Ok(()) })` returns a status, and writes the error object if the caller takes it.
/// `boundary!(else value; { … Some(value) })` returns the body's value, or `value` on `None` and on a panic.
macro_rules! boundary {
    (else $default:expr; $body:block) => {
        $crate::capi::boundary::value($default, || $body)
    };
    ($error:ident; $body:block) => {
        $crate::capi::boundary::status($error, || $body)
    };
}

thread_local! {
    /// How deep this thread is in boundaries.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// Where the last panic on this thread happened.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps Rust's own report of a panic off standard error if the boundary reports it. Other panics, in a Rust program
/// that shares this runtime, are reported as before.
pub(crate) fn silence_own_panics() {
    static ONCE: Once = Once::new();
    ONCE.call(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let inside = DEPTH.try_with(Cell::get).unwrap_or(0) > 0;
            let own_thread = std::thread::current().name().is_some_and(|name| name.starts_with("dicast-"));
            if !inside && !own_thread {
                return before(panic);
            }
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let _ = PLACE.try_with(|kept| kept.try_borrow_mut().map(|mut kept| *kept = place));
        }));
    });
}

/// Runs `body`; a panic inside becomes an error with its text.
pub(super) fn catch<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    enter();
    let outcome = catch_unwind(AssertUnwindSafe(body));
    leave();
    match outcome {
        Ok(outcome) => outcome,
        Err(panic) => Err(defect(&*panic)),
    }
}

#[inline]
fn enter() {
    silence_own_panics();
    DEPTH.with(|depth| depth.set(depth.get() + 1));
}

#[inline]
fn leave() {
    DEPTH.with(|depth| depth.set(depth.get() - 1));
}

#[cold]
fn defect(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let place = PLACE.take();
    Error::new(ErrorKind::Internal, format!("a defect of Dicast: {} at {place}", text.unwrap_or("a panic")))
}

/// The status of `body`. The error object is made only if the caller takes it.
pub(super) fn status<T: Into<Status>>(error: Out<'_, dicast_error>, body: impl FnOnce() -> Result<T>) -> i32 {
    let (status, object) = match catch(body) {
        Ok(done) => (done.into().0, std::ptr::null_mut()),
        Err(failed) => {
            let status = failed.kind().c_status();
            // Allocate it only if the caller takes it; otherwise it leaks.
            (status, if error.is_some() { dicast_error::give(failed) } else { std::ptr::null_mut() })
        }
    };
    if let Some(error) = error {
        error.write(object);
    }
    status
}

/// The value of `body`, or `default`.
pub(super) fn value<T>(default: T, body: impl FnOnce() -> Option<T>) -> T {
    catch(|| Ok(body())).ok().flatten().unwrap_or(default)
}

/// The status of a call that worked: 0, or "pending" for a wait that ran out of time.
pub(super) struct Status(pub(super) i32);

impl From<()> for Status {
    fn from((): ()) -> Self {
        Self(DICAST_OK)
    }
}

/// The error of a call that breaks the rules of the interface.
pub(super) fn misuse(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// Refuses null.
pub(super) fn given<T>(value: Option<T>, name: &str) -> Result<T> {
    value.ok_or_else(|| misuse(format!("{name} is null")))
}

/// An array of `count` entries; null and 0 are an empty one.
///
/// # Safety
/// If it is not null, `data` points to `count` entries that live, and are not written to, as long as the result is used.
pub(super) unsafe fn array<'a, T>(data: *const T, count: usize, name: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    check_count(count, name)?;
    check_array(data, count, name)?;
    // SAFETY: it is not null, aligned and no larger than an object may be; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

/// `count` bytes; null and 0 are none.
///
/// # Safety
/// As for [`array`].
pub(super) unsafe fn bytes<'a>(data: *const u8, count: usize, name: &str) -> Result<&'a [u8]> {
    if count == 0 {
        return Ok(&[]);
    }
    check_array(data, count, name)?;
    // SAFETY: as for an array.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

/// An array of `count` entries to be written.
///
/// # Safety
/// If it is not null, `data` points to `count` entries that nobody else uses as long as the result is used.
pub(super) unsafe fn array_mut<'a, T>(data: *mut T, count: usize, name: &str) -> Result<&'a mut [MaybeUninit<T>]> {
    if count == 0 {
        return Ok(&mut []);
    }
    check_count(count, name)?;
    check_array(data, count, name)?;
    // SAFETY: it is not null, aligned and no larger than an object may be; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts_mut(data.cast(), count) })
}

/// The most entries of an array. No call needs as many; a larger count is a mistake, such as an uninitialized one.
pub(super) const MOST_ENTRIES: usize = 1 << 24;

/// Checks a number of entries. Comes before anything is read or written.
pub(super) fn check_count(count: usize, name: &str) -> Result<()> {
    if count > MOST_ENTRIES {
        return Err(misuse(format!("{name}: {count} entries are announced, but an array has at most {MOST_ENTRIES}")));
    }
    Ok(())
}

fn check_array<T>(data: *const T, count: usize, name: &str) -> Result<()> {
    if data.is_null() {
        return Err(misuse(format!("{name} is null, but {count} entries are announced")));
    }
    if !data.is_aligned() {
        return Err(misuse(format!("{name} is not aligned")));
    }
    if count > isize::MAX.unsigned_abs() / size_of::<T>().max(1) {
        return Err(misuse(format!("{name}: {count} entries are more than memory can hold")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_inside_is_an_error_outside() {
        let mut error = MaybeUninit::uninit();
        let status = boundary_that_panics(Some(&mut error));
        assert_eq!(status, ErrorKind::Internal.c_status());
        // SAFETY: the boundary has written it and handed it over.
        let error = unsafe { Box::from_raw(error.assume_init()) };
        assert!(error.message().contains("three blind mice at src/capi/boundary.rs"), "{}", error.message());
        let fallback = boundary!(else 7; { panic!("{}", "formatted") });
        assert_eq!(fallback, 7);
    }

    fn boundary_that_panics(error: Out<'_, dicast_error>) -> i32 {
        boundary!(error; {
            if !error_is_wanted() {
                return Ok(());
            }
            panic!("three blind mice")
        })
    }

    fn error_is_wanted() -> bool {
        true
    }

    #[test]
    fn arrays_are_checked_before_they_are_read() {
        let null: *const u64 = std::ptr::null();
        // SAFETY: each is null or refused before it is read.
        unsafe {
            assert_eq!(array(null, 0, "n").unwrap(), &[0_u64; 0]);
            assert!(array(null, 1, "n").unwrap_err().message().contains("n is null"));
            let odd = std::ptr::without_provenance::<u64>(9);
            assert!(array(odd, 1, "n").unwrap_err().message().contains("aligned"));
            let eight = std::ptr::without_provenance::<u64>(8);
            for absurd in [usize::MAX, usize::MAX / 8, isize::MAX.unsigned_abs() / 8, MOST_ENTRIES + 1] {
                assert!(array(eight, absurd, "n").unwrap_err().message().contains("at most 16777216"));
                assert!(array_mut(eight.cast_mut(), absurd, "n").unwrap_err().message().contains("at most 16777216"));
            }
            let byte = std::ptr::without_provenance::<u8>(1);
            assert!(bytes(byte, usize::MAX, "n").unwrap_err().message().contains("more than memory"));
        }
    }
}
