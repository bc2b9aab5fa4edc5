//! Ensembles on an engine that answers by script.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::config::{JudgeConfig, Mask, Options, RankRule, RankingFrom, Reward, RubricMerge, RubricMode, StopEarly};
use crate::engine::scripted::{Reply, Scripted};
use crate::engine::{Engine, Input, Job};
use crate::error::ErrorKind;
use crate::log::Log;
use crate::prompt::profile::Profile;
use crate::request::{Criterion, CriterionKind, JudgeRequest};
use crate::verdict::{Flag, Verdict};

use super::Judge;

/// The request of a job, as the judge reads it.
fn read(job: &Job) -> serde_json::Value {
    let Input::Messages(messages) = &job.input else { panic!("it takes messages") };
    serde_json::from_str(&messages.last().unwrap().content).unwrap()
}

/// The texts of the responses in the order shown.
fn shown(job: &Job) -> Vec<String> {
    let request = read(job);
    request["responses"].as_object().unwrap().values().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// A verdict with these scores, in the order shown, and the ranking that follows.
fn verdict(scores: &[u32]) -> String {
    let mut places: Vec<usize> = (0..scores.len()).collect();
    places.sort_by_key(|&place| std::cmp::Reverse(scores[place]));
    let scores: Vec<_> =
        scores.iter().enumerate().map(|(place, score)| format!("\"model-{}\": {score}", place + 1)).collect();
    let ranking: Vec<_> = places.iter().map(|place| format!("\"model-{}\"", place + 1)).collect();
    format!(r#"{{"scores": {{{}}}, "best-to-worst": [{}]}}"#, scores.join(", "), ranking.join(", "))
}

/// A judge that gives each response the score that it consists of, and one more to the place shown first.
fn biased(job: &Job, _: u64) -> Reply {
    let scores = shown(job).iter().map(|text| text.parse::<u32>().unwrap()).collect::<Vec<_>>();
    let scores: Vec<_> = scores.iter().enumerate().map(|(place, score)| score + u32::from(place == 0)).collect();
    Reply::text(verdict(&scores))
}

fn request(texts: &[&str], change: impl FnOnce(&mut Options)) -> JudgeRequest {
    let responses = texts.iter().enumerate().map(|(index, text)| (format!("r{index}"), *text));
    let mut request = JudgeRequest::new("Be brief.", "p", responses);
    change(&mut request.options);
    request
}

fn open(engine: &Scripted) -> Judge {
    let mut config = JudgeConfig::new("scripted");
    config.options.mask = Some(Mask::Given);
    config.options.reasoning = Some(false);
    Judge::with_engine(config, Profile::builtin(), engine.opened(), Log::none()).unwrap()
}

fn scores(verdict: &Verdict) -> Vec<f64> {
    verdict.scores.iter().map(|scored| scored.score).collect()
}

#[test]
fn orders_take_out_what_a_place_does_and_report_it() {
    let engine = Scripted::new(biased);
    let judge = open(&engine);
    let single = judge.judge(&request(&["1", "2", "3", "3"], |_| {})).unwrap();
    assert_eq!(scores(&single), [2.0, 2.0, 3.0, 3.0]);
    assert_eq!(single.ensemble, None);
    let merged = judge.judge(&request(&["1", "2", "3", "3"], |options| options.orders = Some(4))).unwrap();
    assert_eq!(engine.submitted(), 5);
    assert_eq!(scores(&merged), [1.25, 2.25, 3.25, 3.25]);
    assert_eq!(merged.ranking, [2, 3, 1, 0], "of equal ones the first first");
    assert!(merged.flags.contains(&Flag::Ties) && !merged.flags.contains(&Flag::OrdersReduced));
    let report = merged.ensemble.as_ref().unwrap();
    assert_eq!((report.orders, report.samples, report.runs.len(), report.stopped_early), (4, 1, 4, false));
    assert!(report.exact);
    let effects: Vec<f64> = report.places.iter().map(|place| place.score).collect();
    assert_eq!(effects, [0.75, -0.25, -0.25, -0.25]);
    // A deviation of 0.75 in one run, -0.25 in three.
    assert_eq!(report.standard_errors[0], Some(0.25));
    assert!(report.kendall_w.unwrap() > 0.5);
    assert_eq!(report.runs[0].order, [0, 1, 2, 3]);
    assert_eq!(merged.usage.verdict_tokens, report.runs.iter().map(|run| run.raw.len()).sum::<usize>());
    let json = serde_json::to_string(&merged).unwrap();
    assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap().ensemble, merged.ensemble);
}

#[test]
fn the_same_request_gives_the_same_ensemble() {
    let engine = Scripted::new(|job, number| biased(job, number).after(Duration::from_millis(number * 7 % 5)));
    let judge = open(&engine);
    let wanted = request(&["1", "4", "2", "3", "2"], |options| {
        (options.orders, options.mask, options.mask_seed) = (Some(8), Some(Mask::Shuffle), Some(9));
    });
    let one = judge.judge(&wanted).unwrap();
    let other = judge.judge(&wanted).unwrap();
    assert_eq!((one.scores, one.ranking, one.ensemble), (other.scores, other.ranking, other.ensemble));
}

#[test]
fn samples_have_seeds_of_their_own_and_need_a_temperature() {
    let seeds = Arc::new(Mutex::new(Vec::new()));
    let seen = seeds.clone();
    let engine = Scripted::new(move |job, number| {
        seen.lock().unwrap().push(job.sampling.seed);
        biased(job, number)
    });
    let judge = open(&engine);
    let sampled = |temperature| {
        request(&["1", "2"], |options| {
            (options.samples, options.orders, options.seed) = (Some(3), Some(2), Some(u64::MAX));
            options.temperature = temperature;
        })
    };
    let error = judge.judge(&sampled(None)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.message().contains("samples is 3, but at temperature 0"), "{error}");
    let merged = judge.judge(&sampled(Some(0.5))).unwrap();
    assert_eq!(*seeds.lock().unwrap(), [u64::MAX, 0, 1, 2, 3, 4]);
    let report = merged.ensemble.unwrap();
    assert_eq!((report.orders, report.samples, report.runs.len()), (2, 3, 6));
}

#[test]
fn more_orders_than_there_are_and_more_runs_than_are_possible() {
    let engine = Scripted::new(biased);
    let judge = open(&engine);
    let merged = judge.judge(&request(&["1", "2"], |options| options.orders = Some(5))).unwrap();
    assert_eq!(engine.submitted(), 2);
    assert!(merged.flags.contains(&Flag::OrdersReduced));
    let single = judge.judge(&request(&["1"], |options| options.orders = Some(5))).unwrap();
    assert_eq!((engine.submitted(), single.ensemble), (3, None));
    assert_eq!(single.flags, [Flag::OrdersReduced]);
    let many = request(&["1", "2", "3", "1", "2"], |options| {
        (options.orders, options.samples, options.temperature) = (Some(64), Some(64), Some(1.0));
    });
    let error = judge.judge(&many).unwrap_err();
    assert!(error.message().contains("4096 runs: at most 256"), "{error}");
}

#[test]
fn a_failed_run_ends_the_judgment_unless_fewer_runs_are_enough() {
    let wanted =
        |min_runs| request(&["1", "2", "3", "4"], |options| (options.orders, options.min_runs) = (Some(4), min_runs));
    // Each on an engine of its own: a judgment that fails may end before all its runs are submitted.
    let judged = |min_runs| {
        let engine = Scripted::new(|job, number| match number {
            1 => Reply::text("no verdict at all"),
            _ => biased(job, number),
        });
        open(&engine).judge(&wanted(min_runs))
    };
    let error = judged(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidVerdict);
    assert!(error.message().starts_with("run 2 of 4: "), "{error}");
    let merged = judged(Some(3)).unwrap();
    let report = merged.ensemble.unwrap();
    assert_eq!((report.runs.len(), report.failed.len()), (3, 1));
    assert!(report.failed[0].starts_with("run 2: invalid_verdict: "), "{:?}", report.failed);
    assert!(judged(Some(4)).is_err());
    let dead = Scripted::new(|job, number| if number == 1 { Reply::death("gone") } else { biased(job, number) });
    let error = open(&dead).judge(&wanted(Some(1))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EngineDead, "what all runs share is no failure of one");
}

#[test]
fn an_ensemble_ends_early_where_its_order_is_settled_whichever_run_ended_first() {
    let plain = |job: &Job, number: u64| {
        let scores: Vec<_> = shown(job).iter().map(|text| text.parse::<u32>().unwrap()).collect();
        Reply::text(verdict(&scores)).after(Duration::from_millis(number * 13 % 7))
    };
    let engine = Scripted::new(plain).with_capabilities(|able| able.max_sequences = 2);
    let judge = open(&engine);
    let wanted =
        |texts: &[&str], stop| request(texts, |options| (options.orders, options.stop_early) = (Some(16), Some(stop)));
    let merged = judge.judge(&wanted(&["1", "3", "3", "5"], StopEarly::Top)).unwrap();
    let report = merged.ensemble.unwrap();
    assert_eq!((report.runs.len(), report.stopped_early), (4, true));
    assert!(engine.cancelled() > 0 || engine.submitted() < 16);
    assert_eq!(judge.pending(), 0);
    let merged = judge.judge(&wanted(&["1", "3", "3", "5"], StopEarly::Order)).unwrap();
    assert!(!merged.ensemble.unwrap().stopped_early, "two are equal");
    let merged = judge.judge(&wanted(&["1", "3", "5"], StopEarly::Order)).unwrap();
    assert_eq!(merged.ensemble.unwrap().runs.len(), 6);
}

#[test]
fn a_stage_that_is_decided_submits_no_further_run_and_cancels_one_that_it_was_submitting() {
    let reasoned = Arc::new(AtomicU64::new(0));
    let count = reasoned.clone();
    // The fifth run comes so late that the second stage has begun. It is never answered: it has to be cancelled.
    let engine = Scripted::new(move |job, number| {
        let scores: Vec<_> = shown(job).iter().map(|text| text.parse::<u32>().unwrap()).collect();
        if job.plan.reasoning.as_ref().is_some_and(|reasoning| reasoning.budget > 0) {
            count.fetch_add(1, Ordering::SeqCst);
            return Reply::text(format!("<think>\nhm</think>\n\n{}", verdict(&scores)));
        }
        if number < 4 {
            let after = if number == 3 { Duration::from_millis(50) } else { Duration::ZERO };
            return Reply::text(verdict(&scores)).after(after);
        }
        let begun = Instant::now();
        while count.load(Ordering::SeqCst) == 0 && begun.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        Reply::never()
    });
    let judge = open(&engine);
    let wanted = request(&["1", "3", "3", "5"], |options| {
        (options.orders, options.stop_early) = (Some(16), Some(StopEarly::Top));
        (options.reasoning, options.adaptive_reasoning) = (Some(true), Some(1.0));
    });
    let merged = judge.judge(&wanted).unwrap();
    assert!(merged.reasoning.contains("hm") && !merged.flags.contains(&Flag::ReasoningSkipped));
    // On a busy machine the four may decide before the fifth is submitted.
    let without = engine.submitted() - reasoned.load(Ordering::SeqCst);
    assert!((4..=5).contains(&without), "{without}");
    assert_eq!((engine.stats().running, engine.stats().waiting), (0, 0));
}

#[test]
fn a_ranking_by_scores_puts_no_lower_mean_score_first() {
    // The expected scores say otherwise.
    let engine = Scripted::new(|job, _| {
        let scores: Vec<_> = shown(job).iter().map(|text| text.parse::<u32>().unwrap()).collect();
        let below = vec![0.4, 0.0, 0.6, 0.0, 0.0];
        let above = vec![0.0, 0.6, 0.0, 0.4, 0.0];
        let distributions = scores.iter().map(|&score| if score == 3 { below.clone() } else { above.clone() });
        Reply::text(verdict(&scores)).with_distributions(distributions.collect())
    });
    let judge = open(&engine);
    let by_scores = |options: &mut Options| {
        (options.orders, options.ranking_from) = (Some(2), Some(RankingFrom::Scores));
    };
    let merged = judge.judge(&request(&["2", "3"], by_scores)).unwrap();
    assert!(merged.scores[0].expected > merged.scores[1].expected);
    assert_eq!((merged.ranking, merged.flags), (vec![1, 0], vec![]));
}

#[test]
fn cancels_and_deadlines_reach_all_runs() {
    let engine = Scripted::new(|_, _| Reply::never());
    let judge = open(&engine);
    let ticket = judge.submit(&request(&["1", "2", "3", "4"], |options| options.orders = Some(4)));
    ticket.cancel();
    assert_eq!(ticket.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!((engine.cancelled(), judge.pending()), (4, 0));
    let late = request(&["1", "2", "3", "4"], |options| (options.orders, options.timeout_ms) = (Some(4), Some(20)));
    assert_eq!(judge.judge(&late).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(judge.pending(), 0);
}

#[test]
fn the_ranking_follows_the_rule_or_the_mean_scores() {
    // Three runs prefer r0 by a little, one prefers r1 by much.
    let engine = Scripted::new(|job, number| {
        let score = |text: &String| match (text.as_str(), number % 4) {
            ("0", 3) => 1,
            ("1", 3) => 5,
            ("0", _) => 3,
            _ => 2,
        };
        Reply::text(verdict(&shown(job).iter().map(score).collect::<Vec<_>>()))
    });
    let judge = open(&engine);
    let wanted = |change: fn(&mut Options)| {
        let mut request = request(&["0", "1", "2"], |options| options.orders = Some(4));
        change(&mut request.options);
        judge.judge(&request).unwrap()
    };
    let kendall = wanted(|_| {});
    assert_eq!(kendall.ranking[0], 0);
    assert!(kendall.flags.contains(&Flag::InconsistentRanking), "r1 has the higher mean");
    let consistent = wanted(|options| options.consistent_ranking = Some(true));
    assert_eq!(consistent.ranking[0], 1);
    assert!(!consistent.flags.contains(&Flag::InconsistentRanking) && !consistent.ensemble.unwrap().exact);
    let borda = wanted(|options| options.rank_rule = Some(RankRule::Borda));
    assert_eq!(borda.ensemble.unwrap().rank_rule, RankRule::Borda);
}

#[test]
fn rewards_are_what_the_request_asks_for() {
    let sure = vec![vec![0.0, 0.0, 0.0, 0.5, 0.5], vec![1.0, 0.0, 0.0, 0.0, 0.0], vec![0.0, 0.0, 0.0, 1.0, 0.0]];
    let engine = Scripted::new(move |_, _| Reply::text(verdict(&[5, 1, 4])).with_distributions(sure.clone()));
    let judge = open(&engine);
    let rewards = |kind| {
        let verdict = judge.judge(&request(&["a", "b", "c"], |options| options.reward = Some(kind))).unwrap();
        let rewards = verdict.rewards.unwrap();
        assert_eq!(rewards.kind, kind);
        assert_eq!(rewards.spreads, [Some(0.5), Some(0.0), Some(0.0)]);
        rewards.values
    };
    assert_eq!(rewards(Reward::Score), [5.0, 1.0, 4.0]);
    assert_eq!(rewards(Reward::Expected), [4.5, 1.0, 4.0]);
    assert_eq!(rewards(Reward::Rank), [1.0, 0.0, 0.5]);
    // a against b 1 and against c 0.75, c against b 1.
    assert_eq!(rewards(Reward::Win), [0.875, 0.0, 0.625]);
    assert!(rewards(Reward::Group).iter().sum::<f64>().abs() < 1e-9);
    let bare = Scripted::new(biased);
    let judge = open(&bare);
    for (kind, works) in [(Reward::Win, false), (Reward::Expected, false), (Reward::ExpectedOrScore, true)] {
        let outcome = judge.judge(&request(&["1", "2"], |options| options.reward = Some(kind)));
        assert_eq!(
            outcome.map(|_| ()).map_err(|error| error.kind()),
            if works { Ok(()) } else { Err(ErrorKind::Unsupported) }
        );
    }
}

/// The criteria of a rubric in the order judged, with what the judge gives to responses `a` and `b`.
fn by_criterion(job: &Job, _: u64) -> Reply {
    let request = read(job);
    let principle = request["principle"].as_str().unwrap();
    let (scores, first) = match principle.rsplit('\n').next().unwrap() {
        "brief" => ([5, 1], [0.0, 0.0, 0.0, 0.0, 1.0]),
        "polite" => ([2, 4], [0.0, 1.0, 0.0, 0.0, 0.0]),
        _ => ([4, 1], [0.25, 0.0, 0.0, 0.5, 0.25]),
    };
    let mut second = vec![0.0; 5];
    second[scores[1] as usize - 1] = 1.0;
    let in_order = |shown: &str| if shown == "a" { (scores[0], first.to_vec()) } else { (scores[1], second.clone()) };
    let (scores, distributions): (Vec<_>, Vec<_>) = shown(job).iter().map(|text| in_order(text)).unzip();
    Reply::text(verdict(&scores)).with_distributions(distributions)
}

fn rubric() -> Vec<Criterion> {
    let brief = Criterion { weight: 3.0, ..Criterion::new("brevity", "brief") };
    let honest = Criterion { weight: 2.0, kind: CriterionKind::YesNo, ..Criterion::new("", "honest") };
    vec![brief, Criterion::new("tone", "polite"), honest]
}

#[test]
fn a_rubric_is_judged_by_each_criterion_and_merged_by_weight() {
    let engine = Scripted::new(by_criterion);
    let judge = open(&engine);
    let mut request = request(&["a", "b"], |options| options.orders = Some(2));
    request.principle = String::new();
    request.rubric = rubric();
    let merged = judge.judge(&request).unwrap();
    assert_eq!(engine.submitted(), 6);
    let table = merged.rubric.as_ref().unwrap();
    let names: Vec<_> = table.criteria.iter().map(|row| row.criterion.name.as_str()).collect();
    assert_eq!(names, ["brevity", "tone", "3"]);
    let values: Vec<_> = table.criteria.iter().map(|row| row.values.clone()).collect();
    assert_eq!(values, [vec![1.0, 0.0], vec![0.25, 0.75], vec![0.75, 0.0]]);
    // 3/6, 1/6 and 2/6 of the weight; as written, honesty is met by a.
    let near = |one: f64, other: f64| (one - other).abs() < 1e-12;
    let expected = 1.0 + 4.0 * (3.0 + 0.25 + 1.5) / 6.0;
    assert!(near(merged.scores[0].expected.unwrap(), expected), "{:?}", merged.scores);
    assert!(near(merged.scores[0].score, 1.0 + 4.0 * (3.0 + 0.25 + 2.0) / 6.0));
    assert!(near(merged.scores[1].score, 1.0 + 4.0 * 0.75 / 6.0));
    assert_eq!(merged.ranking, [0, 1]);
    assert_eq!(table.criteria[0].verdict.ensemble.as_ref().unwrap().runs.len(), 2);
    let cost: usize = table.criteria.iter().map(|row| row.verdict.usage.verdict_tokens).sum();
    assert_eq!(merged.usage.verdict_tokens, cost);
    let json = serde_json::to_string(&merged).unwrap();
    let again: Verdict = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), json);

    request.options.rubric_merge = Some(RubricMerge::AllPass);
    let strict = judge.judge(&request).unwrap();
    assert_eq!(scores(&strict), [1.0, 1.0]);
    request.options.rubric_pass = Some(0.25);
    assert_eq!(scores(&judge.judge(&request).unwrap()), [5.0, 1.0]);
    request.options.reward = Some(Reward::Win);
    assert_eq!(judge.judge(&request).unwrap_err().kind(), ErrorKind::InvalidRequest);
    request.options.rubric_merge = None;
    let wins = judge.judge(&request).unwrap().rewards.unwrap().values;
    assert!(near(wins.iter().sum(), 1.0) && wins[0] > 0.7, "{wins:?}");
}

#[test]
fn a_rubric_in_one_principle_is_one_run() {
    let engine = Scripted::new(|job, number| {
        let principle = read(job)["principle"].as_str().unwrap().to_owned();
        assert!(principle.contains("1. brevity (50 %): brief\n2. tone (17 %): polite\n3. (33 %, met or not): honest"));
        by_criterion(job, number)
    });
    let judge = open(&engine);
    let mut request = request(&["a", "b"], |options| options.rubric_mode = Some(RubricMode::Joint));
    request.rubric = rubric();
    let verdict = judge.judge(&request).unwrap();
    assert_eq!((engine.submitted(), verdict.rubric), (1, None));
    assert!(verdict.scores[0].distribution.is_some());
}

#[test]
fn a_criterion_that_fails_is_named() {
    let engine = Scripted::new(|job, number| match number {
        1 => Reply::text("no verdict"),
        _ => by_criterion(job, number),
    });
    let judge = open(&engine);
    let mut request = request(&["a", "b"], |_| {});
    request.rubric = rubric();
    let error = judge.judge(&request).unwrap_err();
    assert!(error.message().starts_with("criterion \"tone\": "), "{error}");
    request.rubric[0].weight = -1.0;
    assert_eq!(judge.judge(&request).unwrap_err().kind(), ErrorKind::InvalidRequest);
}
