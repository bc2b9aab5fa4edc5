//! The writer of verdicts under a made-up model: what it feeds, and what it says of scores that begin alike.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use crate::decode::grammar::VerdictGrammar;
use crate::decode::transcript::Transcript;
use crate::engine::{Generation, Sampling};
use crate::prompt::profile::{Scale, VerdictForm};
use crate::prompt::tokenize::{RawToken, TokenKind, Tokenizer};

use super::job::{Guided, TokenWriter, VerdictWriter};
use super::sample::Sampler;
use super::vocabulary::Vocabulary;

/// The token that ends a text.
const END: u32 = 256;
/// The token that writes 10.
const TEN: u32 = 257;

/// A vocabulary of bytes, an end, and a 10 in one token.
fn vocabulary() -> Arc<Vocabulary> {
    let token = |bytes: &[u8], kind| RawToken { bytes: bytes.to_vec(), kind };
    let mut tokens: Vec<RawToken> = (0..=255).map(|byte: u8| token(&[byte], TokenKind::Normal)).collect();
    tokens.push(token(b"<end>", TokenKind::Control));
    tokens.push(token(b"10", TokenKind::Normal));
    let encode = |text: &str| Ok(text.bytes().map(u32::from).collect());
    let tokenizer = Tokenizer::from_encoder(Box::new(encode), tokens).unwrap();
    let ends = (0..258).map(|id| id == END).collect();
    Arc::new(Vocabulary::new(Arc::new(tokenizer), ends).unwrap())
}

/// The logits after some tokens: drawn from the tokens, with much on digits and on what may end a number. With `whole`, the model
/// can write a 10 as one token.
fn logits(seed: u64, tokens: &[u32], whole: bool) -> Vec<f32> {
    let mut state = tokens.iter().fold(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, |state, &token| {
        (state ^ u64::from(token)).wrapping_mul(0x0100_0000_01B3).rotate_left(17)
    });
    let mut logits: Vec<f32> = (0..258)
        .map(|id: u32| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let drawn = f32::from(u16::try_from(state >> 48).unwrap()) / 65_536.0;
            let liked = match u8::try_from(id) {
                Ok(b'0' | b'1') => 8.0,
                Ok(b'2'..=b'9') => 5.0,
                Ok(b'<' | b',' | b'}') => 6.0,
                Ok(_) => 0.0,
                Err(_) if id == END || whole => 6.0,
                Err(_) => -50.0,
            };
            liked + 4.0 * drawn
        })
        .collect();
    // Nobody likes a byte that no text has.
    logits[0] = -100.0;
    logits
}

/// What the writer makes of the model.
fn write(
    vocabulary: &Arc<Vocabulary>,
    grammar: &VerdictGrammar,
    consistent: bool,
    model: &dyn Fn(&[u32]) -> Vec<f32>,
) -> Generation {
    let (guide, most) = vocabulary.guides().guide(&grammar.whole().lark(), &grammar.example()).unwrap();
    let verdict = VerdictWriter::Guided(Box::new(Guided { guide, grammar: grammar.clone(), consistent }));
    let (sampler, transcript) = (Sampler::new(Sampling::GREEDY), Transcript::new(false, 0));
    let mut writer = TokenWriter::new(vocabulary.clone(), sampler, None, verdict, transcript, Instant::now());
    let mut tokens = writer.open();
    loop {
        let next = writer.advance(&model(&tokens)).unwrap();
        if next.feed.is_empty() {
            return writer.finish();
        }
        tokens.truncate(tokens.len() - next.dropped);
        tokens.extend(next.feed);
        assert!(tokens.len() <= most + grammar.looks_ahead(), "more tokens than were set aside");
    }
}

/// The distribution of the scores 1 to 10 after this text, by the model's probabilities alone.
fn exact(before: &[u8], model: &dyn Fn(&[u32]) -> Vec<f32>, whole: bool) -> Vec<f64> {
    let tokens: Vec<u32> = before.iter().copied().map(u32::from).collect();
    let weights = |tokens: &[u32]| -> Vec<f64> { model(tokens).iter().map(|&logit| f64::from(logit).exp()).collect() };
    let first = weights(&tokens);
    let mut scores: Vec<f64> = (b'1'..=b'9').map(|digit| first[usize::from(digit)]).collect();
    scores.push(0.0);
    let second = weights(&[&tokens[..], &[u32::from(b'1')]].concat());
    let zero = second[usize::from(b'0')];
    let ends: f64 =
        (0..257).filter(|id| !(usize::from(b'0')..=usize::from(b'9')).contains(id)).map(|id| second[id]).sum();
    let one = scores[0];
    scores[9] = one * zero / (zero + ends);
    scores[0] = one - scores[9];
    if whole {
        scores[9] += first[TEN as usize];
    }
    let all: f64 = scores.iter().sum();
    scores.into_iter().map(|score| score / all).collect()
}

fn check(layout: &str, count: usize, consistent: bool) -> BTreeSet<u8> {
    let vocabulary = vocabulary();
    let form = VerdictForm { separator: String::new(), layout: layout.into() };
    let names: Vec<String> = (1..=count).map(|number| format!("m{number}")).collect();
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        let whole = seed % 3 == 0;
        let model = move |tokens: &[u32]| logits(seed, tokens, whole);
        let grammar = VerdictGrammar::new(&form, Scale { min: 1, max: 10 }, "", &names);
        let written = write(&vocabulary, &grammar, consistent, &model);
        let read = grammar.read_complete(&written.raw).unwrap_or_else(|| panic!("{:?} is no verdict", written.raw));
        assert_eq!((written.distributions.len(), written.masses.len()), (count, count), "{:?}", written.raw);
        let places = grammar.score_places(&written.raw).unwrap();
        for (((distribution, mass), place), &score) in
            written.distributions.iter().zip(&written.masses).zip(places).zip(&read.scores)
        {
            let near = |wanted: &[f64]| distribution.iter().zip(wanted).all(|(one, other)| (one - other).abs() < 3e-3);
            assert!((distribution.iter().sum::<f64>() - 1.0).abs() < 1e-9 && *mass > 0.0 && *mass <= 1.0);
            assert!(distribution[usize::from(score) - 1] > 0.0, "{score} was written: {distribution:?}");
            // A score that was written as one token reads on from another sequence of tokens.
            if !whole {
                let wanted = exact(&written.raw.as_bytes()[..place.start], &model, whole);
                assert!(near(&wanted), "{:?} at {place:?}: {distribution:?}, not {wanted:?}", written.raw);
            }
            seen.insert(score);
        }
        if grammar.ranks() && consistent {
            assert!(
                read.ranked.windows(2).all(|pair| read.scores[pair[0]] >= read.scores[pair[1]]),
                "{:?}",
                written.raw
            );
        }
        let shorter = grammar.clone().without_ranking();
        let scored = write(&vocabulary, &shorter, false, &model);
        let again = shorter.read_complete(&scored.raw).unwrap();
        assert_eq!((again.scores, scored.distributions), (read.scores, written.distributions), "{:?}", scored.raw);
    }
    seen
}

#[test]
fn a_model_that_writes_digit_by_digit_gives_the_distribution_of_its_own_probabilities() {
    for (layout, count) in [
        ("Score: %score%", 1),
        ("%score%", 1),
        ("[%score%]", 1),
        ("<answer>%score%</answer><answer>%score%</answer>", 2),
        ("\\boxed{%list%}", 5),
        ("Scores: %list%", 3),
    ] {
        let seen = check(layout, count, false);
        assert!(seen.contains(&1) && seen.contains(&10) && seen.len() > 2, "{layout}: {seen:?}");
    }
}

#[test]
fn a_table_of_up_to_eight_scores_is_complete_with_and_without_a_consistent_ranking() {
    let layout = VerdictForm::default().layout;
    for count in 1..=8 {
        for consistent in [false, true] {
            let seen = check(&layout, count, consistent);
            assert!(seen.contains(&1) && seen.contains(&10), "{seen:?}");
        }
    }
}

/// Adds to the distribution of the scores 0 to 100 those that begin with `digits`, which have `share` of the probability.
fn add_exact(all: &mut [f64], before: &[u32], digits: &str, share: f64, model: &dyn Fn(&[u32]) -> Vec<f32>) {
    let on_scale =
        |text: &str| (text == "0" || !text.starts_with('0')) && text.parse::<usize>().is_ok_and(|score| score <= 100);
    if !('0'..='9').any(|digit| on_scale(&format!("{digits}{digit}"))) {
        all[digits.parse::<usize>().unwrap()] += share;
        return;
    }
    let tokens: Vec<u32> = before.iter().copied().chain(digits.bytes().map(u32::from)).collect();
    let weights: Vec<f64> = model(&tokens).iter().map(|&logit| f64::from(logit).exp()).collect();
    let mut next: Vec<(String, f64)> = (b'0'..=b'9')
        .map(|digit| (format!("{digits}{}", char::from(digit)), weights[usize::from(digit)]))
        .filter(|(text, _)| on_scale(text))
        .collect();
    let ends: f64 = if digits.is_empty() {
        0.0
    } else {
        (0..257).filter(|id| !(usize::from(b'0')..=usize::from(b'9')).contains(id)).map(|id| weights[id]).sum()
    };
    let total = ends + next.iter().map(|(_, weight)| weight).sum::<f64>();
    if !digits.is_empty() {
        all[digits.parse::<usize>().unwrap()] += share * ends / total;
    }
    for (text, weight) in next.drain(..) {
        add_exact(all, before, &text, share * weight / total, model);
    }
}

#[test]
fn above_ten_a_distribution_is_right_or_missing_whatever_was_written() {
    let vocabulary = vocabulary();
    let form = VerdictForm { separator: String::new(), layout: "Score: %score%".into() };
    let grammar = VerdictGrammar::new(&form, Scale { min: 0, max: 100 }, "", &["m1".into()]);
    let (mut known, mut missing) = (0, 0);
    for seed in 0..180 {
        // A model that hardly writes a 0 tells all scores apart by looks at first digits.
        let (whole, few) = (seed % 3 == 0, seed % 2 == 0);
        let model = move |tokens: &[u32]| {
            let mut logits = logits(seed, tokens, whole);
            for id in [usize::from(b'0'), TEN as usize] {
                logits[id] -= if few { 20.0 } else { 0.0 };
            }
            logits
        };
        let written = write(&vocabulary, &grammar, false, &model);
        let Some(distribution) = written.distributions.first() else {
            missing += 1;
            continue;
        };
        known += 1;
        assert!((distribution.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        if !whole {
            let before: Vec<u32> = "Score: ".bytes().map(u32::from).collect();
            let mut wanted = vec![0.0; 101];
            add_exact(&mut wanted, &before, "", 1.0, &model);
            let near = distribution.iter().zip(&wanted).all(|(one, other)| (one - other).abs() < 5e-3);
            assert!(near, "{:?}: {distribution:?}, not {wanted:?}", written.raw);
        }
    }
    assert!(known > 60 && missing > 30, "{known} {missing}");
}

/// Among the tokens that a grammar admits, 0 would always win against an end that the judge writes in another way.
#[test]
fn a_one_that_the_judge_ends_in_its_own_way_does_not_become_a_ten() {
    let vocabulary = vocabulary();
    for (layout, wanted) in [("Score: %score%", "Score: 1"), ("[%score%]", "[1]")] {
        let form = VerdictForm { separator: String::new(), layout: layout.into() };
        let grammar = VerdictGrammar::new(&form, Scale { min: 1, max: 10 }, "", &["m1".into()]);
        // After the 1 it goes on with a point, or with digits of a 15.
        for own in [b'.', b'\n', b'/'] {
            let model = |tokens: &[u32]| {
                let mut logits = vec![-20.0; 258];
                logits[usize::from(if tokens.last() == Some(&u32::from(b'1')) { own } else { b'1' })] = 5.0;
                logits[usize::from(b'0')] = -1.0;
                logits[usize::from(b'5')] = 4.0;
                logits
            };
            let written = write(&vocabulary, &grammar, false, &model);
            assert_eq!(written.raw, wanted);
            assert!(
                written.distributions[0][0] > 0.7 && written.distributions[0][9] < 0.01,
                "{:?}",
                written.distributions
            );
            // Most of what does not end the number leaves the scale.
            assert!(written.masses[0] < 0.85, "{:?}", written.masses);
        }
    }
}
