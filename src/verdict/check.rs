//! From what was read to a checked verdict: which reading is the answer, and whether it is complete.

use super::extract::{self, Form};
use super::find;
use super::interpret::Context;
use super::loose;
use super::reading::{Ranking, Reading, Scores, Status};
use super::repair::{Flag, Repair, Repairs};
use crate::config::{Incomplete, VerdictPolicy};

/// A field, or why it cannot be read.
type Field<T> = Result<T, String>;

/// What an answer says, by places in the order shown.
pub(super) struct Outcome {
    pub(super) scores: Field<Vec<f64>>,
    pub(super) ranking: Field<Vec<usize>>,
    pub(super) repairs: Repairs,
    pub(super) dropped: Vec<String>,
}

impl Outcome {
    /// What needed no mending.
    pub(super) fn clean(scores: Vec<f64>, ranking: Vec<usize>) -> Self {
        Self { scores: Ok(scores), ranking: Ok(ranking), repairs: Repairs::default(), dropped: Vec::new() }
    }

    fn refused(reason: &str) -> Self {
        Self {
            scores: Err(reason.to_owned()),
            ranking: Err(reason.to_owned()),
            repairs: Repairs::default(),
            dropped: Vec::new(),
        }
    }
}

/// Reads an answer. `thinks` where the judge writes reasoning, tagged or not.
pub(super) fn read(answer: &str, form: Form, thinks: bool, context: &Context<'_>) -> Outcome {
    if answer.contains("&quot;scores&quot;") {
        let mut outcome = read_unescaped(&unescape_html(answer), form, thinks, context);
        outcome.repairs.push(Repair::Unescaped);
        return outcome;
    }
    read_unescaped(answer, form, thinks, context)
}

fn read_unescaped(answer: &str, form: Form, thinks: bool, context: &Context<'_>) -> Outcome {
    let mut found = find::readings(answer, context);
    if found.exhausted {
        return Outcome::refused("the answer is too garbled to be searched");
    }
    if found.too_large {
        return Outcome::refused("the answer nests too deeply or holds too many entries");
    }
    if form == Form::Unclosed {
        let last = found.readings.pop();
        let at_end = |last: &Reading| last.closed && extract::is_closing(&answer[last.end..]);
        let Some(last) = last.filter(at_end) else {
            return Outcome::refused("the reasoning was never closed, and no verdict stands at its very end");
        };
        found.readings = vec![last];
    }
    let draft = |last: &Reading| outside(&answer[..last.start]) && breaks_off(&answer[last.end..]);
    if form == Form::Untagged && thinks && found.readings.last().is_some_and(draft) {
        return Outcome::refused("the text breaks off after the verdict: it may be a draft within reasoning");
    }
    if form != Form::Unclosed {
        complete_from_text(answer, context, &mut found.readings);
    }
    if found.readings.is_empty() {
        return Outcome::refused("the answer holds neither scores nor a ranking");
    }
    choose(answer, found.readings, context)
}

/// The text with the entities of HTML resolved that a verdict may hold.
fn unescape_html(text: &str) -> String {
    let resolved = text.replace("&quot;", "\"").replace("&#39;", "'").replace("&gt;", ">").replace("&lt;", "<");
    resolved.replace("&amp;", "&")
}

/// Whether prose after a verdict ends in the middle of a sentence, as a text does that was cut while the judge thought.
/// Where prose stands before the verdict too, it may be a draft within reasoning that has no tags.
fn breaks_off(after: &str) -> bool {
    let after = after.trim_end();
    after.ends_with(|c: char| c.is_alphanumeric() || c == ',') && after.contains(' ')
}

/// Looks in the text outside of structures for fields of which no structure says anything.
fn complete_from_text(answer: &str, context: &Context<'_>, readings: &mut Vec<Reading>) {
    let scores_seen = readings.iter().any(|reading| reading.scores.seen);
    let ranking_seen = readings.iter().any(|reading| reading.ranking.seen);
    if scores_seen && ranking_seen {
        return;
    }
    let mut outside = String::new();
    let mut at = 0;
    for reading in readings.iter() {
        outside.push_str(answer.get(at..reading.start).unwrap_or_default());
        outside.push('\n');
        at = reading.end.max(at);
    }
    outside.push_str(answer.get(at..).unwrap_or_default());
    let mut scanned = loose::scan(&outside, context);
    if scores_seen {
        scanned.scores = Scores { values: scanned.scores.values, ..Scores::default() };
    }
    if ranking_seen {
        scanned.ranking = Ranking::default();
    }
    if !scanned.is_empty() {
        (scanned.start, scanned.end) = (at, at);
        readings.push(scanned);
    }
}

/// Chooses among several readings: the last that says both, else the last of each.
fn choose(answer: &str, mut readings: Vec<Reading>, context: &Context<'_>) -> Outcome {
    let stated = |status: Status| status >= Status::Invalid;
    let both = readings.iter().rposition(|r| stated(r.scores.status()) && stated(r.ranking.status()));
    let last = |status: &dyn Fn(&Reading) -> Status| {
        readings
            .iter()
            .rposition(|reading| stated(status(reading)))
            .or_else(|| readings.iter().rposition(|reading| status(reading) == Status::Partial))
    };
    let scores_at = both.or_else(|| last(&|reading| reading.scores.status()));
    let ranking_at = both.or_else(|| last(&|reading| reading.ranking.status()));

    let mut scores = scores_at.map_or_else(Scores::default, |at| readings[at].scores.clone());
    let mut ranking = ranking_at.map_or_else(Ranking::default, |at| readings[at].ranking.clone());
    for (at, later) in readings.iter().enumerate() {
        // A template that is shown after the verdict is none.
        if later.template && later.closed {
            continue;
        }
        // Whoever corrects a part of a verdict doubts the rest.
        if scores_at.is_some_and(|chosen| at > chosen) && contradicts_scores(&scores, &later.scores)
            || ranking_at.is_some_and(|chosen| at > chosen) && contradicts_ranking(&ranking, &later.ranking)
        {
            scores.fault("another verdict begins after it and differs".into());
            ranking.fault("another verdict begins after it and differs".into());
        }
    }

    let mut repairs = Repairs::default();
    let mut dropped = Vec::new();
    let mut chosen: Vec<usize> = scores_at.into_iter().chain(ranking_at).collect();
    chosen.sort_unstable();
    chosen.dedup();
    let (start, end) = chosen
        .iter()
        .fold((usize::MAX, 0), |(start, end), &at| (start.min(readings[at].start), end.max(readings[at].end)));
    if outside(answer.get(..start).unwrap_or_default()) || outside(answer.get(end..).unwrap_or_default()) {
        repairs.push(Repair::TextAround);
    }
    if readings.iter().filter(|r| stated(r.scores.status()) && stated(r.ranking.status())).count() > 1 {
        repairs.push(Repair::LastOfSeveral);
    }
    if chosen.len() > 1 {
        repairs.push(Repair::SeparatePieces);
    }
    for &at in &chosen {
        repairs.extend(std::mem::take(&mut readings[at].repairs));
        dropped.append(&mut readings[at].dropped);
    }
    finish(&scores, &ranking, repairs, dropped, context)
}

/// Checks both fields for completeness and settles what the policy leaves to be settled.
fn finish(
    scores: &Scores,
    ranking: &Ranking,
    mut repairs: Repairs,
    dropped: Vec<String>,
    context: &Context<'_>,
) -> Outcome {
    let names = context.names;
    let list = |places: &mut dyn Iterator<Item = usize>| places.map(|p| names.shown(p)).collect::<Vec<_>>().join(", ");
    let values = match scores.status() {
        Status::Absent => Err("no scores are written".to_owned()),
        Status::Invalid => Err(scores.faults.join("; ")),
        Status::Partial => {
            let mut missing = (0..names.len()).filter(|&place| scores.values[place].is_none());
            Err(format!("no score is written for {}", list(&mut missing)))
        }
        Status::Complete => Ok(scores.values.iter().copied().flatten().collect::<Vec<_>>()),
    };
    if values.is_ok() {
        for &place in &scores.clamped {
            repairs.push(Repair::Clamped(names.shown(place).to_owned()));
        }
    }
    let order = match ranking.status() {
        Status::Absent => Err("no ranking is written".to_owned()),
        Status::Invalid => Err(ranking.faults.join("; ")),
        Status::Partial => {
            let mut missing = (0..names.len()).filter(|place| !ranking.listed.contains(place));
            Err(format!("the ranking does not name {}", list(&mut missing)))
        }
        Status::Complete => settle(&ranking.readings, values.as_deref().ok(), &mut repairs),
    };
    Outcome { scores: values, ranking: order, repairs, dropped }
}

/// Decides between the ways in which a ranking can be read: the one that agrees with the scores.
fn settle(readings: &[Vec<usize>], scores: Option<&[f64]>, repairs: &mut Repairs) -> Field<Vec<usize>> {
    if let [only] = readings {
        return Ok(only.clone());
    }
    let ambiguous = || "the ranking can be read in two ways".to_owned();
    let scores = scores.ok_or_else(ambiguous)?;
    let mut agreeing = readings.iter().filter(|reading| is_consistent(reading, scores));
    match (agreeing.next(), agreeing.next()) {
        (Some(one), None) => {
            repairs.push(Repair::RankingByScores);
            Ok(one.clone())
        }
        _ => Err(ambiguous()),
    }
}

fn contradicts_scores(chosen: &Scores, later: &Scores) -> bool {
    #[expect(clippy::float_cmp, reason = "the same digits written twice give the same number")]
    chosen.values.iter().zip(&later.values).any(|(one, other)| matches!((one, other), (Some(a), Some(b)) if a != b))
}

fn contradicts_ranking(chosen: &Ranking, later: &Ranking) -> bool {
    if later.readings.is_empty() {
        return !later.listed.is_empty() && !chosen.readings.iter().any(|reading| reading.starts_with(&later.listed));
    }
    !chosen.readings.is_empty() && !chosen.readings.iter().any(|reading| later.readings.contains(reading))
}

/// Whether a text beside a verdict says or marks anything: prose, a fence, a tag.
fn outside(text: &str) -> bool {
    text.contains(|c: char| c.is_alphanumeric() || matches!(c, '`' | '<' | '*' | '#'))
}

/// Whether no response comes before one with a higher score.
pub(super) fn is_consistent(ranking: &[usize], scores: &[f64]) -> bool {
    ranking.windows(2).all(|pair| scores[pair[0]] >= scores[pair[1]])
}

/// What a reader should know of a verdict: `scores` by place, `ranking` of places.
pub(super) fn flags(scores: &[f64], ranking: &[usize], dropped: Vec<String>) -> Vec<Flag> {
    let mut flags = Vec::new();
    if !is_consistent(ranking, scores) {
        flags.push(Flag::InconsistentRanking);
    }
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::float_cmp, reason = "a tie is the same number")]
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        flags.push(Flag::Ties);
    }
    for name in dropped {
        let flag = Flag::DroppedName(name);
        if !flags.contains(&flag) && flags.len() < 32 {
            flags.push(flag);
        }
    }
    flags
}

/// Applies the policy to an incomplete verdict: a missing ranking may be derived by `derive`.
pub(super) fn apply(policy: &VerdictPolicy, outcome: &mut Outcome, derive: impl Fn(&[f64]) -> Vec<usize>) {
    if policy.incomplete == Incomplete::DeriveRanking
        && let (Ok(scores), Err(_)) = (&outcome.scores, &outcome.ranking)
    {
        outcome.ranking = Ok(derive(scores));
        outcome.repairs.push(Repair::RankingDerived);
    }
}
