//! How families of models mark their reasoning; used by the built-in profile, which is for any model.

use super::profile::ReasoningForm;

/// Marks of one family, and the special tokens that they are made of.
struct Family {
    open: &'static str,
    close: &'static str,
    prefix: &'static str,
    tokens: &'static [&'static str],
}

/// Families whose vocabularies have special tokens for it, the most common first.
#[rustfmt::skip]
const FAMILIES: &[Family] = &[
    // Qwen3, DeepSeek R1, GLM 4.5, SmolLM3 and many more.
    Family { open: "<think>", close: "</think>", prefix: "\n", tokens: &["<think>", "</think>"] },
    // Harmony: gpt-oss. The message in the channel `final` is the answer.
    Family {
        open: "<|channel|>analysis<|message|>",
        close: "<|end|><|start|>assistant<|channel|>final<|message|>",
        prefix: "",
        tokens: &["<|channel|>", "<|message|>", "<|end|>", "<|start|>"],
    },
    // Magistral.
    Family { open: "[THINK]", close: "[/THINK]", prefix: "", tokens: &["[THINK]", "[/THINK]"] },
    // Seed-OSS.
    Family { open: "<seed:think>", close: "</seed:think>", prefix: "\n", tokens: &["<seed:think>", "</seed:think>"] },
    // EXAONE Deep.
    Family { open: "<thought>", close: "</thought>", prefix: "\n", tokens: &["<thought>", "</thought>"] },
    // Kimi.
    Family { open: "\u{25c1}think\u{25b7}", close: "\u{25c1}/think\u{25b7}", prefix: "",
             tokens: &["\u{25c1}think\u{25b7}", "\u{25c1}/think\u{25b7}"] },
    // Command A.
    Family { open: "<|START_THINKING|>", close: "<|END_THINKING|>", prefix: "",
             tokens: &["<|START_THINKING|>", "<|END_THINKING|>"] },
    // Apertus.
    Family { open: "<|inner_prefix|>", close: "<|inner_suffix|>", prefix: "",
             tokens: &["<|inner_prefix|>", "<|inner_suffix|>"] },
    // Gemma 4.
    Family { open: "<|channel>thought\n", close: "<channel|>", prefix: "", tokens: &["<|channel>", "<channel|>"] },
];

/// Tags that models write in plain text, if their chat template mentions them.
const PLAIN: &[(&str, &str)] = &[
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
];

/// How a model marks its reasoning, by its special tokens and its chat template; `None` for one that does not reason, or
/// reasons in an unknown form.
pub(crate) fn form(is_special: &dyn Fn(&str) -> bool, template: &str) -> Option<ReasoningForm> {
    let form = |open: &str, close: &str, prefix: &str| ReasoningForm {
        open: open.into(),
        close: close.into(),
        prefix: prefix.into(),
    };
    let family = FAMILIES.iter().find(|family| family.tokens.iter().all(|token| is_special(token)));
    if let Some(Family { open, close, prefix, .. }) = family {
        return Some(form(open, close, prefix));
    }
    // A template that only mentions the opening tag may just forbid it.
    let plain = PLAIN.iter().find(|(open, close)| template.contains(open) && template.contains(close));
    plain.map(|(open, close)| form(open, close, "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(specials: &[&str], template: &str) -> Option<String> {
        form(&|text| specials.contains(&text), template).map(|form| form.open)
    }

    #[test]
    fn a_model_reasons_as_its_family_does() {
        assert_eq!(opened(&["<think>", "</think>", "<|end|>"], ""), Some("<think>".into()));
        let harmony = ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>"];
        assert_eq!(opened(&harmony, ""), Some("<|channel|>analysis<|message|>".into()));
        assert_eq!(opened(&["<|start|>", "<|end|>", "<|message|>"], ""), None);
        for family in FAMILIES {
            assert_eq!(opened(family.tokens, ""), Some(family.open.into()));
        }
    }

    #[test]
    fn a_template_that_speaks_of_tags_names_them() {
        assert_eq!(opened(&[], "Write thoughts between <think></think>"), Some("<think>".into()));
        assert_eq!(opened(&["[THINK]", "[/THINK]"], "<think></think>"), Some("[THINK]".into()));
        assert_eq!(opened(&["<think>"], "{{ m.content }}"), None);
        assert_eq!(opened(&[], "Do not write <think>."), None);
    }
}
