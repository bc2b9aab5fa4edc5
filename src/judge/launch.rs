//! Hands the runs of a judgment to the engine, and reads what comes back. A judgment that reasons only if it must has a
//! second stage: the same runs with reasoning.

use crate::engine::{Engine, Generation};
use crate::error::{Error, Result};
use crate::log::Log;
use crate::sync::{Arc, Weak};
use crate::verdict::{Flag, Verdict};

use super::calibrated::mark_other_weights;
use super::ensemble::Course;
use super::run::{Gather, Reader, Run};
use super::ticket::Completer;
use super::worker::Handle;

/// Runs that are submitted together.
pub(super) struct Stage {
    pub(super) runs: Vec<Run>,
    pub(super) course: Course,
}

/// What a judgment does if its first stage leaves the best response undecided.
pub(super) struct Second {
    pub(super) stage: Stage,
    /// Decided is what reaches this probability.
    pub(super) least: f64,
}

/// What a judgment needs until it ends, shared by its runs. Holds the engine weakly: what waits in an engine does not keep it
/// alive.
pub(super) struct Launch {
    pub(super) engine: Weak<dyn Engine>,
    pub(super) reader: Arc<Reader>,
    pub(super) readers: Handle,
    pub(super) log: Log,
    /// Which weights the engine has.
    pub(super) weights: u64,
    /// The caller's name of the judgment.
    pub(super) id: Option<String>,
}

impl Launch {
    /// Submits a stage. The judgment is completed also if this is dropped on the way: if a thread has died.
    pub(super) fn start(self: &Arc<Self>, stage: Stage, second: Option<Second>, outcome: Completer) {
        let Some(engine) = self.engine.upgrade() else { return outcome.complete(Err(Error::shut_down())) };
        let pending = outcome.pending().clone();
        let gather = Gather::new(stage.runs.len(), stage.course, second, outcome);
        for (index, Run { job, terms, closed, .. }) in stage.runs.into_iter().enumerate() {
            let (launch, gathered) = (self.clone(), gather.clone());
            let greedy = job.sampling.temperature <= 0.0;
            let done = move |generation: Result<Generation>| {
                let handing = launch.clone();
                let read = move || {
                    // Without sampling the judge would write the same again.
                    let lasting = |error: Error| if greedy { error.with_retryable(false) } else { error };
                    let mut result = generation.and_then(|written| launch.reader.read(written, terms).map_err(lasting));
                    if let (true, Ok(verdict)) = (closed, &mut result) {
                        verdict.flags.push(Flag::ReasoningClosed);
                    }
                    if let Some(outcome) = gathered.take(index, result) {
                        launch.decide(&gathered, outcome);
                    }
                };
                // Where the thread is gone the task is dropped, which completes the judgment as closed.
                drop(handing.readers.run(Box::new(read)));
            };
            if gather.is_over() {
                break;
            }
            let id = engine.submit(job, Box::new(done));
            pending.started(&engine, id);
            // Decided in between, by runs before it: whoever decided did not know this one.
            if gather.is_over() {
                engine.cancel(id);
            }
        }
    }

    /// Ends the judgment with the outcome of a stage, or begins its second one.
    fn decide(self: &Arc<Self>, gather: &Gather, outcome: Result<Verdict>) {
        let mut outcome = outcome;
        if let Some((Second { mut stage, .. }, completer)) = gather.second(&mut outcome) {
            if let Ok(verdict) = &outcome {
                stage.course.follows(verdict.usage, verdict.timing);
            }
            if let Some(Run { job, .. }) = stage.runs.first()
                && let Some(patience) = &job.patience
            {
                completer.pending().set_deadline(1, job.deadline, patience.timeout());
            }
            return self.start(stage, None, completer);
        }
        if let Ok(verdict) = &mut outcome {
            verdict.weights = self.weights;
            if self.weights > 0 {
                mark_other_weights(verdict);
            }
        }
        self.log.outcome(self.id.as_deref(), &outcome);
        gather.complete(outcome);
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::time::Duration;

    use crate::config::{JudgeConfig, Mask, StopEarly};
    use crate::engine::Job;
    use crate::engine::scripted::{Reply, Scripted};
    use crate::error::ErrorKind;
    use crate::judge::Judge;
    use crate::log::Log;
    use crate::prompt::profile::Profile;
    use crate::request::{Criterion, JudgeRequest};
    use crate::verdict::{Flag, Verdict};

    const BEST_FIRST: &str = r#"{"scores": {"model-1": 4, "model-2": 2}, "best-to-worst": ["model-1", "model-2"]}"#;

    fn reasons(job: &Job) -> bool {
        job.plan.reasoning.as_ref().is_some_and(|reasoning| reasoning.budget > 0)
    }

    /// A judge that puts the first response above the second with this probability if it does not reason.
    fn engine(certainty: f64) -> Scripted {
        Scripted::new(move |job, _| {
            if reasons(job) {
                return Reply::text(format!("<think>\nhm</think>\n\n{BEST_FIRST}"));
            }
            let two = |low: f64, high: f64| vec![0.0, low, 0.0, high, 0.0];
            Reply::text(BEST_FIRST)
                .with_distributions(vec![two(0.0, 1.0), two(2.0 * certainty - 1.0, 2.0 - 2.0 * certainty)])
        })
    }

    fn open(engine: &Scripted) -> Judge {
        let mut config = JudgeConfig::new("scripted");
        config.options.mask = Some(Mask::Given);
        config.options.adaptive_reasoning = Some(0.9);
        Judge::with_engine(config, Profile::builtin(), engine.opened(), Log::none()).unwrap()
    }

    fn request() -> JudgeRequest {
        JudgeRequest::new("Be brief.", "p", [("a", "x"), ("b", "y")])
    }

    fn skipped(verdict: &Verdict) -> bool {
        verdict.flags.contains(&Flag::ReasoningSkipped)
    }

    #[test]
    fn the_judge_reasons_where_its_distributions_are_undecided() {
        let sure = engine(0.95);
        let verdict = open(&sure).judge(&request()).unwrap();
        assert!(skipped(&verdict) && verdict.reasoning.is_empty());
        assert_eq!(sure.submitted(), 1);
        let unsure = engine(0.85);
        let judge = open(&unsure);
        let verdict = judge.judge(&request()).unwrap();
        assert!(!skipped(&verdict) && verdict.reasoning.contains("hm"), "{verdict:?}");
        assert_eq!(unsure.submitted(), 2);
        // Without distributions nothing is decided.
        let blind = Scripted::new(|_, _| Reply::text(BEST_FIRST));
        assert!(!skipped(&open(&blind).judge(&request()).unwrap()));
        assert_eq!(blind.submitted(), 2);
        // What reasons never, or always, does so once.
        let mut plain = request();
        plain.options.reasoning = Some(false);
        assert!(!skipped(&judge.judge(&plain).unwrap()));
        plain.options.reasoning = None;
        plain.options.adaptive_reasoning = Some(0.0);
        assert!(!skipped(&judge.judge(&plain).unwrap()));
        assert_eq!(unsure.submitted(), 4);
    }

    #[test]
    fn all_orders_are_judged_again_and_both_stages_are_counted() {
        let unsure = engine(0.6);
        let judge = open(&unsure);
        let mut wanted = request();
        wanted.options.orders = Some(2);
        wanted.options.adaptive_reasoning = Some(1.0);
        wanted.options.stop_early = Some(StopEarly::Top);
        let verdict = judge.judge(&wanted).unwrap();
        assert_eq!((unsure.submitted(), verdict.ensemble.as_ref().unwrap().runs.len()), (4, 2));
        assert!(verdict.reasoning.contains("hm"));
        let (mut first, mut second) = (request(), request());
        first.options.reasoning = Some(false);
        second.options.adaptive_reasoning = Some(0.0);
        let usage = [first, second].map(|request| judge.judge(&request).unwrap().usage.verdict_tokens);
        assert_eq!(verdict.usage.verdict_tokens, 2 * (usage[0] + usage[1]));
    }

    #[test]
    fn a_failure_of_either_stage_is_that_of_the_judgment() {
        for fails in [false, true] {
            let engine = Scripted::new(move |job, _| {
                if reasons(job) == fails { Reply::error(ErrorKind::Engine, "broken") } else { Reply::text(BEST_FIRST) }
            });
            assert_eq!(open(&engine).judge(&request()).unwrap_err().kind(), ErrorKind::Engine);
        }
        let engine = Scripted::new(|job, _| if reasons(job) { Reply::never() } else { Reply::text(BEST_FIRST) });
        let judge = open(&engine);
        let mut wanted = request();
        wanted.options.timeout_ms = Some(50);
        assert_eq!(judge.judge(&wanted).unwrap_err().kind(), ErrorKind::Timeout);
        let ticket = judge.submit(&request());
        while engine.submitted() < 4 {
            std::thread::yield_now();
        }
        judge.close();
        assert_eq!(ticket.wait().unwrap_err().kind(), ErrorKind::Closed);
    }

    #[test]
    fn in_a_batch_the_time_of_the_second_stage_begins_with_it() {
        // All second stages wait for one place, longer than each may take.
        let engine = Scripted::new(|job, _| {
            if reasons(job) {
                return Reply::text(format!("<think>\nhm</think>\n\n{BEST_FIRST}")).after(Duration::from_millis(250));
            }
            Reply::text(BEST_FIRST)
        });
        let engine = engine.with_capabilities(|able| able.max_sequences = 1);
        let mut wanted = request();
        wanted.options.timeout_ms = Some(2500);
        let verdicts = open(&engine).judge_batch(&vec![wanted; 16]);
        for verdict in verdicts {
            assert!(verdict.unwrap().reasoning.contains("hm"));
        }
    }

    #[test]
    fn criteria_that_are_judged_separately_are_refused() {
        let mut request = JudgeRequest::new("", "p", [("a", "x"), ("b", "y")]);
        request.rubric = vec![Criterion::new("brief", "Is it brief?")];
        let error = open(&engine(0.9)).judge(&request).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidRequest && error.message().contains("adaptive_reasoning"), "{error}");
    }
    #[test]
    fn a_first_answer_without_a_verdict_is_undecided() {
        let engine = Scripted::new(|job, _| {
            Reply::text(if reasons(job) {
                format!("<think>\nhm</think>\n\n{BEST_FIRST}")
            } else {
                "I would rather not.".to_owned()
            })
        });
        let mut wanted = request();
        wanted.options.guided = Some(false);
        let verdict = open(&engine).judge(&wanted).unwrap();
        assert!(verdict.reasoning.contains("hm") && !skipped(&verdict));
    }
}
