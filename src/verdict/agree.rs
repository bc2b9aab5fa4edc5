//! Whether what an answer says in several places agrees: pieces, words after a verdict, the order of scores and ranking.

use super::amend;
use super::check::is_consistent;
use super::frame::{self, Frame};
use super::interpret::Context;
use super::loose;
use super::order;
use super::reading::{Ranking, Reading, Scores, Status};
use super::repair::{Repair, Repairs};

/// Compares scores and rankings that are written in separate pieces, as in `scores = {…}` written twice.
pub(super) fn compare_pieces(
    answer: &str,
    readings: &[Reading],
    scores_at: Option<usize>,
    scores: &mut Scores,
    ranking_at: Option<usize>,
    ranking: &mut Ranking,
) {
    let earlier = |at: usize| readings[..at].iter().filter(|earlier| !(earlier.template && earlier.closed));
    let corrected = |at: usize| {
        let gap = readings[..at].iter().map(|earlier| earlier.end).max().unwrap_or(0);
        readings[at].frame == Frame::Final || frame::corrects(answer.get(gap..readings[at].start).unwrap_or_default())
    };
    let other_scores =
        |earlier: &Reading| earlier.scores.status() == Status::Complete && contradicts_scores(scores, &earlier.scores);
    if scores_at.is_some_and(|at| earlier(at).any(other_scores) && !corrected(at)) {
        scores.fault("the text holds scores twice that differ, and does not say which are the last".into());
    }
    let other_ranking = |earlier: &Reading| {
        earlier.ranking.status() == Status::Complete && contradicts_ranking(ranking, &earlier.ranking)
    };
    if ranking_at.is_some_and(|at| earlier(at).any(other_ranking) && !corrected(at)) {
        ranking.fault("the text holds two rankings that differ, and does not say which is the last".into());
    }
}

/// Whether the text after a verdict changes it, or gives a score or a ranking that differs.
pub(super) fn is_changed(after: &str, scores: &Scores, ranking: &Ranking, context: &Context<'_>) -> bool {
    let later = loose::scan(after, context);
    let chosen = amend::Chosen { scores: &scores.values, ranking: ranking.only() };
    amend::contradicts(after, chosen, amend::Stand::After, context)
        || contradicts_scores(scores, &later.scores)
        || (later.ranking.status() == Status::Complete && contradicts_ranking(ranking, &later.ranking))
}

/// Looks for another order in which scores without names, or the ranking, may be written.
pub(super) fn compare_orders(answer: &str, repairs: &Repairs, scores: &mut Scores, ranking: &mut Ranking) {
    let [only] = &ranking.readings[..] else { return };
    // Scores without names may also be in the order of the ranking.
    if repairs.holds(&Repair::PositionalScores)
        && scores.status() == Status::Complete
        && !is_consistent(only, &scores.values.values().copied().collect::<Vec<_>>())
    {
        scores.fault("the scores without names do not agree with the ranking: their order is not clear".into());
    }
    // Words outside of the ranking may say that it is written the other way round.
    if !repairs.holds(&Repair::RankingReversed) && order::says_worst_first(answer) {
        let turned: Vec<usize> = only.iter().rev().copied().collect();
        if turned != *only {
            ranking.readings.push(turned);
        }
    }
}

/// Whether two pieces give a response two scores.
pub(super) fn contradicts_scores(chosen: &Scores, later: &Scores) -> bool {
    #[expect(clippy::float_cmp, reason = "the same digits written twice give the same number")]
    later.values.iter().any(|(place, score)| chosen.values.get(place).is_some_and(|other| other != score))
}

/// Whether two pieces rank differently.
pub(super) fn contradicts_ranking(chosen: &Ranking, later: &Ranking) -> bool {
    if later.readings.is_empty() {
        return !later.listed.is_empty() && !chosen.readings.iter().any(|reading| reading.starts_with(&later.listed));
    }
    !chosen.readings.is_empty() && !chosen.readings.iter().any(|reading| later.readings.contains(reading))
}
