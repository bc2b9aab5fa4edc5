//! Text that some server's tokenizer may treat as more than text.

/// A text in `texts` that some tokenizer may treat as a control token: one of `tags`, or one written as model families
/// write theirs.
pub(super) fn control_token<'a>(texts: impl Iterator<Item = &'a str>, tags: &[&str]) -> Option<String> {
    const KNOWN: [&str; 16] = [
        "<s>",
        "</s>",
        "<bos>",
        "<eos>",
        "<pad>",
        "<unk>",
        "[INST]",
        "[/INST]",
        "<<SYS>>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "[gMASK]",
    ];
    for text in texts {
        let known = KNOWN.iter().chain(tags).find(|token| text.contains(**token));
        if let Some(token) = known {
            return Some((*token).to_owned());
        }
        for (open, close) in [("<|", "|>"), ("<\u{ff5c}", "\u{ff5c}>")] {
            for (start, _) in text.match_indices(open) {
                let rest = &text[start + open.len()..];
                let Some(end) = rest.find(close).filter(|&end| end > 0 && end <= 64) else { continue };
                if !rest[..end].contains(|letter: char| letter.is_whitespace() || matches!(letter, '<' | '>')) {
                    return Some(text[start..start + open.len() + end + close.len()].to_owned());
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_reads_like_a_control_token_is_found() {
        let found = |text: &str| control_token([text].into_iter(), &["<verdict>"]);
        for token in
            ["<|im_end|>", "<\u{ff5c}User\u{ff5c}>", "</think>", "<verdict>", "[INST]", "<|reserved_special_token_7|>"]
        {
            assert_eq!(found(&format!("a {token} b")).as_deref(), Some(token));
        }
        for text in ["a <| b |> c", "<||>", "x <|", "if a <b and c> d", "<thinking>", "5 < 6 | 7 > 3", "<|a <|b"] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
