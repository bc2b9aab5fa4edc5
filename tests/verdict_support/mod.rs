//! Random verdicts, and ways to print and to damage them.

use dicast::Profile;
use dicast::prompt::mask::AliasMap;

/// A small generator of random numbers (xorshift64*): the same seed gives the same cases on every machine.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).expect("31 bits fit") % end
    }

    pub(crate) fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    pub(crate) fn shuffled(&mut self, count: usize) -> Vec<usize> {
        let mut places: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            places.swap(last, self.below(last + 1));
        }
        places
    }
}

/// A verdict as a judge means it: scores by place, the ranking of places.
#[derive(Clone, Debug)]
pub(crate) struct Meant {
    pub(crate) scores: Vec<f64>,
    pub(crate) ranking: Vec<usize>,
    /// The best score of the scale.
    top: u8,
}

impl Meant {
    /// A verdict on `count` responses, on a scale from 1 to `top`; every second one has halves among its scores.
    pub(crate) fn random(random: &mut Random, count: usize, top: u8) -> Self {
        let halves = random.below(2) == 0;
        let scores = (0..count)
            .map(|_| {
                let whole = f64::from(u8::try_from(random.below(usize::from(top)) + 1).expect("a score"));
                if halves && whole < f64::from(top) && random.below(3) == 0 { whole + 0.5 } else { whole }
            })
            .collect();
        Self { scores, ranking: random.shuffled(count), top }
    }

    pub(crate) fn aliases(&self) -> AliasMap {
        let shown = (1..=self.scores.len()).map(|number| format!("model-{number}")).collect();
        // Real names that no damage can make from an alias.
        let real = (0..self.scores.len()).map(|index| format!("{}-{index}", ["north", "south", "east"][index % 3]));
        AliasMap::new(real.collect(), shown, (0..self.scores.len()).collect())
    }

    fn pairs(&self, pair: impl Fn(usize, f64) -> String, between: &str) -> String {
        let pairs = self.scores.iter().enumerate().map(|(place, &score)| pair(place + 1, score));
        pairs.collect::<Vec<_>>().join(between)
    }

    fn names(&self, name: impl Fn(usize) -> String, between: &str) -> String {
        self.ranking.iter().map(|place| name(place + 1)).collect::<Vec<_>>().join(between)
    }

    /// The verdict in the style of the given number, below [`Meant::STYLES`]. The first three are plain JSON.
    #[expect(clippy::too_many_lines, reason = "one arm a style")]
    pub(crate) fn print(&self, style: usize) -> String {
        let scores = self.pairs(|name, score| format!("\"model-{name}\": {score}"), ", ");
        let ranking = self.names(|name| format!("\"model-{name}\""), ", ");
        let json = format!("{{\"scores\": {{{scores}}}, \"best-to-worst\": [{ranking}]}}");
        match style {
            0 => json,
            1 => format!(
                "{{\n  \"scores\": {{\n    {}\n  }},\n  \"best-to-worst\": [\n    {}\n  ]\n}}",
                self.pairs(|name, score| format!("\"model-{name}\": {score}"), ",\n    "),
                self.names(|name| format!("\"model-{name}\""), ",\n    ")
            ),
            2 => format!("{{\n  \"scores\": {{{scores}}},\n  \"best-to-worst\": [{ranking}]\n}}"),
            3 => format!("```json\n{json}\n```"),
            4 => format!("Here's what I think:\n\n{json}\n\nThat's it: model-1's fine."),
            5 => json.replace('"', "'"),
            6 => json
                .replace("\": ", "”： ")
                .replace("{\"", "{“")
                .replace(", \"", "， “")
                .replace("[\"", "[“")
                .replace('"', "”"),
            7 => json.replace('"', ""),
            8 => json.replace("}, ", ",}, ").replace("]}", ",],}"),
            9 => json.replace("]}", "]"),
            10 => json.replace("]}", ""),
            11 => json.replace(", ", "\n"),
            12 => format!("{{{json}}}"),
            13 => serde_json::Value::from(json).to_string(),
            14 => format!("{{\"best-to-worse\": [{ranking}], \"Scores\": {{{scores}}}}}"),
            15 => format!("{{\"result\": {json}, \"note\": None}}"),
            16 => format!("{{{scores}, \"ranking\": [{ranking}]}}"),
            17 => format!(
                "{{\"scores\": [{}], \"best_to_worst\": \"{}\"}}",
                self.pairs(|name, score| format!("[\"model-{name}\", {score}]"), ", "),
                self.names(|name| format!("model-{name}"), " > ")
            ),
            18 => format!(
                "{{\"scores\": {{{}}}, \"best-to-worst\": [{}]}}",
                self.pairs(|name, score| format!("\"Model {name}\": \"{score} out of {} - good\"", self.top), ", "),
                self.names(|name| format!("\"{name}\""), ", ")
            ),
            19 => format!(
                "{{\"scores\": {{{}}}, \"worst-to-best\": [{}]}}",
                self.pairs(
                    |name, score| format!("\"model-{name}\": {{\"score\": {score}, \"why\": \"it's ok\"}}"),
                    ", "
                ),
                self.ranking
                    .iter()
                    .rev()
                    .map(|place| format!("\"model-{}\"", place + 1))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            20 => format!(
                "scores:\n  {}\nbest-to-worst:\n  - {}\n",
                self.pairs(|name, score| format!("model-{name}: {score}"), "\n  "),
                self.names(|name| format!("model-{name}"), "\n  - ")
            ),
            21 => format!(
                "**Scores**\n- {}\n\n**Ranking:** {}\n",
                self.pairs(|name, score| format!("**model-{name}**: {score}"), "\n- "),
                self.names(|name| format!("model-{name}"), " > ")
            ),
            22 => format!(
                "| Model | Score |\n|---|---|\n{}\n\nBest to worst: {}\n",
                self.pairs(|name, score| format!("| model-{name} | {score} |"), "\n"),
                self.names(|name| format!("model-{name}"), ", ")
            ),
            23 => format!(
                "{}\n\nBest to worst: {}\n",
                self.pairs(|name, score| format!("model-{name}: It says what it should. [RESULT] {score}"), "\n"),
                self.names(|name| format!("model-{name}"), ", ")
            ),
            24 => format!(
                "{}\n\n### Ranking\n{}\n",
                self.pairs(
                    |name, score| format!("### model-{name}\n- Clarity: 3\n- Accuracy: 2\n- Overall: {score}"),
                    "\n\n"
                ),
                self.names(|name| format!("model-{name}"), " > ")
            ),
            25 => format!(
                "**model-{}\n\n**Ranking:** {}\n",
                self.pairs(|name, score| format!("{name}**\nClear enough.\n**Score:** {score}"), "\n\n**model-"),
                self.names(|name| format!("model-{name}"), ", ")
            ),
            26 => format!(
                "| Response | Clarity | Length | Overall |\n|---|---|---|---|\n{}\n\nRanking: {}\n",
                self.pairs(|name, score| format!("| model-{name} | 2 | 4 | {score} |"), "\n"),
                self.names(|name| format!("model-{name}"), " > ")
            ),
            27 => {
                let rank =
                    |name: usize| self.ranking.iter().position(|&place| place + 1 == name).map_or(0, |at| at + 1);
                format!(
                    "model,score,rank\n{}\n",
                    self.pairs(|name, score| format!("model-{name},{score},{}", rank(name)), "\n")
                )
            }
            28 => {
                let rank =
                    |name: usize| self.ranking.iter().position(|&place| place + 1 == name).map_or(0, |at| at + 1);
                let record = |name, score| {
                    format!("{{\"model\": \"model-{name}\", \"score\": {score}, \"rank\": {}}}", rank(name))
                };
                self.pairs(record, "\n") + "\n"
            }
            29 => format!(
                "<table><tr><th>Model</th><th>Score</th></tr>{}</table>\n<p>Ranking: {}</p>\n",
                self.pairs(|name, score| format!("<tr><td>model-{name}</td><td>{score}</td></tr>"), ""),
                self.names(|name| format!("model-{name}"), " > ")
            ),
            30 => format!(
                "{{\"scores\": {{{}}}, \"best-to-worst\": [{}]}}",
                self.pairs(
                    |name, score| format!("\"model-{name}\": {{\"clarity\": 3, \"depth\": 2, \"overall\": {score}}}"),
                    ", "
                ),
                self.names(|name| format!("\"model-{name}\""), ", ")
            ),
            31 => format!(
                "评分：{}。\n排名：{}\n",
                self.pairs(|name, score| format!("模型{name}：{score}分"), "，"),
                self.names(|name| format!("模型{name}"), " > ")
            ),
            32 => format!("The second says {{\"scores\": {{\"model-1\": 1}}}}, which I ignore.\n\n{json}"),
            _ => format!(
                "{{\"scores\": [{}], \"best-to-worst\": [{}]}} // done",
                self.pairs(|name, score| format!("{{\"model\": \"model-{name}\", \"score\": {score}}}"), ", "),
                self.names(|name| format!("\"#{name}: model-{name}\""), ", ").replace('#', "")
            ),
        }
    }

    pub(crate) const STYLES: usize = 34;
}

/// Characters that an edit writes. No digits: another digit makes another verdict.
const WRITTEN: &[char] = &[
    '"', '\'', '`', ':', ',', '{', '}', '[', ']', '(', ')', '<', '>', '\\', '.', '-', '_', '=', '+', '*', '#', '&',
    ';', '!', '?', '@', '|', '~', '%', ' ', '\n', '\t', '\r', '\0', 'a', 'e', 'm', 'X', 'é', '😀', '“', '”', '’', '：',
    '，',
];

/// A way to damage a text in one place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Damage {
    Delete,
    Insert,
    Replace,
    Swap,
    DeleteSpan,
    RepeatSpan,
    DeleteKind,
    Truncate,
}

impl Damage {
    /// Edits of one character.
    pub(crate) const CHARACTER: &[Self] = &[Self::Delete, Self::Insert, Self::Replace, Self::Swap];
    pub(crate) const ALL: &[Self] = &[
        Self::Delete,
        Self::Insert,
        Self::Replace,
        Self::Swap,
        Self::DeleteSpan,
        Self::RepeatSpan,
        Self::DeleteKind,
        Self::Truncate,
    ];

    /// Damages a text that is not empty.
    pub(crate) fn apply(self, text: &str, random: &mut Random) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        let at = random.below(chars.len());
        let mut end = (at + 1 + random.below(8)).min(chars.len());
        // A 10 that loses a digit is another verdict.
        let is_ten = |from: usize| {
            let is = |at: usize, wanted: char| chars.get(at) == Some(&wanted);
            let digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
            is(from, '1')
                && is(from + 1, '0')
                && !digit(from + 2)
                && !(from > 0 && (digit(from - 1) || is(from - 1, '-')))
        };
        let within_ten = is_ten(at) || (at > 0 && is_ten(at - 1));
        let written = *random.clone().pick(WRITTEN);
        match self {
            Self::Delete if within_ten => {}
            Self::Replace if within_ten && !written.is_alphabetic() => {}
            Self::Swap if is_ten(at) => {}
            // 1.0 is 1.
            Self::Insert if at > 0 && is_ten(at - 1) && written == '.' => {}
            Self::Delete => {
                chars.remove(at);
            }
            Self::Insert => chars.insert(at, *random.pick(WRITTEN)),
            Self::Replace => chars[at] = *random.pick(WRITTEN),
            Self::Swap => chars.swap(at, (at + 1).min(text.chars().count() - 1)),
            Self::DeleteSpan => {
                // Not a part of a number: 4.5 without `.5` is another verdict. Characters that an earlier damage wrote
                // into a number belong to it.
                let odd = |c: char| {
                    matches!(c, 'é' | '😀' | '“' | '”' | '’' | '：' | '，' | '~' | '%' | '&' | '@' | '!' | '?')
                };
                let number = |c: char| c.is_ascii_digit() || matches!(c, '.' | '/') || odd(c);
                let mut start = at;
                while start > 0 && number(chars[start]) && number(chars[start - 1]) {
                    start -= 1;
                }
                while end < chars.len() && number(chars[end]) && number(chars[end - 1]) {
                    end += 1;
                }
                // Nor the score of `1 out of 5`: another number would be left in its place.
                let span: String = chars[start..end].iter().collect();
                if !(span.contains("out") && span.contains(|c: char| c.is_ascii_digit())) {
                    chars.drain(start..end);
                }
            }
            Self::RepeatSpan => {
                // No digits: 4.55 instead of 4.5 is another verdict.
                let span: Vec<char> = chars[at..end].iter().copied().filter(|c| !c.is_ascii_digit()).collect();
                chars.splice(at..at, span);
            }
            Self::DeleteKind => {
                let kind = *random.pick(&['"', ',', ':', ' ', '\n', '{', '}', '[', ']', '\'']);
                chars.retain(|&c| c != kind);
            }
            Self::Truncate => chars.truncate(at + 1),
        }
        chars.into_iter().collect()
    }
}

/// The profile of a judge whose scores are 1 to `top`.
pub(crate) fn profile(top: u8) -> Profile {
    let mut profile = Profile::from_json(
        r#"{"format": 1, "name": "test", "system_prompt": "Judge.", "reasoning": {"open": "<think>", "close": "</think>"}}"#,
    )
    .expect("the profile is valid");
    profile.scale.max = top;
    profile.check().expect("the scale is valid");
    profile
}
