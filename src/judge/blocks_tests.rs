//! Groups that are judged in blocks, on an engine that answers by script.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Blocks, JudgeConfig, Mask, Options, RankingFrom, Reward, RubricMerge, StopEarly};
use crate::engine::scripted::{Reply, Scripted};
use crate::engine::{Input, Job, Opened, TextModel};
use crate::error::{ErrorKind, Result};
use crate::log::Log;
use crate::prompt::profile::Profile;
use crate::prompt::tokenize::{RawToken, TokenKind, Tokenizer};
use crate::request::{Criterion, CriterionKind, JudgeRequest};
use crate::verdict::{Flag, RunOutcome, Verdict};

use super::Judge;

/// What a job's judge reads. A token is a byte.
fn read(job: &Job) -> serde_json::Value {
    let text = match &job.input {
        Input::Messages(messages) => messages.last().unwrap().content.clone(),
        Input::Tokens { ids, .. } => {
            String::from_utf8(ids.iter().map(|&id| u8::try_from(id).unwrap()).collect()).unwrap()
        }
    };
    let (start, end) = (text.rfind("{\"principle\"").unwrap(), text.rfind('}').unwrap());
    serde_json::from_str(&text[start..=end]).unwrap()
}

/// The scores that the responses begin with, in the order shown.
fn true_scores(job: &Job) -> Vec<f64> {
    let responses = read(job)["responses"].as_object().unwrap().clone();
    responses.values().map(|text| text.as_str().unwrap().split(' ').next().unwrap().parse().unwrap()).collect()
}

/// A verdict with these scores, in the order shown, and the ranking that follows.
fn verdict(scores: &[f64]) -> String {
    let mut places: Vec<usize> = (0..scores.len()).collect();
    places.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let scores: Vec<_> =
        scores.iter().enumerate().map(|(place, score)| format!("\"model-{}\": {}", place + 1, score.round())).collect();
    let ranking: Vec<_> = places.iter().map(|place| format!("\"model-{}\"", place + 1)).collect();
    format!(r#"{{"scores": {{{}}}, "best-to-worst": [{}]}}"#, scores.join(", "), ranking.join(", "))
}

/// A judge that gives the scores that the responses begin with.
fn honest(job: &Job, _: u64) -> Reply {
    Reply::text(verdict(&true_scores(job)))
}

/// A judge that gives one more to all responses where it sees a worst one.
fn relative(job: &Job, _: u64) -> Reply {
    let scores = true_scores(job);
    let bonus = if scores.contains(&1.0) { 1.0 } else { 0.0 };
    Reply::text(verdict(&scores.iter().map(|score| score + bonus).collect::<Vec<_>>()))
}

/// A judge whose engine reads tokens, of which the context holds so many.
fn open(engine: &Scripted, context: usize) -> Judge {
    let engine = engine.clone().with_capabilities(|able| able.context_tokens = Some(context));
    let tokens = (0..=u8::MAX).map(|byte| RawToken { bytes: vec![byte], kind: TokenKind::Byte }).collect();
    let encode = Box::new(|text: &str| Ok(text.bytes().map(u32::from).collect()));
    let text = TextModel {
        chat_template: "{% for message in messages %}{{ message['content'] }}\n{% endfor %}".to_owned(),
        bos: None,
        eos: None,
        tokenizer: Arc::new(Tokenizer::from_encoder(encode, tokens).unwrap()),
    };
    let opened = Opened { text: Some(text), ..engine.opened() };
    let profile = Profile { reasoning: None, system_prompt: "Judge.".to_owned(), ..Profile::builtin() };
    Judge::with_engine(config(), profile, opened, Log::none()).unwrap()
}

/// A judge whose engine takes messages, and does not tell its context.
fn open_unknown(engine: &Scripted) -> Judge {
    Judge::with_engine(config(), Profile::builtin(), engine.opened(), Log::none()).unwrap()
}

fn config() -> JudgeConfig {
    let mut config = JudgeConfig::new("scripted");
    config.options.mask = Some(Mask::Given);
    config.options.reasoning = Some(false);
    config.limits.max_responses = 64;
    config
}

/// Responses of 100 tokens.
fn request(scores: &[u32], change: impl FnOnce(&mut Options)) -> JudgeRequest {
    let text = |score: &u32| format!("{score} {:x<98}", "");
    let responses = scores.iter().enumerate().map(|(index, score)| (format!("r{index}"), text(score)));
    let mut request = JudgeRequest::new("Be brief.", "p", responses);
    change(&mut request.options);
    request
}

fn in_blocks(scores: &[u32], change: impl FnOnce(&mut Options)) -> JudgeRequest {
    request(scores, |options| {
        options.blocks = Some(Blocks::WhenNeeded);
        change(options);
    })
}

fn of_six(options: &mut Options) {
    options.block_size = Some(6);
}

fn scores(verdict: &Verdict) -> Vec<f64> {
    verdict.scores.iter().map(|scored| scored.score).collect()
}

/// What does not depend on the clock.
fn essence(verdict: &Verdict) -> serde_json::Value {
    let mut json = serde_json::to_value(verdict).unwrap();
    json.as_object_mut().unwrap().remove("timing_ms");
    json
}

#[track_caller]
fn message(outcome: Result<Verdict>, kind: ErrorKind) -> String {
    let error = outcome.expect_err("it does not end in a verdict");
    assert_eq!(error.kind(), kind, "{error}");
    error.message().to_owned()
}

const TWELVE: [u32; 12] = [3, 4, 2, 3, 4, 3, 2, 3, 4, 3, 4, 2];

#[test]
fn a_group_that_fits_is_judged_as_it_is_without_blocks() {
    let engine = Scripted::new(honest);
    let judge = open(&engine, 10_000);
    let plain = judge.judge(&request(&TWELVE, |_| {})).unwrap();
    let asked = judge.judge(&in_blocks(&TWELVE, |_| {})).unwrap();
    assert_eq!(essence(&plain), essence(&asked));
    assert_eq!((engine.submitted(), asked.blocks), (2, None));
    // To the token.
    let count = judge.count(&request(&TWELVE, |_| {})).unwrap();
    let need = count.prompt_tokens + count.output_tokens;
    for (context, blocks) in [(need, 1), (need - 1, 2)] {
        let judge = open(&Scripted::new(honest), context);
        let found = judge.judge(&in_blocks(&TWELVE, |_| {})).unwrap();
        assert_eq!(found.blocks.map_or(1, |table| table.blocks.len()), blocks);
    }
    let judge = open_unknown(&engine);
    assert_eq!(judge.judge(&in_blocks(&TWELVE, |_| {})).unwrap().blocks, None, "nobody knows the context");
}

#[test]
fn a_group_that_does_not_fit_is_judged_in_blocks_that_share_anchors() {
    let engine = Scripted::new(honest);
    let judge = open(&engine, 1300);
    let wanted = in_blocks(&TWELVE, |_| {});
    let merged = judge.judge(&wanted).unwrap();
    let table = merged.blocks.as_ref().unwrap();
    assert_eq!(engine.submitted(), table.blocks.len() as u64);
    assert_eq!((table.anchors.len(), table.blocks.len()), (2, 2));
    assert_eq!(scores(&merged), TWELVE.map(f64::from), "blocks that agree change nothing");
    assert!(merged.flags.contains(&Flag::JudgedInBlocks) && merged.flags.contains(&Flag::Ties));
    assert!(!merged.flags.contains(&Flag::InconsistentRanking));
    let ranked: Vec<f64> = merged.ranking.iter().map(|&index| f64::from(TWELVE[index])).collect();
    assert!(ranked.is_sorted_by(|a, b| a >= b));
    let raw: usize = table.blocks.iter().map(|block| block.raw.len()).sum();
    assert_eq!(merged.usage.verdict_tokens, raw, "the cost is that of all blocks");
    assert_eq!(
        (merged.raw.as_str(), merged.aliases.len()),
        (table.blocks[0].raw.as_str(), table.blocks[0].order.len())
    );
    for block in &table.blocks {
        assert!(table.anchors.iter().all(|anchor| block.order.contains(anchor)));
        assert!(block.order.is_sorted(), "in the order of the group");
    }
    assert_eq!(essence(&judge.judge(&wanted).unwrap()), essence(&merged), "the same request, the same verdict");
    let json = serde_json::to_string(&merged).unwrap();
    assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap().blocks, merged.blocks);
    let other = in_blocks(&TWELVE, |options| options.mask_seed = Some(7));
    assert_ne!(judge.judge(&other).unwrap().blocks.unwrap().anchors, table.anchors, "the seed draws the anchors");
    let error = merged.rewards_of(Reward::Win).unwrap_err();
    assert!(error.message().starts_with("the responses were judged in blocks"), "{error}");
    let count = judge.count(&wanted).unwrap();
    assert_eq!((count.runs, count.fits()), (2, true));
    let prompt = judge.prompt(&wanted).unwrap();
    assert_eq!(prompt.aliases.len(), table.blocks[0].order.len());
    assert!(prompt.tokens.len() <= count.prompt_tokens);
}

#[test]
fn anchors_take_out_what_a_block_does_to_its_scores() {
    let engine = Scripted::new(relative);
    let judge = open(&engine, 10_000);
    let group = [1, 2, 3, 2, 4, 3, 2, 4, 3, 2, 3, 2];
    let whole = judge.judge(&request(&group, |_| {})).unwrap();
    let merged = judge.judge(&in_blocks(&group, of_six)).unwrap();
    let table = merged.blocks.as_ref().unwrap();
    if !table.anchors.contains(&0) {
        assert!(table.blocks.iter().any(|block| block.shift != 0.0));
    }
    // Up to one number for all, the scores are those of the whole group.
    let offsets: Vec<f64> = scores(&merged).iter().zip(scores(&whole)).map(|(one, other)| one - other).collect();
    assert!(offsets.iter().all(|offset| (offset - offsets[0]).abs() < 1e-9), "{offsets:?}");
}

#[test]
fn at_most_block_size_responses_are_judged_at_once() {
    let engine = Scripted::new(honest);
    let judge = open_unknown(&engine);
    let merged = judge.judge(&request(&TWELVE, of_six)).unwrap();
    let sizes: Vec<_> = merged.blocks.as_ref().unwrap().blocks.iter().map(|block| block.order.len()).collect();
    assert_eq!(sizes, [6, 5, 5], "without `blocks`: a size asks for them");
    let never = request(&TWELVE, |options| (options.blocks, options.block_size) = (Some(Blocks::Never), Some(6)));
    assert_eq!(judge.judge(&never).unwrap().blocks, None);
    assert_eq!(judge.judge(&request(&TWELVE[..6], of_six)).unwrap().blocks, None);
    let pairs = request(&TWELVE, |options| (options.block_size, options.block_anchors) = (Some(2), Some(1)));
    assert_eq!(judge.judge(&pairs).unwrap().blocks.unwrap().blocks.len(), 11);
    let error =
        message(judge.judge(&request(&TWELVE, |options| options.block_size = Some(2))), ErrorKind::InvalidRequest);
    assert!(error.contains("block_size is 2 and block_anchors is 2"), "{error}");
}

#[test]
fn ensembles_and_rubrics_go_together_with_blocks() {
    let engine = Scripted::new(relative);
    let judge = open_unknown(&engine);
    let group = [1, 2, 3, 2, 4, 3, 2, 4, 3, 2, 3, 2];
    let merged = judge
        .judge(&request(&group, |options| {
            of_six(options);
            (options.orders, options.samples, options.temperature) = (Some(4), Some(2), Some(1.0));
        }))
        .unwrap();
    assert_eq!(engine.submitted(), 4 * 2 * 3);
    let ensemble = merged.ensemble.as_ref().unwrap();
    assert_eq!((ensemble.runs.len(), ensemble.places.len()), (8, 6));
    assert!(merged.blocks.is_some() && merged.flags.contains(&Flag::JudgedInBlocks));
    for run in &ensemble.runs {
        let mut order = run.order.clone();
        order.sort_unstable();
        assert!(order.into_iter().eq(0..12), "each response once");
        assert_eq!(run.blocks.as_ref().unwrap().anchors, merged.blocks.as_ref().unwrap().anchors);
    }
    // The judge does not look at places, and all runs have the same blocks.
    assert!(ensemble.places.iter().all(|place| place.score.abs() < 1.0));
    assert!(ensemble.standard_errors.iter().all(|error| error.unwrap().abs() < 1e-9));
    let json = serde_json::to_string(&merged).unwrap();
    let again = serde_json::from_str::<Verdict>(&json).unwrap().ensemble.unwrap();
    for (one, other) in again.runs.iter().zip(&ensemble.runs) {
        let orders = |run: &RunOutcome| -> Vec<Vec<usize>> {
            run.blocks.as_ref().unwrap().blocks.iter().map(|block| block.order.clone()).collect()
        };
        assert_eq!((&one.order, orders(one)), (&other.order, orders(other)));
    }
    let many = request(&group, |options| {
        of_six(options);
        (options.orders, options.samples, options.temperature) = (Some(60), Some(2), Some(1.0));
    });
    let error = message(judge.judge(&many), ErrorKind::InvalidRequest);
    assert!(error.contains("60 orders with 2 samples each by 3 blocks are 360 runs: at most 256"), "{error}");

    let mut request = request(&group, |options| {
        of_six(options);
        options.orders = Some(2);
        options.reward = Some(Reward::Group);
    });
    let met = Criterion { kind: CriterionKind::YesNo, ..Criterion::new("met", "is good") };
    request.rubric = vec![Criterion::new("brief", "is brief"), met];
    let before = engine.submitted();
    let merged = judge.judge(&request).unwrap();
    assert_eq!(engine.submitted() - before, 2 * 2 * 3);
    let rubric = merged.rubric.as_ref().unwrap();
    assert!(merged.blocks.is_none() && merged.flags.contains(&Flag::JudgedInBlocks));
    assert!(rubric.criteria.iter().all(|row| row.verdict.blocks.is_some() && row.values.len() == 12));
    assert_eq!(merged.rewards.unwrap().values.len(), 12);
    request.options.rubric_merge = Some(RubricMerge::AllPass);
    assert!(judge.judge(&request).is_ok());
}

#[test]
fn no_block_is_judged_twice_in_one_order() {
    let engine = Scripted::new(|job, _| Reply::text(verdict(&true_scores(job))));
    let judge = open_unknown(&engine);
    // Blocks of three and of two, which has two orders.
    let wanted = request(&TWELVE[..4], |options| {
        of_six(options);
        (options.block_size, options.block_anchors, options.orders) = (Some(3), Some(1), Some(4));
    });
    let merged = judge.judge(&wanted).unwrap();
    assert_eq!((engine.submitted(), merged.ensemble.unwrap().runs.len()), (4, 2));
    assert!(merged.flags.contains(&Flag::OrdersReduced));
}

#[test]
fn the_scores_give_the_ranking_where_that_is_asked_for() {
    // A judge whose rankings are the order shown.
    let engine = Scripted::new(|job, _| {
        let scores = true_scores(job);
        let ranking: Vec<_> = (1..=scores.len()).map(|place| format!("\"model-{place}\"")).collect();
        let text = verdict(&scores);
        let start = text.rfind('[').unwrap();
        Reply::text(format!("{}[{}]}}", &text[..start], ranking.join(", ")))
    });
    let judge = open_unknown(&engine);
    let written = judge.judge(&request(&TWELVE, of_six)).unwrap();
    assert!(written.flags.contains(&Flag::InconsistentRanking));
    for block in &written.blocks.as_ref().unwrap().blocks {
        let ranked: Vec<_> = written.ranking.iter().filter(|index| block.order.contains(index)).collect();
        assert!(ranked.is_sorted(), "the rankings of the blocks are kept");
    }
    for (from, consistent) in [(RankingFrom::Scores, false), (RankingFrom::Judge, true)] {
        let wanted = request(&TWELVE, |options| {
            of_six(options);
            (options.ranking_from, options.consistent_ranking) = (Some(from), Some(consistent));
        });
        let merged = judge.judge(&wanted).unwrap();
        let ranked: Vec<u32> = merged.ranking.iter().map(|&index| TWELVE[index]).collect();
        assert!(ranked.is_sorted_by(|a, b| a >= b) && !merged.flags.contains(&Flag::InconsistentRanking));
    }
}

#[test]
fn an_ensemble_of_blocks_ends_early_after_whole_runs() {
    let engine = Scripted::new(honest).with_capabilities(|able| able.max_sequences = 3);
    let judge = open_unknown(&engine);
    let wanted = request(&[1, 2, 5, 2, 1, 3, 2, 3, 3, 2, 3, 2], |options| {
        of_six(options);
        (options.orders, options.stop_early) = (Some(12), Some(StopEarly::Top));
    });
    let merged = judge.judge(&wanted).unwrap();
    let ensemble = merged.ensemble.unwrap();
    assert_eq!((ensemble.runs.len(), ensemble.stopped_early), (6, true), "a square of the longest block");
    assert_eq!((merged.ranking[0], judge.pending()), (2, 0));
}

#[test]
fn a_failed_block_fails_the_group_unless_fewer_runs_are_enough() {
    let broken =
        |job: &Job, number| if number % 6 == 1 { Reply::text("no verdict at all") } else { honest(job, number) };
    let judge = open_unknown(&Scripted::new(broken));
    let error = judge.judge(&request(&TWELVE, of_six)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidVerdict);
    assert!(error.message().starts_with("block 2 of 3: "), "{error}");
    let partial = error.partial().unwrap();
    assert_eq!((&partial.scores, &partial.ranking), (&None, &None), "a block's scores are not those of the group");
    let twice = |min_runs| {
        request(&TWELVE, |options| {
            of_six(options);
            (options.orders, options.min_runs) = (Some(2), min_runs);
        })
    };
    // A judge of its own each: its answers count from 0.
    let judge = open_unknown(&Scripted::new(broken));
    let error = message(judge.judge(&twice(None)), ErrorKind::InvalidVerdict);
    assert!(error.starts_with("run 1 of 2: block 2 of 3: "), "{error}");
    let judge = open_unknown(&Scripted::new(broken));
    let merged = judge.judge(&twice(Some(1))).unwrap();
    let ensemble = merged.ensemble.unwrap();
    assert_eq!((ensemble.runs.len(), ensemble.failed.len()), (1, 1));
    assert!(ensemble.failed[0].starts_with("run 1: invalid_verdict: block 2 of 3: "), "{:?}", ensemble.failed);
    let twice_broken = |job: &Job, number| if number < 2 { Reply::text("no verdict") } else { honest(job, number) };
    let judge = open_unknown(&Scripted::new(twice_broken));
    assert!(judge.judge(&twice(Some(1))).is_ok(), "two blocks of one run are one failure");
}

#[test]
fn cancels_and_deadlines_reach_all_blocks() {
    let engine = Scripted::new(|job, number| if number == 0 { honest(job, number) } else { Reply::never() });
    let judge = open_unknown(&engine);
    let ticket = judge.submit(&request(&TWELVE, of_six)).wait_timeout(Duration::from_millis(30)).unwrap_err();
    ticket.cancel();
    assert_eq!(ticket.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!((engine.submitted(), engine.cancelled(), judge.pending()), (3, 2, 0));
    let late = request(&TWELVE, |options| {
        of_six(options);
        options.timeout_ms = Some(20);
    });
    message(judge.judge(&late), ErrorKind::Timeout);
    assert_eq!(judge.pending(), 0);
    let dead = Scripted::new(|job, number| if number == 1 { Reply::death("gone") } else { honest(job, number) });
    message(open_unknown(&dead).judge(&request(&TWELVE, of_six)), ErrorKind::EngineDead);
}

#[test]
fn what_cannot_be_judged_in_blocks_is_refused_before_it_is_judged() {
    let engine = Scripted::new(honest);
    let judge = open(&engine, 1300);
    let wins = in_blocks(&TWELVE, |options| options.reward = Some(Reward::Win));
    let error = message(judge.judge(&wins), ErrorKind::InvalidRequest);
    assert!(error.contains("the reward \"win\" compares distributions"), "{error}");
    // The probabilities of a calibrated judge come from scores, but not those of a rubric's table.
    let mut profile = super::calibrated_tests::calibrated(&config().options);
    profile.reasoning = None;
    let calibrated = Judge::with_engine(config(), profile, Scripted::new(honest).opened(), Log::none()).unwrap();
    let mut wins = request(&TWELVE, |options| {
        of_six(options);
        options.reward = Some(Reward::Win);
    });
    let verdict = calibrated.judge(&wins).unwrap();
    assert!(verdict.blocks.is_some() && verdict.flags.contains(&Flag::CalibrationOfOtherOptions), "{verdict:?}");
    assert_eq!(verdict.rewards.unwrap().values, verdict.preferences.unwrap().wins);
    wins.principle.clear();
    wins.rubric = vec![Criterion::new("brief", "Be brief."), Criterion::new("kind", "Be kind.")];
    let error = message(calibrated.judge(&wins), ErrorKind::InvalidRequest);
    assert!(error.contains("the reward \"win\" compares distributions"), "{error}");
    let adaptive = request(&TWELVE, |options| {
        of_six(options);
        (options.reasoning, options.adaptive_reasoning) = (Some(true), Some(0.9));
    });
    let error = message(open_unknown(&Scripted::new(honest)).judge(&adaptive), ErrorKind::InvalidRequest);
    assert!(error.contains("adaptive_reasoning looks at distributions"), "{error}");
    let mut long = in_blocks(&TWELVE, |_| {});
    long.responses[3].text.push_str(&"y".repeat(900));
    let error = message(judge.judge(&long), ErrorKind::ContextOverflow);
    assert!(error.starts_with("not even a block of 2 anchors (block_anchors) and the response \"r3\" fits"), "{error}");
    assert!(error.contains("but the context holds 1300"), "{error}");
    let mut few = in_blocks(&TWELVE[..3], |_| {});
    few.responses.iter_mut().for_each(|response| response.text.push_str(&"y".repeat(300)));
    let error = message(judge.judge(&few), ErrorKind::ContextOverflow);
    assert!(error.starts_with("3 responses are too few for blocks that share 2 anchors"), "{error}");
    few.options.block_anchors = Some(1);
    assert_eq!(judge.judge(&few).unwrap().blocks.unwrap().blocks.len(), 2);
    assert_eq!(engine.submitted(), 2);
    // Text that cannot fit however it is tokenized is put into blocks like any other.
    let mut longer = in_blocks(&[3; 40], |_| {});
    longer.options.block_anchors = Some(1);
    assert!(judge.judge(&longer).unwrap().blocks.unwrap().blocks.len() > 5);
}
