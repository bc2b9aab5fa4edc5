//! Sleeping, waking, and other weights.

use std::time::Instant;

use serde_json::Value;

use super::Judge;
use super::power::{Admitted, Held, Loaded, Sleep};
use super::submission::Submission;
use super::ticket::Pending;
use crate::config::JudgeConfig;
use crate::engine::source::Source;
use crate::engine::{EngineKind, Opened, Progress, Stats};
use crate::error::{Error, ErrorKind, Result};
use crate::log::Level;
use crate::prompt::profile::Profile;
use crate::request::JudgeRequest;
use crate::sync::{Arc, Mutex, PoisonError};

/// Where the engine comes from, to open it again.
pub(super) struct Origin {
    /// `None`: the caller's own engine, or a server, which can only be asked to sleep.
    model: Option<Mutex<Model>>,
    /// Who receives the progress of loading a model.
    progress: Progress,
    /// What tells the model from others, if the profile has a calibration that was learned on one.
    fingerprint: Option<Value>,
}

/// A model that can be opened again.
#[derive(Clone)]
struct Model {
    name: String,
    /// What distinguishes its weights from others.
    stamp: Value,
}

impl Origin {
    /// The caller's own engine, or a server: it can only be asked to sleep.
    pub(super) fn given() -> Self {
        Self { model: None, progress: Progress::default(), fingerprint: None }
    }

    /// Opens the model of a configuration.
    ///
    /// # Errors
    /// Those of [`source::open`](crate::engine::source::open).
    pub(super) fn open(config: &JudgeConfig, progress: Progress) -> Result<(Profile, Opened, Self)> {
        let source = Source::find(&config.model)?;
        let profile = source.profile_for(config)?;
        let model = if matches!(source.engine(), EngineKind::Local | EngineKind::Trtllm) {
            // Before it is loaded: what is loaded later may be another file, which the engine finds.
            let stamp = source.stamp()?;
            Some(Mutex::new(Model { name: config.model.clone(), stamp }))
        } else {
            None
        };
        let fingerprint = profile.calibration.as_ref().map(|_| source.brief_fingerprint()).transpose()?;
        let opened = source.open_watched(config, &profile, &progress)?;
        Ok((profile, opened, Self { model, progress, fingerprint }))
    }

    /// See [`Source::brief_fingerprint`]; `None` if nobody knows, or asks.
    pub(super) fn fingerprint(&self) -> Option<&Value> {
        self.fingerprint.as_ref()
    }

    fn model(&self) -> Option<Model> {
        self.model.as_ref().map(|model| model.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn set(&self, model: Model) {
        if let Some(kept) = &self.model {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = model;
        }
    }
}

impl Judge {
    /// Frees the memory of weights and cache until [`Judge::wake`]. The running judgments are waited for, or
    /// cancelled; new ones wait or fail, as `how` says. An embedded or TensorRT-LLM engine is closed, and opened again
    /// on waking. If the judge already sleeps, only the rule for new requests in `how` takes effect.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the engine cannot sleep, such as that of a server, whose memory is not this process's;
    /// [`ErrorKind::Timeout`] if judgments still ran after [`Sleep::patience`]; [`ErrorKind::Closed`]. The judge then goes on
    /// as before.
    pub fn sleep(&self, how: &Sleep) -> Result<()> {
        let _turn = self.power.turn();
        let began = Instant::now();
        if !self.fall_asleep(how)? {
            return Ok(());
        }
        self.log
            .write(Level::Info, || format!("asleep after {} ms: {}", began.elapsed().as_millis(), self.config.model));
        Ok(())
    }

    /// Loads again what [`Judge::sleep`] freed, and begins the waiting judgments. Does nothing if the judge does not
    /// sleep. Takes as long as loading the model.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] if the model's file has changed meanwhile ([`Judge::reload`] takes it as it is), those of
    /// opening, [`ErrorKind::Closed`]. The judge then still sleeps.
    pub fn wake(&self) -> Result<()> {
        let _turn = self.power.turn();
        if !self.power.is_asleep() {
            return self.power.awake().map(drop);
        }
        let began = Instant::now();
        let loaded = match (self.power.loaded(), self.origin.model()) {
            (None, Some(model)) => {
                let found = Source::find(&model.name)?.stamp()?;
                if found != model.stamp {
                    return Err(Error::new(
                        ErrorKind::InvalidModel,
                        format!(
                            "{} is another model than before the judge slept: put it back, or reload the judge to take it",
                            model.name
                        ),
                    ));
                }
                Some(self.load(&model.name, self.power.weights())?)
            }
            (Some(loaded), _) => {
                loaded.engine.wake()?;
                None
            }
            (None, None) => return Err(Error::closed()),
        };
        self.go_on(loaded, began)
    }

    /// Replaces the weights by those at `model`; `None`: by those that are now at the same place.
    /// Running judgments end with the old weights, or are cancelled; those submitted meanwhile wait or fail, as `how`
    /// says. Only one set of weights is in memory at a time. A sleeping judge wakes. The new model must be of the same kind:
    /// engine, context and profile stay. Verdicts say which weights judged them ([`Verdict::weights`](crate::Verdict)).
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the engine cannot do that; [`ErrorKind::Timeout`] as for [`Judge::sleep`]; if the model
    /// is not there, or is for another engine, the judge goes on as before. If loading fails later the judge sleeps: reload
    /// another model, or wake it with the old one.
    pub fn reload(&self, model: Option<&str>, how: &Sleep) -> Result<()> {
        let _turn = self.power.turn();
        let began = Instant::now();
        let Some(old) = self.origin.model() else {
            return self.reload_given(model, how, began);
        };
        let name = model.unwrap_or(&old.name).to_owned();
        let source = Source::find(&name)?;
        if source.engine() != self.capabilities.engine {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{name} is a model of the {} engine, but the judge runs on the {} engine: open another judge",
                    source.engine(),
                    self.capabilities.engine
                ),
            ));
        }
        let stamp = source.stamp()?;
        self.fall_asleep(how)?;
        let loaded = self.load(&name, self.power.weights() + 1)?;
        self.origin.set(Model { name, stamp });
        self.go_on(Some(loaded), began)
    }

    /// Whether the judge sleeps.
    pub fn is_asleep(&self) -> bool {
        self.power.is_asleep()
    }

    /// The number of the weights: 0 for those that the judge was opened with, one more after each [`Judge::reload`].
    pub fn weights(&self) -> u64 {
        self.power.weights()
    }

    /// Like [`Judge::reload`], for the caller's own engine.
    fn reload_given(&self, model: Option<&str>, how: &Sleep, began: Instant) -> Result<()> {
        let Some(kept) = self.power.doze(how.arriving)? else {
            let loaded = self.power.loaded().ok_or_else(Error::closed)?;
            loaded.engine.reload(model.unwrap_or(&self.config.model))?;
            return self.go_on(Some(Self::renewed(&loaded)), began);
        };
        let outcome = self.quiet(&kept, how).and_then(|()| kept.engine.reload(model.unwrap_or(&self.config.model)));
        match outcome {
            Ok(()) => self.go_on(Some(Self::renewed(&kept)), began),
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Timeout | ErrorKind::Closed) => {
                self.go_on(None, began)?;
                Err(error)
            }
            Err(error) => {
                self.power.sleep(Some(kept), Stats::default());
                Err(error)
            }
        }
    }

    /// The same engine with its next weights.
    fn renewed(loaded: &Loaded) -> Loaded {
        let Loaded { engine, prompter, longest_token, weights } = loaded;
        let (engine, prompter) = (engine.clone(), prompter.clone());
        Loaded { engine, prompter, longest_token: *longest_token, weights: weights + 1 }
    }

    /// Waits until no judgment runs and nothing is being warmed up, or cancels them.
    fn quiet(&self, loaded: &Loaded, how: &Sleep) -> Result<()> {
        if how.cancel_running {
            for pending in self.queue.pending() {
                if pending.is_working() {
                    pending.cancel();
                }
            }
            // Until all is quiet: one that was let in before the judge fell asleep may not have come to the engine yet.
            loaded.engine.refuse_pins(true);
        }
        let outcome = self.power.drain(how.patience.and_then(|patience| Instant::now().checked_add(patience)));
        if how.cancel_running {
            loaded.engine.refuse_pins(false);
        }
        outcome
    }

    /// Lets what runs end, and gives the memory back. False if the judge sleeps already.
    fn fall_asleep(&self, how: &Sleep) -> Result<bool> {
        let can_reopen = self.origin.model.is_some();
        let Some(loaded) = self.power.doze(how.arriving)? else { return Ok(false) };
        let outcome = self.quiet(&loaded, how).and_then(|()| if can_reopen { Ok(()) } else { loaded.engine.sleep() });
        if let Err(error) = outcome {
            if error.kind() != ErrorKind::Closed {
                self.go_on(None, Instant::now())?;
            }
            return Err(error);
        }
        if can_reopen {
            let spent = loaded.engine.stats();
            loaded.engine.close();
            self.power.sleep(None, spent);
            drop(loaded);
            crate::engine::give_back_memory();
        } else {
            self.power.sleep(Some(loaded), Stats::default());
        }
        Ok(true)
    }

    /// Opens a model with the profile of the judge.
    fn load(&self, name: &str, weights: u64) -> Result<Loaded> {
        let config = JudgeConfig { model: name.to_owned(), ..self.config.clone() };
        let opened = Source::find(name)?.open_watched(&config, self.profile(), &self.origin.progress)?;
        let engine = opened.engine.clone();
        let (now, before) = (engine.capabilities(), &self.capabilities);
        if now != before {
            engine.close();
            return Err(Error::new(
                ErrorKind::InvalidModel,
                format!(
                    "{name} is of another kind than the model before: it has {:?} tokens of context and judges {} at once, \
                     not {:?} and {}: open another judge",
                    now.context_tokens, now.max_sequences, before.context_tokens, before.max_sequences
                ),
            ));
        }
        engine.log_to(&self.log);
        Loaded::new(opened, self.profile().clone(), weights)
    }

    /// The judge works again: begins what waited.
    fn go_on(&self, loaded: Option<Loaded>, began: Instant) -> Result<()> {
        let held = self.power.wake(loaded)?;
        self.log.write(Level::Info, || {
            let (count, weights) = (held.len(), self.power.weights());
            format!("awake after {} ms: weights {weights}, {count} judgments waited", began.elapsed().as_millis())
        });
        for Held { request, submission, submitted, pending, .. } in held {
            if !pending.has_ended() {
                self.enter_again(&request, submission, submitted, &pending);
            }
        }
        Ok(())
    }

    /// Keeps a request until the judge wakes.
    pub(super) fn wait_for_waking(
        &self,
        request: &JudgeRequest,
        submission: Submission,
        submitted: Instant,
        pending: &Arc<Pending>,
    ) -> Result<()> {
        // What is wrong with it is found now, as far as that needs no model.
        request.check(&self.config.limits)?;
        let settings = self.settings(&request.options)?;
        self.guidance(&settings)?;
        let timeout = submission.within(submitted, settings.timeout());
        let deadline = submission.latest(submitted, timeout);
        pending.set_deadline(0, deadline, timeout);
        let (request, pending) = (request.clone(), pending.clone());
        let held = Held { request, submission, submitted, deadline, timeout, pending };
        if let Some(Held { request, submission, submitted, pending, .. }) = self.power.hold(held) {
            self.enter_again(&request, submission, submitted, &pending);
        }
        Ok(())
    }

    /// Begins a judgment that has its place in the queue, or lets it wait.
    pub(super) fn enter_again(
        &self,
        request: &JudgeRequest,
        submission: Submission,
        submitted: Instant,
        pending: &Arc<Pending>,
    ) {
        let id = submission.id.clone();
        let started = match self.power.admit() {
            Ok(Admitted::Awake(loaded, working)) => {
                pending.works(working);
                self.begin(&loaded, request, submission, submitted, pending)
            }
            Ok(Admitted::Asleep) => self.wait_for_waking(request, submission, submitted, pending),
            Err(error) => Err(error),
        };
        if let Err(error) = started {
            self.log.failure(id.as_deref(), &error);
            pending.complete(Err(error));
        }
    }
}
