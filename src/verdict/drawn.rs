//! What judges draw: tables with lines, in LaTeX or with HTML entities; stars for scores; medals for ranks. All of it
//! is rewritten in plain signs before it is read.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Stars that count, and those that only fill the row up.
const FULL: [char; 4] = ['★', '⭐', '🌟', '✭'];
const EMPTY: [char; 4] = ['☆', '✩', '✰', '⚝'];
/// Most stars in a row that are a score.
const MAX_STARS: usize = 10;
/// Medals for the first three.
const MEDALS: [(char, &str); 3] = [('🥇', "1st place: "), ('🥈', "2nd place: "), ('🥉', "3rd place: ")];
/// The numbers from 1 on in Chinese and Japanese.
const NUMERALS: [char; 10] = ['一', '二', '三', '四', '五', '六', '七', '八', '九', '十'];
/// Words for a response before such a number.
const NUMBERED: [&str; 4] = ["模型", "回答", "回复", "モデル"];
/// Commands of LaTeX that draw a line between rows.
const RULES: [&str; 5] = ["\\hline", "\\midrule", "\\toprule", "\\bottomrule", "\\cmidrule"];

/// The text in plain signs. Characters that `kept` accepts are part of a name and stay as they are.
pub(super) fn plain(text: &str, kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let mut plain = Cow::Borrowed(text);
    if plain.contains("&gt;") && !kept('&') {
        plain = Cow::Owned(plain.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"));
    }
    if plain.contains("\\\\") && plain.contains(" & ") && !kept('&') {
        plain = Cow::Owned(by_line(&plain, latex));
    }
    if plain.is_ascii() {
        return plain;
    }
    if plain.contains(NUMERALS) && !kept('一') {
        plain = numbered(plain);
    }
    if plain.contains(['│', '┃', '║']) && !plain.chars().any(|c| boxed(c).is_some() && kept(c)) {
        plain = Cow::Owned(plain.chars().map(|c| boxed(c).unwrap_or(c)).collect());
    }
    if plain.contains(FULL) && !FULL.iter().chain(&EMPTY).any(|&star| kept(star)) {
        plain = Cow::Owned(by_line(&plain, stars));
    }
    if plain.contains(MEDALS.map(|(medal, _)| medal)) && !MEDALS.iter().any(|&(medal, _)| kept(medal)) {
        plain = Cow::Owned(by_line(&plain, medals));
    }
    plain
}

/// A text in which `模型一` is `模型1`. The number must end there: `模型一般` and `回答一致` are other words.
fn numbered(text: Cow<'_, str>) -> Cow<'_, str> {
    let number = |before: &str, c: char, after: &str| {
        let digit = NUMERALS.iter().position(|&numeral| numeral == c)? + 1;
        let next = after.chars().next().filter(|&next| next.is_alphabetic());
        let ends = next.is_none_or(|next| "的和与及比在是得更最比优排は的がとの".contains(next));
        (ends && NUMBERED.iter().any(|noun| before.ends_with(noun))).then_some(digit)
    };
    let mut plain = String::new();
    let mut at = 0;
    for (start, c) in text.char_indices() {
        let end = start + c.len_utf8();
        if let Some(digit) = number(&text[..start], c, &text[end..]) {
            plain.push_str(&text[at..start]);
            plain.push_str(&digit.to_string());
            at = end;
        }
    }
    if at == 0 {
        return text;
    }
    plain.push_str(&text[at..]);
    Cow::Owned(plain)
}

fn by_line(text: &str, rewrite: impl Fn(&str, &mut String)) -> String {
    let mut plain = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        rewrite(line, &mut plain);
    }
    plain
}

/// The plain sign for one that draws a table.
fn boxed(c: char) -> Option<char> {
    match c {
        '│' | '┃' | '║' | '┆' | '┊' | '╎' => Some('|'),
        '─' | '━' | '═' | '┄' | '┈' | '╌' => Some('-'),
        '\u{2500}'..='\u{256c}' => Some('+'),
        _ => None,
    }
}

/// A row of a table in LaTeX as one in Markdown.
fn latex(line: &str, plain: &mut String) {
    let row = line.trim();
    if RULES.iter().any(|rule| row.starts_with(rule)) {
        plain.push_str("|---|\n");
        return;
    }
    let Some((cells, _)) = row.split_once("\\\\").filter(|(cells, _)| cells.contains(" & ")) else {
        plain.push_str(line);
        return;
    };
    let cells =
        cells.replace(" & ", " | ").replace("\\_", "_").replace("\\%", "%").replace("\\textbf{", "").replace('}', "");
    let _ = writeln!(plain, "| {cells} |");
}

/// A line whose only number is a row of stars, with the number in its place.
fn stars(line: &str, plain: &mut String) {
    let is_star = |c: char| FULL.contains(&c) || EMPTY.contains(&c);
    let Some(start) = line.find(is_star) else {
        plain.push_str(line);
        return;
    };
    let row: Vec<char> = line[start..].chars().take_while(|&c| is_star(c)).collect();
    let end = start + row.iter().map(|c| c.len_utf8()).sum::<usize>();
    let (before, after) = (&line[..start], &line[end..]);
    let full = row.iter().take_while(|c| FULL.contains(c)).count();
    let orderly = row[full..].iter().all(|c| EMPTY.contains(c)) && row.len() <= MAX_STARS && !after.contains(is_star);
    // A single star, or one before the name, is decoration.
    let led = before.trim_end().ends_with([':', '：', '=', '|', '-', '–', '—', '→', '('])
        || (row.len() > 1 && before.contains(char::is_alphanumeric));
    let rest = after.trim_start_matches([' ', '|', '(', '[', '*', ':', '-', '–', '—']);
    let halved = rest.starts_with(['½', '¼', '¾']);
    let number = rest.starts_with(|c: char| c.is_numeric());
    let digits = &rest[..rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len())];
    let drawn = u32::try_from(full).map_or(0.0, f64::from);
    let differs = digits.parse::<f64>().is_ok_and(|value| number && (value - drawn).abs() >= 1.0);
    if !orderly || !led || halved || differs {
        plain.push_str(line);
        return;
    }
    plain.push_str(before);
    if number {
        // The number is written beside the stars.
        plain.push_str(after.trim_start());
    } else {
        let _ = write!(plain, "{full}");
        if row.len() > full {
            let _ = write!(plain, "/{}", row.len());
        }
        plain.push_str(after);
    }
}

/// A line with medals before names, each in a line of its own, with the rank in words.
fn medals(line: &str, plain: &mut String) {
    let find = |text: &str| text.find(MEDALS.map(|(medal, _)| medal));
    let mut rest = line;
    while let Some(at) = find(rest) {
        let Some(medal) = rest[at..].chars().next() else { break };
        let after = &rest[at + medal.len_utf8()..];
        let named = &after[..find(after).unwrap_or(after.len())];
        let before = &rest[..at];
        let words = MEDALS.iter().find(|(known, _)| *known == medal).map_or("", |(_, words)| words);
        plain.push_str(before);
        if named.contains(char::is_alphanumeric) {
            if before.contains(char::is_alphanumeric) {
                plain.push('\n');
            }
            plain.push_str(words);
        }
        rest = after.trim_start_matches([' ', ':', '-', '–']);
    }
    plain.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str) -> String {
        plain(text, |_| false).into_owned()
    }

    #[test]
    fn stars_are_numbers_where_they_are_scores() {
        for (text, wanted) in [
            ("a: ★★★★☆", "a: 4/5"),
            ("a: ⭐⭐⭐", "a: 3"),
            ("a: ★\n", "a: 1\n"),
            ("| a | ★★☆☆☆ |", "| a | 2/5 |"),
            ("a: ★★★★☆ (4/5)", "a: (4/5)"),
            ("⭐ a: 5", "⭐ a: 5"),
            ("a ⭐ 5", "a ⭐ 5"),
            ("a: ★★★½", "a: ★★★½"),
            ("a: ☆★", "a: ☆★"),
            ("a: ★★ b: ★", "a: ★★ b: ★"),
        ] {
            assert_eq!(drawn(text), wanted, "{text}");
        }
        assert_eq!(plain("a: ★★", |c| c == '★'), "a: ★★");
    }

    #[test]
    fn medals_are_ranks_before_names() {
        assert_eq!(drawn("🥇 c 🥈 a 🥉 b"), "1st place: c \n2nd place: a \n3rd place: b");
        assert_eq!(drawn("- 🥇: c (5)\n"), "- 1st place: c (5)\n");
        assert_eq!(drawn("c: 5 🥇\n"), "c: 5 \n");
    }

    #[test]
    fn tables_are_drawn_in_plain_signs() {
        assert_eq!(drawn("├───┼───┤\n│ a │ 4 │"), "+---+---+\n| a | 4 |");
        assert_eq!(drawn("a & 4 \\\\ \\hline\n\\hline\nx"), "| a | 4  |\n|---|\nx");
        assert_eq!(drawn("c &gt; a"), "c > a");
        assert_eq!(drawn("plain \\\\ text"), "plain \\\\ text");
    }
}
