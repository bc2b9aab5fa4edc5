//! `dicast_verdict`: the result of a judgment.

use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::time::Duration;

use super::boundary::given;
use super::error::dicast_error;
use super::layout;
use super::stats::{count, dicast_timing, dicast_usage};
use super::text::{Text, Texts, dicast_str};
use crate::error::ErrorKind;
use crate::prompt::profile::Scale;
use crate::verdict::{Preference, Scored, Verdict};

/// A complete verdict: every response has a score on the scale and a place in the ranking. An incomplete verdict is an
/// error instead.
///
/// Responses are numbered from 0 in the order of the request. Places in the ranking are numbered from 0, which is the best. The
/// receiver owns the verdict, until dicast_verdict_free; its texts and arrays live as long as it does. It never changes: any
/// number of threads may read it at once.
pub struct dicast_verdict {
    verdict: Verdict,
    scale: Scale,
    /// Place of each response.
    ranks: Vec<usize>,
    /// The reasoning, the whole output, the names of the responses, and then their aliases.
    texts: Texts,
    /// Indexes of the responses in the order of their names, to find one by its name.
    by_name: Vec<usize>,
    repairs: Vec<(Text, Text)>,
    flags: Vec<(Text, Text)>,
    criteria: Vec<Text>,
    json: OnceLock<Text>,
}

impl dicast_verdict {
    /// What a calibration says of two responses.
    fn pair(&self, first: usize, second: usize) -> Option<&Preference> {
        let wanted = (first.min(second), first.max(second));
        self.verdict.preferences.as_ref()?.pairs.iter().find(|pair| (pair.first, pair.second) == wanted)
    }

    /// Hands a verdict to C.
    pub(super) fn give(verdict: Verdict, scale: Scale) -> *mut Self {
        let mut ranks = vec![0; verdict.ranking.len()];
        for (place, &index) in verdict.ranking.iter().enumerate() {
            ranks[index] = place;
        }
        let scores = &verdict.scores;
        let mut by_name: Vec<usize> = (0..scores.len()).collect();
        by_name.sort_unstable_by(|&a, &b| scores[a].name.cmp(&scores[b].name));
        let mut aliases = vec![""; scores.len()];
        for (shown, name) in &verdict.aliases {
            if let Some(index) = found(scores, &by_name, name) {
                aliases[index] = shown;
            }
        }
        let names = scores.iter().map(|scored| scored.name.as_str());
        let texts =
            [verdict.reasoning.as_str(), verdict.raw.as_str()].into_iter().chain(names).chain(aliases.iter().copied());
        Box::into_raw(Box::new(Self {
            scale,
            ranks,
            texts: Texts::new(texts),
            by_name,
            repairs: verdict.repairs.iter().map(named).collect(),
            flags: verdict.flags.iter().map(named).collect(),
            criteria: verdict
                .rubric
                .iter()
                .flat_map(|table| &table.criteria)
                .map(|row| Text::from(&row.criterion.name))
                .collect(),
            json: OnceLock::new(),
            verdict,
        }))
    }

    /// What it was made from.
    pub(super) fn into_parts(self) -> (Verdict, Scale) {
        (self.verdict, self.scale)
    }

    fn scored(&self, index: usize) -> Option<&Scored> {
        self.verdict.scores.get(index)
    }

    /// The index of the response with a name.
    ///
    /// # Safety
    /// The text lives during the call.
    unsafe fn find(&self, name: dicast_str) -> Option<usize> {
        // SAFETY: passed on.
        let name = unsafe { name.text("name", ErrorKind::InvalidArgument) }.ok()?;
        found(&self.verdict.scores, &self.by_name, name)
    }

    fn name(&self, index: usize) -> Option<dicast_str> {
        self.scored(index).and_then(|_| self.texts.view(2 + index))
    }

    fn alias(&self, index: usize) -> Option<dicast_str> {
        self.scored(index).and_then(|_| self.texts.view(2 + self.verdict.scores.len() + index))
    }
}

/// The index of the response with a name, by the indexes in the order of the names.
fn found(scores: &[Scored], by_name: &[usize], name: &str) -> Option<usize> {
    let place = by_name.binary_search_by(|&index| scores[index].name.as_str().cmp(name)).ok()?;
    Some(by_name[place])
}

/// The name of a repair or flag, and the piece of text that it quotes.
fn named(item: &impl serde::Serialize) -> (Text, Text) {
    let text = |value: &serde_json::Value| Text::new(value.as_str().unwrap_or_default());
    match serde_json::to_value(item) {
        Ok(serde_json::Value::Object(object)) => object
            .iter()
            .next()
            .map_or_else(|| (Text::new(""), Text::new("")), |(name, quoted)| (Text::new(name), text(quoted))),
        Ok(name) => (text(&name), Text::new("")),
        Err(_) => (Text::new(""), Text::new("")),
    }
}

/// Frees a verdict. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_free(verdict: Option<Box<dicast_verdict>>) {
    boundary!(else (); {
        drop(verdict);
        Some(())
    });
}

/// Number of responses. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_count(verdict: Option<&dicast_verdict>) -> usize {
    boundary!(else 0; { Some(verdict?.verdict.scores.len()) })
}

/// Your name of the response at `index`; `data` is NULL out of range.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_name(verdict: Option<&dicast_verdict>, index: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { verdict?.name(index) })
}

/// The name under which the judge saw the response at `index`, such as `model-2`; empty if the first block of several did not
/// hold it. `data` is NULL out of range.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_alias(verdict: Option<&dicast_verdict>, index: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { verdict?.alias(index) })
}

/// The index of the response called `name`; DICAST_NONE if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_verdict_find(verdict: Option<&dicast_verdict>, name: dicast_str) -> usize {
    // SAFETY: the text lives during the call.
    boundary!(else usize::MAX; { unsafe { verdict?.find(name) } })
}

/// The score of the response at `index` as the judge wrote it, on the scale; NaN out of range.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_score(verdict: Option<&dicast_verdict>, index: usize) -> f64 {
    boundary!(else f64::NAN; { Some(verdict?.scored(index)?.score) })
}

/// As dicast_verdict_score, by name; NaN if there is no such response.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_verdict_score_of(verdict: Option<&dicast_verdict>, name: dicast_str) -> f64 {
    boundary!(else f64::NAN; {
        let verdict = verdict?;
        // SAFETY: the text lives during the call.
        Some(verdict.scored(unsafe { verdict.find(name)? })?.score)
    })
}

/// The expected score of the response at `index`: the mean of the distribution of its score, a finer reward than the written
/// digit. NaN out of range, and if the engine returned no distribution.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_expected(verdict: Option<&dicast_verdict>, index: usize) -> f64 {
    boundary!(else f64::NAN; { verdict?.scored(index)?.expected })
}

/// As dicast_verdict_expected, by name; NaN also if there is no such response.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_verdict_expected_of(verdict: Option<&dicast_verdict>, name: dicast_str) -> f64 {
    boundary!(else f64::NAN; {
        let verdict = verdict?;
        // SAFETY: the text lives during the call.
        verdict.scored(unsafe { verdict.find(name)? })?.expected
    })
}

/// The probability of each score of the scale for the response at `index`, the worst score first; they sum to 1. If `len`
/// is not NULL, `*len` becomes their number, scale_max - scale_min + 1. NULL and 0 out of range, and if the engine returned
/// no distribution.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_distribution(
    verdict: Option<&dicast_verdict>,
    index: usize,
    len: Option<&mut MaybeUninit<usize>>,
) -> *const f64 {
    boundary!(else std::ptr::null(); {
        let found = verdict.and_then(|verdict| verdict.scored(index)?.distribution.as_deref());
        if let Some(len) = len {
            len.write(found.map_or(0, <[f64]>::len));
        }
        found.map(<[f64]>::as_ptr)
    })
}

/// How likely the judge would have written a score of the scale for the response at `index` if no grammar had held it to one: far below 1,
/// it had something else in mind. The embedded engine sees all tokens; of a server it is the sum over the tokens that it lists, so
/// at least so much. NaN out of range, and if the engine does not tell.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_scale_mass(verdict: Option<&dicast_verdict>, index: usize) -> f64 {
    boundary!(else f64::NAN; { verdict?.verdict.scores.get(index)?.mass })
}

/// The worst score of the scale, such as 1; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_scale_min(verdict: Option<&dicast_verdict>) -> u32 {
    boundary!(else 0; { Some(verdict?.scale.min.into()) })
}

/// The best score of the scale, such as 5; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_scale_max(verdict: Option<&dicast_verdict>) -> u32 {
    boundary!(else 0; { Some(verdict?.scale.max.into()) })
}

/// The place of the response at `index`; 0 is the best. DICAST_NONE out of range.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_rank(verdict: Option<&dicast_verdict>, index: usize) -> usize {
    boundary!(else usize::MAX; { verdict?.ranks.get(index).copied() })
}

/// As dicast_verdict_rank, by name; DICAST_NONE if there is no such response.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_verdict_rank_of(verdict: Option<&dicast_verdict>, name: dicast_str) -> usize {
    boundary!(else usize::MAX; {
        let verdict = verdict?;
        // SAFETY: the text lives during the call.
        verdict.ranks.get(unsafe { verdict.find(name)? }).copied()
    })
}

/// The index of the response at `place`; 0 is the best. DICAST_NONE out of range.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_ranked(verdict: Option<&dicast_verdict>, place: usize) -> usize {
    boundary!(else usize::MAX; { verdict?.verdict.ranking.get(place).copied() })
}

/// Which weights judged: 0 is the set that the judge was opened with, and each dicast_judge_reload adds one. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_weights(verdict: Option<&dicast_verdict>) -> u64 {
    boundary!(else 0; { Some(verdict?.verdict.weights) })
}

/// The reasoning of the judge, without its tags; empty if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_reasoning(verdict: Option<&dicast_verdict>) -> dicast_str {
    boundary!(else dicast_str::NONE; { verdict?.texts.view(0) })
}

/// The whole output of the judge, unchanged.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_raw(verdict: Option<&dicast_verdict>) -> dicast_str {
    boundary!(else dicast_str::NONE; { verdict?.texts.view(1) })
}

/// Number of repairs that were needed to read the verdict.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_repair_count(verdict: Option<&dicast_verdict>) -> usize {
    boundary!(else 0; { Some(verdict?.repairs.len()) })
}

/// The name of a repair, such as `extra_comma`. New ones may appear in any release.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_repair(verdict: Option<&dicast_verdict>, index: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(verdict?.repairs.get(index)?.0.view()) })
}

/// What a repair quotes, such as the name as the judge wrote it; empty if it quotes nothing.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_repair_detail(verdict: Option<&dicast_verdict>, index: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(verdict?.repairs.get(index)?.1.view()) })
}

/// Number of flags: remarks on a valid verdict.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_flag_count(verdict: Option<&dicast_verdict>) -> usize {
    boundary!(else 0; { Some(verdict?.flags.len()) })
}

/// The name of a flag: `inconsistent_ranking`, `ties`, `dropped_name`, `reasoning_truncated`. New ones may appear in any
/// release.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_flag(verdict: Option<&dicast_verdict>, index: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(verdict?.flags.get(index)?.0.view()) })
}

/// What a flag quotes, such as the dropped name; empty if it quotes nothing.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_flag_detail(verdict: Option<&dicast_verdict>, index: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(verdict?.flags.get(index)?.1.view()) })
}

/// Number of criteria that were judged separately (a rubric); 0 for a verdict by one principle.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_criterion_count(verdict: Option<&dicast_verdict>) -> usize {
    boundary!(else 0; { Some(verdict?.criteria.len()) })
}

/// The name of a criterion, in the order of the rubric; one without a name has its number. `data` is NULL out of range.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_criterion_name(verdict: Option<&dicast_verdict>, criterion: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(verdict?.criteria.get(criterion)?.view()) })
}

/// The weight of a criterion; NaN out of range.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_criterion_weight(verdict: Option<&dicast_verdict>, criterion: usize) -> f64 {
    boundary!(else f64::NAN; { Some(verdict?.verdict.rubric.as_ref()?.criteria.get(criterion)?.criterion.weight) })
}

/// What a criterion gave the response at `index`: from 0 for the worst score to 1 for the best one; of a criterion that is met or not, the
/// probability that it is met. NaN out of range.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_criterion_value(
    verdict: Option<&dicast_verdict>,
    criterion: usize,
    index: usize,
) -> f64 {
    boundary!(else f64::NAN; {
        verdict?.verdict.rubric.as_ref()?.criteria.get(criterion)?.values.get(index).copied()
    })
}

/// By the calibration of the judge's profile, the probability that the response at `index` is better than another one, on average over all
/// others. NaN out of range, and without a calibration.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_win(verdict: Option<&dicast_verdict>, index: usize) -> f64 {
    boundary!(else f64::NAN; { verdict?.verdict.preferences.as_ref()?.wins.get(index).copied() })
}

/// By the calibration of the judge's profile, the probability that the response at `first` is better than the one at `second`. NaN out of range, for equal
/// indexes, without a calibration, and for more than 32 responses, whose pairs are not listed.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_win_over(verdict: Option<&dicast_verdict>, first: usize, second: usize) -> f64 {
    boundary!(else f64::NAN; {
        let pair = verdict?.pair(first, second)?;
        Some(if pair.first == first { pair.probability } else { 1.0 - pair.probability })
    })
}

/// Whether the calibrated judge abstains on two responses: 1 if they are too close to call, 0 if not. -1 out of range, for equal indexes, and
/// without a calibration.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_abstains(verdict: Option<&dicast_verdict>, first: usize, second: usize) -> i32 {
    boundary!(else -1; {
        let verdict = verdict?;
        let preferences = verdict.verdict.preferences.as_ref()?;
        let abstains = if let Some(pair) = verdict.pair(first, second) {
            pair.better.is_none()
        } else {
            // Pairs of many responses are not listed.
            let values = verdict.verdict.values();
            let difference = values.get(first)? - values.get(second).filter(|_| first != second)?;
            difference.abs() <= preferences.threshold
        };
        Some(abstains.into())
    })
}

/// Tokens of the judgment. Set `usage->struct_size` before the call. All 0 for a verdict from dicast_parse.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_verdict_usage(
    verdict: Option<&dicast_verdict>,
    usage: *mut dicast_usage,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let tokens = &given(verdict, "verdict")?.verdict.usage;
        let value = dicast_usage {
            struct_size: size_of::<dicast_usage>(),
            prompt_tokens: count(tokens.prompt_tokens),
            reused_tokens: count(tokens.reused_tokens),
            reasoning_tokens: count(tokens.reasoning_tokens),
            verdict_tokens: count(tokens.verdict_tokens),
            forced_tokens: count(tokens.forced_tokens),
        };
        // SAFETY: the struct announces its size.
        unsafe { layout::write(usage, &value) }
    })
}

/// The time that each stage took. Set `timing->struct_size` before the call. All 0 for a verdict from dicast_parse.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_verdict_timing(
    verdict: Option<&dicast_verdict>,
    timing: *mut dicast_timing,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let times = &given(verdict, "verdict")?.verdict.timing;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let value = dicast_timing {
            struct_size: size_of::<dicast_timing>(),
            queue_us: micros(times.queue),
            prefill_us: micros(times.prefill),
            reasoning_us: micros(times.reasoning),
            verdict_us: micros(times.verdict),
        };
        // SAFETY: the struct announces its size.
        unsafe { layout::write(timing, &value) }
    })
}

/// The whole verdict as JSON: `scores`, `expected_scores`, `distributions` (objects by name, in the order of the request),
/// `ranking`, `reasoning`, `repairs`, `flags`, `aliases`, `usage`, `timing_ms`, `raw`. Made on the first call.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_verdict_json(verdict: Option<&dicast_verdict>) -> dicast_str {
    boundary!(else dicast_str::NONE; {
        let verdict = verdict?;
        let json = || Text::new(&serde_json::to_string(&verdict.verdict).expect("a verdict is plain data"));
        Some(verdict.json.get_or_init(json).view())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::config::VerdictPolicy;
    use crate::prompt::mask::AliasMap;
    use crate::prompt::profile::Profile;
    use crate::verdict;

    #[test]
    fn what_a_calibration_says_is_read_pair_by_pair() {
        let pair = |first: &str, second: &str, probability: f64, better: Option<&str>| {
            serde_json::json!({
                "first": first, "second": second, "probability": probability, "better": better, "abstain": better.is_none(),
            })
        };
        let mut json = serde_json::json!({
            "scores": {"a": 5, "b": 4, "c": 1}, "ranking": ["a", "b", "c"],
            "preferences": {
                "error_rate": 0.1, "threshold": 1.5, "wins": {"a": 0.8, "b": 0.6, "c": 0.1},
                "pairs": [pair("a", "b", 0.6, None), pair("a", "c", 1.0, Some("a")), pair("b", "c", 0.9, Some("b"))],
            },
        });
        let give = |json: &serde_json::Value| {
            let read: Verdict = serde_json::from_value(json.clone()).unwrap();
            // SAFETY: it is handed out here, and to nobody else.
            unsafe { Box::from_raw(dicast_verdict::give(read, Scale::default())) }
        };
        let listed = give(&json);
        json["preferences"]["pairs"] = serde_json::json!([]);
        let many = give(&json);
        for verdict in [&listed, &many] {
            let verdict = Some(&**verdict);
            let abstains = |first, second| dicast_verdict_abstains(verdict, first, second);
            assert_eq!([abstains(0, 1), abstains(1, 0), abstains(0, 2), abstains(2, 1)], [1, 1, 0, 0]);
            assert_eq!([abstains(0, 0), abstains(0, 3), abstains(9, 9)], [-1; 3]);
            assert!((dicast_verdict_win(verdict, 1) - 0.6).abs() < 1e-12 && dicast_verdict_win(verdict, 3).is_nan());
        }
        let over = |first, second| dicast_verdict_win_over(Some(&listed), first, second);
        assert!((over(1, 2) - 0.9).abs() < 1e-12 && (over(2, 1) - 0.1).abs() < 1e-12 && over(1, 1).is_nan());
        assert!(dicast_verdict_win_over(Some(&many), 1, 2).is_nan() && dicast_verdict_win(None, 0).is_nan());
        assert_eq!(dicast_verdict_abstains(None, 0, 1), -1);
    }

    /// A verdict on many responses is created, and each response found by name, in little more than linear time. If names were
    /// compared pair by pair, this would take minutes.
    #[test]
    fn finding_names_does_not_slow_down_with_their_number() {
        let profile = Profile::builtin();
        let text = r#"{"scores": {"a": 3}, "best-to-worst": ["a"]}"#;
        let one = AliasMap::identity(vec!["a".into()]);
        let mut read = verdict::parse(text, &one, &profile, &VerdictPolicy::default()).unwrap();
        let names: Vec<String> = (0..200_000).map(|number| format!("a long name of the response {number}")).collect();
        let scored = read.scores[0].clone();
        read.scores = names.iter().map(|name| Scored { name: name.clone(), ..scored.clone() }).collect();
        read.ranking = (0..names.len()).rev().collect();
        read.aliases = names.iter().enumerate().map(|(place, name)| (format!("model-{place}"), name.clone())).collect();
        let began = Instant::now();
        // SAFETY: it was handed out here, and to nobody else.
        let verdict = unsafe { Box::from_raw(dicast_verdict::give(read, profile.scale)) };
        for (index, name) in names.iter().enumerate() {
            // SAFETY: the name lives during the call.
            assert_eq!(unsafe { verdict.find(name.as_str().into()) }, Some(index));
        }
        // SAFETY: as above.
        assert_eq!(unsafe { verdict.find("nobody".into()) }, None);
        let alias = verdict.alias(199_999).unwrap();
        // SAFETY: the verdict lives.
        assert_eq!(unsafe { alias.text("alias", ErrorKind::Internal) }.unwrap(), "model-199999");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
