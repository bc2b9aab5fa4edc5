//! Random damage: a damaged verdict is read as meant, or it is an error.

#![expect(clippy::print_stdout, reason = "the shares are a result: docs/verdicts.md quotes them")]

mod verdict_support;

use std::ops::Range;

use dicast::config::VerdictPolicy;
use dicast::verdict;
use verdict_support::{Damage, Meant, Random, profile};

const THOUGHT: &str = "<think>Model-3's answer is best; I'd put {model-1} last: 2.</think>\n";

/// The outcomes of damaged verdicts.
#[derive(Debug, Default)]
struct Count {
    read: usize,
    refused: usize,
    wrong: Vec<String>,
}

fn try_damage(top: u8, styles: Range<usize>, kinds: &[Damage], edits: usize, cases: usize) -> Count {
    let (profile, policy) = (profile(top), VerdictPolicy::default());
    let mut count = Count::default();
    for case in 0..cases {
        let mut random = Random::new(case as u64 + 1);
        let responses = 2 + random.below(11);
        let meant = Meant::random(&mut random, responses, top);
        let printed = meant.print(styles.start + random.below(styles.len()));
        let mut damaged = printed.clone();
        for _ in 0..edits {
            if !damaged.is_empty() {
                damaged = random.pick(kinds).apply(&damaged, &mut random);
            }
        }
        match verdict::parse(&format!("{THOUGHT}{damaged}"), &meant.aliases(), &profile, &policy) {
            Ok(read) => {
                let scores: Vec<f64> = read.scores.iter().map(|scored| scored.score).collect();
                if scores == meant.scores && read.ranking == meant.ranking {
                    count.read += 1;
                } else {
                    count.wrong.push(format!(
                        "case {case}: {printed}\n  -> {damaged}\n  -> {scores:?} {:?} {:?}",
                        read.ranking, read.repairs
                    ));
                }
            }
            Err(_) => count.refused += 1,
        }
    }
    count
}

fn check(styles: Range<usize>, kinds: &[Damage], edits: usize, cases: usize, at_least: f64) {
    check_scale(5, styles, kinds, edits, cases, at_least);
}

fn check_scale(top: u8, styles: Range<usize>, kinds: &[Damage], edits: usize, cases: usize, at_least: f64) {
    // docs/verdicts.md quotes more cases than each run of the tests needs.
    let more = std::env::var("DICAST_DAMAGE_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let cases = cases * more;
    let count = try_damage(top, styles, kinds, edits, cases);
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let share = count.read as f64 / cases as f64;
    println!("{kinds:?} x{edits}: {} of {cases} read ({:.1} %), {} refused", count.read, 100.0 * share, count.refused);
    let shown = &count.wrong[..count.wrong.len().min(12)];
    assert!(count.wrong.is_empty(), "{} wrong:\n{}", count.wrong.len(), shown.join("\n"));
    assert!(share >= at_least, "only {share:.3} were read");
}

#[test]
fn damage_to_scores_up_to_ten_is_mended_or_refused() {
    check_scale(10, JSON, Damage::CHARACTER, 1, 2_000, 0.8);
    check_scale(10, JSON, Damage::ALL, 3, 1_000, 0.2);
    check_scale(10, 0..Meant::STYLES, Damage::ALL, 1, 3_000, 0.55);
}

#[test]
fn undamaged_scores_up_to_ten_are_read_in_every_style() {
    for style in 0..Meant::STYLES {
        check_scale(10, style..style + 1, &[], 0, 40, 1.0);
    }
}

/// Plain JSON in three layouts.
const JSON: Range<usize> = 0..3;

#[test]
fn one_wrong_character_in_plain_json_is_mended_or_refused() {
    check(JSON, Damage::CHARACTER, 1, 2_000, 0.85);
}

#[test]
fn each_kind_of_damage_to_plain_json_is_mended_or_refused() {
    for kind in Damage::ALL {
        check(JSON, &[*kind], 1, 500, 0.0);
    }
}

#[test]
fn three_kinds_of_damage_to_plain_json_are_mended_or_refused() {
    check(JSON, Damage::ALL, 3, 2_000, 0.25);
}

#[test]
fn damage_to_any_style_is_mended_or_refused() {
    check(0..Meant::STYLES, Damage::ALL, 1, 3_000, 0.6);
}

#[test]
fn three_kinds_of_damage_to_any_style_are_mended_or_refused() {
    check(0..Meant::STYLES, Damage::ALL, 3, 2_000, 0.15);
}

#[test]
fn undamaged_verdicts_of_every_style_are_read() {
    for style in 0..Meant::STYLES {
        check(style..style + 1, &[], 0, 40, 1.0);
    }
}
