//! Where the judge's turn ends, and which parts of it are the answer: the marks of chat templates, and channels.

use std::borrow::Cow;

/// Marks that end a turn, with the model families whose templates write them. Text after a mark is no longer the
/// judge's. Not sorted; the first byte is `<` or `[`.
#[rustfmt::skip]
const ENDS: &[(&str, &str)] = &[
    ("<|im_end|>", "ChatML: Qwen, Yi, SmolLM, Hermes, InternLM 2, Kimi"),
    ("<|endoftext|>", "GPT-2, GPT-NeoX, Phi, Qwen, Falcon, StableLM"),
    ("<|eot_id|>", "Llama 3"),
    ("<|end_of_text|>", "Llama 3, Granite"),
    ("<|eom_id|>", "Llama 3, with tools"),
    ("<|eot|>", "Llama 4"),
    ("<|eom|>", "Llama 4, with tools"),
    ("<|end|>", "Phi 3 and 4; harmony (gpt-oss), where it ends a message only"),
    ("<|return|>", "harmony (gpt-oss)"),
    ("<|call|>", "harmony (gpt-oss), with tools"),
    ("<end_of_turn>", "Gemma"),
    ("<turn|>", "Gemma 4"),
    ("</s>", "Llama 2, Mistral, Zephyr, TinyLlama"),
    ("<eos>", "Gemma"),
    ("<|end_of_turn|>", "OpenChat, Starling"),
    ("<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>", "DeepSeek V2, V3, R1"),
    ("<|end\u{2581}of\u{2581}sentence|>", "DeepSeek, with plain bars"),
    ("<|end_of_sentence|>", "ERNIE, DeepSeek rewritten"),
    ("<\u{ff5c}User\u{ff5c}>", "DeepSeek: the next turn"),
    ("<|EOT|>", "DeepSeek Coder"),
    ("<|END_OF_TURN_TOKEN|>", "Command R, Aya"),
    ("<|END_RESPONSE|>", "Command A"),
    ("<EOS_TOKEN>", "Command R"),
    ("<|user|>", "GLM 4, Phi 3, Zephyr: the next turn"),
    ("<|observation|>", "GLM 4: a tool's turn"),
    ("<|endofturn|>", "HyperCLOVA X"),
    ("<|stop|>", "HyperCLOVA X, StableLM 2"),
    ("[|endofturn|]", "EXAONE"),
    ("<|separator|>", "Grok"),
    ("<|eos|>", "Hunyuan, Reka"),
    ("<|extra_0|>", "Hunyuan"),
    ("[e~[", "MiniMax"),
    ("<reserved_106>", "Baichuan"),
    ("<reserved_195>", "Baichuan: the next turn"),
    ("[UNUSED_TOKEN_145]", "InternLM 2"),
    ("<eoa>", "InternLM"),
    ("<eoh>", "InternLM"),
    ("<|role_end|>", "Ling, Ring"),
    ("<|assistant_end|>", "Apertus, nanochat"),
    ("<seed:eos>", "Seed-OSS"),
    ("<extra_id_1>", "Nemotron"),
    ("<SPECIAL_12>", "Nemotron H"),
    ("<end_of_utterance>", "Idefics, SmolVLM"),
    ("<sep>", "Reka"),
    ("<|endofuser|>", "Reka"),
    ("[EOS]", "Kimi"),
    ("<|eod|>", "Megatron"),
    ("<|endoftext_|>", "MPT"),
    ("<|/assistant|>", "Jais"),
    ("<|im_start|>user", "ChatML: the next turn"),
    ("<start_of_turn>user", "Gemma: the next turn"),
    ("<|turn>user", "Gemma 4: the next turn"),
    ("<|start_header_id|>user", "Llama 3: the next turn"),
    ("<|start_of_role|>user", "Granite: the next turn"),
    ("<|start|>user", "harmony: the next turn"),
    ("[INST]", "Llama 2, Mistral: the next turn"),
];

/// The position of the first mark that ends a turn.
pub(super) fn end(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(offset) = text[at..].find(['<', '[']) {
        let start = at + offset;
        let rest = &text[start..];
        // A quick check of the second byte, for texts that are full of brackets.
        let second =
            rest.as_bytes().get(1).is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'|' | b'/' | 0xEF));
        if second && (ENDS.iter().any(|(mark, _)| rest.starts_with(mark)) || is_end_by_name(rest)) {
            return Some(start);
        }
        at = start + 1;
    }
    None
}

/// Whether a special token that is not in the table ends something, by its name: `<|end_of_answer|>`.
fn is_end_by_name(rest: &str) -> bool {
    let Some(inner) = rest.strip_prefix("<|").or_else(|| rest.strip_prefix("<\u{ff5c}")) else { return false };
    let Some(len) = inner.bytes().take(40).position(|byte| matches!(byte, b'|' | 0xEF)) else { return false };
    let Some(name) = inner.get(..len).map(str::to_ascii_lowercase) else { return false };
    let ends =
        name.starts_with("end_of_") || name.starts_with("endof") || name.starts_with("eo") || name.ends_with("_end");
    ends && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !["thought", "think", "reason", "role", "header"].iter().any(|word| name.contains(word))
}

/// A turn in channels, as gpt-oss writes it.
pub(super) struct Channels<'a> {
    pub(super) reasoning: String,
    /// The content of the channel `final`; `None` if there is none.
    pub(super) answer: Option<Cow<'a, str>>,
}

/// Opens the name of a channel.
pub(super) const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";
/// What is left of the marks that open the final channel when a server drops special tokens.
const FINAL_WITHOUT_MARKS: &str = "assistantfinal";

/// Whether a text holds marks of channels.
pub(super) fn holds_channels(text: &str) -> bool {
    text.contains(CHANNEL) && text.contains(MESSAGE)
}

/// Reads a turn in channels; `None` if the text does not begin as one.
pub(super) fn channels(text: &str) -> Option<Channels<'_>> {
    let begun = text.trim_start();
    let opens = begun.starts_with(CHANNEL)
        || begun.starts_with("<|start|>")
        || ["analysis", "commentary", "final"]
            .iter()
            .any(|name| begun.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(MESSAGE)));
    if opens {
        return Some(with_marks(begun));
    }
    // Special tokens were dropped: `analysisThe first …assistantfinal{…`.
    let thoughts =
        begun.strip_prefix("analysis").filter(|rest| rest.starts_with(|c: char| c.is_uppercase() || c == '{'))?;
    Some(match thoughts.rfind(FINAL_WITHOUT_MARKS) {
        Some(at) => Channels {
            reasoning: thoughts[..at].trim().to_owned(),
            answer: Some(Cow::Borrowed(&thoughts[at + FINAL_WITHOUT_MARKS.len()..])),
        },
        None => Channels { reasoning: thoughts.trim().to_owned(), answer: None },
    })
}

fn with_marks(text: &str) -> Channels<'_> {
    let (mut reasoning, mut answers) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find(MESSAGE) {
        let head = &rest[..at];
        // After the judge's turn: another's.
        let other =
            head.contains("<|start|>user") || head.contains("<|start|>system") || head.contains("<|start|>developer");
        if other || head.contains("<|return|>") || head.contains("<|call|>") {
            break;
        }
        let head = head.rfind("<|end|>").map_or(head, |end| &head[end..]);
        let channel = head.rsplit(CHANNEL).next().unwrap_or_default().trim();
        let content = &rest[at + MESSAGE.len()..];
        let end = ["<|end|>", "<|return|>", "<|call|>", "<|start|>", CHANNEL]
            .iter()
            .filter_map(|mark| content.find(mark))
            .min();
        let content = &content[..end.unwrap_or(content.len())];
        // `final`, or `final <|constrain|>json`; a message without a channel is an answer too.
        if channel.starts_with("final") || (!head.contains(CHANNEL) && channel.ends_with("assistant")) {
            answers.push(content);
        } else {
            reasoning.push_str(content.trim());
            reasoning.push('\n');
        }
        rest = &rest[at + MESSAGE.len() + content.len()..];
    }
    let answer = match answers[..] {
        [] => None,
        [only] => Some(Cow::Borrowed(only)),
        _ => Some(Cow::Owned(answers.join("\n"))),
    };
    Channels { reasoning: reasoning.trim().to_owned(), answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_ends_a_turn_and_no_opening_tag_does() {
        for (mark, families) in ENDS {
            assert_eq!(end(&format!("a [b] <c> {mark} d")), Some(10), "{mark} of {families}");
        }
        for text in [
            "<think>",
            "</think>",
            "<|im_start|>assistant",
            "[/INST]",
            "<|end_of_thought|>",
            "<b>",
            "[1, 2]",
            "<|",
            "<\u{ff5c}",
        ] {
            assert_eq!(end(text), None, "{text}");
        }
    }
}
