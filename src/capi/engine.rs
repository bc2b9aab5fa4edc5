//! The program's own engine, as callbacks.

use std::collections::HashMap;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::boundary::{given, misuse};
use super::error::dicast_error;
use super::job::{dicast_job, kind_of};
use super::judge::dicast_judge;
use super::layout::{self, Layout};
use super::log::{UserData, dicast_open_options, log_of};
use super::profile::dicast_profile;
use super::text::{Text, dicast_str};
use crate::config::JudgeConfig;
use crate::engine::{
    Capabilities, Completion, Engine, EngineKind, Guidance, Job, JobId, Opened, Patience, Stats, TextModel, text_folder,
};
use crate::error::{Error, ErrorKind, Result};
use crate::judge::Judge;
use crate::prompt::profile::Profile;
use crate::thread::{JoinHandle, current};

/// The engine writes free text: verdicts are read by the tolerant reader, and may be incomplete.
pub const DICAST_GUIDANCE_NONE: u32 = 0;
/// The engine constrains verdicts by a JSON schema.
pub const DICAST_GUIDANCE_SCHEMA: u32 = 1;
/// The engine constrains verdicts by a grammar: every verdict is complete.
pub const DICAST_GUIDANCE_GRAMMAR: u32 = 2;

/// Takes a job, which the engine then owns: see dicast_job. Called on the thread that submits the request, also by several
/// threads at once. It must return quickly: put the job into the engine's queue, or end it at once. It must not call a function
/// with the judge, and must not throw or longjmp.
pub type dicast_generate_callback = Option<unsafe extern "C" fn(user_data: *mut c_void, job: *mut dicast_job)>;

/// Nobody waits for this job any more: it was cancelled or its deadline has passed. The engine should stop working on it and
/// end it when it can; its output is dropped. Called on any thread; it must return quickly. The job may have just ended.
pub type dicast_cancel_callback = Option<unsafe extern "C" fn(user_data: *mut c_void, job: u64)>;

/// The judge is closed: no callback is called after this one. The jobs that the engine has may be ended later, or never.
pub type dicast_engine_close_callback = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// Frees memory (sleep) or allocates it again (wake), while no job runs. Returns DICAST_OK or a status that says why not. It
/// may take long.
pub type dicast_engine_power_callback = Option<unsafe extern "C" fn(user_data: *mut c_void) -> i32>;

/// Loads the weights of `model`. Called while no job runs, also while the engine sleeps; afterwards it is awake. Returns
/// DICAST_OK or a status that says why not.
pub type dicast_engine_reload_callback = Option<unsafe extern "C" fn(user_data: *mut c_void, model: dicast_str) -> i32>;

/// The program's own engine. Zero the struct, then set `struct_size`, `generate` and the other fields that you need.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dicast_engine {
    /// sizeof(dicast_engine).
    pub struct_size: usize,
    /// Passed to each callback unchanged.
    pub user_data: *mut c_void,
    /// Empty: the engine takes messages and renders the chat template itself. Else a folder with the model's
    /// `tokenizer.json` and `tokenizer_config.json`, as on the Hugging Face hub: the engine takes token ids.
    pub tokenizer: dicast_str,
    /// DICAST_GUIDANCE_NONE, _SCHEMA or _GRAMMAR: how strictly the engine constrains verdicts.
    pub guidance: u32,
    /// 1 if the engine gives the possible tokens at the scores (dicast_job_answer_tokens), else 0.
    pub distributions: u32,
    /// Most tokens of prompt and output together; 0: not known. With a tokenizer, prompts that do not fit are refused.
    pub context_tokens: u64,
    /// Number of jobs that the engine works on at once, for dicast_info; 0 means 1. It gets more jobs than that, up to
    /// `limits.max_queue`.
    pub max_sequences: u64,
    /// Takes a job. Must not be NULL.
    pub generate: dicast_generate_callback,
    /// Stops a job; may be NULL: see dicast_job_is_wanted.
    pub cancel: dicast_cancel_callback,
    /// Called when the judge is closed; may be NULL.
    pub close: dicast_engine_close_callback,
    /// Frees memory. If NULL, dicast_judge_sleep returns DICAST_UNSUPPORTED.
    pub sleep: dicast_engine_power_callback,
    /// Allocates the memory again; must be NULL if `sleep` is NULL, and must not be otherwise.
    pub wake: dicast_engine_power_callback,
    /// Loads other weights. If NULL, dicast_judge_reload returns DICAST_UNSUPPORTED.
    pub reload: dicast_engine_reload_callback,
}

// SAFETY: `repr(C)`, words and pairs of halves; zero is no callback, and any other pattern is the program's word for one.
unsafe impl Layout for dicast_engine {
    const FIRST_SIZE: usize = 104;
    const NAME: &'static str = "dicast_engine";
}

/// Opens a judge on the program's own engine: Dicast makes prompts and grammars and reads verdicts, and the engine generates.
///
/// `config_json` is as for dicast_judge_open; its `model` is only a name. If `profile` is NULL, the one that the configuration
/// names is used, else the built-in one. `engine` and its text are copied. `options` may be NULL.
///
/// On success you own `*judge`. DICAST_INVALID_CONFIG, DICAST_INVALID_PROFILE, DICAST_INVALID_MODEL for the tokenizer; in these
/// cases no callback was called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_judge_open_engine(
    config_json: dicast_str,
    profile: Option<&dicast_profile>,
    engine: *const dicast_engine,
    options: *const dicast_open_options,
    judge: Option<&mut MaybeUninit<*mut dicast_judge>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let out = given(judge, "judge")?;
        // SAFETY: the structs announce their sizes, and their texts live during the call.
        let (table, config, tokenizer, log) = unsafe {
            let table = layout::read(engine)?;
            let config = config_json.text("config_json", ErrorKind::InvalidConfig)?;
            (table, config, table.tokenizer.text("tokenizer", ErrorKind::InvalidArgument)?, log_of(options)?)
        };
        let config = JudgeConfig::from_json(config)?;
        let profile = match (profile, &config.profile) {
            (Some(profile), _) => profile.get().clone(),
            (None, Some(path)) => Profile::load(path)?,
            (None, None) => Profile::builtin(),
        };
        let text = if tokenizer.is_empty() {
            None
        } else {
            Some(text_folder::from_folder(Path::new(tokenizer), profile.chat_template.as_deref(), "tokenizer of dicast_engine")?)
        };
        let opened = open(&table, text)?;
        let engine = opened.engine.clone();
        let opened = Judge::with_engine(config, profile, opened, log).inspect_err(|_| engine.close())?;
        out.write(Box::into_raw(dicast_judge::new(opened)));
        Ok(())
    })
}

/// The callbacks, with the data that they are called with.
#[derive(Clone, Copy)]
struct Calls {
    user_data: UserData,
    generate: unsafe extern "C" fn(*mut c_void, *mut dicast_job),
    cancel: dicast_cancel_callback,
    close: dicast_engine_close_callback,
    sleep: dicast_engine_power_callback,
    wake: dicast_engine_power_callback,
    reload: dicast_engine_reload_callback,
}

/// Checks what a program says about its engine, and starts the thread that keeps deadlines.
fn open(table: &dicast_engine, text: Option<TextModel>) -> Result<Opened> {
    let guidance = match table.guidance {
        DICAST_GUIDANCE_NONE => Guidance::None,
        DICAST_GUIDANCE_SCHEMA => Guidance::Schema,
        DICAST_GUIDANCE_GRAMMAR => Guidance::Grammar,
        other => return Err(misuse(format!("guidance is {other}: it must be one of DICAST_GUIDANCE_…"))),
    };
    if table.distributions > 1 {
        return Err(misuse(format!("distributions is {}: it must be 0 or 1", table.distributions)));
    }
    if table.sleep.is_some() != table.wake.is_some() {
        return Err(misuse("sleep and wake must both be NULL or both be set"));
    }
    let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let capabilities = Capabilities {
        guidance,
        distributions: table.distributions == 1,
        context_tokens: (table.context_tokens > 0).then(|| count(table.context_tokens)),
        max_sequences: count(table.max_sequences.max(1)),
        ..Capabilities::new(EngineKind::Custom("custom"))
    };
    let calls = Calls {
        user_data: UserData(table.user_data),
        generate: given(table.generate, "generate")?,
        cancel: table.cancel,
        close: table.close,
        sleep: table.sleep,
        wake: table.wake,
        reload: table.reload,
    };
    let desk = Arc::new(Desk { state: Mutex::default(), changed: Condvar::new(), calls });
    let keeping = desk.clone();
    let thread = crate::thread::spawn("dicast-deadlines", move || keeping.keep_deadlines()).map_err(|error| {
        Error::new(ErrorKind::Engine, format!("the thread dicast-deadlines cannot be started: {error}"))
    })?;
    let (next, thread) = (AtomicU64::new(1), Mutex::new(Some(thread)));
    Ok(Opened { engine: Arc::new(Own { capabilities, desk, next, thread }), text })
}

/// The jobs that the program's engine has.
pub(super) struct Desk {
    state: Mutex<State>,
    /// Signals a new job, or the end.
    changed: Condvar,
    calls: Calls,
}

#[derive(Default)]
struct State {
    jobs: HashMap<u64, Waiting>,
    closed: bool,
}

struct Waiting {
    submitted: Instant,
    deadline: Instant,
    done: Completion,
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the completion of a job; `None` if it has ended.
    pub(super) fn take(&self, id: u64) -> Option<Completion> {
        self.state().jobs.remove(&id).map(|job| job.done)
    }

    pub(super) fn is_wanted(&self, id: u64) -> bool {
        self.state().jobs.contains_key(&id)
    }

    /// Tells the engine that nobody waits for a job any more.
    fn unwanted(&self, id: u64) {
        if let Some(cancel) = self.calls.cancel {
            // SAFETY: the program has promised that it can be called with its data from any thread until it is closed.
            unsafe { cancel(self.calls.user_data.get(), id) };
        }
    }

    fn keep_deadlines(&self) {
        let mut state = self.state();
        while !state.closed {
            let now = Instant::now();
            let late: Vec<_> = state.jobs.extract_if(|_, job| job.deadline <= now).collect();
            if !late.is_empty() {
                drop(state);
                for (id, job) in late {
                    self.unwanted(id);
                    (job.done)(Err(Error::timed_out(job.deadline.saturating_duration_since(job.submitted))));
                }
                state = self.state();
                continue;
            }
            let next = state.jobs.values().map(|job| job.deadline).min();
            state = match next.map(|next| next.saturating_duration_since(now)) {
                Some(wait) => self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// The engine as the judge sees it.
struct Own {
    capabilities: Capabilities,
    desk: Arc<Desk>,
    next: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Own {
    fn power(&self, callback: dicast_engine_power_callback, what: &str) -> Result<()> {
        let Some(callback) = callback else { return Err(self.cannot(what)) };
        // SAFETY: as for the other callbacks.
        reported(unsafe { callback(self.desk.calls.user_data.get()) }, what)
    }
}

/// The result of a callback.
fn reported(status: i32, what: &str) -> Result<()> {
    if status == 0 {
        return Ok(());
    }
    Err(Error::new(kind_of(status), format!("the program's engine could not {what}: it returned {status}")))
}

impl Engine for Own {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn submit(&self, mut job: Job, done: Completion) -> JobId {
        // The program's engine does not say when it begins with a job.
        job.deadline = job.patience.take().map_or(job.deadline, Patience::begin);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut state = self.desk.state();
        if state.closed {
            drop(state);
            done(Err(Error::closed()));
            return JobId(id);
        }
        // The thread that keeps deadlines sleeps until the first one.
        let is_first = state.jobs.values().all(|waiting| job.deadline < waiting.deadline);
        state.jobs.insert(id, Waiting { submitted: job.submitted, deadline: job.deadline, done });
        drop(state);
        if is_first {
            self.desk.changed.notify_one();
        }
        let job = Box::into_raw(dicast_job::new(self.desk.clone(), id, job));
        let Calls { user_data, generate, .. } = self.desk.calls;
        // SAFETY: the program has promised that it can be called with its data from any thread until it is closed; the job now
        // belongs to the program.
        unsafe { generate(user_data.get(), job) };
        JobId(id)
    }

    fn cancel(&self, id: JobId) {
        if let Some(done) = self.desk.take(id.0) {
            self.desk.unwanted(id.0);
            done(Err(Error::cancelled()));
        }
    }

    fn stats(&self) -> Stats {
        let jobs = self.desk.state().jobs.len();
        let running = jobs.min(self.capabilities.max_sequences);
        Stats { waiting: jobs - running, running, ..Stats::default() }
    }

    fn sleep(&self) -> Result<()> {
        self.power(self.desk.calls.sleep, "sleep")
    }

    fn wake(&self) -> Result<()> {
        self.power(self.desk.calls.wake, "wake")
    }

    fn reload(&self, model: &str) -> Result<()> {
        let Some(reload) = self.desk.calls.reload else { return Err(self.cannot("take other weights")) };
        let model = Text::new(model);
        // SAFETY: as for the other callbacks.
        reported(unsafe { reload(self.desk.calls.user_data.get(), model.view()) }, "take other weights")
    }

    fn close(&self) {
        let mut state = self.desk.state();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        let left = std::mem::take(&mut state.jobs);
        drop(state);
        self.desk.changed.notify_one();
        for &id in left.keys() {
            self.desk.unwanted(id);
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != current().id()
        {
            let _ = thread.join();
        }
        if let Some(close) = self.desk.calls.close {
            // SAFETY: as for the other callbacks; it is the last one.
            unsafe { close(self.desk.calls.user_data.get()) };
        }
        for job in left.into_values() {
            (job.done)(Err(Error::shut_down()));
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.close();
    }
}
