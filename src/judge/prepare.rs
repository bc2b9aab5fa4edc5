//! From a request to the runs of its judgment: settings, checks, orders, prompts.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use crate::config::{Options, RankingFrom, Reward, RubricMerge, RubricMode, Settings};
use crate::decode::plan::Plan;
use crate::engine::{Capabilities, Guidance, Job, Listener, Priority, Sampling};
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::mask::AliasMap;
use crate::prompt::{self, ReasoningState};
use crate::request::JudgeRequest;
use crate::verdict::Texts;

use super::Judge;
use super::ensemble::Course;
use super::launch::{Second, Stage};
use super::orders::{factorial, orders};
use super::power::Loaded;
use super::rubric::Rubric;
use super::run::{Run, Scored};
use super::submission::Submission;

/// Most runs of one judgment.
const MAX_RUNS: usize = 256;

/// A judgment that is ready to be submitted.
pub(super) struct Prepared {
    pub(super) first: Stage,
    /// Where the judge reasons only if it must.
    pub(super) second: Option<Second>,
    /// The time that it may take.
    pub(super) timeout: Duration,
}

impl Judge {
    /// Refuses, before the work of tokenizing it, text that cannot fit however well it is tokenized.
    fn check_size(&self, loaded: &Loaded, request: &JudgeRequest) -> Result<()> {
        let (Some(longest), Some(context)) = (loaded.longest_token, self.capabilities.context_tokens) else {
            return Ok(());
        };
        let texts = request.text_bytes();
        let least = texts / longest;
        if least <= context {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ContextOverflow,
            format!("the request has {texts} bytes of text, {least} tokens or more, but the context holds {context}"),
        ))
    }

    /// Settings of one request: its own options, then the configuration's, then the profile's.
    pub(super) fn settings(&self, options: &Options) -> Result<Settings> {
        options.or(&self.config.options).or(&self.profile().decoding).resolve_request()
    }

    /// How far the verdict of a request is constrained: as far as the engine can, unless the settings say otherwise.
    pub(super) fn guidance(&self, settings: &Settings) -> Result<Guidance> {
        let Capabilities { engine, guidance, .. } = self.capabilities;
        match settings.guided {
            None => Ok(guidance),
            Some(false) => Ok(Guidance::None),
            Some(true) if guidance == Guidance::Grammar => Ok(guidance),
            Some(true) => Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the {engine} engine cannot hold a verdict to a grammar: leave guided out to take the best that it \
                     can do, or set it to false"
                ),
            )),
        }
    }

    /// Checks a request and decides its settings.
    pub(super) fn prepare(&self, request: &JudgeRequest) -> Result<Settings> {
        request.check(&self.config.limits)?;
        self.settings(&request.options)
    }

    /// The requests that the judgment of one consists of; see [`JudgeRequest::parts`].
    pub(super) fn parts<'a>(
        &self,
        loaded: &Loaded,
        request: &'a JudgeRequest,
        settings: &Settings,
    ) -> Result<Vec<Cow<'a, JudgeRequest>>> {
        let parts = request.parts(settings);
        for part in &parts {
            self.check_size(loaded, part)?;
        }
        Ok(parts)
    }

    /// Prepares the runs of a judgment.
    pub(super) fn runs(
        &self,
        loaded: &Loaded,
        request: &JudgeRequest,
        submission: Submission,
        submitted: Instant,
    ) -> Result<Prepared> {
        let mut settings = self.prepare(request)?;
        let guidance = self.guidance(&settings)?;
        settings.guided = Some(guidance > Guidance::None);
        let (wanted, samples) = (settings.orders as usize, settings.samples as usize);
        if samples > 1 && settings.temperature <= 0.0 {
            return Err(invalid(format!(
                "options: samples is {samples}, but temperature is 0, at which all samples are the same: set a temperature \
                 above 0, or ask for orders"
            )));
        }
        let first = prompt::aliases(self.profile(), request, &settings);
        let shown: Vec<usize> = (0..first.len()).map(|place| first.request_index(place)).collect();
        let orders = orders(&shown, wanted, settings.mask_seed);
        let reduced = factorial(first.len()).is_some_and(|all| all < wanted);
        let parts = self.parts(loaded, request, &settings)?;
        let (criteria, all) = (parts.len(), parts.len() * orders.len() * samples);
        if all > MAX_RUNS {
            let by = if criteria > 1 { format!(" by {criteria} criteria") } else { String::new() };
            return Err(invalid(format!(
                "options: {} orders with {samples} samples each{by} are {all} runs: at most {MAX_RUNS} are possible",
                orders.len()
            )));
        }
        let scale = self.profile().scale;
        let separate = !request.rubric.is_empty() && settings.rubric_mode == RubricMode::Separate;
        if separate && settings.reward == Some(Reward::Win) && settings.rubric_merge != RubricMerge::Mean {
            return Err(invalid(
                "options: the reward \"win\" of a rubric needs \"rubric_merge\": \"mean\": it is the weighted mean over the \
                 criteria"
                    .to_owned(),
            ));
        }
        let timeout = submission.within(submitted, settings.timeout());
        let (priority, deadline) = (submission.priority, submission.latest(submitted, timeout));
        let stage = |settings: &Settings, listener: Option<Listener>| -> Result<Stage> {
            let rubric = separate.then(|| Rubric {
                criteria: request.rubric.clone(),
                merge: settings.rubric_merge,
                pass: settings.rubric_pass.into(),
                scale,
            });
            let mut runs = Vec::with_capacity(all);
            for sample in 0..samples {
                for (number, order) in orders.iter().enumerate() {
                    let aliases = prompt::aliases_in_order(self.profile(), request, settings, order.clone());
                    let seed = settings.seed.wrapping_add((sample * orders.len() + number) as u64);
                    let settings = Settings { seed, ..settings.clone() };
                    for part in &parts {
                        runs.push(self.run(loaded, part, aliases.clone(), &settings, guidance, submitted)?);
                    }
                }
            }
            for run in &mut runs {
                (run.job.priority, run.job.deadline) = (priority, deadline);
            }
            // The reasoning of a judgment is that of its first run.
            if let Some(first) = runs.first_mut() {
                first.job.listener = listener;
            }
            let course = Course::new(settings, scale, orders.len(), reduced, rubric);
            Ok(Stage { runs, course })
        };
        let least = f64::from(settings.adaptive_reasoning);
        if least <= 0.0 || !loaded.prompter.reasons(&settings) {
            return Ok(Prepared { first: stage(&settings, submission.listener)?, second: None, timeout });
        }
        if separate {
            return Err(invalid(
                "options: adaptive_reasoning looks at the distributions of one judgment, and a rubric has one for each \
                 criterion: leave it out, or set \"rubric_mode\": \"joint\""
                    .to_owned(),
            ));
        }
        let first = stage(&Settings { reasoning: false, ..settings.clone() }, None)?;
        let second = Second { stage: stage(&settings, submission.listener)?, least };
        Ok(Prepared { first, second: Some(second), timeout })
    }

    /// Prepares one run, which names and orders the responses as `aliases` say.
    fn run(
        &self,
        loaded: &Loaded,
        request: &JudgeRequest,
        aliases: AliasMap,
        settings: &Settings,
        guidance: Guidance,
        submitted: Instant,
    ) -> Result<Run> {
        let (profile, prompter) = (self.profile(), &loaded.prompter);
        let (input, reasoning) = prompter.input(request, &aliases, settings)?;
        let closed = reasoning == ReasoningState::Closed && prompter.reasons(settings);
        let plan = Plan::new(profile, settings, &aliases, reasoning);
        let sampling = Sampling {
            temperature: settings.temperature,
            top_p: settings.top_p,
            top_k: settings.top_k,
            seed: settings.seed,
        };
        let (deadline, priority) = (submitted + settings.timeout(), Priority::default());
        let job = Job { input, plan, sampling, submitted, deadline, patience: None, priority, listener: None };
        // What a grammar or a schema holds is quoted from nowhere.
        let texts = if guidance > Guidance::None { Texts::none() } else { Texts::of(request) };
        let scored = (settings.ranking_from == RankingFrom::Scores)
            .then(|| Scored { grammar: job.plan.verdict.grammar().cloned() });
        Ok(Run { aliases, job, guidance, texts, scored, closed })
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}
