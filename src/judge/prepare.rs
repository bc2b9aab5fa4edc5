//! From a request to the runs of its judgment: settings, checks, orders, prompts.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use crate::config::{Options, RankingFrom, Reward, RubricMerge, RubricMode, Settings};
use crate::decode::plan::Plan;
use crate::engine::{Capabilities, Guidance, Input, Job, Listener, Priority, Sampling};
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::mask::AliasMap;
use crate::prompt::profile::VerdictKind;
use crate::prompt::{self, Prompt, ReasoningState};
use crate::request::JudgeRequest;
use crate::verdict::Texts;

use super::Judge;
use super::blocks::{Blocks, Layout, most_at_once};
use super::ensemble::{Course, is_by_scores};
use super::launch::{Second, Stage};
use super::orders::{factorial, orders};
use super::power::Loaded;
use super::rubric::Rubric;
use super::run::{Run, Terms};
use super::submission::Submission;

/// The most runs of one judgment.
pub(super) const MAX_RUNS: usize = 256;

/// A judgment that is ready to be submitted.
pub(super) struct Prepared {
    pub(super) first: Stage,
    /// Set if the judge reasons only if it must.
    pub(super) second: Option<Second>,
    /// How long it may take.
    pub(super) timeout: Duration,
}

/// A request on its way to the runs of its judgment.
#[derive(Clone, Copy)]
pub(super) struct Draft<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) request: &'a JudgeRequest,
    pub(super) settings: &'a Settings,
    pub(super) guidance: Guidance,
    pub(super) submitted: Instant,
}

/// The runs of a judgment: for each sample, order, criterion and block, in this nesting.
pub(super) struct Drawn {
    pub(super) runs: Vec<Run>,
    pub(super) orders: usize,
    /// Whether more orders were asked for than there are.
    pub(super) reduced: bool,
}

/// What is judged of a group at once: all of it, or a block.
struct Share<'a> {
    /// The request of each criterion.
    parts: Vec<Cow<'a, JudgeRequest>>,
    orders: Vec<Vec<usize>>,
}

impl<'a> Share<'a> {
    /// `first` is the order of the first run.
    fn new(request: Cow<'a, JudgeRequest>, first: &[usize], settings: &Settings) -> Self {
        let parts = match request {
            Cow::Borrowed(request) => request.parts(settings),
            Cow::Owned(request) => {
                request.parts(settings).into_iter().map(|part| Cow::Owned(part.into_owned())).collect()
            }
        };
        Self { parts, orders: orders(first, settings.orders as usize, settings.mask_seed) }
    }

    /// That of a block, in which the responses stand in the same order as in the group.
    fn of_block(request: &JudgeRequest, block: &[usize], first: &[usize], settings: &Settings) -> Self {
        let first: Vec<usize> = first.iter().filter_map(|index| block.binary_search(index).ok()).collect();
        let part = JudgeRequest {
            principle: request.principle.clone(),
            rubric: request.rubric.clone(),
            prompt: request.prompt.clone(),
            responses: block.iter().map(|&index| request.responses[index].clone()).collect(),
            mask_responses: request.mask_responses,
            options: request.options.clone(),
        };
        Self::new(Cow::Owned(part), &first, settings)
    }

    fn responses(&self) -> usize {
        self.parts.first().map_or(0, |part| part.responses.len())
    }
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
        options.or(&self.defaults).resolve_request()
    }

    /// How far the verdict of a request is constrained: as far as the engine is able to, unless the settings say otherwise.
    pub(super) fn guidance(&self, settings: &Settings) -> Result<Guidance> {
        let Capabilities { engine, guidance, .. } = self.capabilities;
        match settings.guided {
            None => Ok(guidance),
            Some(false) => Ok(Guidance::None),
            Some(true) if guidance == Guidance::Grammar => Ok(guidance),
            Some(true) => Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the {engine} engine cannot constrain a verdict by a grammar: leave guided out to use the \
                     best that it can do, or set it to false"
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
        let calibrated = self.calibrated.as_ref().map(|calibrated| calibrated.applied(&settings));
        settings.guided = Some(guidance > Guidance::None);
        let samples = settings.samples;
        if samples > 1 && settings.temperature <= 0.0 {
            return Err(invalid(format!(
                "options: samples is {samples}, but at temperature 0 all samples are the same: set a temperature \
                 above 0, or ask for orders instead"
            )));
        }
        let (scale, kind) = (self.profile().scale, self.kind);
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
        let may_split = kind.responses().is_none()
            && settings.blocks.is_none()
            && request.responses.len() > 1 + settings.block_anchors as usize;
        let stage = |settings: &Settings, listener: Option<Listener>| -> Result<Stage> {
            let rubric = separate.then(|| Rubric {
                criteria: request.rubric.clone(),
                merge: settings.rubric_merge,
                pass: settings.rubric_pass.into(),
                scale,
            });
            let draft = Draft { loaded, request, settings, guidance, submitted };
            let (Drawn { mut runs, orders, reduced }, layout) = self.fitted(&draft)?;
            for run in &mut runs {
                (run.job.priority, run.job.deadline) = (priority, deadline);
            }
            // The reasoning of a judgment is that of its first run.
            if let Some(first) = runs.first_mut() {
                first.job.listener = listener;
            }
            let blocks = layout.map(|layout| Blocks { layout, scale, consistent: is_by_scores(settings), kind });
            let course = Course::new(settings, scale, orders, reduced, rubric, blocks);
            let course = course.may_split(may_split).calibrated(calibrated.clone());
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
        if first.course.is_split() {
            return Err(invalid(if kind.responses().is_none() {
                "options: adaptive_reasoning looks at distributions, and a group that is judged in blocks has none: leave it out, \
                 or set \"blocks\": \"never\""
                    .to_owned()
            } else {
                "options: adaptive_reasoning looks at one judgment of all responses, and this judge reads one or two: leave it out"
                    .to_owned()
            }));
        }
        let second = Second { stage: stage(&settings, submission.listener)?, least };
        Ok(Prepared { first, second: Some(second), timeout })
    }

    /// The prompt of the first run of a judgment.
    pub(super) fn first_prompt(
        &self,
        loaded: &Loaded,
        request: &JudgeRequest,
        mut settings: Settings,
    ) -> Result<Prompt> {
        if most_at_once(&settings)?.is_none() && self.kind.responses().is_none() {
            let parts = self.parts(loaded, request, &settings)?;
            return loaded.prompter.prompt(&parts[0], &settings);
        }
        let guidance = self.guidance(&settings)?;
        settings.guided = Some(guidance > Guidance::None);
        let draft = Draft { loaded, request, settings: &settings, guidance, submitted: Instant::now() };
        let (drawn, _) = self.fitted(&draft)?;
        match drawn.runs.into_iter().next() {
            Some(Run { terms, reasoning, job: Job { input: Input::Tokens { ids, .. }, .. }, .. }) => {
                Ok(Prompt { tokens: ids, aliases: terms.aliases, reasoning })
            }
            _ => Err(Error::new(ErrorKind::Unsupported, "this engine makes the tokens of a prompt itself")),
        }
    }

    /// The runs of a judgment in its orders and samples, over the whole group or over blocks of it.
    pub(super) fn drawn(&self, draft: &Draft<'_>, layout: Option<&Layout>) -> Result<Drawn> {
        let Draft { loaded, request, settings, .. } = *draft;
        let first = prompt::order(request, settings);
        let shares = match layout {
            None => vec![Share::new(Cow::Borrowed(request), &first, settings)],
            Some(layout) => {
                layout.blocks.iter().map(|block| Share::of_block(request, block, &first, settings)).collect()
            }
        };
        for part in shares.iter().flat_map(|share| &share.parts) {
            self.check_size(loaded, part)?;
        }
        let samples = settings.samples as usize;
        // What all blocks have: an order that a small block has already been judged in would count twice.
        let orders = shares.iter().map(|share| share.orders.len()).min().unwrap_or(0);
        let criteria = shares.first().map_or(1, |share| share.parts.len());
        let all = orders * samples * criteria * shares.len();
        if all > MAX_RUNS {
            let by = |count: usize, what: &str| if count > 1 { format!(" by {count} {what}") } else { String::new() };
            return Err(invalid(format!(
                "options: {orders} orders with {samples} samples each{}{} are {all} runs: at most {MAX_RUNS} are possible",
                by(criteria, "criteria"),
                by(shares.len(), "blocks")
            )));
        }
        let mut runs = Vec::with_capacity(all);
        for sample in 0..samples {
            for number in 0..orders {
                let seed = settings.seed.wrapping_add((sample * orders + number) as u64);
                let settings = Settings { seed, ..settings.clone() };
                for criterion in 0..criteria {
                    for Share { parts, orders } in &shares {
                        let order = orders[number].clone();
                        let part = &parts[criterion];
                        let aliases = prompt::aliases_in_order(self.profile(), self.kind, part, &settings, order);
                        runs.push(self.run(draft, part, aliases, &settings)?);
                    }
                }
            }
        }
        let wanted = settings.orders as usize;
        let reduced = shares.iter().any(|share| factorial(share.responses()).is_some_and(|all| all < wanted));
        Ok(Drawn { runs, orders, reduced })
    }

    /// Prepares one run over `request`, which names and orders the responses as `aliases` say.
    fn run(&self, draft: &Draft<'_>, request: &JudgeRequest, aliases: AliasMap, settings: &Settings) -> Result<Run> {
        let Draft { loaded, guidance, submitted, .. } = *draft;
        let (profile, prompter) = (self.profile(), &loaded.prompter);
        let (input, reasoning) = prompter.input(request, &aliases, settings)?;
        let closed = reasoning == ReasoningState::Closed && prompter.reasons(settings);
        let grammar = |lead: &str, shown: &[String]| self.grammars.of(profile, lead, shown);
        let plan = Plan::with(profile, settings, &aliases, reasoning, grammar);
        let sampling = Sampling {
            temperature: settings.temperature,
            top_p: settings.top_p,
            top_k: settings.top_k,
            seed: settings.seed,
        };
        let (deadline, priority) = (submitted + settings.timeout(), Priority::default());
        let job = Job { input, plan, sampling, submitted, deadline, patience: None, priority, listener: None };
        // What a grammar or a schema holds is quoted from nowhere.
        let texts = match self.kind {
            _ if guidance > Guidance::None => Texts::none(),
            VerdictKind::Table => Texts::of(request),
            _ => Texts::whole(request),
        };
        let grammar = job.plan.verdict.grammar().filter(|_| guidance == Guidance::Grammar).cloned();
        let by_scores = settings.ranking_from == RankingFrom::Scores;
        Ok(Run { job, terms: Terms { aliases, guidance, texts, grammar, by_scores }, reasoning, closed })
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}
