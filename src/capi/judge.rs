//! `dicast_judge`: an opened model.

use std::mem::{ManuallyDrop, MaybeUninit};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::boundary::{Status, array, array_mut, given};
use super::error::dicast_error;
use super::layout;
use super::log::{dicast_open_options, log_of, progress_of};
use super::request::dicast_request;
use super::stats::{count, dicast_info, dicast_memory, dicast_stats};
use super::status::{DICAST_OK, DICAST_PENDING};
use super::text::{Text, dicast_str};
use super::verdict::dicast_verdict;
use crate::config::JudgeConfig;
use crate::engine::Guidance;
use crate::error::{Error, ErrorKind, Result};
use crate::judge::{Judge, Ticket};
use crate::prompt::profile::Scale;
use crate::thread::JoinHandle;

/// An opened model with its profile.
///
/// Any number of threads may use one judge at once, and any number of judges may be open. You own it, until
/// dicast_judge_free. A judge belongs to the process that opened it. After fork, in the child, every call with it or with
/// its tickets is DICAST_CLOSED; freeing it there is safe and releases nothing.
pub struct dicast_judge {
    judge: ManuallyDrop<Arc<Judge>>,
    /// The threads that submit batches.
    batches: ManuallyDrop<Mutex<Vec<Submitter>>>,
    process: Process,
    id: u64,
    engine: Text,
    profile: Text,
}

/// The process that an object belongs to: its threads exist in no other.
#[derive(Clone, Copy)]
pub(super) struct Process(u32);

impl Process {
    fn current() -> Self {
        Self(std::process::id())
    }

    pub(super) fn is_current(self) -> bool {
        self.0 == std::process::id()
    }

    pub(super) fn check(self) -> Result<()> {
        if self.is_current() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Closed,
            "the judge was opened by another process, and fork does not copy its threads: open a judge in this process",
        ))
    }
}

/// A thread that submits a batch, and whether it is over.
type Submitter = (Arc<AtomicBool>, JoinHandle<()>);

impl dicast_judge {
    /// Hands a judge to C code, which frees it by `dicast_judge_free`.
    pub fn new(judge: Judge) -> Box<Self> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let (engine, profile) = (Text::new(judge.capabilities().engine.name()), Text::new(&judge.profile().to_json()));
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let (judge, batches) = (ManuallyDrop::new(Arc::new(judge)), ManuallyDrop::default());
        Box::new(Self { judge, batches, process: Process::current(), id, engine, profile })
    }

    /// The judge, in the process that opened it. Checked before the judge is used: in a child process its locks may be
    /// held by threads that do not exist there.
    pub(super) fn get(&self) -> Result<&Judge> {
        self.process.check()?;
        Ok(&self.judge)
    }

    /// The judge, for a thread that ends soon after it is closed, and that [`Self::keep`] gets.
    pub(super) fn shared(&self) -> Result<Arc<Judge>> {
        self.process.check()?;
        Ok(Arc::clone(&self.judge))
    }

    /// Keeps a thread until it is over, or the judge is freed.
    pub(super) fn keep(&self, over: Arc<AtomicBool>, thread: JoinHandle<()>) {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        batches.retain(|(over, _)| !over.load(Ordering::Relaxed));
        batches.push((over, thread));
    }

    pub(super) fn process(&self) -> Process {
        self.process
    }

    /// A number that is unique among the judges of this process.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn scale(&self) -> Scale {
        self.judge.profile().scale
    }
}

impl Drop for dicast_judge {
    fn drop(&mut self) {
        if !self.process.is_current() {
            return;
        }
        // Threads of batches end once the judge is closed. They never free it, but may still hold it.
        self.judge.close();
        let threads = std::mem::take(&mut *self.batches.lock().unwrap_or_else(PoisonError::into_inner));
        for (_, thread) in threads {
            let _ = thread.join();
        }
        // SAFETY: they are dropped here alone, and not used afterwards.
        unsafe {
            ManuallyDrop::drop(&mut self.batches);
            ManuallyDrop::drop(&mut self.judge);
        }
    }
}

/// Opens a judge: checks the configuration, loads the profile and the model. Takes as long as loading takes.
///
/// `config_json` is `{"model": "judge.gguf", "profile"?, "options"?, "verdict"?, "limits"?, "local"?}`, the settings of the
/// command line's `--config`; an unknown key is an error. `options` may be NULL.
///
/// On success you own `*judge`. On failure nothing is left open: DICAST_INVALID_CONFIG, DICAST_INVALID_PROFILE,
/// DICAST_MODEL_NOT_FOUND, DICAST_INVALID_MODEL, DICAST_UNSUPPORTED, DICAST_ENGINE, DICAST_IO; DICAST_CANCELLED if
/// `options->progress` ended it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_judge_open(
    config_json: dicast_str,
    options: *const dicast_open_options,
    judge: Option<&mut MaybeUninit<*mut dicast_judge>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let out = given(judge, "judge")?;
        // SAFETY: the text lives during the call, and the options announce their size.
        let (config, log, progress) = unsafe {
            (config_json.text("config_json", ErrorKind::InvalidConfig)?, log_of(options)?, progress_of(options)?)
        };
        let opened = Judge::open_watched(JudgeConfig::from_json(config)?, log, progress)?;
        out.write(Box::into_raw(dicast_judge::new(opened)));
        Ok(())
    })
}

/// How much memory opening a judge of `config_json` takes. Only the header of the model file is read; nothing is loaded. For
/// the embedded engine only; with other models it is DICAST_UNSUPPORTED. On failure `*memory` is unchanged:
/// DICAST_INVALID_CONFIG, DICAST_MODEL_NOT_FOUND, DICAST_INVALID_MODEL, DICAST_UNSUPPORTED, DICAST_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_memory_need(
    config_json: dicast_str,
    memory: *mut dicast_memory,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        given((!memory.is_null()).then_some(()), "memory")?;
        // SAFETY: the text lives during the call.
        let config = unsafe { config_json.text("config_json", ErrorKind::InvalidConfig)? };
        let (need, available) = memory_need(&JudgeConfig::from_json(config)?)?;
        let value = dicast_memory {
            struct_size: size_of::<dicast_memory>(),
            weights: need[0],
            kv_cache: need[1],
            compute: need[2],
            kv_tokens: need[3],
            available: available.unwrap_or(0),
        };
        // SAFETY: the struct announces its size.
        unsafe { layout::write(memory, &value) }
    })
}

/// Weights, keys and values, computing, tokens, and available memory.
#[cfg(feature = "local")]
fn memory_need(config: &JudgeConfig) -> Result<([u64; 4], Option<u64>)> {
    use crate::engine::{EngineKind, local, source::Source};

    let source = Source::find(&config.model)?;
    if source.engine() != EngineKind::Local {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("{}: only the embedded engine says what its models take", config.model),
        ));
    }
    let need = local::memory_need(config)?;
    Ok(([need.weights, need.kv_cache, need.compute, need.kv_tokens], local::available_memory()))
}

#[cfg(not(feature = "local"))]
fn memory_need(_: &JudgeConfig) -> Result<([u64; 4], Option<u64>)> {
    Err(Error::new(ErrorKind::Unsupported, "this build lacks the embedded engine: build with the feature local"))
}

/// Ends all pending judgments with DICAST_CLOSED and unloads the model. All later calls return DICAST_CLOSED too. Use it when
/// other threads may still use the judge: close it, join them, free it. Closing twice does no harm.
///
/// Waits until the engine has finished its current step. Does not wait for callbacks.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_judge_close(
    judge: Option<&dicast_judge>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        given(judge, "judge")?.get()?.close();
        Ok(())
    })
}

/// Closes a judge and frees it. NULL does nothing. Requires that no other thread is using the judge; its tickets, verdicts
/// and errors may be used meanwhile and later.
///
/// Pending judgments end as DICAST_CLOSED; their callbacks are called. When this returns, all callbacks of the judge have
/// returned and no more will come. A callback may free its own judge: this then returns at once, and the remaining
/// callbacks come after that one.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_judge_free(judge: Option<Box<dicast_judge>>) {
    boundary!(else (); {
        drop(judge);
        Some(())
    });
}

/// Judges one request and waits for the verdict. If the queue is full, it first waits for room; the deadline of the
/// request (`timeout_ms`) covers both waits.
///
/// On success you own `*verdict`. A callback may call this too; later callbacks then wait for it.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_judge_judge(
    judge: Option<&dicast_judge>,
    request: Option<&dicast_request>,
    verdict: Option<&mut MaybeUninit<*mut dicast_verdict>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let (handle, request) = (given(judge, "judge")?, given(request, "request")?);
        let out = given(verdict, "verdict")?;
        let judged = handle.get()?.judge(request.get())?;
        out.write(dicast_verdict::give(judged, handle.scale()));
        Ok(())
    })
}

/// Judges `count` requests at once and waits for all of them. Requests that do not fit the queue wait for room.
///
/// The arrays have `count` entries in the same order. If request i was judged, `statuses[i]` is DICAST_OK, you own
/// `verdicts[i]`, and `errors[i]` is NULL. If it failed, `statuses[i]` says why, `verdicts[i]` is NULL, and you own
/// `errors[i]`. `errors` may be NULL.
///
/// DICAST_OK does not mean that every judgment worked: check `statuses`. On any other status no array was written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_judge_batch(
    judge: Option<&dicast_judge>,
    requests: *const Option<&dicast_request>,
    count: usize,
    verdicts: *mut *mut dicast_verdict,
    statuses: *mut i32,
    errors: *mut *mut dicast_error,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let handle = given(judge, "judge")?;
        // SAFETY: the arrays have `count` entries, which are the caller's.
        let (requests, verdicts, statuses) = unsafe {
            let requests = array(requests, count, "requests")?;
            (requests, array_mut(verdicts, count, "verdicts")?, array_mut(statuses, count, "statuses")?)
        };
        let errors = if errors.is_null() {
            None
        } else {
            // SAFETY: as above.
            Some(unsafe { array_mut(errors, count, "errors")? })
        };
        let requests: Vec<_> = requests
            .iter()
            .enumerate()
            .map(|(index, request)| given(*request, &format!("requests[{index}]")))
            .collect::<Result<_>>()?;
        let opened = handle.get()?;
        let tickets: Vec<_> = requests.into_iter().map(|request| opened.submit_when_free(request.get())).collect();
        let mut errors = errors.into_iter().flatten();
        for ((ticket, verdict), status) in tickets.into_iter().map(Ticket::wait).zip(verdicts).zip(statuses) {
            let error = errors.next();
            let (code, judged, failed) = match ticket {
                Ok(judged) => (DICAST_OK, dicast_verdict::give(judged, handle.scale()), std::ptr::null_mut()),
                Err(failed) => {
                    let code = failed.kind().c_status();
                    let object = if error.is_some() { dicast_error::give(failed) } else { std::ptr::null_mut() };
                    (code, std::ptr::null_mut(), object)
                }
            };
            status.write(code);
            verdict.write(judged);
            if let Some(error) = error {
                error.write(failed);
            }
        }
        Ok(())
    })
}

/// Waits until the queue has room for a request, at most `timeout_ms` milliseconds: DICAST_OK, or DICAST_PENDING if there
/// is no room by then. Another thread may take the room first. DICAST_CLOSED if the judge is closed.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_judge_wait_for_room(
    judge: Option<&dicast_judge>,
    timeout_ms: u64,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let free = given(judge, "judge")?.get()?.wait_for_room(Duration::from_millis(timeout_ms))?;
        Ok(Status(if free { DICAST_OK } else { DICAST_PENDING }))
    })
}

/// Properties of the judge. Set `info->struct_size` before the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_judge_info(
    judge: Option<&dicast_judge>,
    info: *mut dicast_info,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let opened = given(judge, "judge")?.get()?;
        let (able, limits, scale) = (opened.capabilities(), &opened.config().limits, opened.profile().scale);
        let value = dicast_info {
            struct_size: size_of::<dicast_info>(),
            context_tokens: count(able.context_tokens.unwrap_or(0)),
            max_sequences: count(able.max_sequences),
            max_queue: count(limits.max_queue),
            max_responses: count(limits.max_responses),
            scale_min: scale.min.into(),
            scale_max: scale.max.into(),
            guided: (able.guidance == Guidance::Grammar).into(),
            distributions: able.distributions.into(),
        };
        // SAFETY: the struct announces its size.
        unsafe { layout::write(info, &value) }
    })
}

/// Counters of the judge. Set `stats->struct_size` before the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_judge_stats(
    judge: Option<&dicast_judge>,
    stats: *mut dicast_stats,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let opened = given(judge, "judge")?.get()?;
        let engine = opened.stats();
        let value = dicast_stats {
            struct_size: size_of::<dicast_stats>(),
            pending: count(opened.pending()),
            waiting: count(engine.waiting),
            running: count(engine.running),
            reused_tokens: engine.reused_tokens,
            computed_tokens: engine.computed_tokens,
            steps: engine.steps,
            kv_block_tokens: count(engine.kv_block_tokens),
            kv_blocks: count(engine.kv_blocks),
            kv_blocks_used: count(engine.kv_blocks_used),
            kv_blocks_reused: engine.kv_blocks_reused,
            grammars_last_hour: engine.grammars_last_hour,
            drafted_tokens: engine.drafted_tokens,
            accepted_tokens: engine.accepted_tokens,
        };
        // SAFETY: the struct announces its size.
        unsafe { layout::write(stats, &value) }
    })
}

/// The name of the judge's engine: `local`, `trtllm` or `remote`. Lives as long as the judge.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_judge_engine(judge: Option<&dicast_judge>) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(judge?.engine.view()) })
}

/// The profile of the judge, as JSON that dicast_profile_from_json reads. Lives as long as the judge.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_judge_profile_json(judge: Option<&dicast_judge>) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(judge?.profile.view()) })
}
