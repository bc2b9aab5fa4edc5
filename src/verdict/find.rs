//! Finds the structures in an answer that may be the verdict.

use super::chars;
use super::extract;
use super::interpret::{self, Context};
use super::loose;
use super::reading::Reading;
use super::repair::Repair;
use super::tolerant::{self, Stop, Work, token};
use super::turn;

/// How often a verdict that was written as a string, perhaps more than once, is unescaped.
const MAX_UNESCAPED: usize = 3;
/// Most structures that are read, or two for each name if that is more. A text with more is no answer.
const MAX_STRUCTURES: usize = 4096;
/// How many structures that are cut by the end of the text and give nothing are searched inside.
const MAX_CUT: usize = 1;
/// Longest end-of-turn mark, in bytes.
const MAX_MARK: usize = 48;
/// How many end-of-turn marks may come before any verdict.
const MAX_MARKS: usize = 2;
/// How many structures without a verdict are remembered.
const MAX_SILENT: usize = 64;
/// Longest heading, in bytes.
const MAX_HEADING: usize = 256;

/// Everything that was found.
#[derive(Default)]
pub(super) struct Found {
    /// Readings that give scores or a ranking, in the order of the text.
    pub(super) readings: Vec<Reading>,
    /// The ranges of structures that hold reasoning or an example, and no verdict: their text does not count either.
    pub(super) silent: Vec<(usize, usize)>,
    /// Where the judge's turn ends.
    pub(super) end: usize,
    /// Whether the search ended before the text did.
    pub(super) exhausted: bool,
    /// Whether the search ended at something too deep or too long: nothing in it or after it is a verdict.
    pub(super) too_large: bool,
}

/// Looks for structures from the start of an answer. A structure within another is part of it.
pub(super) fn readings(answer: &str, context: &Context<'_>) -> Found {
    let mut found = Found { end: answer.len(), ..Found::default() };
    let mut work = Work::for_len(answer.len(), context.names.len());
    search(answer, context, &mut work, MAX_UNESCAPED, &mut found);
    let after = found.readings.last().map_or(0, |last| last.end);
    if let Some(mark) = answer.get(after..found.end).and_then(turn::end)
        && (after > 0 || says_something(&answer[..mark], context))
    {
        found.end = after + mark;
    }
    found
}

fn search(answer: &str, context: &Context<'_>, work: &mut Work, unescape: usize, found: &mut Found) {
    let longest = context.names.longest();
    // `gap`: where the text outside of structures began. `turn`: the end of the part of it in which no turn ended.
    let (mut at, mut gap, mut turn) = (0, 0, 0);
    let (mut structures, mut cut, mut marks) = (0, 0, 0);
    while let Some(offset) = answer[at..].find(['{', '[', '｛', '［']) {
        let start = at + offset;
        // A mark may itself begin with a bracket.
        let window = &answer[turn..chars::floor_boundary(answer, start + MAX_MARK)];
        if let Some(mark) = turn::end(window).filter(|mark| turn + mark <= start) {
            marks += 1;
            let said =
                !found.readings.is_empty() || (marks <= MAX_MARKS && says_something(&answer[..turn + mark], context));
            if said {
                found.end = turn + mark;
                return;
            }
        }
        turn = start;
        if work.spend(offset + 1).is_err() || structures > MAX_STRUCTURES.max(2 * context.names.len()) {
            found.exhausted = true;
        }
        if found.exhausted {
            return;
        }
        if answer[start..].starts_with("{{") {
            at = start + 1;
            continue;
        }
        let next = start + answer[start..].chars().next().map_or(1, char::len_utf8);
        if unescape > 0 && is_escaped(&answer[next..]) {
            let (text, _) = token::unescape(&answer[start..]);
            let first = found.readings.len();
            search(&text, context, &mut Work::for_len(text.len(), context.names.len()), unescape - 1, found);
            for reading in &mut found.readings[first..] {
                reading.repairs.push(Repair::Unescaped);
                let closing = reading.closed && extract::is_closing(text.get(reading.end..).unwrap_or_default());
                reading.start = start;
                reading.end = if closing { answer.len() } else { start };
            }
            return;
        }
        at = next;
        if !tolerant::opens_structure(answer, start, longest) {
            continue;
        }
        structures += 1;
        match tolerant::read(answer, start, work) {
            Ok(root) => {
                let mut reading = interpret::read(&root, heading(&answer[gap..start]), context);
                reading.start = start;
                // A structure that never ended and gives nothing was none: go on inside it.
                if root.closed || !reading.is_empty() {
                    (at, gap, turn) = (root.end, root.end, root.end);
                } else {
                    cut += 1;
                    found.exhausted = cut > MAX_CUT;
                }
                if reading.is_empty() && reading.thought && found.silent.len() < MAX_SILENT {
                    found.silent.push((start, root.end));
                }
                if !reading.is_empty() {
                    found.readings.push(reading);
                }
            }
            Err(Stop::TooLarge(end)) => {
                let run = answer[start..].find(|c| c != '[' && !chars::is_blank(c)).unwrap_or(answer.len() - start);
                if start + run < end {
                    found.too_large = true;
                    return;
                }
                // Only opening brackets, as a model writes that has lost its way: they enclose nothing.
                at = start + run;
            }
            Err(Stop::Exhausted) => found.exhausted = true,
        }
    }
}

/// Whether the text before the end of a turn gives scores or a ranking without any structure.
fn says_something(text: &str, context: &Context<'_>) -> bool {
    let said = loose::scan(text, context);
    said.scores.values.len() == said.scores.count || !said.ranking.readings.is_empty()
}

/// Whether a structure goes on in escaped form: its first quote has a backslash before it.
fn is_escaped(inner: &str) -> bool {
    let mut rest = chars::trim_blank_start(inner);
    for _ in 0..64 {
        let slashes = rest.len() - rest.trim_start_matches('\\').len();
        if slashes == 0 {
            return false;
        }
        match rest.as_bytes().get(slashes) {
            Some(b'"') => return true,
            Some(b'n' | b't' | b'r') => rest = chars::trim_blank_start(&rest[slashes + 1..]),
            _ => return false,
        }
    }
    false
}

/// The key before a structure, as in `Scores: {…}`: the last line of the text before it, if that ends in a colon.
fn heading(before: &str) -> &str {
    let from = before.len().saturating_sub(MAX_HEADING);
    let before = &before[(from..=before.len()).find(|&at| before.is_char_boundary(at)).unwrap_or(from)..];
    let line = before.trim_end_matches(|c: char| chars::is_blank(c));
    let line = match line.rfind("```") {
        // A code fence between the heading and the structure.
        Some(fence) if line[fence + 3..].chars().all(|c| c.is_ascii_alphanumeric()) => {
            line[..fence].trim_end_matches(chars::is_blank)
        }
        _ => line,
    };
    let line = &line[line.rfind('\n').map_or(0, |end| end + 1)..];
    let emphasis = |c: char| matches!(c, '*' | '_' | '#' | '`' | ' ');
    let trimmed = line.trim_matches(emphasis);
    let Some(key) = trimmed.strip_suffix([':', '：', '=']) else { return "" };
    let key = key.rsplit([',', '.', ';', '}', ']']).next().unwrap_or_default();
    key.trim_matches(|c| emphasis(c) || chars::Quote::of(c).is_some())
}
