//! A verdict for people: a table with bars, the reasoning, and notes.

use console::{measure_text_width, truncate_str};
use dicast::prompt::profile::Scale;
use dicast::{Flag, JudgeRequest, Repair, Verdict};

/// Widest bar, in characters.
const BAR: usize = 20;
/// Widest column of names, in characters.
const NAME: usize = 32;
/// Lines of reasoning that are shown unless all are asked for.
const REASONING_LINES: usize = 6;
/// Between two tables side by side.
const GAP: usize = 4;

/// The properties of the output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surface {
    /// Columns.
    pub(crate) width: usize,
    /// Whether colours are wanted.
    pub(crate) colours: bool,
    /// Whether all of the reasoning is.
    pub(crate) full: bool,
}

impl Surface {
    /// The properties of standard output: colours only on a terminal and without `NO_COLOR`.
    pub(crate) fn stdout(full: bool) -> Self {
        let term = console::Term::stdout();
        let width = term.size_checked().map_or(100, |(_, columns)| usize::from(columns)).max(40);
        Self { width, colours: term.is_term() && console::colors_enabled(), full }
    }

    fn style(self, text: &str, code: &str) -> String {
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.style(text, "2")
    }
}

/// The lines of one verdict.
pub(crate) fn verdict(request: &JudgeRequest, verdict: &Verdict, scale: Scale, surface: Surface) -> Vec<String> {
    let principle = match (&request.principle, &request.rubric) {
        (principle, rubric) if principle.is_empty() => format!("a rubric of {} criteria", rubric.len()),
        (principle, _) => printable(principle, false),
    };
    let heading = wrap(&principle, surface.width);
    let mut lines: Vec<String> = heading.iter().map(|line| surface.style(line, "1")).collect();
    lines.push(String::new());
    lines.extend(parsed(verdict, scale, surface));
    lines.extend(wrap(&cost(verdict), surface.width).iter().map(|line| surface.dim(line)));
    lines
}

/// The lines of a verdict if only its text is known.
pub(crate) fn parsed(verdict: &Verdict, scale: Scale, surface: Surface) -> Vec<String> {
    let mut lines = rows(verdict, scale, surface);
    lines.extend(super::merged::lines(verdict, surface));
    lines.push(String::new());
    let named = super::aliases::named_reasoning(verdict);
    lines.extend(reasoning(named.as_deref().unwrap_or(&verdict.reasoning), surface));
    let flags = verdict.flags.iter().map(|flag| ("note", flag_text(flag)));
    let repairs = verdict.repairs.iter().map(|repair| ("repaired", repair_text(repair)));
    for (label, text) in repairs.chain(flags) {
        let wrapped = wrap(&format!("{label}: {text}"), surface.width);
        lines.extend(wrapped.iter().map(|line| surface.style(line, "33")));
    }
    lines
}

/// One row for each response, best first.
fn rows(verdict: &Verdict, scale: Scale, surface: Surface) -> Vec<String> {
    let names: Vec<String> =
        verdict.ranking.iter().map(|&index| clip(&printable(&verdict.scores[index].name, false), NAME)).collect();
    let has_expected = verdict.scores.iter().any(|scored| scored.expected.is_some());
    // Rank, score and expected score, each with the gap before the next column.
    let fixed = 4 + 7 + if has_expected { 10 } else { 0 };
    let widest = names.iter().map(|name| measure_text_width(name)).max().unwrap_or(0).max("response".len());
    let name_width = widest.min(surface.width.saturating_sub(fixed + 2).max(8));
    let bar = surface.width.saturating_sub(fixed + name_width + 2).min(BAR);

    let title = format!(
        "{:<4}{}  {:<7}{}",
        "#",
        pad("response", name_width),
        "score",
        if has_expected { "expected" } else { "" }
    );
    let mut lines = vec![surface.dim(title.trim_end())];
    for (place, (&index, name)) in verdict.ranking.iter().zip(&names).enumerate() {
        let scored = &verdict.scores[index];
        let expected = match scored.expected {
            Some(expected) => format!("{expected:<10.2}"),
            None if has_expected => " ".repeat(10),
            None => String::new(),
        };
        let share = (scored.expected.unwrap_or(scored.score) / f64::from(scale.max)).clamp(0.0, 1.0);
        let colour = match share {
            share if share >= 0.7 => "32",
            share if share >= 0.4 => "33",
            _ => "31",
        };
        let score =
            if scored.score.fract() == 0.0 { format!("{:<7}", scored.score) } else { format!("{:<7.2}", scored.score) };
        let line = format!("{:<4}{}  {score}{expected}", place + 1, pad(&clip(name, name_width), name_width));
        lines.push(format!("{line}{}", surface.style(&bar_of(share, bar), colour)).trim_end().to_owned());
    }
    lines
}

/// The reasoning, wrapped.
fn reasoning(text: &str, surface: Surface) -> Vec<String> {
    let mut lines: Vec<String> =
        printable(text, true).trim().lines().flat_map(|line| wrap(line, surface.width.min(100))).collect();
    if !surface.full && lines.len() > REASONING_LINES {
        let more = lines.len() - REASONING_LINES;
        lines.truncate(REASONING_LINES);
        lines.push(format!("… {more} more lines (--full shows them)"));
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.iter().map(|line| if line.is_empty() { String::new() } else { surface.dim(line) }).collect()
}

/// Tokens and times, in one line.
fn cost(verdict: &Verdict) -> String {
    let (usage, timing) = (verdict.usage, verdict.timing);
    let reused = if usage.reused_tokens > 0 { format!(" ({} reused)", usage.reused_tokens) } else { String::new() };
    let total = timing.queue + timing.prefill + timing.reasoning + timing.verdict;
    format!(
        "tokens: prompt {}{reused}, reasoning {}, verdict {}; {:.2} s",
        usage.prompt_tokens,
        usage.reasoning_tokens,
        usage.verdict_tokens,
        total.as_secs_f64()
    )
}

/// A flag in words.
fn flag_text(flag: &Flag) -> String {
    match flag {
        Flag::InconsistentRanking => "the ranking contradicts the scores (--consistent-ranking prevents this)".into(),
        Flag::Ties => "some scores are equal".into(),
        Flag::ReasoningTruncated => "the reasoning reached its budget and was ended".into(),
        Flag::ReasoningClosed => {
            "the chat template closed the reasoning: the judge did not reason (see --template-variables)".into()
        }
        Flag::ReasoningSkipped => "the scores were clear without reasoning (--adaptive-reasoning)".into(),
        Flag::OrdersReduced => "these responses have fewer orders than --orders: each order was judged".into(),
        Flag::JudgedInBlocks => {
            "judged in blocks: responses of different blocks are compared by the responses that all blocks share".into()
        }
        Flag::JudgedOneByOne => "judged one by one: this judge reads one response at once".into(),
        Flag::ComparedInPairs => "compared in pairs: this judge reads two responses at once".into(),
        Flag::CalibrationOfOtherModel => {
            "the profile's calibration was learned on another model: its probabilities may be wrong (dicast calibrate)".into()
        }
        Flag::CalibrationOfOtherOptions => {
            "the profile's calibration was learned with other options or another profile: its probabilities may be wrong \
             (dicast calibrate)"
                .into()
        }
        Flag::DroppedName(name) => {
            format!("the judge also named {:?}, which was not asked for", printable(name, false))
        }
        other => in_words(other),
    }
}

/// A repair in words.
fn repair_text(repair: &Repair) -> String {
    in_words(repair)
}

/// The JSON name of a variant, spelled out.
fn in_words(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name.replace('_', " "),
        Ok(other) => printable(&other.to_string(), false),
        Err(_) => String::new(),
    }
}

/// Puts tables side by side if they fit, else below each other.
pub(crate) fn arrange(blocks: &[Vec<String>], columns: usize, width: usize) -> String {
    let mut text = String::new();
    for group in blocks.chunks(columns.max(1)) {
        let column = width.saturating_sub(GAP * (group.len() - 1)) / group.len();
        for row in 0..group.iter().map(Vec::len).max().unwrap_or(0) {
            let cells: Vec<String> =
                group.iter().map(|block| pad(block.get(row).map_or("", String::as_str), column)).collect();
            text.push_str(cells.join(&" ".repeat(GAP)).trim_end());
            text.push('\n');
        }
        text.push('\n');
    }
    text.pop();
    text
}

/// How many tables of at least `wanted` columns fit side by side, and the width of each.
pub(crate) fn columns(tables: usize, width: usize, wanted: usize) -> (usize, usize) {
    let fit = ((width + GAP) / (wanted + GAP)).clamp(1, tables.max(1));
    (fit, (width - GAP * (fit - 1)) / fit)
}

/// A bar of `width` characters at most, in eighths of a character.
fn bar_of(share: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a bar of at most a few dozen characters"
    )]
    let eighths = (share * width as f64 * 8.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// Text that is safe on a terminal: control characters and marks that change the direction of writing become escapes.
pub(crate) fn printable(text: &str, keep_lines: bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' if keep_lines => safe.push(c),
            '\n' | '\t' => safe.push(' '),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                safe.extend(c.escape_unicode());
            }
            c if c.is_control() => safe.extend(c.escape_default()),
            c => safe.push(c),
        }
    }
    safe
}

/// Cut to a width, with a sign that it was.
pub(crate) fn clip(text: &str, width: usize) -> String {
    truncate_str(text, width, "…").into_owned()
}

/// Cut or filled up to exactly a width.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    pad(&clip(text, width), width)
}

/// Filled up to a width.
pub(crate) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(measure_text_width(text))))
}

/// Breaks a line at spaces; a word longer than the width is cut.
pub(crate) fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in line.split_inclusive(' ') {
        let wide = measure_text_width(word.trim_end());
        if used > 0 && used + wide > width {
            lines.push(String::new());
            used = 0;
        }
        let last = lines.last_mut().expect("there is always a line");
        if wide <= width {
            last.push_str(word);
            used += measure_text_width(word);
            continue;
        }
        for c in word.chars() {
            let c_wide = measure_text_width(c.encode_utf8(&mut [0; 4]));
            if used + c_wide > width {
                lines.push(String::new());
                used = 0;
            }
            lines.last_mut().expect("there is always a line").push(c);
            used += c_wide;
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Surface = Surface { width: 64, colours: false, full: false };

    fn example() -> (JudgeRequest, Verdict) {
        let request = JudgeRequest::new("Be\nbrief.", "?", [("long", "…"), ("短い", "x"), ("evil\u{1b}[2J", "y")]);
        let verdict = serde_json::from_value(serde_json::json!({
            "scores": { "long": 2.0, "短い": 5.0, "evil\u{1b}[2J": 1.0 },
            "expected_scores": { "long": 2.25, "短い": 5.0, "evil\u{1b}[2J": 1.0 },
            "ranking": ["短い", "long", "evil\u{1b}[2J"],
            "reasoning": "one two three four five six seven eight nine ten eleven twelve thirteen",
            "repairs": [Repair::RankingDerived],
            "flags": [Flag::Ties],
            "usage": { "prompt_tokens": 100, "reused_tokens": 60 },
        }));
        let verdict = verdict.expect("a verdict");
        (request, verdict)
    }

    #[test]
    fn a_table_ranks_scores_and_draws_bars() {
        let (request, given) = example();
        let lines = verdict(&request, &given, Scale::default(), PLAIN);
        assert_eq!(lines[0], "Be brief.");
        assert_eq!(lines[2], "#   response       score  expected");
        assert_eq!(lines[3], "1   短い           5      5.00      ████████████████████");
        assert_eq!(lines[4], "2   long           2      2.25      █████████");
        assert_eq!(lines[5], "3   evil\\u{1b}[2J  1      1.00      ████");
        assert_eq!(lines[7], "one two three four five six seven eight nine ten eleven twelve");
        assert_eq!(lines[8], "thirteen");
        assert!(lines.contains(&"repaired: ranking derived".into()), "{lines:?}");
        assert!(lines.contains(&"note: some scores are equal".into()));
        assert_eq!(lines.last().unwrap(), "tokens: prompt 100 (60 reused), reasoning 0, verdict 0; 0.00 s");
        assert!(lines.iter().all(|line| measure_text_width(line) <= 64 && !line.contains('\u{1b}')));
    }

    #[test]
    fn a_narrow_terminal_cuts_names_and_bars() {
        let (request, mut given) = example();
        given.scores[0].name = "n".repeat(200);
        given.reasoning = "w".repeat(500);
        let narrow = Surface { width: 40, ..PLAIN };
        let lines = verdict(&request, &given, Scale::default(), narrow);
        assert!(lines.iter().all(|line| measure_text_width(line) <= 40), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("… 7 more lines")), "{lines:#?}");
    }

    #[test]
    fn tables_stand_side_by_side_where_they_fit() {
        let blocks = [vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]];
        assert_eq!(arrange(&blocks, 2, 24), "a             c\nb\n");
        assert_eq!(arrange(&blocks, 1, 24), "a\nb\n\nc\n");
        assert_eq!(columns(2, 130, 60), (2, 63));
        assert_eq!(columns(2, 100, 60), (1, 100));
        assert_eq!(columns(1, 200, 60), (1, 200));
    }

    #[test]
    fn bars_grow_by_eighths() {
        assert_eq!(bar_of(0.0, 20), "");
        assert_eq!(bar_of(1.0, 3), "███");
        assert_eq!(bar_of(0.5, 1), "▌");
    }
}
