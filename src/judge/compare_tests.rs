//! Judges that read one or two responses at once, on an engine that answers by script.

use crate::config::{JudgeConfig, Mask, Options, Reward};
use crate::engine::scripted::{Reply, Scripted};
use crate::engine::{Guidance, Input, Job};
use crate::error::ErrorKind;
use crate::log::Log;
use crate::prompt::profile::Profile;
use crate::request::{Criterion, CriterionKind, JudgeRequest};
use crate::verdict::{Flag, Verdict};

use super::Judge;

/// A profile whose judge sees lines such as `A=4`.
fn profile(layout: &str) -> Profile {
    let mut profile: serde_json::Value = serde_json::from_str(&Profile::builtin().to_json()).unwrap();
    profile["verdict"]["layout"] = layout.into();
    profile["user_message"] = serde_json::json!({
        "text": "%principle%|%prompt%\n%responses%", "response": "%name%=%response%", "between": "\n",
    });
    Profile::from_json(&profile.to_string()).unwrap()
}

/// The names and true values of what a judge sees.
fn shown(job: &Job) -> Vec<(String, f64)> {
    let Input::Messages(messages) = &job.input else { panic!("it takes messages") };
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
    messages.last().unwrap().content.lines().filter_map(pair).collect()
}

/// A judge that scores what it sees by its value.
fn scorer(job: &Job, _: u64) -> Reply {
    let shown = shown(job);
    let grammar = job.plan.verdict.grammar().unwrap();
    assert_eq!(grammar.len(), shown.len());
    let around = |place| grammar.around_score(place).unwrap().0.to_owned();
    let written = shown.iter().enumerate().map(|(place, (_, value))| format!("{}{value}", around(place)));
    Reply::text(format!("<think>\nhm</think>{}", written.collect::<String>()))
}

/// The probability that one value is chosen before another, with an advantage for the first place.
fn chance(first: f64, second: f64) -> f64 {
    1.0 / (1.0 + (second - first - 0.5).exp())
}

/// A judge that chooses by the values, and prefers the first place.
fn chooser(job: &Job, _: u64) -> Reply {
    let shown = shown(job);
    assert_eq!([&shown[0].0, &shown[1].0], ["A", "B"]);
    let first = chance(shown[0].1, shown[1].1);
    let around = job.plan.verdict.grammar().unwrap().around_score(0).unwrap().0.to_owned();
    let letter = if first >= 0.5 { "A" } else { "B" };
    Reply::text(format!("<think>\nhm</think>{around}{letter}")).with_distributions(vec![vec![first, 1.0 - first]])
}

fn open(engine: &Scripted, layout: &str) -> Judge {
    let mut config = JudgeConfig::new("scripted");
    config.limits.max_responses = 64;
    Judge::with_engine(config, profile(layout), engine.opened(), Log::none()).unwrap()
}

fn request(values: &[u32], change: impl FnOnce(&mut Options)) -> JudgeRequest {
    let responses = values.iter().enumerate().map(|(index, value)| (format!("r{index}"), value.to_string()));
    let mut request = JudgeRequest::new("Be brief.", "p", responses);
    change(&mut request.options);
    request
}

fn scores(verdict: &Verdict) -> Vec<f64> {
    verdict.scores.iter().map(|scored| scored.score).collect()
}

#[test]
fn a_judge_of_one_response_scores_each_by_itself() {
    let engine = Scripted::new(scorer);
    let judge = open(&engine, "[RESULT] %score%");
    let verdict = judge.judge(&request(&[4, 2, 5, 2], |_| ())).unwrap();
    assert_eq!(engine.submitted(), 4);
    assert_eq!((scores(&verdict), verdict.ranking.clone()), (vec![4.0, 2.0, 5.0, 2.0], vec![2, 0, 1, 3]));
    assert_eq!(verdict.flags, [Flag::Ties, Flag::JudgedOneByOne]);
    assert!(verdict.reasoning.contains("hm") && verdict.raw.ends_with("[RESULT] 4"), "{}", verdict.raw);
    let again: Verdict = serde_json::from_str(&serde_json::to_string(&verdict).unwrap()).unwrap();
    assert_eq!(again.ranking, verdict.ranking);
    let alone = judge.judge(&request(&[3], |_| ())).unwrap();
    assert_eq!((scores(&alone), alone.blocks.is_none(), alone.flags.len()), (vec![3.0], true, 0));
}

#[test]
fn a_judge_of_two_scores_gives_each_response_the_mean_over_its_pairs() {
    let engine = Scripted::new(scorer);
    let judge = open(&engine, "<answer>%score%, %score%</answer>");
    let verdict = judge.judge(&request(&[4, 2, 5], |_| ())).unwrap();
    assert_eq!((engine.submitted(), scores(&verdict)), (3, vec![4.0, 2.0, 5.0]));
    assert_eq!((verdict.ranking, verdict.flags), (vec![2, 0, 1], vec![Flag::ComparedInPairs]));
    let pair = judge.judge(&request(&[1, 3], |_| ())).unwrap();
    assert_eq!((scores(&pair), pair.blocks.is_none()), (vec![1.0, 3.0], true));
    assert!(pair.raw.ends_with("</answer>"), "{}", pair.raw);
}

#[test]
fn choices_between_two_make_shares_of_wins() {
    let engine = Scripted::new(chooser);
    let judge = open(&engine, "[[%choice%]]");
    let both = |options: &mut Options| (options.orders, options.reward) = (Some(2), Some(Reward::Win));
    let verdict = judge.judge(&request(&[4, 2, 5], both)).unwrap();
    assert_eq!(engine.submitted(), 6);
    assert_eq!(verdict.ranking, [2, 0, 1]);
    let fair = |one: f64, other: f64| f64::midpoint(chance(one, other), 1.0 - chance(other, one));
    let wanted = [(4.0, [2.0, 5.0]), (2.0, [4.0, 5.0]), (5.0, [4.0, 2.0])]
        .map(|(own, others)| others.map(|other| fair(own, other)).iter().sum::<f64>() / 2.0);
    for ((scored, win), wanted) in verdict.scores.iter().zip(&verdict.rewards.as_ref().unwrap().values).zip(wanted) {
        assert!((win - wanted).abs() < 1e-5 && (scored.expected.unwrap() - 1.0 - 4.0 * wanted).abs() < 1e-5);
    }
    // The place counts as much for all: in both orders it cancels out.
    assert!(verdict.ensemble.unwrap().places.iter().all(|place| place.score.is_finite()));
    let two = judge.judge(&request(&[4, 2], |options| options.reward = Some(Reward::Win))).unwrap();
    let values = two.rewards.unwrap().values;
    assert!((values[0] + values[1] - 1.0).abs() < 1e-9 && values[0] > 0.8, "{values:?}");
    assert_eq!(scores(&judge.judge(&request(&[2, 4], |_| ())).unwrap()), [1.0, 5.0]);
}

#[test]
fn a_large_group_is_compared_in_part_and_still_ordered() {
    let engine = Scripted::new(chooser);
    let judge = open(&engine, "[[%choice%]]");
    let values: Vec<u32> = (0..40).collect();
    let verdict = judge.judge(&request(&values, |options| options.orders = Some(2))).unwrap();
    assert_eq!(engine.submitted(), 240, "six comparisons for each of 40");
    assert_eq!(verdict.scores.len(), 40);
    let place = |index: usize| verdict.ranking.iter().position(|&ranked| ranked == index).unwrap();
    assert!(place(39) < 8 && place(0) > 31, "{:?}", verdict.ranking);
}

#[test]
fn a_judge_that_only_looks_at_places_gives_all_the_same() {
    let engine = Scripted::new(|job, _| {
        let around = job.plan.verdict.grammar().unwrap().around_score(0).unwrap().0.to_owned();
        Reply::text(format!("<think>\nhm</think>{around}A"))
    });
    let judge = open(&engine, "[[%choice%]]");
    for count in [3, 12, 13, 17, 20, 40] {
        let values: Vec<u32> = vec![1; count];
        let verdict = judge.judge(&request(&values, |options| options.orders = Some(2))).unwrap();
        assert!(
            scores(&verdict).iter().all(|score| score.to_bits() == 3_f64.to_bits()),
            "{count}: {:?}",
            scores(&verdict)
        );
        assert!(verdict.ranking.is_sorted(), "{count}: as given");
    }
}

#[test]
fn rubrics_and_rewards_go_together_with_comparisons() {
    let engine = Scripted::new(chooser);
    let judge = open(&engine, "[[%choice%]]");
    let mut wanted = request(&[4, 2, 5], |options| options.reward = Some(Reward::Win));
    let met = Criterion { kind: CriterionKind::YesNo, ..Criterion::new("met", "is good") };
    wanted.rubric = vec![Criterion::new("brief", "is brief"), met];
    let verdict = judge.judge(&wanted).unwrap();
    assert!(verdict.scores.iter().all(|scored| scored.expected.is_some()));
    assert_eq!((verdict.ranking.clone(), verdict.rewards.unwrap().values.len()), (vec![2, 0, 1], 3));
    let engine = Scripted::new(|job, number| {
        let values: Vec<f64> = shown(job).into_iter().map(|(_, value)| value).collect();
        let of =
            |value: f64| (1..=5).map(|score| f64::from(u8::from((f64::from(score) - value).abs() < 0.1))).collect();
        scorer(job, number).with_distributions(values.into_iter().map(of).collect())
    });
    let judge = open(&engine, "<answer>%score%, %score%</answer>");
    let verdict = judge.judge(&request(&[4, 2, 5], |options| options.reward = Some(Reward::Win))).unwrap();
    assert_eq!(verdict.rewards.unwrap().values, [0.5, 0.0, 1.0]);
}

#[test]
fn what_such_a_judge_cannot_do_is_refused_by_name() {
    let engine = Scripted::new(chooser);
    let judge = open(&engine, "[[%choice%]]");
    let refused = |request: &JudgeRequest| {
        let error = judge.judge(request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        error.message().to_owned()
    };
    assert!(refused(&request(&[1], |_| ())).contains("compares 2 responses"));
    assert!(refused(&request(&[1, 2], |options| options.mask = Some(Mask::Off))).contains("letter"));
    assert!(refused(&request(&[1, 2, 3], |options| options.block_size = Some(4))).contains("block_size"));
    assert!(
        refused(&request(&[1; 64], |options| (options.orders, options.samples, options.temperature) =
            (Some(2), Some(3), Some(1.0))))
        .contains("256")
    );
    let adaptive = |options: &mut Options| options.adaptive_reasoning = Some(0.9);
    assert!(refused(&request(&[1, 2, 3], adaptive)).contains("adaptive_reasoning"));
}

#[test]
fn a_free_answer_is_read_in_the_same_layout() {
    let engine = Scripted::new(|job, _| {
        let better = if shown(job)[0].1 > shown(job)[1].1 { "A" } else { "B" };
        Reply::text(format!("<think>\nhm</think>Both are fine. [[{better}]]"))
    });
    let engine = engine.with_capabilities(|able| able.guidance = Guidance::None);
    let judge = open(&engine, "[[%choice%]]");
    let verdict = judge.judge(&request(&[4, 2, 5], |_| ())).unwrap();
    assert_eq!((scores(&verdict), verdict.ranking), (vec![3.0, 1.0, 5.0], vec![2, 0, 1]));
    let lost = Scripted::new(|_, _| Reply::text("<think>\nhm</think>Neither."))
        .with_capabilities(|able| able.guidance = Guidance::None);
    let error = open(&lost, "[[%choice%]]").judge(&request(&[4, 2, 5], |_| ())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidVerdict);
    assert!(error.message().contains("comparison 1 of 3") && error.message().contains("[[%choice%]]"), "{error}");
}
