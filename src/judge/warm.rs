//! Warming up: what the prompts of many judgments begin with is computed once, before the first of them, and kept.

use std::time::Instant;

use super::Judge;
use super::power::{Admitted, asleep};
use crate::engine::{EngineKind, MOST_PINS, Pin, cannot_pin};
use crate::error::{Error, ErrorKind, Result};
use crate::log::Level;
use crate::request::{JudgeRequest, Response};

/// The beginning of prompts, which the engine of a judge keeps computed until this is dropped.
///
/// It may outlive its judge. Nothing is kept any more once the judge sleeps, takes other weights or is closed: warm it up again
/// when it is awake.
#[derive(Debug)]
pub struct Pinned(Vec<Pin>);

impl Pinned {
    /// How many tokens are kept; of a rubric, those of all its criteria together.
    pub fn tokens(&self) -> usize {
        self.0.iter().map(Pin::tokens).sum()
    }
}

impl Judge {
    /// Computes the shared beginning of the prompts of many judgments before the first of them, and keeps it, whatever else
    /// is judged meanwhile, until the result is dropped. Waits until that is done, at most for the `timeout_ms` of the request.
    ///
    /// It keeps the beginning of all prompts with this principle, or, if `request.prompt` is not empty, of all prompts with this
    /// principle and this prompt; for a rubric, that of each criterion. The responses do not matter; there may be none.
    /// Verdicts are the same as without, up to the rounding of what is computed in other steps.
    ///
    /// Only the embedded engine can do this. It keeps up to 8 prefixes in up to half of its keys and values. If a
    /// judgment needs the room of a prefix, it gets it; the prefix is kept again once a judgment has computed it, or once it is
    /// warmed up again. While this waits for room, no judgment begins that would take it.
    ///
    /// In a worker process (`local.isolation`) that dies, the next worker computes the prefixes again by itself.
    ///
    /// [`Judge::sleep`] and [`Judge::reload`] wait for it as for a judgment; with [`Sleep::cancel_running`] they end it.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on other engines, and with `local.deterministic`;
    /// [`ErrorKind::Overloaded`] if too much is kept already, and for a rubric of more than 8 criteria; those of a request;
    /// [`ErrorKind::Timeout`], [`ErrorKind::Cancelled`], [`ErrorKind::Asleep`], [`ErrorKind::Closed`]; [`ErrorKind::Engine`] if
    /// the worker process dies meanwhile. Nothing is kept then.
    ///
    /// [`Sleep::cancel_running`]: super::Sleep::cancel_running
    pub fn warm(&self, request: &JudgeRequest) -> Result<Pinned> {
        let began = Instant::now();
        // Held until the end: the judge does not fall asleep meanwhile.
        let Admitted::Awake(loaded, _working) = self.power.admit()? else { return Err(asleep()) };
        let responses = vec![Response { name: String::new(), text: String::new() }];
        let request = JudgeRequest { responses, ..request.clone() };
        let settings = self.prepare(&request)?;
        let deadline = began + settings.timeout();
        let parts = self.parts(&loaded, &request, &settings)?;
        let count = parts.len();
        if count > MOST_PINS && self.capabilities.engine == EngineKind::Local {
            let message = format!(
                "this rubric has {count} criteria, each with a prefix of its own, but a judge keeps {MOST_PINS} prefixes: warm up \
                 with {MOST_PINS} of the criteria; the prompts of the others are computed when they are judged"
            );
            return Err(Error::new(ErrorKind::Overloaded, message).with_retryable(false));
        }
        let explained = |error: Error, number: usize| match error.kind() {
            ErrorKind::Timeout => {
                let waited = settings.timeout().as_secs_f64();
                Error::new(ErrorKind::Timeout, format!("the prefix was not computed within {waited} s (timeout_ms)"))
            }
            ErrorKind::Overloaded if count > 1 => {
                error.context(format!("criterion {number} of {count}, each of which has a prefix of its own"))
            }
            _ => error,
        };
        let mut pinned = Pinned(Vec::new());
        for (index, part) in parts.into_iter().enumerate() {
            let prefix = loaded.prompter.prefix(&part, &settings)?;
            let prefix = prefix.ok_or_else(|| cannot_pin(self.capabilities.engine))?;
            let pin = loaded.engine.pin(prefix, deadline).map_err(|error| explained(error, index + 1))?;
            pinned.0.push(pin);
        }
        self.log.write(Level::Debug, || {
            format!("pinned {} tokens of prompts after {} ms", pinned.tokens(), began.elapsed().as_millis())
        });
        Ok(pinned)
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use crate::config::JudgeConfig;
    use crate::engine::scripted::{Reply, Scripted};
    use crate::error::ErrorKind;
    use crate::judge::{Judge, Sleep};
    use crate::log::Log;
    use crate::prompt::profile::Profile;
    use crate::request::JudgeRequest;

    #[test]
    fn an_engine_that_pins_nothing_says_what_to_do() {
        let engine = Scripted::new(|_, _| Reply::text(""));
        let judge =
            Judge::with_engine(JudgeConfig::new("scripted"), Profile::builtin(), engine.opened(), Log::none()).unwrap();
        let request = JudgeRequest { principle: "Be brief.".into(), ..JudgeRequest::default() };
        let error = judge.warm(&request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("judge one request with this principle first"), "{error}");
        judge.sleep(&Sleep::default()).unwrap();
        assert_eq!(judge.warm(&request).unwrap_err().kind(), ErrorKind::Asleep);
        judge.wake().unwrap();
        judge.close();
        assert_eq!(judge.warm(&request).unwrap_err().kind(), ErrorKind::Closed);
    }
}
