//! Verdicts by choices with servers that answer in ways of their own.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::decode::grammar::{Choices, VerdictGrammar};
use crate::decode::plan::{Plan, Reasoning, VerdictPlan};
use crate::decode::reasoning::ReasoningTokens;
use crate::engine::{Generation, Guidance, Sampling};
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

/// A judge of these responses, whose tokens are bytes.
fn writer(names: &[&str], consistent: bool, change: impl FnOnce(&mut Start)) -> Writer {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let form = VerdictForm { separator: String::new(), layout: "<%scores%|%ranking%>".into() };
    let grammar = VerdictGrammar::new(&form, Scale::default(), "", &names);
    let tokens = |text: String| (text.clone(), text.bytes().map(u32::from).collect());
    let choices = Choices::new(&grammar, &grammar.choice_texts().into_iter().map(tokens).collect()).unwrap();
    let mut start = Start {
        tokenizer: Some(tokenizer()),
        ids: vec![7, 8, 9],
        plan: Plan { reasoning: None, verdict: VerdictPlan::Guided { grammar, consistent } },
        reasoning: None,
        sampling: Sampling::GREEDY,
        submitted: Instant::now(),
        alternatives: 20,
        stream: true,
        guidance: Guidance::Grammar,
        most: 64,
        choices: Some(Arc::new(choices)),
        context: None,
    };
    change(&mut start);
    Writer::new(start).unwrap()
}

/// A server that is asked for choices, or not.
fn facts(by_choice: bool) -> Facts {
    Facts {
        kind: Kind::Vllm,
        notation: Notation::Structured,
        logprobs: Logprobs::BeforeMask,
        ids: true,
        by_choice,
        ..Facts::default()
    }
}

fn body(writer: &Writer, facts: &Facts) -> (Part, Value) {
    let Request { part, body, .. } = writer.request(facts, false);
    (part, serde_json::from_slice(&body).unwrap())
}

/// The next request: what for, and the text of its prompt.
fn asked(writer: &Writer, facts: &Facts) -> (Part, String) {
    let (part, body) = body(writer, facts);
    let ids = body["prompt"].as_array().unwrap().iter().skip(3).map(|id| id.as_u64().unwrap());
    (part, ids.map(|id| char::from(u8::try_from(id).unwrap())).collect())
}

fn written(part: Part, pieces: Vec<Piece>) -> Written {
    let begun = Instant::now();
    Written { part, pieces, finish: Finish::Stop, cut: false, unmasked: true, begun, first: None, last: begun }
}

/// The answer to a choice: a list of tokens.
fn list(tokens: Vec<(Token, f32)>) -> Written {
    let (token, logprob) = tokens[0].clone();
    let alternatives = tokens.into_iter().map(|(token, share)| (token, share.ln())).collect();
    let positions = vec![Position { token, logprob: Some(logprob.ln()), alternatives }];
    written(Part::Choice, vec![Piece { positions, ..Piece::default() }])
}

fn ids(tokens: &[(char, f32)]) -> Written {
    list(tokens.iter().map(|&(letter, share)| (Token::Id(letter.into()), share)).collect())
}

fn texts(tokens: &[(&str, f32)]) -> Written {
    list(tokens.iter().map(|&(text, share)| (Token::Bytes(text.into()), share)).collect())
}

/// Text that a server wrote under a grammar.
fn guided(text: &str) -> Written {
    written(
        Part::Verdict,
        vec![Piece { text: text.into(), ids: text.bytes().map(u32::from).collect(), ..Piece::default() }],
    )
}

#[test]
fn a_verdict_that_was_begun_under_a_grammar_is_not_begun_again() {
    let mut writer = writer(&["a", "b"], true, |_| ());
    // The first server gives one choice and fails; the second one is not asked for choices.
    assert_eq!(asked(&writer, &facts(true)), (Part::Choice, "<\"a\": ".into()));
    assert!(writer.advance(&ids(&[('4', 0.9)])).unwrap());
    assert_eq!(asked(&writer, &facts(true)), (Part::Choice, "<\"a\": 4, \"b\": ".into()));
    assert_eq!(asked(&writer, &facts(false)), (Part::Verdict, String::new()));
    assert!(writer.advance(&guided("<\"a\": 2, \"b\": 2")).unwrap());
    // Then the first one is back.
    assert_eq!(asked(&writer, &facts(true)), (Part::Verdict, "<\"a\": 2, \"b\": 2".into()));
    assert!(!writer.advance(&guided("|\"b\", \"a\">")).unwrap());
    assert_eq!(writer.finish().raw, "<\"a\": 2, \"b\": 2|\"b\", \"a\">");
}

#[test]
fn a_candidate_that_a_server_names_in_another_way_is_not_passed_over() {
    // The list of the server shows the first byte of the likelier name as a sign for a part of a character.
    let mut by_text = writer(&["é", "x"], false, |_| ());
    for _ in 0..2 {
        assert!(by_text.advance(&texts(&[("4", 0.9)])).unwrap());
    }
    assert_eq!(asked(&by_text, &facts(true)).0, Part::Choice);
    assert!(by_text.advance(&texts(&[("\u{fffd}", 0.9), ("x", 0.1)])).unwrap());
    assert_eq!(asked(&by_text, &facts(true)), (Part::Verdict, String::new()));
    // A name that can be told is chosen.
    let mut known = writer(&["é", "x"], false, |_| ());
    for answer in [texts(&[("4", 0.9)]), texts(&[("4", 0.9)])] {
        assert!(known.advance(&answer).unwrap());
    }
    assert!(!known.advance(&texts(&[("x", 0.9), ("\u{fffd}", 0.1)])).unwrap());
    assert!(known.finish().raw.ends_with("|\"x\", \"é\">"));
}

#[test]
fn numbers_that_are_no_log_probabilities_say_nothing_of_the_scale() {
    let mut writer = writer(&["a"], false, |_| ());
    // Logits: their differences are those of the log probabilities.
    assert!(!writer.advance(&ids(&[('4', 20.0), ('2', 5.0), ('x', 1000.0)])).unwrap());
    let Generation { distributions, masses, .. } = writer.finish();
    assert!((distributions[0][3] - 0.8).abs() < 1e-6 && masses[0].is_nan(), "{distributions:?} {masses:?}");
}

#[test]
fn an_answer_without_probabilities_leaves_the_verdict_to_a_grammar() {
    let empty = || Piece { text: "4".into(), ids: vec![52], ..Piece::default() };
    for pieces in [vec![], vec![empty()], vec![Piece::default(), empty()]] {
        let mut writer = writer(&["a", "b"], false, |_| ());
        assert!(writer.advance(&ids(&[('4', 0.9)])).unwrap());
        assert!(writer.advance(&written(Part::Choice, pieces)).unwrap());
        assert_eq!(asked(&writer, &facts(true)), (Part::Verdict, String::new()));
        assert!(!writer.advance(&guided("<\"a\": 2, \"b\": 3|\"b\", \"a\">")).unwrap());
        let Generation { raw, usage, masses, .. } = writer.finish();
        assert_eq!((raw.as_str(), usage.verdict_tokens), ("<\"a\": 2, \"b\": 3|\"b\", \"a\">", 25));
        assert!(masses.is_empty());
    }
}

#[test]
fn a_reasoning_that_ends_the_text_is_closed_before_its_end() {
    const END: u32 = 1;
    const CLOSE: u32 = 2;
    let thinking = || Reasoning { open: None, prefix: String::new(), close: "</think>".into(), budget: 100 };
    let mut writer = writer(&["a"], false, |start| {
        start.tokenizer = None;
        start.reasoning = Some(ReasoningTokens::of_ids(&thinking(), 0, &[], CLOSE, &[10]));
        start.plan.reasoning = Some(thinking());
    });
    assert_eq!(asked(&writer, &facts(true)).0, Part::Reasoning);
    let thought = Piece { text: "hm".into(), ids: vec![104, 109, END], ..Piece::default() };
    assert!(writer.advance(&written(Part::Reasoning, vec![thought])).unwrap());
    assert_eq!(asked(&writer, &facts(true)), (Part::Choice, "hm\n\u{2}<\"a\": ".into()));
    assert!(!writer.advance(&ids(&[('4', 0.9)])).unwrap());
    let Generation { raw, usage, .. } = writer.finish();
    assert_eq!((raw.as_str(), usage.reasoning_tokens), ("hm\n</think><\"a\": 4|\"a\">", 4));
}

#[test]
fn a_list_that_leaves_out_too_much_to_draw_from_is_asked_for_again() {
    let llama = Facts { kind: Kind::LlamaServer, ..facts(true) };
    let sampled = || {
        writer(&["a", "b"], false, |start| {
            start.sampling = Sampling { temperature: 1.0, top_p: 1.0, top_k: 0, seed: 3 };
            start.alternatives = 10;
        })
    };
    let short = || ids(&[('4', 0.6), ('x', 0.3)]);
    let long = || ids(&[('4', 0.6), ('x', 0.3), ('1', 0.01), ('2', 0.01), ('3', 0.01), ('5', 0.01)]);
    let mut known = sampled();
    for before in ["<\"a\": ", "<\"a\": 4, \"b\": "] {
        assert_eq!(
            (asked(&known, &llama), &body(&known, &llama).1["n_probs"]),
            ((Part::Choice, before.into()), &10.into())
        );
        assert!(known.advance(&short()).unwrap());
        assert_eq!(
            (asked(&known, &llama), &body(&known, &llama).1["n_probs"]),
            ((Part::Choice, before.into()), &1000.into())
        );
        assert!(known.advance(&long()).unwrap());
    }
    // Another server may refuse more than it was asked for.
    let mut limited = sampled();
    assert!(limited.advance(&short()).unwrap());
    assert_eq!(body(&limited, &facts(true)).1["logprobs"], 10);
    // Nothing was drawn yet: a grammar may write it all.
    let mut never = sampled();
    assert!(never.advance(&short()).unwrap() && never.advance(&short()).unwrap());
    assert_eq!(asked(&never, &llama), (Part::Verdict, String::new()));
    // What was drawn stays.
    let mut later = sampled();
    for answer in [long(), short(), short()] {
        assert!(later.advance(&answer).unwrap());
    }
    assert_eq!(asked(&later, &llama), (Part::Choice, "<\"a\": 4, \"b\": 4|\"".into()));
}

#[test]
fn a_server_that_writes_other_texts_for_the_scores_has_another_model() {
    // By the list, as llama-server names tokens, or by the text of the answer, as vLLM gives it.
    let both = |text: &str| (Token::Both('4'.into(), text.into()), 0.9);
    let piece = |text: &str| {
        let mut answer = ids(&[('4', 0.9), ('2', 0.1)]);
        answer.pieces[0].text = text.into();
        answer
    };
    for (own, answer) in
        [(true, list(vec![both("4")])), (false, list(vec![both("qu")])), (true, piece("4")), (false, piece("qu"))]
    {
        let mut writer = writer(&["a", "b"], false, |_| ());
        assert!(writer.advance(&answer).unwrap());
        assert_eq!(asked(&writer, &facts(true)).0 == Part::Choice, own);
    }
}
