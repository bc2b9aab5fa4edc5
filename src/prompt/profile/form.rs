//! How a judge is shown a request and writes its verdict, other than as JSON about any number of responses.

use serde::{Deserialize, Serialize};

use super::Scale;

/// How a verdict is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct VerdictForm {
    /// What the judge writes between its reasoning and the verdict.
    #[serde(default = "blank_line")]
    pub separator: String,
    /// The layout that a guided verdict follows. Its marks say what a verdict is about ([`Self::kind`]):
    ///
    /// - `%scores%` stands for `"model-1": 4, "model-2": 2`, `%ranking%` for `"model-1", "model-2"`: each once, the scores
    ///   first. The judge reads any number of responses.
    /// - `%score%` stands for one score: once for a judge that reads one response, twice for one that reads two, whose scores
    ///   stand in the order shown.
    /// - `%list%` stands for the scores of all responses in the order shown: `4, 2`. The judge reads any number of responses.
    /// - `%choice%` stands for the letter of the better one of two responses, `A` or `B`.
    pub layout: String,
}

impl Default for VerdictForm {
    fn default() -> Self {
        Self {
            separator: blank_line(),
            layout: "{\n  \"scores\": {%scores%},\n  \"best-to-worst\": [%ranking%]\n}".into(),
        }
    }
}

fn blank_line() -> String {
    "\n\n".into()
}

/// What a verdict is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerdictKind {
    /// A score for each of any number of responses, and their ranking.
    Table,
    /// The score of one response.
    Score,
    /// The scores of two responses.
    TwoScores,
    /// The scores of any number of responses.
    List,
    /// Which of two responses is better.
    Choice,
}

impl VerdictKind {
    /// How many responses the judge reads at once; `None` for any number.
    pub fn responses(self) -> Option<usize> {
        match self {
            Self::Table | Self::List => None,
            Self::Score => Some(1),
            Self::TwoScores | Self::Choice => Some(2),
        }
    }
}

/// What a mark of a layout stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Scores,
    Ranking,
    Score,
    List,
    Choice,
}

impl Mark {
    const ALL: [(Self, &str); 5] = [
        (Self::Scores, "%scores%"),
        (Self::Ranking, "%ranking%"),
        (Self::Score, "%score%"),
        (Self::List, "%list%"),
        (Self::Choice, "%choice%"),
    ];
}

/// The marks of a layout in one pass, each with the text before it; at the end, `rest` is the text behind the last one. Every
/// judgment looks at its layout several times.
struct Marks<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Marks<'a> {
    type Item = (&'a str, Mark);

    fn next(&mut self) -> Option<Self::Item> {
        for at in memchr::memchr_iter(b'%', self.rest.as_bytes()) {
            let (before, here) = self.rest.split_at(at);
            let of = |&(mark, text): &(Mark, &str)| Some((mark, here.strip_prefix(text)?));
            if let Some((mark, rest)) = Mark::ALL.iter().find_map(of) {
                self.rest = rest;
                return Some((before, mark));
            }
        }
        None
    }
}

impl VerdictForm {
    /// What a verdict of this layout is about; [`VerdictKind::Table`] for a layout that no profile may have.
    pub fn kind(&self) -> VerdictKind {
        let (mut scores, mut choices, mut lists) = (0, 0, 0);
        for (_, mark) in self.marks() {
            scores += u32::from(mark == Mark::Score);
            choices += u32::from(mark == Mark::Choice);
            lists += u32::from(mark == Mark::List);
        }
        match (scores, choices, lists) {
            (1, 0, 0) => VerdictKind::Score,
            (2, 0, 0) => VerdictKind::TwoScores,
            (0, 1, 0) => VerdictKind::Choice,
            (0, 0, 1) => VerdictKind::List,
            _ => VerdictKind::Table,
        }
    }

    fn marks(&self) -> Marks<'_> {
        Marks { rest: &self.layout }
    }

    /// The text of the layout around its marks, one more than it has marks.
    pub(crate) fn pieces(&self) -> Vec<&str> {
        let mut marks = self.marks();
        let mut pieces: Vec<_> = marks.by_ref().map(|(before, _)| before).collect();
        pieces.push(marks.rest);
        pieces
    }

    /// Checks the marks of the layout.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check(&self, scale: Scale) -> Result<(), String> {
        let marks: Vec<Mark> = self.marks().map(|(_, mark)| mark).collect();
        let of_a_table = |mark: &Mark| matches!(mark, Mark::Scores | Mark::Ranking);
        if self.kind() != VerdictKind::Table {
            if marks.iter().any(of_a_table) {
                return Err(
                    "verdict.layout holds %score%, %list% or %choice%, and %scores% or %ranking%: these exclude each other"
                        .into(),
                );
            }
            // A mark ends at what it touches: not at letters and digits, nor at the point of a number.
            let pieces = self.pieces();
            let sticks =
                |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '\u{2212}'));
            let before = pieces[..pieces.len() - 1].iter().any(|piece| sticks(piece.chars().next_back()));
            let after = pieces[1..].iter().any(|piece| sticks(piece.chars().next()));
            let between = pieces[1..pieces.len() - 1].iter().any(|piece| piece.trim().is_empty());
            if self.kind() == VerdictKind::List && pieces[1].trim_start().starts_with(',') {
                return Err("verdict.layout: a comma after %list% could go on with it".into());
            }
            return if before || after || between {
                Err("verdict.layout: a mark must not touch a letter, a digit, a point or a minus, and two marks must have a sign \
                     between them"
                    .into())
            } else {
                Ok(())
            };
        }
        if marks == [Mark::Scores, Mark::Ranking] {
            let after = self.pieces()[1].chars().next();
            return if !scale.is_prefix_free() && after.is_some_and(|c| c.is_ascii_digit() || c == '.') {
                Err("verdict.layout: with scores such as 1 and 10, a digit or a point after %scores% could belong to the last score"
                    .into())
            } else {
                Ok(())
            };
        }
        Err("verdict.layout must hold %scores% once and %ranking% once after it; or %list% once; or %score% once or twice, or %choice% \
             once, for a judge that reads one or two responses"
            .into())
    }
}

/// The user's message in words, for judges that were not trained to read JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UserMessage {
    /// The message, with the marks `%principle%`, `%prompt%` and `%responses%`, each once.
    pub text: String,
    /// Each response in it, with the mark `%response%` once and the mark `%name%`.
    pub response: String,
    /// What stands between two responses.
    #[serde(default = "blank_line")]
    pub between: String,
}

impl UserMessage {
    /// The message about a principle, a prompt, and responses with the names that the judge sees.
    pub(crate) fn fill<'a>(
        &self,
        principle: &str,
        prompt: &str,
        responses: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> String {
        let each: Vec<String> =
            responses.map(|(name, text)| filled(&self.response, &[("%name%", name), ("%response%", text)])).collect();
        let marks = [("%principle%", principle), ("%prompt%", prompt), ("%responses%", &each.join(&self.between))];
        filled(&self.text, &marks)
    }

    /// Checks the marks. `names` tells whether the judge must see the names.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check(&self, names: bool) -> Result<(), String> {
        for mark in ["%principle%", "%prompt%", "%responses%"] {
            if self.text.matches(mark).count() != 1 {
                return Err(format!("user_message.text must hold {mark} once"));
            }
        }
        if self.response.matches("%response%").count() != 1 {
            return Err("user_message.response must hold %response% once".into());
        }
        if names && !self.response.contains("%name%") {
            return Err("user_message.response must hold %name%, once or several times".into());
        }
        Ok(())
    }
}

/// A text with its marks replaced, in one pass: a mark in what is put in stays as it is.
fn filled(text: &str, marks: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(text.len() + marks.iter().map(|(_, value)| value.len()).sum::<usize>());
    let mut rest = text;
    while let Some((at, mark, value)) =
        marks.iter().filter_map(|(mark, value)| Some((rest.find(mark)?, mark, value))).min()
    {
        out.push_str(&rest[..at]);
        out.push_str(value);
        rest = &rest[at + mark.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(layout: &str) -> VerdictForm {
        VerdictForm { separator: String::new(), layout: layout.into() }
    }

    #[test]
    fn the_marks_of_a_layout_say_what_a_verdict_is_about() {
        for (layout, kind, pieces) in [
            (VerdictForm::default().layout.as_str(), VerdictKind::Table, 3),
            ("[RESULT] %score%", VerdictKind::Score, 2),
            ("<answer>%score%, %score%</answer>", VerdictKind::TwoScores, 3),
            ("[[%choice%]]", VerdictKind::Choice, 2),
            ("\\boxed{%list%}", VerdictKind::List, 2),
        ] {
            let form = form(layout);
            assert_eq!(
                (form.check(Scale::default()), form.kind(), form.pieces().len()),
                (Ok(()), kind, pieces),
                "{layout}"
            );
        }
        for wrong in [
            "",
            "%scores%",
            "%ranking% %scores%",
            "%scores%ranking%",
            "%scores% %scores% %ranking%",
            "%score% %score% %score%",
            "%choice% %choice%",
            "%score% %choice%",
            "%score% %scores% %ranking%",
            "%choice% %ranking%",
            "%list% %ranking%",
            "%list% %score%",
            "%list%, 5",
            "%list%5",
            "%score%%score%",
            "%score% %score%",
            "%score%.5",
            "0%score%",
            "%choice%A",
            "x%choice%",
        ] {
            assert!(form(wrong).check(Scale::default()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_after_the_last_score_could_be_more_of_it() {
        let (ten, five) = (Scale { min: 1, max: 10 }, Scale::default());
        for layout in ["{%scores%0, %ranking%}", "%scores%.%ranking%"] {
            assert!(form(layout).check(ten).is_err() && form(layout).check(five).is_ok(), "{layout}");
        }
        assert_eq!(VerdictForm::default().check(ten), Ok(()));
    }

    #[test]
    fn a_message_is_filled_in_one_pass() {
        let message = UserMessage {
            text: "Rule: %principle%\nTask: %prompt%\n%responses%\nEnd".into(),
            response: "%name%) %response%".into(),
            between: "\n".into(),
        };
        assert_eq!(message.check(true), Ok(()));
        let filled = message.fill("%prompt%", "%responses%", [("A", "%name% %principle%"), ("B", "y")].into_iter());
        assert_eq!(filled, "Rule: %prompt%\nTask: %responses%\nA) %name% %principle%\nB) y\nEnd");
        for (text, response) in [
            ("%principle% %prompt%", "%name% %response%"),
            ("%principle% %prompt% %responses%", "%name%"),
            ("%principle% %prompt% %responses%", "%response%"),
        ] {
            let wrong = UserMessage { text: text.into(), response: response.into(), between: String::new() };
            assert!(wrong.check(true).is_err(), "{text} {response}");
        }
    }
}
