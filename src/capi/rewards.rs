//! The calls for trainers: texts in, rewards out, in plain arrays.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use super::boundary::{array, array_mut, check_count, given, misuse};
use super::error::dicast_error;
use super::job::priority_of;
use super::judge::dicast_judge;
use super::layout::{self, Layout};
use super::request::options;
use super::status::{DICAST_INTERNAL, DICAST_OK};
use super::text::dicast_str;
use crate::config::{Options, Reward};
use crate::engine::Priority;
use crate::error::{ErrorKind, Result};
use crate::judge::{Judge, Submission, Waited};
use crate::prompt::profile::Scale;
use crate::request::{JudgeRequest, Response};
use crate::verdict::Verdict;

/// The expected score: the mean of the distribution of the score. If the engine returns no distribution, the status is
/// DICAST_UNSUPPORTED.
pub const DICAST_REWARD_EXPECTED: u32 = 0;
/// The score as the judge wrote it.
pub const DICAST_REWARD_SCORE: u32 = 1;
/// The place in the ranking, from 1 for the best of the group to 0 for the worst, in equal steps; 0.5 for a single response.
pub const DICAST_REWARD_RANK: u32 = 2;
/// The expected score if the engine returns a distribution, else the score as written.
pub const DICAST_REWARD_EXPECTED_OR_SCORE: u32 = 3;
/// How many standard deviations the expected score (or the score as written if the engine returns no distribution) lies above
/// the mean of its group; 0 for all if the scores of a group are equal. `normalize` does not change it.
pub const DICAST_REWARD_GROUP: u32 = 4;
/// The mean probability that the score is above that of another response of the group, from the distributions of the scores;
/// a tie counts half. 0.5 for a single response. If the engine returns no distribution, the status is DICAST_UNSUPPORTED.
/// `normalize` does not change it.
pub const DICAST_REWARD_WIN: u32 = 5;

/// Which rewards a call returns. Zero the struct, then set `struct_size`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dicast_reward_options {
    /// sizeof(dicast_reward_options).
    pub struct_size: usize,
    /// DICAST_REWARD_EXPECTED (0) or another DICAST_REWARD_….
    pub reward: u32,
    /// 1: scores are mapped from the scale of the judge to 0 (worst) to 1 (best). 0: scores stay on the scale, such as 1 to 5.
    pub normalize: u32,
    /// Options of the judgments as JSON, as for dicast_request_set_options; empty for none.
    pub options_json: dicast_str,
    /// DICAST_PRIORITY_NORMAL (0), _LOW or _HIGH.
    pub priority: i32,
    /// Must be 0.
    pub reserved: u32,
    /// The whole call ends after this many milliseconds at the latest: groups not judged by then are DICAST_TIMEOUT. 0: only the
    /// `timeout_ms` of each judgment applies.
    pub deadline_ms: u64,
}

// SAFETY: `repr(C)`, words, pairs of halves, and a text of two words.
unsafe impl Layout for dicast_reward_options {
    const FIRST_SIZE: usize = 32;
    const NAME: &'static str = "dicast_reward_options";
}

/// One group: responses to one prompt, judged together under one principle.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dicast_group {
    /// sizeof(dicast_group).
    pub struct_size: usize,
    /// The principle to judge by.
    pub principle: dicast_str,
    /// The prompt that the responses answer.
    pub prompt: dicast_str,
    /// The responses.
    pub responses: *const dicast_str,
    /// Their number.
    pub response_count: usize,
    /// Options of this group as JSON, which override those of the whole call; empty for none.
    pub options_json: dicast_str,
    /// Your name for the judgment, which appears in log lines; empty for none.
    pub id: dicast_str,
    /// DICAST_PRIORITY_LOW or _HIGH; 0: that of the whole call.
    pub priority: i32,
    /// Must be 0.
    pub reserved: u32,
    /// The judgment ends at most this many milliseconds after the start of the call; 0: as for the whole call.
    pub deadline_ms: u64,
}

// SAFETY: `repr(C)`, words, texts of two words, and a pair of halves.
unsafe impl Layout for dicast_group {
    const FIRST_SIZE: usize = 56;
    const NAME: &'static str = "dicast_group";
}

/// Judges `count` responses to one prompt together, as one listwise judgment, and waits for their rewards.
///
/// `rewards` and `statuses` have `count` entries in the order of `responses`. On success every status is DICAST_OK. On any
/// failure **every reward is NaN and every status is the one that the call returns**; each array that is not NULL is written.
/// If `options` is NULL, the rewards are expected scores on the judge's scale. If the queue is full, the call first waits for room.
///
/// A `count` above 16777216 is DICAST_INVALID_ARGUMENT, and nothing is written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_judge_rewards(
    judge: Option<&dicast_judge>,
    principle: dicast_str,
    prompt: dicast_str,
    responses: *const dicast_str,
    count: usize,
    options: *const dicast_reward_options,
    rewards: *mut f64,
    statuses: *mut i32,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        // SAFETY: the arrays have `count` entries, which are the caller's; the texts live during the call.
        let mut results = unsafe { Results::new(rewards, statuses, count)? };
        let outcome = (|| {
            let opened = given(judge, "judge")?.get()?;
            // SAFETY: as above.
            let (wanted, request) = unsafe {
                let wanted = Wanted::read(options)?;
                let request = request(principle, prompt, array(responses, count, "responses")?, &wanted.options)?;
                (wanted, request)
            };
            let verdict = opened.judge_with(&request, wanted.terms.submission())?;
            wanted.write(&verdict, opened.profile().scale, &mut results)
        })();
        results.fail_where_missing(&outcome);
        outcome
    })
}

/// Judges many groups at once and waits for all their rewards. Each group is one listwise judgment. Groups that do not fit
/// the queue wait for room.
///
/// `groups` has `group_count` entries. `rewards` and `statuses` have `total` entries: first those of the first group, in the
/// order of its responses, then those of the second, and so on. `total` must be the sum of all `response_count`. A group
/// that fails has **NaN for every reward and a status that says why**; the other groups have their rewards. `errors` has
/// `group_count` entries, or is NULL. You own the error of each group that failed; the entry of any other group is NULL.
///
/// DICAST_OK does not mean that every judgment worked: check `statuses`. On any other status every reward is NaN, every
/// status is the one that the call returns, and `errors` was not written. A `total` above 16777216 is DICAST_INVALID_ARGUMENT, and
/// nothing is written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_judge_rewards_groups(
    judge: Option<&dicast_judge>,
    groups: *const dicast_group,
    group_count: usize,
    options: *const dicast_reward_options,
    rewards: *mut f64,
    statuses: *mut i32,
    total: usize,
    errors: *mut *mut dicast_error,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        // SAFETY: the arrays have as many entries as is said, which are the caller's; the texts live during the call.
        let mut results = unsafe { Results::new(rewards, statuses, total)? };
        let outcome = (|| {
            let opened = given(judge, "judge")?.get()?;
            // SAFETY: as above.
            let (wanted, groups) = unsafe { (Wanted::read(options)?, read_groups(groups, group_count)?) };
            let announced = groups.iter().try_fold(0_usize, |sum, group| sum.checked_add(group.response_count));
            if announced != Some(total) {
                return Err(misuse(format!("total is {total}, but the groups do not have as many responses")));
            }
            let errors = if errors.is_null() {
                None
            } else {
                // SAFETY: as above.
                Some(unsafe { array_mut(errors, group_count, "errors")? })
            };
            // SAFETY: as above.
            unsafe { judge_groups(opened, &groups, &wanted, &mut results, errors) };
            Ok(())
        })();
        results.fail_where_missing(&outcome);
        outcome
    })
}

/// Reads an array whose stride is the size that its entries announce.
///
/// # Safety
/// `groups` has `count` entries, all of the size that the first announces.
pub(super) unsafe fn read_groups(groups: *const dicast_group, count: usize) -> Result<Vec<dicast_group>> {
    // SAFETY: passed on; the check of the array is also that of its bounds.
    if unsafe { array(groups, count, "groups")? }.is_empty() {
        return Ok(Vec::new());
    }
    // SAFETY: passed on; there is a first entry.
    let stride = unsafe { layout::read(groups)? }.struct_size;
    (0..count)
        .map(|index| {
            // SAFETY: passed on. An entry is read only after the one before it announced the right size.
            let group = unsafe { layout::read(groups.byte_add(index * stride))? };
            if group.struct_size != stride {
                return Err(misuse("the groups announce different sizes"));
            }
            Ok(group)
        })
        .collect()
}

/// Judges groups and writes their results.
///
/// # Safety
/// The texts of the groups live during the call.
unsafe fn judge_groups(
    judge: &Judge,
    groups: &[dicast_group],
    wanted: &Wanted,
    results: &mut Results<'_>,
    errors: Option<&mut [MaybeUninit<*mut dicast_error>]>,
) {
    let mut errors = errors.into_iter().flatten();
    let scale = judge.profile().scale;
    let mut finish = |count: usize, outcome: Result<Verdict>| {
        let mut group = results.take(count);
        let outcome = outcome.and_then(|verdict| wanted.write(&verdict, scale, &mut group));
        group.fail_where_missing(&outcome);
        if let Some(error) = errors.next() {
            error.write(outcome.err().map_or(std::ptr::null_mut(), dicast_error::give));
        }
    };
    let mut pending = VecDeque::new();
    for group in groups {
        // SAFETY: passed on.
        let request = unsafe { group_request(group, &wanted.options, &wanted.terms) };
        // The deadline covers the wait for room too.
        let submit = |(request, terms): (JudgeRequest, Submission)| judge.submit_by_deadline(&request, terms);
        pending.push_back((group.response_count, request.map(submit)));
        // Verdicts are turned into numbers as soon as they are there, instead of being held until the last group is submitted.
        while let Some((count, submitted)) = pending.pop_front() {
            match submitted {
                Err(error) => finish(count, Err(error)),
                Ok(ticket) => match ticket.take_within(Duration::ZERO) {
                    Waited::Outcome(outcome) => finish(count, *outcome),
                    Waited::Pending | Waited::Taken => {
                        pending.push_front((count, Ok(ticket)));
                        break;
                    }
                },
            }
        }
    }
    for (count, submitted) in pending {
        finish(count, submitted.and_then(crate::Ticket::wait));
    }
}

/// How the judgments of a call are submitted.
pub(super) struct Terms {
    began: Instant,
    priority: Priority,
    /// The deadline of the whole call.
    deadline: Option<Instant>,
}

impl Terms {
    /// `deadline_ms` is 0 for none.
    pub(super) fn new(priority: i32, deadline_ms: u64) -> Result<Self> {
        let began = Instant::now();
        Ok(Self { began, priority: priority_of(priority)?, deadline: Self::after(began, deadline_ms) })
    }

    fn after(began: Instant, milliseconds: u64) -> Option<Instant> {
        if milliseconds == 0 { None } else { began.checked_add(Duration::from_millis(milliseconds)) }
    }

    fn submission(&self) -> Submission {
        let submission = Submission::default().priority(self.priority);
        self.deadline.map_or(submission.clone(), |deadline| submission.deadline(deadline))
    }
}

/// The request of a group, with the settings of its submission.
///
/// # Safety
/// The texts of the group live during the call.
pub(super) unsafe fn group_request(
    group: &dicast_group,
    shared: &Options,
    terms: &Terms,
) -> Result<(JudgeRequest, Submission)> {
    if group.reserved != 0 {
        return Err(misuse("reserved of dicast_group is not 0"));
    }
    // SAFETY: passed on.
    let (request, id) = unsafe {
        let own = options(group.options_json)?.or(shared);
        let responses = array(group.responses, group.response_count, "responses")?;
        (request(group.principle, group.prompt, responses, &own)?, group.id.text("id", ErrorKind::InvalidArgument)?)
    };
    let mut submission = terms.submission();
    if group.priority != 0 {
        submission.priority = priority_of(group.priority)?;
    }
    if !id.is_empty() {
        submission = submission.id(id);
    }
    let own = Terms::after(terms.began, group.deadline_ms);
    submission.deadline = [own, submission.deadline].into_iter().flatten().min();
    Ok((request, submission))
}

/// The request of a group; its responses are named by their numbers.
///
/// # Safety
/// The texts live during the call.
unsafe fn request(
    principle: dicast_str,
    prompt: dicast_str,
    responses: &[dicast_str],
    options: &Options,
) -> Result<JudgeRequest> {
    // SAFETY: passed on.
    let text = |text: dicast_str, name: &str| unsafe { text.text(name, ErrorKind::InvalidRequest) }.map(str::to_owned);
    let responses = responses.iter().enumerate().map(|(index, response)| {
        Ok(Response { name: (index + 1).to_string(), text: text(*response, &format!("response {index}"))? })
    });
    Ok(JudgeRequest {
        principle: text(principle, "principle")?,
        prompt: text(prompt, "prompt")?,
        responses: responses.collect::<Result<_>>()?,
        options: options.clone(),
        ..JudgeRequest::default()
    })
}

/// The caller's arrays. Every reward is NaN until it is written.
pub(super) struct Results<'a> {
    rewards: &'a mut [MaybeUninit<f64>],
    statuses: &'a mut [MaybeUninit<i32>],
}

impl<'a> Results<'a> {
    /// # Safety
    /// Each array is null or has `count` entries that are the caller's.
    pub(super) unsafe fn new(rewards: *mut f64, statuses: *mut i32, count: usize) -> Result<Self> {
        // If the count itself is wrong, nothing is written: the arrays cannot be that long.
        check_count(count, "rewards")?;
        // SAFETY: passed on.
        let (mut rewards, mut statuses) =
            unsafe { (array_mut(rewards, count, "rewards"), array_mut(statuses, count, "statuses")) };
        if let Ok(rewards) = &mut rewards {
            rewards.fill(MaybeUninit::new(f64::NAN));
        }
        // The values that remain if a defect ends the call.
        let status = rewards.as_ref().map_or_else(|error| error.kind().c_status(), |_| DICAST_INTERNAL);
        if let Ok(statuses) = &mut statuses {
            statuses.fill(MaybeUninit::new(status));
        }
        Ok(Self { rewards: rewards?, statuses: statuses? })
    }

    /// The first `count` of the remaining entries.
    pub(super) fn take(&mut self, count: usize) -> Results<'a> {
        let (rewards, rest) = std::mem::take(&mut self.rewards).split_at_mut(count);
        self.rewards = rest;
        let (statuses, rest) = std::mem::take(&mut self.statuses).split_at_mut(count);
        self.statuses = rest;
        Results { rewards, statuses }
    }

    fn write(&mut self, index: usize, reward: f64) {
        self.rewards[index].write(reward);
        self.statuses[index].write(DICAST_OK);
    }

    /// Writes that there are no rewards, for this reason.
    pub(super) fn fail(&mut self, status: i32) {
        self.rewards.fill(MaybeUninit::new(f64::NAN));
        self.statuses.fill(MaybeUninit::new(status));
    }

    /// On a failure no reward remains, whatever was written before.
    pub(super) fn fail_where_missing(&mut self, outcome: &Result<()>) {
        if let Err(error) = outcome {
            self.fail(error.kind().c_status());
        }
    }
}

/// Which rewards are wanted.
pub(super) struct Wanted {
    reward: Reward,
    normalize: bool,
    options: Options,
    terms: Terms,
}

impl Wanted {
    /// # Safety
    /// `wanted` is null or points to a struct of the size that it announces, whose text lives during the call.
    pub(super) unsafe fn read(wanted: *const dicast_reward_options) -> Result<Self> {
        if wanted.is_null() {
            let (options, terms) = (Options::default(), Terms::new(0, 0)?);
            return Ok(Self { reward: Reward::Expected, normalize: false, options, terms });
        }
        // SAFETY: passed on.
        let wanted = unsafe { layout::read(wanted)? };
        let Some(reward) = kind(wanted.reward) else {
            return Err(misuse(format!("reward is {}: it must be one of DICAST_REWARD_…", wanted.reward)));
        };
        if wanted.normalize > 1 {
            return Err(misuse(format!("normalize is {}: it must be 0 or 1", wanted.normalize)));
        }
        // SAFETY: passed on.
        let options = unsafe { options(wanted.options_json)? };
        if wanted.reserved != 0 {
            return Err(misuse("reserved of dicast_reward_options is not 0"));
        }
        let terms = Terms::new(wanted.priority, wanted.deadline_ms)?;
        Ok(Self { reward, normalize: wanted.normalize == 1, options, terms })
    }

    /// Whether no options of the judgments are set.
    pub(super) fn is_of_verdicts_alone(&self) -> bool {
        let Terms { priority, deadline, .. } = self.terms;
        self.options == Options::default() && priority == Priority::default() && deadline.is_none()
    }

    pub(super) fn write(&self, verdict: &Verdict, scale: Scale, results: &mut Results<'_>) -> Result<()> {
        // Only scores lie on the scale.
        let on_scale = matches!(self.reward, Reward::Expected | Reward::Score | Reward::ExpectedOrScore);
        let (worst, best) = (f64::from(scale.min), f64::from(scale.max));
        for (index, reward) in verdict.rewards_of(self.reward)?.into_iter().enumerate() {
            let normalized = self.normalize && on_scale;
            results.write(index, if normalized { (reward - worst) / (best - worst) } else { reward });
        }
        Ok(())
    }
}

/// The reward of a number in C.
fn kind(number: u32) -> Option<Reward> {
    match number {
        DICAST_REWARD_EXPECTED => Some(Reward::Expected),
        DICAST_REWARD_SCORE => Some(Reward::Score),
        DICAST_REWARD_RANK => Some(Reward::Rank),
        DICAST_REWARD_EXPECTED_OR_SCORE => Some(Reward::ExpectedOrScore),
        DICAST_REWARD_GROUP => Some(Reward::Group),
        DICAST_REWARD_WIN => Some(Reward::Win),
        _ => None,
    }
}
