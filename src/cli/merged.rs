//! The rest of a verdict besides scores and ranking, for people: rewards, how sure a calibrated judge is, and how the runs of an
//! ensemble agree.

use std::fmt::Write as _;

use dicast::Verdict;
use dicast::verdict::{BlockTable, CriterionVerdict, Ensemble, Preference, Preferences, Rewards, RubricTable};

use super::table::{self, Surface};

/// Widest name in a list, in characters.
const NAME: usize = 32;
/// Pairs without an answer that are listed.
const PAIRS: usize = 6;

/// The lines below the scores; none for a verdict of one run without rewards.
pub(crate) fn lines(verdict: &Verdict, surface: Surface) -> Vec<String> {
    let mut paragraphs = Vec::new();
    if let Some(rewards) = &verdict.rewards {
        paragraphs.push(rewards_line(rewards, verdict));
    }
    if let Some(preferences) = &verdict.preferences {
        paragraphs.extend(preferences_line(preferences, verdict));
    }
    let mut lines = Vec::new();
    if let Some(rubric) = &verdict.rubric {
        lines.extend(rubric_table(rubric, verdict, surface.width));
        let ensemble = rubric.criteria.first().and_then(|row| row.verdict.ensemble.as_ref());
        if let Some(Ensemble { orders, samples, .. }) = ensemble.map(AsRef::as_ref) {
            paragraphs.push(format!(
                "each criterion: {orders} {}, {samples} {} of each",
                plural(*orders, "order"),
                plural(*samples, "sample")
            ));
        }
    }
    let first = verdict.rubric.as_ref().and_then(|rubric| rubric.criteria.first());
    if let Some(table) = verdict.blocks.as_ref().or(first.and_then(|row| row.verdict.blocks.as_ref())) {
        paragraphs.push(blocks_line(table, verdict));
    }
    if let Some(ensemble) = &verdict.ensemble {
        paragraphs.extend(ensemble_lines(ensemble, verdict));
    }
    lines.extend(paragraphs.iter().flat_map(|line| table::wrap(line, surface.width)));
    if lines.is_empty() {
        return lines;
    }
    std::iter::once(String::new()).chain(lines.into_iter().map(|line| surface.dim(&line))).collect()
}

/// Criteria in rows, responses in columns, best first; as many columns as fit.
fn rubric_table(rubric: &RubricTable, verdict: &Verdict, width: usize) -> Vec<String> {
    const COLUMN: usize = 10;
    let label = |row: &CriterionVerdict| table::printable(&row.criterion.name, false);
    let widest = rubric.criteria.iter().map(|row| label(row).chars().count()).max().unwrap_or(0);
    let first = widest.clamp("criterion".len(), 28).min(width.saturating_sub(8 + COLUMN).max(8));
    let fit = (width.saturating_sub(first + 8) / COLUMN).max(1);
    let shown: Vec<usize> = verdict.ranking.iter().copied().take(fit).collect();
    let columns = |cell: &dyn Fn(usize) -> String| -> String {
        let cells: Vec<_> = shown.iter().map(|&index| table::fitted(&cell(index), COLUMN - 2)).collect();
        format!("  {}", cells.join("  "))
    };
    let line = |name: &str, weight: &str, cells: String| {
        format!("{}  {weight:<6}{cells}", table::fitted(name, first)).trim_end().to_owned()
    };
    let mut lines = vec![line("criterion", "weight", columns(&|index| name(verdict, index)))];
    for row in &rubric.criteria {
        let weight = format!("{}", row.criterion.weight);
        lines.push(line(&label(row), &weight, columns(&|index| format!("{:.2}", row.values[index]))));
    }
    let hidden = verdict.ranking.len() - shown.len();
    let more = if hidden > 0 { format!("; {hidden} more {}", plural(hidden, "response")) } else { String::new() };
    lines.push(format!("0 is the worst score, 1 the best; merged by {}{more}", rubric.merge.word().replace('_', " ")));
    lines
}

fn name(verdict: &Verdict, index: usize) -> String {
    table::clip(&table::printable(&verdict.scores[index].name, false), NAME)
}

/// A value for each response, best first.
fn listed(verdict: &Verdict, value: impl Fn(usize) -> String) -> String {
    let each: Vec<_> =
        verdict.ranking.iter().map(|&index| format!("{} {}", name(verdict, index), value(index))).collect();
    each.join(", ")
}

fn rewards_line(rewards: &Rewards, verdict: &Verdict) -> String {
    format!("reward ({}): {}", rewards.kind.word(), listed(verdict, |index| format!("{:.3}", rewards.values[index])))
}

fn blocks_line(table: &BlockTable, verdict: &Verdict) -> String {
    let names = |indices: &[usize]| indices.iter().map(|&index| name(verdict, index)).collect::<Vec<_>>().join(", ");
    // A judge that reads one or two responses: a note says how the others were judged.
    if table.anchors.is_empty() {
        return format!(
            "{} judgments of {} each",
            table.blocks.len(),
            table.blocks.first().map_or(0, |block| block.order.len())
        );
    }
    let shifts: Vec<_> = table.blocks.iter().map(|block| format!("{:+.2}", block.shift)).collect();
    let mut line = format!(
        "{} blocks, all with {}; what was added to their scores: {}",
        table.blocks.len(),
        names(&table.anchors),
        shifts.join(" ")
    );
    if !table.clipped.is_empty() {
        let _ = write!(line, "; moved to an end of the scale: {}", names(&table.clipped));
    }
    line
}

/// Which of two responses is better, or on which pairs of more the judge abstains; nothing where no pair is listed.
fn preferences_line(preferences: &Preferences, verdict: &Verdict) -> Option<String> {
    let name = |index: usize| name(verdict, index);
    let pairs = &preferences.pairs;
    if let [Preference { first, second, probability, better, .. }] = pairs[..] {
        return Some(match better {
            Some(better) if better == second => {
                format!("{} is better than {} with probability {:.2}", name(second), name(first), 1.0 - probability)
            }
            Some(_) => format!("{} is better than {} with probability {probability:.2}", name(first), name(second)),
            None => format!(
                "abstains: {} is better than {} with probability {probability:.2}, which is too close",
                name(first),
                name(second)
            ),
        });
    }
    let open: Vec<_> = pairs.iter().filter(|pair| pair.better.is_none()).collect();
    let listed: Vec<_> =
        open.iter().take(PAIRS).map(|pair| format!("{} / {}", name(pair.first), name(pair.second))).collect();
    let more = if open.len() > PAIRS { format!(" and {} more", open.len() - PAIRS) } else { String::new() };
    match open.len() {
        _ if pairs.is_empty() => None,
        0 => Some(format!("abstains on none of {} pairs", pairs.len())),
        count => Some(format!("abstains on {count} of {} pairs: {}{more}", pairs.len(), listed.join(", "))),
    }
}

fn ensemble_lines(ensemble: &Ensemble, verdict: &Verdict) -> Vec<String> {
    let Ensemble { orders, samples, runs, failed, .. } = ensemble;
    let count = runs.len();
    let mut first = format!("{count} {}: {orders} {}", plural(count, "run"), plural(*orders, "order"));
    if *samples > 1 {
        let _ = write!(first, " with {samples} samples each");
    }
    if ensemble.stopped_early {
        first.push_str("; settled early");
    }
    if !failed.is_empty() {
        let _ = write!(first, "; {} failed ({})", failed.len(), table::printable(&failed[0], false));
    }
    let error =
        |index: usize| ensemble.standard_errors[index].map_or_else(|| "?".into(), |error| format!("{error:.2}"));
    let mut lines = vec![first, format!("standard errors: {}", listed(verdict, error))];
    let best = verdict.ranking.first().map(|&index| name(verdict, index)).unwrap_or_default();
    let mut agreement = format!("{best} is first in {:.0} % of the runs", ensemble.top_agreement * 100.0);
    if let Some(w) = ensemble.kendall_w {
        let _ = write!(agreement, "; agreement of the rankings (Kendall's W) {w:.2}");
    }
    lines.push(agreement);
    let effects: Vec<_> = ensemble.places.iter().map(|place| format!("{:+.2}", place.score)).collect();
    if effects.len() > 1 {
        lines.push(format!("effect of each place on the score, in the order of the places: {}", effects.join(" ")));
    }
    lines
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicast::config::{RankRule, Reward};
    use dicast::verdict::{BlockOutcome, PlaceEffect, RunOutcome};

    const PLAIN: Surface = Surface { width: 100, colours: false, full: false };

    #[test]
    fn blocks_are_told_in_a_line() {
        let json = r#"{"scores": {"a": 2.5, "b": 1}, "ranking": ["a", "b"]}"#;
        let mut verdict: Verdict = serde_json::from_str(json).unwrap();
        let block = |shift| BlockOutcome {
            order: vec![0],
            scores: vec![2.5],
            expected: vec![None],
            ranking: vec![0],
            shift,
            raw: String::new(),
        };
        let blocks = vec![block(0.25), block(-0.25)];
        verdict.blocks = Some(Box::new(BlockTable { anchors: vec![0], clipped: vec![1], blocks }));
        let line = "2 blocks, all with a; what was added to their scores: +0.25 -0.25; moved to an end of the scale: b";
        assert_eq!(lines(&verdict, Surface { width: 200, ..PLAIN }), ["", line]);
    }

    #[test]
    fn an_ensemble_is_told_in_a_few_lines() {
        let json = r#"{"scores": {"a": 2.5, "b": 4}, "ranking": ["b", "a"]}"#;
        let mut verdict: Verdict = serde_json::from_str(json).unwrap();
        assert!(lines(&verdict, PLAIN).is_empty());
        let run = RunOutcome {
            order: vec![0, 1],
            scores: vec![2.5, 4.0],
            expected: vec![None, None],
            ranking: vec![1, 0],
            raw: String::new(),
            blocks: None,
        };
        verdict.ensemble = Some(Box::new(Ensemble {
            orders: 2,
            samples: 2,
            runs: vec![run; 3],
            failed: vec!["run 2: engine: broken".into()],
            stopped_early: false,
            standard_errors: vec![Some(0.25), Some(0.0)],
            rank_rule: RankRule::Kendall,
            exact: true,
            kendall_w: Some(0.75),
            top_agreement: 2.0 / 3.0,
            places: vec![PlaceEffect { score: 0.5, first: 0.5 }, PlaceEffect { score: -0.5, first: 0.5 }],
        }));
        verdict.rewards =
            Some(Box::new(Rewards { kind: Reward::Win, values: vec![0.25, 0.75], spreads: vec![None, None] }));
        assert_eq!(
            lines(&verdict, PLAIN),
            [
                "",
                "reward (win): b 0.750, a 0.250",
                "3 runs: 2 orders with 2 samples each; 1 failed (run 2: engine: broken)",
                "standard errors: b 0.00, a 0.25",
                "b is first in 67 % of the runs; agreement of the rankings (Kendall's W) 0.75",
                "effect of each place on the score, in the order of the places: +0.50 -0.50",
            ]
        );
    }
}
