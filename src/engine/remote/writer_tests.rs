//! The requests that a verdict takes for the distributions of scores that begin alike.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::decode::grammar::VerdictGrammar;
use crate::decode::plan::{Plan, VerdictPlan};
use crate::engine::{Generation, Guidance, Sampling};
use crate::error::ErrorKind;
use crate::prompt::profile::{Scale, VerdictForm};
use crate::prompt::tokenize::{RawToken, TokenKind, Tokenizer};

use super::facts::{Facts, Kind, Logprobs, Notation};
use super::part::{Part, Request, Written};
use super::reply::{Finish, Piece, Position, Token};
use super::writer::{Start, Writer};

/// A tokenizer of bytes.
fn tokenizer() -> Arc<Tokenizer> {
    let tokens = (0..=255).map(|byte: u8| RawToken { bytes: vec![byte], kind: TokenKind::Normal }).collect();
    let encode = |text: &str| Ok(text.bytes().map(u32::from).collect());
    Arc::new(Tokenizer::from_encoder(Box::new(encode), tokens).unwrap())
}

fn writer(tokenizer: Option<Arc<Tokenizer>>) -> Writer {
    let form = VerdictForm { separator: String::new(), layout: "<a>%score%, %score%</a>".into() };
    let grammar = VerdictGrammar::new(&form, Scale { min: 1, max: 10 }, "", &["a".into(), "b".into()]);
    let plan = Plan { reasoning: None, verdict: VerdictPlan::Guided { grammar, consistent: false } };
    Writer::new(Start {
        tokenizer,
        ids: vec![7, 8, 9],
        plan,
        reasoning: None,
        sampling: Sampling::GREEDY,
        submitted: Instant::now(),
        alternatives: 20,
        stream: true,
        guidance: Guidance::Grammar,
        most: 64,
        choices: None,
        context: None,
    })
    .unwrap()
}

fn facts() -> Facts {
    Facts {
        kind: Kind::Vllm,
        notation: Notation::Structured,
        logprobs: Logprobs::AfterMask,
        ids: true,
        ..Facts::default()
    }
}

/// An answer of one token for each byte, with the alternatives at some of them. With `ids` a server names tokens by ids.
fn answer(part: Part, text: &str, alternatives: &[(usize, &[(&str, f32)])], ids: bool) -> Written {
    let token = |text: &str| if ids { Token::Id(u32::from(text.as_bytes()[0])) } else { Token::Bytes(text.into()) };
    let piece = |(at, letter): (usize, char)| {
        let known = alternatives.iter().find(|(place, _)| *place == at).map_or(&[][..], |(_, list)| list);
        let letter = letter.to_string();
        let alternatives = known.iter().map(|(text, share)| (token(text), share.ln())).collect();
        let positions = vec![Position { token: token(&letter), logprob: None, alternatives }];
        Piece { ids: vec![u32::from(letter.as_bytes()[0])], text: letter, positions, ..Piece::default() }
    };
    let (begun, pieces) = (Instant::now(), text.chars().enumerate().map(piece).collect());
    Written { part, pieces, finish: Finish::Stop, cut: false, unmasked: false, begun, first: None, last: begun }
}

fn body(writer: &Writer) -> (Part, Value) {
    let Request { part, body, .. } = writer.request(&facts(), false);
    (part, serde_json::from_slice(&body).unwrap())
}

fn near(found: &[f64], wanted: &[(usize, f64)]) -> bool {
    let share = |score: usize| wanted.iter().find(|(of, _)| *of == score).map_or(0.0, |(_, share)| *share);
    found.iter().zip(1..).all(|(found, score)| (found - share(score)).abs() < 1e-6)
}

#[test]
fn what_was_not_written_is_looked_at_once_the_verdict_is_complete() {
    for ids in [true, false] {
        let mut writer = writer(Some(tokenizer()));
        assert_eq!(body(&writer).0, Part::Verdict);
        // At the second score the judge wrote the 1, and what follows it is known.
        let lists: [(usize, &[(&str, f32)]); 3] =
            [(3, &[("9", 0.6), ("1", 0.4)]), (6, &[("1", 0.5), ("2", 0.5)]), (7, &[("<", 0.8), ("0", 0.2)])];
        assert!(writer.advance(&answer(Part::Verdict, "<a>9, 1</a>", &lists, ids)).unwrap());
        assert!(writer.is_looking());
        let (part, body) = body(&writer);
        let prompt: Vec<u32> = [7, 8, 9].into_iter().chain("<a>1".bytes().map(u32::from)).collect();
        assert_eq!((part, &body["prompt"], &body["max_tokens"]), (Part::Look, &json!(prompt), &json!(1)));
        assert!(body.get("structured_outputs").is_none() && body["logprobs"] == 20);
        let look = answer(Part::Look, "0", &[(0, &[("0", 0.75), (",", 0.15), (".", 0.1)])], ids);
        assert!(!writer.advance(&look).unwrap() && !writer.is_looking());
        let Generation { raw, distributions, verdict_truncated, .. } = writer.finish();
        assert_eq!((raw.as_str(), verdict_truncated, distributions.len()), ("<a>9, 1</a>", false, 2));
        assert!(near(&distributions[0], &[(9, 0.6), (10, 0.3), (1, 0.1)]), "{distributions:?}");
        assert!(near(&distributions[1], &[(2, 0.5), (1, 0.4), (10, 0.1)]), "{distributions:?}");
    }
}

#[test]
fn probabilities_before_the_constraint_say_how_likely_a_score_was() {
    let masses = |unmasked: bool| {
        let mut writer = writer(Some(tokenizer()));
        // What the list leaves out, and what is no score, is not on the scale.
        let lists: [(usize, &[(&str, f32)]); 3] =
            [(3, &[("9", 0.5), ("1", 0.2), ("x", 0.2)]), (6, &[("7", 0.9)]), (7, &[("<", 1.0)])];
        let verdict = Written { unmasked, ..answer(Part::Verdict, "<a>9, 7</a>", &lists, true) };
        assert!(writer.advance(&verdict).unwrap());
        let look = answer(Part::Look, "0", &[(0, &[("0", 0.5), ("5", 0.25), (",", 0.25)])], true);
        assert!(!writer.advance(&Written { unmasked, ..look }).unwrap());
        writer.finish().masses
    };
    assert!(masses(false).is_empty());
    let found = masses(true);
    assert!(found.len() == 2 && (found[0] - 0.65).abs() < 1e-6 && (found[1] - 0.9).abs() < 1e-6, "{found:?}");
}

#[test]
fn a_number_that_only_the_grammar_made_longer_is_an_error() {
    // The judge ends its score with a point, which the grammar forbids.
    let lists: [(usize, &[(&str, f32)]); 2] = [(3, &[("1", 0.9), ("9", 0.1)]), (4, &[(".", 0.6), ("0", 0.3)])];
    let error = writer(Some(tokenizer())).advance(&answer(Part::Verdict, "<a>10, 7</a>", &lists, true)).unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidVerdict && error.message().contains("10 of a 1"), "{error}");
    let lists: [(usize, &[(&str, f32)]); 2] = [(3, &[("1", 0.9), ("9", 0.1)]), (4, &[("0", 0.6), (".", 0.3)])];
    assert!(writer(Some(tokenizer())).advance(&answer(Part::Verdict, "<a>10, 7</a>", &lists, true)).is_ok());
}

#[test]
fn nothing_is_looked_at_if_all_is_known_or_nothing_can_be() {
    let lists: [(usize, &[(&str, f32)]); 2] = [(3, &[("9", 0.6), ("8", 0.4)]), (6, &[("7", 0.9999), ("1", 0.0001)])];
    let mut known = writer(Some(tokenizer()));
    assert!(!known.advance(&answer(Part::Verdict, "<a>9, 7</a>", &lists, true)).unwrap());
    assert!(near(&known.finish().distributions[0], &[(9, 0.6), (8, 0.4)]));
    // Without a tokenizer, the token of the 1 is not known.
    let lists: [(usize, &[(&str, f32)]); 2] = [(3, &[("9", 0.6), ("1", 0.4)]), (6, &[("7", 1.0)])];
    let mut unknown = writer(None);
    assert!(!unknown.advance(&answer(Part::Verdict, "<a>9, 7</a>", &lists, false)).unwrap());
    assert!(unknown.finish().distributions.is_empty());
    // A look that says nothing ends the looks.
    let mut silent = writer(Some(tokenizer()));
    assert!(silent.advance(&answer(Part::Verdict, "<a>9, 7</a>", &lists, true)).unwrap());
    assert!(!silent.advance(&answer(Part::Look, "0", &[(0, &[("5", 1.0)])], true)).unwrap());
    assert!(silent.finish().distributions.is_empty());
}
