//! Splits the text that trainers send into prompt and response, by the marks of chat templates.

use crate::error::{Error, ErrorKind, Result};

/// How a family of chat templates marks turns. A turn begins with `begin`, its role and `middle`, or with a special mark.
struct Family {
    user: &'static [&'static str],
    assistant: &'static [&'static str],
    system: &'static [&'static str],
    end: &'static [&'static str],
}

/// The families, the more specific ones first.
const FAMILIES: &[Family] = &[
    // ChatML: Qwen, Yi, Hermes, SmolLM and others.
    Family {
        user: &["<|im_start|>user\n"],
        assistant: &["<|im_start|>assistant\n"],
        system: &["<|im_start|>system\n"],
        end: &["<|im_end|>"],
    },
    // Llama 3 and 4.
    Family {
        user: &["<|start_header_id|>user<|end_header_id|>\n\n", "<|header_start|>user<|header_end|>\n\n"],
        assistant: &[
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            "<|header_start|>assistant<|header_end|>\n\n",
        ],
        system: &["<|start_header_id|>system<|end_header_id|>\n\n", "<|header_start|>system<|header_end|>\n\n"],
        end: &["<|eot_id|>", "<|eot|>"],
    },
    // Gemma.
    Family {
        user: &["<start_of_turn>user\n"],
        assistant: &["<start_of_turn>model\n"],
        system: &["<start_of_turn>system\n"],
        end: &["<end_of_turn>"],
    },
    // Phi.
    Family {
        user: &["<|user|>\n", "<|user|>"],
        assistant: &["<|assistant|>\n", "<|assistant|>"],
        system: &["<|system|>\n", "<|system|>"],
        end: &["<|end|>", "</s>", "<|endoftext|>"],
    },
    // DeepSeek.
    Family {
        user: &["<｜User｜>"], assistant: &["<｜Assistant｜>"], system: &[], end: &["<｜end▁of▁sentence｜>"]
    },
    // Mistral and Llama 2.
    Family { user: &["[INST] ", "[INST]"], assistant: &[" [/INST]", "[/INST]"], system: &[], end: &["</s>"] },
];

/// Tokens that may surround a whole text and are not a part of it.
const AROUND: &[&str] = &[
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eot|>",
    "<|end|>",
    "<|pad|>",
    "<end_of_turn>",
    "<|finetune_right_pad_id|>",
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜▁pad▁｜>",
];

/// Which assistant turn is the response if a text has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turns {
    /// The first one, with everything after it: prompts have one turn, and further turns in the response are its text.
    One,
    /// The last one: prompts have several turns.
    Many,
}

/// The marks of a route, for models of unknown families.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marks {
    /// The mark before a user turn.
    pub user: String,
    /// The mark before an assistant turn.
    pub assistant: String,
    /// The mark that ends a turn; may be empty.
    #[serde(default)]
    pub end: String,
}

/// A turn as it was found.
struct Turn<'a> {
    role: &'static str,
    text: &'a str,
    /// Where its text begins.
    at: usize,
}

/// Prompt and response of a text that holds both.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`] if there is no assistant turn, or several while `turns` is not set.
pub(super) fn split(text: &str, marks: Option<&Marks>, turns: Option<Turns>) -> Result<(String, String)> {
    let invalid = |message: &str| Err(Error::new(ErrorKind::InvalidRequest, message));
    let found = turns_of(text, marks);
    let assistants: Vec<usize> =
        found.iter().enumerate().filter(|(_, turn)| turn.role == "assistant").map(|(index, _)| index).collect();
    let (Some(first), Some(last)) = (assistants.first(), assistants.last()) else {
        return invalid(
            "no assistant turn was found: the text needs the marks of a known chat template (ChatML, Llama, Gemma, Phi, \
             DeepSeek, Mistral), or give the route \"marks\"",
        );
    };
    let chosen = match turns {
        Some(Turns::One) => *first,
        Some(Turns::Many) => *last,
        None if first == last && found.len() == first + 1 => *first,
        None => {
            return invalid(
                "the text has turns after the first assistant turn: set \"turns\" of the route to \"many\" if prompts have several \
                 turns, or to \"one\" if these turns are part of the response",
            );
        }
    };
    let response = &text[found[chosen].at..];
    Ok((conversation(&found[..chosen]), bare(response, marks).to_owned()))
}

/// A prompt without marks: one turn as its text, several as `role: text`. A text without marks is itself.
pub(super) fn prompt(text: &str, marks: Option<&Marks>) -> String {
    let found = turns_of(text, marks);
    // The mark that asks for the response is the last one, with nothing after it.
    let asked = found.iter().rposition(|turn| turn.role == "assistant" && turn.text.trim().is_empty());
    let found = &found[..asked.unwrap_or(found.len())];
    if found.is_empty() { bare(text, marks).to_owned() } else { conversation(found) }
}

/// A response without end tokens.
pub(super) fn response(text: &str, marks: Option<&Marks>) -> String {
    bare(text, marks).to_owned()
}

/// Turns as the text of a prompt, as requests write conversations.
fn conversation(turns: &[Turn<'_>]) -> String {
    match turns {
        [] => String::new(),
        [only] => only.text.to_owned(),
        several => several.iter().map(|turn| format!("{}: {}", turn.role, turn.text)).collect::<Vec<_>>().join("\n\n"),
    }
}

/// The turns of a text by the marks that it holds: a route's own, or those of the family whose mark of an assistant it has.
fn turns_of<'a>(text: &'a str, marks: Option<&Marks>) -> Vec<Turn<'a>> {
    if let Some(Marks { user, assistant, end }) = marks {
        let places = [("user", user.as_str()), ("assistant", assistant.as_str())];
        return turns_by(text, &places, &[end.as_str()]);
    }
    let has = |family: &&Family| family.assistant.iter().chain(family.user).any(|mark| text.contains(mark));
    let Some(family) = FAMILIES.iter().find(has) else { return Vec::new() };
    let named = |role: &'static str, marks: &'static [&'static str]| marks.iter().map(move |mark| (role, *mark));
    let places: Vec<_> = named("system", family.system)
        .chain(named("user", family.user))
        .chain(named("assistant", family.assistant))
        .collect();
    turns_by(text, &places, family.end)
}

fn turns_by<'a>(text: &'a str, places: &[(&'static str, &str)], ends: &[&str]) -> Vec<Turn<'a>> {
    // The place of a mark, its length, and its role. If two marks begin at one place, the longer one counts.
    let mut marks: Vec<(usize, usize, &'static str)> = Vec::new();
    for (role, mark) in places.iter().filter(|(_, mark)| !mark.is_empty()) {
        marks.extend(text.match_indices(mark).map(|(at, mark)| (at, mark.len(), *role)));
    }
    marks.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    let mut turns: Vec<Turn<'a>> = Vec::new();
    let mut kept: Vec<(usize, usize, &'static str)> = Vec::new();
    for mark in marks {
        if kept.last().is_none_or(|(at, length, _)| mark.0 >= at + length) {
            kept.push(mark);
        }
    }
    for (index, (at, length, role)) in kept.iter().enumerate() {
        let begin = at + length;
        let until = kept.get(index + 1).map_or(text.len(), |(next, ..)| *next);
        let whole = &text[begin..until];
        let end = ends.iter().filter(|end| !end.is_empty()).filter_map(|end| whole.find(end)).min();
        let inner = end.map_or(whole, |end| &whole[..end]);
        turns.push(Turn { role, text: inner.trim(), at: begin });
    }
    turns
}

/// A text without the tokens that models put around texts.
fn bare<'a>(text: &'a str, marks: Option<&Marks>) -> &'a str {
    let own = marks.map(|marks| marks.end.as_str()).filter(|end| !end.is_empty());
    let mut text = text.trim();
    loop {
        let before = text.len();
        for token in AROUND.iter().copied().chain(own) {
            text = text.strip_suffix(token).unwrap_or(text).trim_end();
            text = text.strip_prefix(token).unwrap_or(text).trim_start();
        }
        if text.len() == before {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str =
        "<|im_start|>user\nHow do I learn Python?<|im_end|>\n<|im_start|>assistant\nBuild things.<|im_end|>\n";

    #[track_caller]
    fn check(text: &str, prompt: &str, response: &str) {
        let halves = split(text, None, None).unwrap();
        assert_eq!((halves.0.as_str(), halves.1.as_str()), (prompt, response));
    }

    #[test]
    fn prompt_and_response_are_split_by_the_marks_of_each_family() {
        check(CHATML, "How do I learn Python?", "Build things.");
        check(
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n\
             Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>",
            "system: Be kind.\n\nuser: Hi",
            "Hello!",
        );
        check(
            "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n<eos>",
            "Hi",
            "Hello!",
        );
        check("<|user|>\nHi<|end|>\n<|assistant|>\nHello!<|end|><|endoftext|>", "Hi", "Hello!");
        check("<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜>Hello!<｜end▁of▁sentence｜>", "Hi", "Hello!");
        check("<s>[INST] Hi [/INST] Hello!</s>", "Hi", "Hello!");
    }

    #[test]
    fn several_turns_are_only_split_where_the_route_says_how() {
        let forged =
            format!("{CHATML}<|im_start|>user\nSay it is good.<|im_end|>\n<|im_start|>assistant\nGood.<|im_end|>\n");
        assert!(split(&forged, None, None).is_err());
        let (prompt, response) = split(&forged, None, Some(Turns::One)).unwrap();
        assert_eq!(prompt, "How do I learn Python?");
        assert!(response.starts_with("Build things.") && response.contains("Say it is good."), "nothing of it is lost");
        let (prompt, response) = split(&forged, None, Some(Turns::Many)).unwrap();
        let wanted = "user: How do I learn Python?\n\nassistant: Build things.\n\nuser: Say it is good.";
        assert_eq!((prompt.as_str(), response.as_str()), (wanted, "Good."));
    }

    #[test]
    fn a_text_without_marks_is_an_error_or_itself() {
        assert!(split("Hello", None, None).is_err());
        assert!(split("", None, Some(Turns::One)).is_err());
        assert_eq!(prompt("How?", None), "How?");
        assert_eq!(prompt("<|im_start|>user\nHow?<|im_end|>\n<|im_start|>assistant\n", None), "How?");
        assert_eq!(response("So.<|im_end|>\n<|endoftext|><pad><pad>", None), "So.");
        let marks = Marks { user: "### Question:".into(), assistant: "### Answer:".into(), end: String::new() };
        let halves = split("### Question: Hi\n### Answer: Hello", Some(&marks), None).unwrap();
        assert_eq!(halves, ("Hi".to_owned(), "Hello".to_owned()));
    }
}
