//! Whether the engine of a judge is there: a judge sleeps, wakes, and gets other weights.
//!
//! While it sleeps, requests wait here as they came, not as tokens: what wakes up may have another vocabulary.

use std::time::{Duration, Instant};

use super::submission::Submission;
use super::ticket::Pending;
use crate::engine::{Engine, Opened, Stats};
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::Prompter;
use crate::prompt::profile::Profile;
use crate::request::JudgeRequest;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use crate::thread::{JoinHandle, current};

/// What becomes of a request that comes while the judge sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arriving {
    /// It waits until the judge wakes; its deadline counts on.
    #[default]
    Wait,
    /// It fails at once as [`ErrorKind::Asleep`].
    Fail,
}

/// How a judge falls asleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sleep {
    /// What becomes of requests that come while it sleeps.
    pub arriving: Arriving,
    /// Whether the judgments that run are cancelled, and [`Judge::warm`](crate::Judge::warm) if it is in progress. Otherwise
    /// they are waited for.
    pub cancel_running: bool,
    /// How long the judgments that run are waited for, at most; `None`: as long as their deadlines allow. After that the
    /// judge goes on as if nothing had been asked.
    pub patience: Option<Duration>,
}

/// An engine with what makes its prompts.
pub(super) struct Loaded {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) prompter: Prompter,
    /// Bytes of the vocabulary's longest token; `None` if the engine tokenizes itself.
    pub(super) longest_token: Option<usize>,
    /// How often the weights were replaced.
    pub(super) weights: u64,
}

impl Loaded {
    /// # Errors
    /// Of the profile or the chat template.
    pub(super) fn new(opened: Opened, profile: Profile, weights: u64) -> Result<Self> {
        let Opened { engine, text } = opened;
        let longest_token = text.as_ref().map(|text| super::longest_token(&text.tokenizer));
        let prompter = Prompter::of(profile, text.as_ref()).inspect_err(|_| engine.close())?;
        Ok(Self { engine, prompter, longest_token, weights })
    }
}

/// A request that waits for the judge to wake.
pub(super) struct Held {
    pub(super) request: JudgeRequest,
    pub(super) submission: Submission,
    pub(super) submitted: Instant,
    pub(super) deadline: Instant,
    pub(super) timeout: Duration,
    pub(super) pending: Arc<Pending>,
}

/// Where the judge stands.
enum Stage {
    Awake(Arc<Loaded>),
    /// It falls asleep: what runs is waited for.
    Drowsy(Arc<Loaded>),
    /// It sleeps. An engine that cannot be opened again is kept: it has given back its memory itself.
    Asleep(Option<Arc<Loaded>>),
    Closed,
}

struct State {
    stage: Stage,
    arriving: Arriving,
    held: Vec<Held>,
    /// Judgments that the engine works on.
    running: usize,
    /// Counters of the engines before this one.
    earlier: Stats,
    weights: u64,
    /// Ends what waits at its deadline, while the judge does not work.
    alarm: Option<JoinHandle<()>>,
}

/// Shared by the judge, its judgments and the thread that keeps deadlines.
pub(super) struct Power {
    state: Mutex<State>,
    /// A judgment has ended, a request came to wait, or the stage is another.
    changed: Condvar,
    /// Held by the one that lets the judge sleep or wake.
    turn: Mutex<()>,
    /// Most requests that wait.
    most: usize,
}

/// Held by a judgment that the engine works on.
pub(super) struct Working(Arc<Power>);

/// What a request meets.
pub(super) enum Admitted {
    Awake(Arc<Loaded>, Working),
    /// It has to wait: see [`Power::hold`].
    Asleep,
}

impl Power {
    pub(super) fn new(loaded: Loaded, most: usize) -> Arc<Self> {
        let state = State {
            stage: Stage::Awake(Arc::new(loaded)),
            arriving: Arriving::Wait,
            held: Vec::new(),
            running: 0,
            earlier: Stats::default(),
            weights: 0,
            alarm: None,
        };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new(), turn: Mutex::new(()), most })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One change of the stage at a time.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is loaded, asleep or not; `None` if nothing is.
    pub(super) fn loaded(&self) -> Option<Arc<Loaded>> {
        match &self.state().stage {
            Stage::Awake(loaded) | Stage::Drowsy(loaded) | Stage::Asleep(Some(loaded)) => Some(loaded.clone()),
            Stage::Asleep(None) | Stage::Closed => None,
        }
    }

    /// What is loaded, for a look that cannot wait.
    ///
    /// # Errors
    /// [`ErrorKind::Asleep`], [`ErrorKind::Closed`].
    pub(super) fn awake(&self) -> Result<Arc<Loaded>> {
        match &self.state().stage {
            Stage::Awake(loaded) | Stage::Drowsy(loaded) => Ok(loaded.clone()),
            Stage::Asleep(_) => Err(asleep()),
            Stage::Closed => Err(Error::closed()),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state().stage, Stage::Closed)
    }

    pub(super) fn is_asleep(&self) -> bool {
        matches!(self.state().stage, Stage::Asleep(_))
    }

    /// How often the weights were replaced.
    pub(super) fn weights(&self) -> u64 {
        self.state().weights
    }

    /// Counters of the engines before this one.
    pub(super) fn earlier(&self) -> Stats {
        self.state().earlier
    }

    /// Asks for the engine.
    ///
    /// # Errors
    /// [`ErrorKind::Asleep`] if requests are not to wait, [`ErrorKind::Closed`].
    pub(super) fn admit(self: &Arc<Self>) -> Result<Admitted> {
        let mut state = self.state();
        match &state.stage {
            Stage::Awake(loaded) => {
                let loaded = loaded.clone();
                state.running += 1;
                Ok(Admitted::Awake(loaded, Working(self.clone())))
            }
            Stage::Drowsy(_) | Stage::Asleep(_) if state.arriving == Arriving::Fail => Err(asleep()),
            Stage::Drowsy(_) | Stage::Asleep(_) => Ok(Admitted::Asleep),
            Stage::Closed => Err(Error::closed()),
        }
    }

    /// Keeps a request until the judge wakes. Gives it back if the stage has changed: ask again.
    pub(super) fn hold(&self, held: Held) -> Option<Held> {
        let mut state = self.state();
        if !matches!(state.stage, Stage::Drowsy(_) | Stage::Asleep(_)) || state.arriving == Arriving::Fail {
            return Some(held);
        }
        // Those that were cancelled have left their places in the queue, not this list.
        let ended = if state.held.len() >= self.most {
            let (waiting, ended) =
                std::mem::take(&mut state.held).into_iter().partition(|held: &Held| !held.pending.has_ended());
            state.held = waiting;
            ended
        } else {
            Vec::new()
        };
        state.held.push(held);
        drop(state);
        self.changed.notify_all();
        drop(ended);
        None
    }

    /// Lets no request in any more. Gives what is loaded; `None` if the judge sleeps already.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`]; [`ErrorKind::Engine`] if no thread can be started.
    pub(super) fn doze(self: &Arc<Self>, arriving: Arriving) -> Result<Option<Arc<Loaded>>> {
        let mut state = self.state();
        let loaded = match &state.stage {
            Stage::Closed => return Err(Error::closed()),
            Stage::Asleep(_) => None,
            Stage::Awake(loaded) | Stage::Drowsy(loaded) => Some(loaded.clone()),
        };
        if state.alarm.is_none() {
            let power = self.clone();
            let alarm = crate::thread::spawn("dicast-asleep", move || power.keep_deadlines()).map_err(|error| {
                Error::new(ErrorKind::Engine, format!("the thread dicast-asleep cannot be started: {error}"))
            })?;
            state.alarm = Some(alarm);
        }
        state.arriving = arriving;
        if let Some(loaded) = &loaded {
            state.stage = Stage::Drowsy(loaded.clone());
        }
        // Those that wait already, if they are to fail from now on.
        let failed = if arriving == Arriving::Fail { std::mem::take(&mut state.held) } else { Vec::new() };
        drop(state);
        for held in failed {
            held.pending.complete(Err(asleep()));
        }
        Ok(loaded)
    }

    /// Waits until nothing runs, at most until `until`.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if something still runs then, [`ErrorKind::Closed`].
    pub(super) fn drain(&self, until: Option<Instant>) -> Result<()> {
        let mut state = self.state();
        loop {
            if matches!(state.stage, Stage::Closed) {
                return Err(Error::closed());
            }
            if state.running == 0 {
                return Ok(());
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                let message = format!("{} judgments still run: the judge goes on", state.running);
                return Err(Error::new(ErrorKind::Timeout, message));
            }
            // Every judgment has a deadline: this only spares the addition of "for ever" to a clock.
            let left = left.unwrap_or(Duration::from_secs(60));
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The judge sleeps. `kept`: its engine stays, and has given back its memory itself; `spent` are the counters of one that
    /// is gone.
    pub(super) fn sleep(&self, kept: Option<Arc<Loaded>>, spent: Stats) {
        let mut state = self.state();
        state.earlier = Stats::default().after(&spent.after(&state.earlier));
        if !matches!(state.stage, Stage::Closed) {
            state.stage = Stage::Asleep(kept);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The judge works, with what it keeps or with `loaded`. Gives the requests that waited, in their order.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`].
    pub(super) fn wake(&self, loaded: Option<Loaded>) -> Result<Vec<Held>> {
        let mut state = self.state();
        let loaded = match (&state.stage, loaded) {
            (Stage::Closed, loaded) => {
                drop(state);
                if let Some(loaded) = loaded {
                    loaded.engine.close();
                }
                return Err(Error::closed());
            }
            (_, Some(loaded)) => Arc::new(loaded),
            (Stage::Awake(loaded) | Stage::Drowsy(loaded) | Stage::Asleep(Some(loaded)), None) => loaded.clone(),
            (Stage::Asleep(None), None) => {
                return Err(Error::new(ErrorKind::Internal, "the judge cannot wake without an engine"));
            }
        };
        state.weights = loaded.weights;
        state.stage = Stage::Awake(loaded);
        let held = std::mem::take(&mut state.held);
        drop(state);
        self.stop_alarm();
        Ok(held)
    }

    /// Closes. Gives what was loaded; the requests that wait end with all that is pending.
    pub(super) fn close(&self) -> Option<Arc<Loaded>> {
        let mut state = self.state();
        let before = std::mem::replace(&mut state.stage, Stage::Closed);
        let held = std::mem::take(&mut state.held);
        drop(state);
        for held in held {
            held.pending.complete(Err(Error::shut_down()));
        }
        self.stop_alarm();
        match before {
            Stage::Awake(loaded) | Stage::Drowsy(loaded) | Stage::Asleep(Some(loaded)) => Some(loaded),
            Stage::Asleep(None) | Stage::Closed => None,
        }
    }

    fn stop_alarm(&self) {
        self.changed.notify_all();
        let alarm = self.state().alarm.take();
        if let Some(alarm) = alarm
            && alarm.thread().id() != current().id()
        {
            let _ = alarm.join();
        }
    }

    /// Ends what waits at its deadline, until the judge works again.
    fn keep_deadlines(&self) {
        let mut state = self.state();
        while matches!(state.stage, Stage::Drowsy(_) | Stage::Asleep(_)) {
            let now = Instant::now();
            let late: Vec<Held> = state.held.extract_if(.., |held| held.deadline <= now).collect();
            if !late.is_empty() {
                drop(state);
                for held in late {
                    held.pending.complete(Err(Error::timed_out(held.timeout).context("the judge sleeps")));
                }
                state = self.state();
                continue;
            }
            let next = state.held.iter().map(|held| held.deadline).min();
            state = match next.map(|next| next.saturating_duration_since(now)) {
                Some(wait) => self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.running -= 1;
        let last = state.running == 0;
        drop(state);
        if last {
            self.0.changed.notify_all();
        }
    }
}

pub(super) fn asleep() -> Error {
    Error::new(ErrorKind::Asleep, "the judge sleeps: wake it, or send the request again later")
}
