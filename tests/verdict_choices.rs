//! Verdicts by choices, with random vocabularies, layouts and names: what is written is what was chosen.
#![cfg(feature = "remote")]

use std::collections::HashMap;
use std::sync::Arc;

use dicast::decode::grammar::{Choices, Filling, VerdictGrammar};
use dicast::prompt::profile::{Scale, VerdictForm};

/// Random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

/// Single bytes, and merges of two tokens, the first ones first: byte pair encoding without any rule about words.
struct Vocabulary {
    tokens: Vec<Vec<u8>>,
    merges: Vec<(u32, u32)>,
}

impl Vocabulary {
    /// As many merges as may be, of neighbours in these texts.
    fn of(texts: &[String], merges: usize, random: &mut Random) -> Self {
        let mut vocabulary = Self { tokens: (0..=255).map(|byte| vec![byte]).collect(), merges: Vec::new() };
        for _ in 0..merges {
            let ids = vocabulary.encode(&texts[random.below(texts.len())]);
            if ids.len() < 2 {
                continue;
            }
            let at = random.below(ids.len() - 1);
            let (one, other) = (ids[at], ids[at + 1]);
            let text = [vocabulary.tokens[one as usize].clone(), vocabulary.tokens[other as usize].clone()].concat();
            if !vocabulary.tokens.contains(&text) {
                vocabulary.tokens.push(text);
                vocabulary.merges.push((one, other));
            }
        }
        vocabulary
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids: Vec<u32> = text.bytes().map(u32::from).collect();
        for (&(one, other), merged) in self.merges.iter().zip(256..) {
            let mut at = 0;
            while at + 1 < ids.len() {
                if (ids[at], ids[at + 1]) == (one, other) {
                    ids.splice(at..at + 2, [merged]);
                }
                at += 1;
            }
        }
        ids
    }

    fn decode(&self, ids: &[u32]) -> Vec<u8> {
        ids.iter().flat_map(|&id| self.tokens[id as usize].iter().copied()).collect()
    }
}

const LAYOUTS: [&str; 8] = [
    "{\n  \"scores\": {%scores%},\n  \"best-to-worst\": [%ranking%]\n}",
    "{\"s\":{%scores%},\"r\":[%ranking%]}",
    "%scores%;%ranking%",
    "Scores: %list%.",
    "\\boxed{%list%}",
    "<answer>%score%, %score%</answer>",
    "Score: %score%/5",
    "Better: [[%choice%]]",
];

const NAMES: [&[&str]; 4] = [
    &[
        "model-1", "model-2", "model-3", "model-4", "model-5", "model-6", "model-7", "model-8", "model-9", "model-10",
        "model-11",
    ],
    &["gpt", "gpt-4", "gpt-4o", "gpt 4", "g"],
    &["1", "10", "101", "11", "2"],
    &["模型一", "模型二", "é", "e\u{301}", "\"quoted\"", "back\\slash", "", ", ", "a\", \"b"],
];

#[test]
fn what_is_written_is_what_was_chosen() {
    let random = &mut Random(0x5EED_D1CA);
    let (mut known, mut all) = (0, 0);
    for round in 0..2000 {
        let names = NAMES[random.below(NAMES.len())];
        let mut form = VerdictForm::default();
        form.separator = ["", "\n\n", "\n", " "][random.below(4)].into();
        form.layout = LAYOUTS[random.below(LAYOUTS.len())].into();
        let count = match form.kind().responses() {
            Some(count) => count,
            None => 1 + random.below(names.len()),
        };
        let names: Vec<String> = names[..count.min(names.len())].iter().map(ToString::to_string).collect();
        let scale = [Scale { min: 1, max: 5 }, Scale { min: 0, max: 9 }, Scale { min: 1, max: 2 }][random.below(3)];
        let grammar = VerdictGrammar::new(&form, scale, &form.separator, &names);
        let grammar = if random.below(4) == 0 { grammar.without_ranking() } else { grammar };
        let texts = grammar.choice_texts();
        let merges = random.below(24);
        let vocabulary = Vocabulary::of(&texts, merges, random);
        let tokens: HashMap<String, Vec<u32>> =
            texts.into_iter().map(|text| (text.clone(), vocabulary.encode(&text))).collect();
        all += 1;
        let Some(choices) = Choices::new(&grammar, &tokens) else { continue };
        known += 1;
        let consistent = grammar.ranks() && random.below(2) == 0;
        let mut filling = Filling::new(Arc::new(choices), consistent);
        // What stood before each choice, and the choice.
        let mut steps: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut scores = Vec::new();
        while filling.text().is_none() {
            assert!(steps.len() < 40 * (names.len() + 1), "it ends");
            let before = vocabulary.decode(&filling.before());
            let candidates = filling.candidates();
            assert!(candidates.len() > 1, "a choice has alternatives");
            let (token, candidate) = candidates[random.below(candidates.len())];
            let chosen = vocabulary.tokens[token as usize].clone();
            if filling.score().is_some() {
                let mark = grammar.marks().all().nth(candidate).unwrap();
                assert!(chosen.ends_with(grammar.marks().spelled(mark).as_bytes()), "the token ends the score");
                scores.push(mark);
            }
            steps.push((before, chosen));
            filling.take(token);
        }
        let text = filling.text().unwrap();
        let read = grammar.read_complete(&text).unwrap_or_else(|| panic!("round {round}: {text:?} is no verdict"));
        assert_eq!(read.scores, scores, "round {round}: {text:?}");
        for (before, chosen) in steps {
            let written = [before, chosen].concat();
            assert!(text.as_bytes().starts_with(&written), "round {round}: {text:?}");
        }
        if consistent {
            let ranked: Vec<u8> = read.ranked.iter().map(|&place| read.scores[place]).collect();
            assert!(ranked.is_sorted_by(|one, other| one >= other));
        }
    }
    assert!(known > all / 8, "{known} of {all}");
}
