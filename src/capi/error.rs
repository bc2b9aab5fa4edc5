//! `dicast_error`: what went wrong.

use std::sync::OnceLock;

use super::status::DICAST_OK;
use super::text::{Text, dicast_str};
use crate::error::{Error, PartialVerdict};

/// What went wrong: a code, a message for people, and what could be read of an incomplete verdict.
///
/// Owned by whoever received it, until dicast_error_free. Never changes: any number of threads may read it at once. All
/// text and numbers of it live as long as it does.
pub struct dicast_error {
    error: Error,
    message: Text,
    partial: Option<Partial>,
    json: OnceLock<Text>,
}

/// Texts of an incomplete verdict.
struct Partial {
    names: Vec<Text>,
    ranking: Vec<Text>,
    reasoning: Text,
    raw: Text,
}

impl Partial {
    fn new(partial: &PartialVerdict) -> Self {
        let scores = partial.scores.as_deref().unwrap_or_default();
        Self {
            names: scores.iter().map(|(name, _)| Text::from(name)).collect(),
            ranking: partial.ranking.iter().flatten().map(Text::from).collect(),
            reasoning: Text::from(&partial.reasoning),
            raw: Text::from(&partial.raw),
        }
    }
}

impl dicast_error {
    /// Hands an error to C.
    pub(super) fn give(error: Error) -> *mut Self {
        let (message, partial) = (Text::new(error.message()), error.partial().map(Partial::new));
        Box::into_raw(Box::new(Self { error, message, partial, json: OnceLock::new() }))
    }

    #[cfg(test)]
    pub(super) fn message(&self) -> &str {
        self.error.message()
    }

    fn partial_scores(&self) -> &[(String, f64)] {
        self.error.partial().and_then(|partial| partial.scores.as_deref()).unwrap_or_default()
    }
}

/// Frees an error. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_free(error: Option<Box<dicast_error>>) {
    boundary!(else (); {
        drop(error);
        Some(())
    });
}

/// The status that the failed call returned. DICAST_OK for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_code(error: Option<&dicast_error>) -> i32 {
    boundary!(else DICAST_OK; { Some(error?.error.kind().c_status()) })
}

/// The name of the code, such as `context_overflow`; `ok` for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_name(error: Option<&dicast_error>) -> dicast_str {
    super::status::dicast_status_name(dicast_error_code(error))
}

/// What went wrong, where, and what can be done. It is for people, not for programs: its wording may change in any release.
/// Empty text, which can be printed, for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_message(error: Option<&dicast_error>) -> dicast_str {
    boundary!(else dicast_str::of(c""); { Some(error?.message.view()) })
}

/// Whether the same request may succeed when it is sent again: a verdict that is not complete, with another seed.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_is_retryable(error: Option<&dicast_error>) -> bool {
    boundary!(else false; { Some(error?.error.is_retryable()) })
}

/// Whether something of an incomplete verdict was kept: its text at least.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_has_partial(error: Option<&dicast_error>) -> bool {
    boundary!(else false; { Some(error?.partial.is_some()) })
}

/// Number of scores that could be read: that of the responses, or 0, since one that cannot be trusted spoils them all.
/// They are not a verdict: the judge did not finish it.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_partial_count(error: Option<&dicast_error>) -> usize {
    boundary!(else 0; { Some(error?.partial_scores().len()) })
}

/// The name of the response at `index`, counted as in the request.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_partial_name(error: Option<&dicast_error>, index: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(error?.partial.as_ref()?.names.get(index)?.view()) })
}

/// The score that was read for the response at `index`; NaN where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_partial_score(error: Option<&dicast_error>, index: usize) -> f64 {
    boundary!(else f64::NAN; { error?.partial_scores().get(index).map(|(_, score)| *score) })
}

/// The name at `place` of the ranking, 0 the best, where the ranking alone could be read; else `data` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_partial_ranked(error: Option<&dicast_error>, place: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(error?.partial.as_ref()?.ranking.get(place)?.view()) })
}

/// The judge's reasoning.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_partial_reasoning(error: Option<&dicast_error>) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(error?.partial.as_ref()?.reasoning.view()) })
}

/// The judge's whole output as it came.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_partial_raw(error: Option<&dicast_error>) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(error?.partial.as_ref()?.raw.view()) })
}

/// The whole error as JSON: `{"error": {"kind", "message", "retryable", "partial"?: {"scores", "ranking", "reasoning", "raw"}}}`. Made
/// when it is first asked for.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_json(error: Option<&dicast_error>) -> dicast_str {
    boundary!(else dicast_str::of(c""); {
        let error = error?;
        Some(error.json.get_or_init(|| Text::new(&error.error.to_json().to_string())).view())
    })
}
