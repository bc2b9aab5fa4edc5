//! The fast way from text to ids, for vocabularies in GPT-2's alphabet whose text is split by one of the usual rules.
//!
//! The `tokenizers` crate tracks the place of every character through each step, and computes every word again. Here the text
//! is split in place, and a word that occurred before is looked up. The ids are the same: a test compares the two ways.

use std::collections::HashMap;
use std::sync::RwLock;

use regex_automata::meta::Regex;
use tokenizers::models::bpe::BPE;
use tokenizers::{Model as _, PreTokenizerWrapper};

use super::vocab::letter;

/// Longest word that is kept, in bytes.
const MAX_WORD: usize = 32;
/// Number of words that are kept. They take about 3 MB.
const MAX_WORDS: usize = 1 << 15;

/// The common end of splitting rules: white space up to the last character before a word, which belongs to that word. Only this
/// part looks ahead, which automata cannot do.
const BLANKS: &str = r"|\s+(?!\S)|\s+";
/// GPT-2's own rule.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Splits text into words, and keeps the ids of earlier words.
pub(super) struct Words {
    stages: Vec<Stage>,
    /// Locked without waiting: a thread that finds it locked computes its words itself.
    known: RwLock<HashMap<Box<str>, Box<[u32]>>>,
}

/// One splitting rule. Each splits the parts that the rule before it has left.
enum Stage {
    /// Every digit stands alone.
    Digits,
    /// The two patterns are the rule without its end ([`BLANKS`]), and white space.
    Rule(Box<Regex>),
}

impl Words {
    /// The words of this rule; `None` if only the crate can split in this way.
    pub(super) fn new(rule: Option<&PreTokenizerWrapper>) -> Option<Self> {
        let stages = stages(&serde_json::to_value(rule?).ok()?)?;
        Some(Self { stages, known: RwLock::default() })
    }

    /// Appends the ids of `text`, which is normalized already.
    pub(super) fn encode(&self, text: &str, model: &BPE, ids: &mut Vec<u32>) -> tokenizers::Result<()> {
        let known = self.known.try_read().ok();
        let mut fresh = Vec::new();
        let mut written = String::new();
        split(&self.stages, text, &mut |word| {
            if let Some(word_ids) = known.as_ref().and_then(|known| known.get(word)) {
                ids.extend_from_slice(word_ids);
                return Ok(());
            }
            written.clear();
            written.extend(word.bytes().map(letter));
            let start = ids.len();
            ids.extend(model.tokenize(&written)?.iter().map(|token| token.id));
            if word.len() <= MAX_WORD {
                fresh.push((word, start..ids.len()));
            }
            Ok(())
        })?;
        drop(known);
        if !fresh.is_empty()
            && let Ok(mut known) = self.known.try_write()
        {
            if known.len() + fresh.len() > MAX_WORDS {
                known.clear();
            }
            known.extend(fresh.into_iter().take(MAX_WORDS).map(|(word, range)| (word.into(), ids[range].into())));
        }
        Ok(())
    }
}

/// The rules of a pre-tokenizer in the form of `tokenizer.json`.
fn stages(rule: &serde_json::Value) -> Option<Vec<Stage>> {
    let list = match rule["type"].as_str()? {
        "Sequence" => rule["pretokenizers"].as_array()?.as_slice(),
        _ => std::slice::from_ref(rule),
    };
    let (alphabet, rules) = list.split_last()?;
    if alphabet["type"] != "ByteLevel" || alphabet["add_prefix_space"] != false {
        return None;
    }
    let mut stages = Vec::with_capacity(list.len());
    for rule in rules {
        stages.push(match rule["type"].as_str()? {
            "Digits" if rule["individual_digits"] == true => Stage::Digits,
            "Split" if rule["behavior"] == "Isolated" && rule["invert"] == false => {
                compile(rule["pattern"]["Regex"].as_str()?)?
            }
            _ => return None,
        });
    }
    if alphabet["use_regex"] == true {
        stages.push(compile(GPT2)?);
    }
    Some(stages)
}

fn compile(rule: &str) -> Option<Stage> {
    let words = rule.strip_suffix(BLANKS)?;
    // If these do not compile, the rule looks ahead or back in other parts too.
    Regex::new_many(&[words, r"\s+"]).ok().map(|regex| Stage::Rule(Box::new(regex)))
}

type Found<'t, 'f> = &'f mut dyn FnMut(&'t str) -> tokenizers::Result<()>;

fn split<'t>(stages: &[Stage], text: &'t str, found: Found<'t, '_>) -> tokenizers::Result<()> {
    let Some((stage, rest)) = stages.split_first() else {
        return if text.is_empty() { Ok(()) } else { found(text) };
    };
    match stage {
        Stage::Digits => {
            let mut done = 0;
            for (at, digit) in text.char_indices().filter(|(_, letter)| letter.is_numeric()) {
                split(rest, &text[done..at], found)?;
                done = at + digit.len_utf8();
                split(rest, &text[at..done], found)?;
            }
            split(rest, &text[done..], found)
        }
        Stage::Rule(regex) => {
            let mut done = 0;
            while let Some(hit) = regex.find(regex_automata::Input::new(text).range(done..)) {
                split(rest, &text[done..hit.start()], found)?;
                let mut end = hit.end();
                if hit.pattern().as_usize() == 1 && end < text.len() {
                    // What follows is a word: the last blank belongs to it, unless it is the only one.
                    let last = text[hit.start()..end].char_indices().next_back().map_or(0, |(at, _)| at);
                    if last > 0 {
                        end = hit.start() + last;
                    }
                }
                // No rule in use has empty words; one with empty words would loop forever here.
                if end == done {
                    break;
                }
                split(rest, &text[hit.start()..end], found)?;
                done = end;
            }
            split(rest, &text[done..], found)
        }
    }
}
