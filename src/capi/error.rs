//! `dicast_error`: what went wrong.

use std::sync::OnceLock;

use super::status::DICAST_OK;
use super::text::{Text, dicast_str};
use crate::error::{Error, PartialVerdict};

/// What went wrong: a code, a message for people, and the parts of an incomplete verdict that could be read.
///
/// The receiver owns it, until dicast_error_free. It never changes: any number of threads may read it at once. Its texts
/// live as long as it does.
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

    /// What it was made from.
    pub(super) fn into_error(self) -> Error {
        self.error
    }

    #[cfg(test)]
    pub(super) fn message(&self) -> &str {
        self.error.message()
    }

    fn partial_scores(&self) -> &[(String, f64)] {
        self.error.partial().and_then(|partial| partial.scores.as_deref()).unwrap_or_default()
    }
}

/// Frees an error. NULL does nothing.
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
/// For NULL it is an empty text, which can be printed.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_message(error: Option<&dicast_error>) -> dicast_str {
    boundary!(else dicast_str::of(c""); { Some(error?.message.view()) })
}

/// Whether the same request may succeed when it is sent again; after a verdict that is not complete, with another seed.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_is_retryable(error: Option<&dicast_error>) -> bool {
    boundary!(else false; { Some(error?.error.is_retryable()) })
}

/// Whether parts of an incomplete verdict were kept: at least its text.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_has_partial(error: Option<&dicast_error>) -> bool {
    boundary!(else false; { Some(error?.partial.is_some()) })
}

/// Number of scores that could be read: one for each response, or 0. One doubtful score discards all scores. These scores
/// are not a verdict: the judge did not finish it.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_partial_count(error: Option<&dicast_error>) -> usize {
    boundary!(else 0; { Some(error?.partial_scores().len()) })
}

/// The name of the response at `index`, in the order of the request.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_partial_name(error: Option<&dicast_error>, index: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(error?.partial.as_ref()?.names.get(index)?.view()) })
}

/// The score that was read for the response at `index`; NaN if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_partial_score(error: Option<&dicast_error>, index: usize) -> f64 {
    boundary!(else f64::NAN; { error?.partial_scores().get(index).map(|(_, score)| *score) })
}

/// The name at `place` of the ranking (0 is the best), if only the ranking could be read; otherwise `data` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_partial_ranked(error: Option<&dicast_error>, place: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(error?.partial.as_ref()?.ranking.get(place)?.view()) })
}

/// The judge's reasoning.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_partial_reasoning(error: Option<&dicast_error>) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(error?.partial.as_ref()?.reasoning.view()) })
}

/// The whole output of the judge, unchanged.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_partial_raw(error: Option<&dicast_error>) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(error?.partial.as_ref()?.raw.view()) })
}

/// The whole error as JSON: `{"error": {"kind", "message", "retryable", "partial"?}}`, where `partial` is
/// `{"scores", "ranking", "reasoning", "raw"}`. Made on the first call. Empty text for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_error_json(error: Option<&dicast_error>) -> dicast_str {
    boundary!(else dicast_str::of(c""); {
        let error = error?;
        Some(error.json.get_or_init(|| Text::new(&error.error.to_json().to_string())).view())
    })
}
