//! `dicast_metrics`: what a judge has done, for a dashboard.

use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::time::Duration;

use super::boundary::{given, misuse};
use super::error::dicast_error;
use super::judge::dicast_judge;
use super::layout::{self, Layout};
use super::stats::count;
use super::status::DICAST_OK;
use super::text::{Text, dicast_str};
use crate::error::ErrorKind;
use crate::judge::{BOUNDS, Histogram, Metrics, Phase, are_labels};

/// From the submission of a judgment to its verdict.
pub const DICAST_PHASE_TOTAL: u32 = 0;
/// From the submission of a judgment to its first computation.
pub const DICAST_PHASE_QUEUE: u32 = 1;
/// Computing the prompt.
pub const DICAST_PHASE_PREFILL: u32 = 2;
/// Writing the reasoning.
pub const DICAST_PHASE_REASONING: u32 = 3;
/// Writing the verdict.
pub const DICAST_PHASE_VERDICT: u32 = 4;

/// A snapshot of what a judge has done since it was opened: outcomes, times in histograms, tokens, rates.
///
/// You own it, until dicast_metrics_free; its texts and arrays live as long as it does. It never changes: any number of
/// threads may read it at once.
pub struct dicast_metrics {
    metrics: Metrics,
    labels: String,
    prometheus: OnceLock<Text>,
    json: OnceLock<Text>,
}

impl dicast_metrics {
    fn times(&self, phase: u32) -> Option<&Histogram> {
        Phase::ALL.get(usize::try_from(phase).ok()?).map(|phase| self.metrics.time(*phase))
    }
}

/// The numbers for a dashboard. Set `struct_size` before the call, which writes the other fields. Judgments and tokens count
/// since the judge was opened. Fields with `recent_` are rates over the last minute, or since the judge was opened.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dicast_figures {
    /// sizeof(dicast_figures).
    pub struct_size: usize,
    /// Microseconds since the judge was opened.
    pub elapsed_us: u64,
    /// Judgments with a verdict.
    pub judged: u64,
    /// Judgments that failed or were refused; see dicast_metrics_ended.
    pub failed: u64,
    /// Judgments that wait or run.
    pub pending: u64,
    /// Tokens of the prompts of judgments with a verdict.
    pub prompt_tokens: u64,
    /// Of these, tokens that were reused from earlier judgments.
    pub reused_tokens: u64,
    /// Tokens of the reasonings of judgments with a verdict.
    pub reasoning_tokens: u64,
    /// Tokens of the verdicts.
    pub verdict_tokens: u64,
    /// The part of the prompts' tokens that was reused, from 0 to 1.
    pub reused_share: f64,
    /// Judgments with a verdict, per second.
    pub recent_judgments: f64,
    /// Tokens of the prompts of these, per second.
    pub recent_prompt_tokens: f64,
    /// Tokens that these wrote, reasonings and verdicts together, per second.
    pub recent_written_tokens: f64,
}

// SAFETY: `repr(C)`, words and doubles.
unsafe impl Layout for dicast_figures {
    const FIRST_SIZE: usize = 104;
    const NAME: &'static str = "dicast_figures";
}

/// Takes a snapshot of what the judge has done since it was opened. Works on a closed judge too.
///
/// `labels` is put into every line of dicast_metrics_prometheus, such as `judge="a",node="7"`; empty for none. Values may hold
/// `\\`, `\"` and `\n`.
///
/// On success you own `*metrics`. DICAST_INVALID_ARGUMENT if `labels` is not a list of labels.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_judge_metrics(
    judge: Option<&dicast_judge>,
    labels: dicast_str,
    metrics: Option<&mut MaybeUninit<*mut dicast_metrics>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let opened = given(judge, "judge")?.get()?;
        let out = given(metrics, "metrics")?;
        // SAFETY: the text lives during the call.
        let labels = unsafe { labels.text("labels", ErrorKind::InvalidArgument)? }.to_owned();
        if !are_labels(&labels) {
            return Err(misuse(format!("labels is {labels:?}: it must be like judge=\"a\",node=\"7\"")));
        }
        let (prometheus, json) = (OnceLock::new(), OnceLock::new());
        let made = dicast_metrics { metrics: opened.metrics(), labels, prometheus, json };
        out.write(Box::into_raw(Box::new(made)));
        Ok(())
    })
}

/// Frees a snapshot. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_metrics_free(metrics: Option<Box<dicast_metrics>>) {
    boundary!(else (); {
        drop(metrics);
        Some(())
    });
}

/// All of it in the text format of Prometheus, version 0.0.4, for a /metrics page. Made on the first call.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_metrics_prometheus(metrics: Option<&dicast_metrics>) -> dicast_str {
    boundary!(else dicast_str::NONE; {
        let metrics = metrics?;
        Some(metrics.prometheus.get_or_init(|| Text::new(&metrics.metrics.prometheus(&metrics.labels))).view())
    })
}

/// All of it as JSON: `elapsed_seconds`, `judged`, `failed` by the names of statuses, `pending`, `times` by phase, each with
/// `count`, `sum_seconds`, `p50`, `p95`, `p99` and `buckets`; `tokens`, `reused_share`, `recent`, `engine`, `weights`,
/// `asleep`. Made on the first call.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_metrics_json(metrics: Option<&dicast_metrics>) -> dicast_str {
    boundary!(else dicast_str::NONE; {
        let metrics = metrics?;
        Some(metrics.json.get_or_init(|| Text::new(&metrics.metrics.to_json().to_string())).view())
    })
}

/// The numbers. Set `figures->struct_size` before the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_metrics_figures(
    metrics: Option<&dicast_metrics>,
    figures: *mut dicast_figures,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let metrics = &given(metrics, "metrics")?.metrics;
        let recent = &metrics.recent;
        let [prompt_tokens, reused_tokens, reasoning_tokens, verdict_tokens] = metrics.tokens;
        let value = dicast_figures {
            struct_size: size_of::<dicast_figures>(),
            elapsed_us: u64::try_from(metrics.elapsed.as_micros()).unwrap_or(u64::MAX),
            judged: metrics.judged,
            failed: metrics.failed.iter().map(|(_, count)| count).sum(),
            pending: count(metrics.pending),
            prompt_tokens,
            reused_tokens,
            reasoning_tokens,
            verdict_tokens,
            reused_share: metrics.reused_share(),
            recent_judgments: recent.per_second(recent.judged),
            recent_prompt_tokens: recent.per_second(recent.prompt_tokens),
            recent_written_tokens: recent.per_second(recent.written_tokens),
        };
        // SAFETY: the struct announces its size.
        unsafe { layout::write(figures, &value) }
    })
}

/// How many judgments ended with `status`: with a verdict for DICAST_OK, for any other status those that failed or were refused
/// with it. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_metrics_ended(metrics: Option<&dicast_metrics>, status: i32) -> u64 {
    boundary!(else 0; {
        let metrics = &metrics?.metrics;
        if status == DICAST_OK {
            return Some(metrics.judged);
        }
        ErrorKind::all().find(|kind| kind.c_status() == status).map(|kind| metrics.failures(kind))
    })
}

/// The upper bounds of the buckets of every histogram, in seconds and rising. If `len` is not NULL, `*len` becomes their number.
/// NULL and 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_metrics_bounds(
    metrics: Option<&dicast_metrics>,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const f64 {
    boundary!(else std::ptr::null(); {
        static KEPT: [f64; BOUNDS.len()] = BOUNDS;
        let bounds: &[f64] = if metrics.is_some() { &KEPT } else { &[] };
        if let Some(len) = len {
            len.write(bounds.len());
        }
        (!bounds.is_empty()).then_some(bounds.as_ptr())
    })
}

/// The histogram of the times of a phase, DICAST_PHASE_…, of judgments with a verdict: the number of judgments in each bucket (each
/// judgment is in exactly one), and at the end the number above all bounds. If `len` is not NULL, `*len` becomes the number of
/// entries, one more than there are bounds. NULL and 0 for NULL and an unknown phase.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_metrics_times(
    metrics: Option<&dicast_metrics>,
    phase: u32,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const u64 {
    boundary!(else std::ptr::null(); {
        let counts = metrics.and_then(|metrics| metrics.times(phase)).map(|times| times.counts.as_slice());
        if let Some(len) = len {
            len.write(counts.map_or(0, <[u64]>::len));
        }
        counts.map(<[u64]>::as_ptr)
    })
}

/// The sum of the times of a phase in seconds; NaN for NULL and an unknown phase.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_metrics_time_sum(metrics: Option<&dicast_metrics>, phase: u32) -> f64 {
    boundary!(else f64::NAN; { Some(Duration::from_micros(metrics?.times(phase)?.sum_us).as_secs_f64()) })
}

/// The time in seconds that a share `q` of the judgments, such as 0.95, did not exceed in a phase: an estimate within a bucket. NaN
/// if there were none, and if `q` is not from 0 to 1.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_metrics_quantile(metrics: Option<&dicast_metrics>, phase: u32, q: f64) -> f64 {
    boundary!(else f64::NAN; { metrics?.times(phase)?.quantile(q) })
}
