//! Turns what was read into a checked verdict: chooses the reading that is the answer, and checks that it is complete.

use super::agree::{compare_orders, compare_pieces, contradicts_ranking, contradicts_scores, is_changed};
use super::amend;
use super::chars;
use super::drawn;
use super::extract::{self, Form};
use super::find;
use super::frame::{self, Frame};
use super::interpret::Context;
use super::keys::Key;
use super::loose;
use super::quote::Texts;
use super::reading::{Ranking, Reading, Scores, Status};
use super::repair::{Flag, Repair, Repairs};
use super::turn;
use super::withdrawn;
use crate::config::{Incomplete, VerdictPolicy};

/// For how many verdicts, counted back from the last, the prose around them is read.
const MAX_FRAMED: usize = 64;
/// How many missing names an error lists.
const MAX_NAMED: usize = 64;

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
    /// An outcome that needed no repair.
    pub(super) fn clean(scores: Vec<f64>, ranking: Vec<usize>) -> Self {
        Self { scores: Ok(scores), ranking: Ok(ranking), repairs: Repairs::default(), dropped: Vec::new() }
    }

    pub(super) fn refused(reason: &str) -> Self {
        Self {
            scores: Err(reason.to_owned()),
            ranking: Err(reason.to_owned()),
            repairs: Repairs::default(),
            dropped: Vec::new(),
        }
    }
}

/// Reads an answer. `thinks`: the judge writes reasoning, tagged or not. `texts`: the texts that the judge was shown.
pub(super) fn read(answer: &str, form: Form, thinks: bool, texts: &Texts, context: &Context<'_>) -> Outcome {
    if form == Form::NoAnswer {
        return Outcome::refused("the judge wrote reasoning and no final answer");
    }
    let mut repairs = Repairs::default();
    let unescaped;
    let mut answer = answer;
    if answer.contains("&quot;scores&quot;") {
        unescaped = unescape_html(answer);
        answer = &unescaped;
        repairs.push(Repair::Unescaped);
    }
    // If names hold such characters themselves, the characters must stay.
    let unseen = !context.names.hold(chars::is_invisible);
    let digits = !context.names.hold(|c| chars::fold_script(c).is_some());
    let (plain, dropped, folded) = chars::plain(answer, unseen, digits);
    if dropped {
        repairs.push(Repair::Invisible);
    }
    if folded {
        repairs.push(Repair::OtherDigits);
    }
    let drawn = drawn::plain(&plain, |c| context.names.hold(|other| other == c));
    let mut outcome = read_plain(&drawn, form, thinks, texts, context);
    repairs.extend(std::mem::take(&mut outcome.repairs));
    Outcome { repairs, ..outcome }
}

fn read_plain(answer: &str, form: Form, thinks: bool, texts: &Texts, context: &Context<'_>) -> Outcome {
    let mut found = find::readings(answer, context);
    if found.exhausted {
        return Outcome::refused("the answer is too garbled to be read");
    }
    if turn::holds_channels(answer)
        && !found.readings.iter().any(|r| answer[r.start..r.end.min(answer.len())].contains(turn::CHANNEL))
    {
        return Outcome::refused("the answer holds channel marks, but does not begin with one");
    }
    if found.too_large {
        return Outcome::refused("the answer nests too deeply or holds too many entries");
    }
    let cut_off = found.end == answer.len();
    let answer = &answer[..found.end];
    if form == Form::Unclosed {
        let last = found.readings.pop();
        let at_end = |last: &Reading| last.closed && extract::is_closing(answer.get(last.end..).unwrap_or_default());
        let Some(last) = last.filter(at_end) else {
            return Outcome::refused("the reasoning was never closed, and no verdict stands at its very end");
        };
        found.readings = vec![last];
    }
    join_records(answer, &mut found.readings);
    let mut gap = 0;
    let skipped = found.readings.len().saturating_sub(MAX_FRAMED);
    for reading in found.readings.iter_mut().skip(skipped) {
        reading.frame = frame::of(answer, gap, reading.start, reading.end, context.names);
        gap = reading.end.max(gap).min(answer.len());
    }
    let beside = if form == Form::Unclosed { Beside::default() } else { Beside::scan(answer, texts, &found, context) };
    let draft = |last: &Reading| {
        let after = answer.get(last.end..).unwrap_or_default();
        // After a tag that closes reasoning, a verdict is no draft if it is announced or if the text goes on from it.
        let known = form == Form::Split
            && (matches!(last.frame, Frame::Own | Frame::Final | Frame::Plain)
                || beside.whole.scores.status() == Status::Complete
                || beside.whole.ranking.status() == Status::Complete);
        // A fence is no prose.
        let prose = |line: &str| !line.starts_with("```") && outside(line);
        answer[..last.start].lines().any(prose) && breaks_off(after) && !known
    };
    // After a quotation, the judge's own verdict may come in the text.
    let own_follows = |last: &Reading| {
        matches!(last.frame, Frame::Quoted | Frame::Mentioned)
            && beside.whole.scores.status() == Status::Complete
            && beside.whole.ranking.status() == Status::Complete
    };
    let draft = |last: &Reading| draft(last) && !own_follows(last);
    if thinks && cut_off && form != Form::Unclosed && found.readings.last().is_some_and(draft) {
        return Outcome::refused("the text breaks off after the verdict: it may be a draft within reasoning");
    }
    if let Err(refused) = drop_quoted(answer, texts, &beside, &mut found.readings) {
        return refused;
    }
    if form != Form::Unclosed {
        complete_from_text(answer, &beside, &mut found.readings);
    }
    if found.readings.is_empty() {
        return Outcome::refused("the answer holds neither scores nor a ranking");
    }
    if let [only] = &found.readings[..]
        && let Some(lead) = &only.lead
        && is_led_as_quoted(lead, only.inline, answer, context)
    {
        return Outcome::refused("the only verdict in the answer is a quotation or an example, not the judge's own");
    }
    if frame::refuses(answer) && !found.readings.iter().any(|r| matches!(r.frame, Frame::Own | Frame::Final)) {
        return Outcome::refused("the judge refuses to judge, and what looks like a verdict may be a quotation");
    }
    choose(answer, &beside, found.readings, context)
}

/// Whether the words before a verdict in lines or a table, or the last words of the answer, say that it is quoted.
fn is_led_as_quoted(lead: &str, inline: bool, answer: &str, context: &Context<'_>) -> bool {
    let leads = inline || lead.ends_with([':', '：']);
    if lead.starts_with('>')
        || (leads && frame::denies(lead))
        || frame::points_back(answer)
        || frame::quotes(lead, context.names)
    {
        return true;
    }
    // A heading in any language.
    if matches!(context.keys.read_heading(lead), Key::Score | Key::Overall { .. } | Key::Rank(_)) {
        return false;
    }
    // One or two words are a heading.
    let words = lead.split_whitespace().count() > 2 || (!lead.is_ascii() && lead.chars().count() > 6);
    if inline || !words || !lead.ends_with([':', '：']) {
        return false;
    }
    let lead = format!("{lead}\n");
    let frame = frame::of(&lead, 0, lead.len(), lead.len(), context.names);
    matches!(frame, Frame::Quoted | Frame::Mentioned | Frame::Doubtful)
}

/// Joins consecutive records, as in JSON Lines: `{"model": "model-1", "score": 4}`.
fn join_records(answer: &str, readings: &mut Vec<Reading>) {
    let mut joined: Vec<Reading> = Vec::with_capacity(readings.len());
    for reading in readings.drain(..) {
        let partial = |reading: &Reading| {
            reading.scores.status() == Status::Partial || reading.ranking.status() == Status::Partial
        };
        let apart = |before: &Reading| {
            let between = answer.get(before.end..reading.start).unwrap_or("x");
            between.contains(|c: char| c.is_alphanumeric())
        };
        match joined.last_mut() {
            Some(before)
                // If a record gives a name another score than a record before it, neither is trusted.
                if (partial(before) || before.joined)
                    && partial(&reading)
                    && !apart(before)
                    && before.closed
                    && (before.joins(&reading) || before.disputes(&reading)) =>
            {
                before.join(reading);
            }
            _ => joined.push(reading),
        }
    }
    for reading in &mut joined {
        reading.settle_joined();
    }
    *readings = joined;
}

/// What the text outside of structures says.
#[derive(Default)]
struct Beside {
    /// The reading of all text outside of structures.
    whole: Reading,
    /// Whether a structure comes after all of it.
    before: bool,
    /// Where the structures are.
    spans: Vec<(usize, usize)>,
}

impl Beside {
    fn scan(answer: &str, texts: &Texts, found: &find::Found, context: &Context<'_>) -> Self {
        let mut outside = String::new();
        let mut at = 0;
        let spans = found.readings.iter().map(|reading| (reading.start, reading.end));
        let mut spans: Vec<(usize, usize)> = spans.chain(found.silent.iter().copied()).collect();
        spans.sort_unstable();
        for &(start, end) in &spans {
            outside.push_str(answer.get(at..start).unwrap_or_default());
            outside.push(loose::STRUCTURE);
            outside.push('\n');
            at = end.max(at);
        }
        let rest = answer.get(at..).unwrap_or_default();
        outside.push_str(rest);
        let outside = texts.without_lines(&outside).unwrap_or(outside);
        let mut whole = loose::scan(&outside, context);
        (whole.start, whole.end) = (at, at);
        Self { whole, before: !rest.contains(char::is_numeric), spans }
    }

    /// The text after `end`, without structures.
    fn after(&self, answer: &str, end: usize) -> String {
        let mut after = String::new();
        let mut at = end;
        for &(start, end) in self.spans.iter().filter(|(start, _)| *start >= end) {
            after.push_str(answer.get(at..start).unwrap_or_default());
            after.push('\n');
            at = end.max(at);
        }
        after.push_str(answer.get(at..).unwrap_or_default());
        // A number at the end of a line counts as it is: only what differs matters here.
        after.push('\n');
        after.replace(".\n", "\n")
    }

    /// Whether the text gives all scores, and they differ from those of a structure.
    fn contradicts(&self, scores: &Scores, ranking: &Ranking) -> bool {
        self.whole.scores.status() == Status::Complete && contradicts_scores(scores, &self.whole.scores)
            || self.whole.ranking.status() == Status::Complete
                && self.whole.scores.status() == Status::Complete
                && contradicts_ranking(ranking, &self.whole.ranking)
    }
}

/// Drops quotations: whatever is found in a text that the judge was shown, and whatever the surrounding prose calls a
/// quotation.
fn drop_quoted(answer: &str, texts: &Texts, beside: &Beside, readings: &mut Vec<Reading>) -> Result<(), Outcome> {
    let some = !readings.is_empty();
    if !texts.is_empty() {
        let mut lookups = 0;
        readings.retain(|reading| {
            !answer.get(reading.start..reading.end).is_some_and(|text| texts.hold(text, &mut lookups))
        });
    }
    // A sentence about a response quotes it if no verdict of the judge comes before; otherwise it may correct that
    // verdict.
    let mut told = beside.before && beside.whole.scores.status() == Status::Complete;
    for reading in readings.iter_mut().filter(|reading| !reading.template) {
        match reading.frame {
            Frame::Mentioned => reading.frame = if told { Frame::Doubtful } else { Frame::Quoted },
            Frame::Quoted => {}
            _ => told |= reading.says_all(),
        }
    }
    let quoted = |reading: &Reading| reading.frame == Frame::Quoted && !reading.template;
    let doubtful = |reading: &Reading| reading.frame == Frame::Doubtful && !reading.template;
    let own = readings.iter().any(|reading| !quoted(reading) && !doubtful(reading) && reading.says_all());
    if !own && readings.iter().any(doubtful) {
        return Err(Outcome::refused("it is not clear whether the verdict is the judge's own or a quotation"));
    }
    let before = readings.len();
    readings.retain(|reading| !quoted(reading));
    let dropped = some && readings.is_empty() || readings.len() < before;
    let in_text = beside.whole.scores.status() != Status::Absent || beside.whole.ranking.status() != Status::Absent;
    if dropped && readings.is_empty() && !in_text {
        return Err(Outcome::refused(
            "the only verdict in the answer is a quotation or an example, not the judge's own",
        ));
    }
    Ok(())
}

/// The text with the HTML entities resolved that a verdict may hold.
fn unescape_html(text: &str) -> String {
    let resolved = text.replace("&quot;", "\"").replace("&#39;", "'").replace("&gt;", ">").replace("&lt;", "<");
    resolved.replace("&amp;", "&")
}

/// Whether prose after a verdict ends in the middle of a sentence, as in a text that was cut while the judge reasoned.
/// If prose comes before the verdict too, the verdict may be a draft within untagged reasoning.
fn breaks_off(after: &str) -> bool {
    let after = after.trim_end();
    after.ends_with(|c: char| c.is_alphanumeric() || c == ',') && after.contains(' ')
}

/// Takes fields that no structure mentions from the text outside of structures.
fn complete_from_text(answer: &str, beside: &Beside, readings: &mut Vec<Reading>) {
    let scores_seen = readings.iter().any(|reading| reading.scores.seen);
    let ranking_seen = readings.iter().any(|reading| reading.ranking.seen);
    if scores_seen && ranking_seen {
        return;
    }
    let mut scanned = beside.whole.clone();
    if scores_seen {
        scanned.scores = Scores { values: scanned.scores.values, count: scanned.scores.count, ..Scores::default() };
    }
    if ranking_seen {
        scanned.ranking = Ranking::default();
    }
    if !scanned.is_empty() {
        let at = readings.last().map_or(answer.len(), |last| last.end);
        (scanned.start, scanned.end) = (at, at);
        if readings.is_empty() {
            (scanned.start, scanned.end) = (0, 0);
        }
        readings.push(scanned);
    }
}

/// Chooses among several readings: the last one that gives both fields, else the last one for each field.
fn choose(answer: &str, beside: &Beside, mut readings: Vec<Reading>, context: &Context<'_>) -> Outcome {
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
        // A template that is shown after the verdict is no verdict.
        if later.template && later.closed {
            continue;
        }
        // A judge that corrects part of a verdict doubts the rest.
        if scores_at.is_some_and(|chosen| at > chosen) && contradicts_scores(&scores, &later.scores)
            || ranking_at.is_some_and(|chosen| at > chosen) && contradicts_ranking(&ranking, &later.ranking)
        {
            scores.fault("another verdict begins after it and differs".into());
            ranking.fault("another verdict begins after it and differs".into());
        }
    }

    if let Some(at) = both {
        let chosen = &readings[at];
        // An earlier verdict that differs is a draft only if the text says so.
        let gap = readings[..at].iter().map(|earlier| earlier.end).max().unwrap_or(0);
        let last_word = chosen.frame == Frame::Final
            || (gap > 0 && frame::corrects(answer.get(gap..chosen.start).unwrap_or_default()));
        let differs = readings[..at].iter().any(|earlier| {
            !(earlier.template && earlier.closed)
                && (earlier.scores.status() == Status::Complete && contradicts_scores(&scores, &earlier.scores)
                    || earlier.ranking.status() == Status::Complete && contradicts_ranking(&ranking, &earlier.ranking))
        });
        if differs && !last_word {
            scores.fault("the text holds two verdicts that differ, and does not say which is the last".into());
            ranking.fault("the text holds two verdicts that differ, and does not say which is the last".into());
        }
        let said = beside.whole.ranking.status() == Status::Complete || !beside.before;
        if !last_word && said && beside.contradicts(&scores, &ranking) {
            scores.fault("the text beside the verdict gives other scores than the verdict".into());
            ranking.fault("the text beside the verdict gives other scores than the verdict".into());
        }
    }

    if both.is_none() {
        compare_pieces(answer, &readings, scores_at, &mut scores, ranking_at, &mut ranking);
    }

    let mut repairs = Repairs::default();
    let mut dropped = Vec::new();
    let mut chosen: Vec<usize> = scores_at.into_iter().chain(ranking_at).collect();
    chosen.sort_unstable();
    chosen.dedup();
    let (start, end) = chosen
        .iter()
        .fold((usize::MAX, 0), |(start, end), &at| (start.min(readings[at].start), end.max(readings[at].end)));
    // The scan of a text without structures looks for what changes it itself.
    let pending = || withdrawn::is_pending(answer.get(end..).unwrap_or_default());
    if end > 0 && (is_changed(&beside.after(answer, end), &scores, &ranking, context) || pending()) {
        scores.fault(amend::FAULT.into());
        ranking.fault(amend::FAULT.into());
    }
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
    compare_orders(answer, &repairs, &mut scores, &mut ranking);
    finish(&scores, &ranking, repairs, dropped, context)
}

/// Checks both fields for completeness and resolves what the policy leaves open.
fn finish(
    scores: &Scores,
    ranking: &Ranking,
    mut repairs: Repairs,
    dropped: Vec<String>,
    context: &Context<'_>,
) -> Outcome {
    let names = context.names;
    let list = |places: &mut dyn Iterator<Item = usize>| {
        let mut places = places;
        let mut shown: Vec<&str> = (&mut places).take(MAX_NAMED).map(|place| names.shown(place)).collect();
        shown.extend(places.next().map(|_| "…"));
        shown.join(", ")
    };
    let values = match scores.status() {
        Status::Absent => Err("no scores are written".to_owned()),
        Status::Invalid => Err(scores.faults.join("; ")),
        Status::Partial => {
            let mut missing = (0..names.len()).filter(|place| !scores.values.contains_key(place));
            Err(format!("no score is written for {}", list(&mut missing)))
        }
        Status::Complete => Ok(scores.values.values().copied().collect::<Vec<_>>()),
    };
    if values.is_ok() {
        for &place in &scores.clamped {
            repairs.push(Repair::Clamped(names.shown(place).to_owned()));
        }
        if let Some(named) = scores.rescaled {
            repairs.push(Repair::Rescaled(named.words()));
        }
    }
    let order = match ranking.status() {
        Status::Absent => Err("no ranking is written".to_owned()),
        Status::Invalid => Err(ranking.faults.join("; ")),
        Status::Partial => {
            let mut listed = vec![false; names.len()];
            ranking.listed.iter().for_each(|&place| listed[place] = true);
            let mut missing = (0..names.len()).filter(|&place| !listed[place]);
            Err(format!("the ranking does not name {}", list(&mut missing)))
        }
        Status::Complete => settle(&ranking.readings, values.as_deref().ok(), &mut repairs),
    };
    Outcome { scores: values, ranking: order, repairs, dropped }
}

/// Decides between several ways to read a ranking: takes the one that agrees with the scores.
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

/// Whether the text beside a verdict holds anything: prose, a fence, a tag.
fn outside(text: &str) -> bool {
    text.contains(|c: char| c.is_alphanumeric() || matches!(c, '`' | '<' | '*' | '#'))
}

/// Whether no response comes before one with a higher score.
pub(super) fn is_consistent(ranking: &[usize], scores: &[f64]) -> bool {
    ranking.windows(2).all(|pair| scores[pair[0]] >= scores[pair[1]])
}

/// What a reader should know about a verdict: `scores` by place, `ranking` of places.
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
