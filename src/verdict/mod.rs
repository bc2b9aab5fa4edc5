//! From the judge's words to a checked verdict: complete, or a typed error that carries what could be read.

mod agree;
mod amend;
mod beside;
mod blocks;
mod chars;
mod check;
mod collected;
mod drawn;
mod envelope;
mod extract;
mod find;
mod forms;
mod frame;
mod interpret;
mod json;
mod keys;
mod lexicon;
mod link;
mod loose;
mod merged;
mod names;
mod order;
mod ordinal;
mod preferences;
mod quote;
mod ranking;
mod reading;
mod repair;
mod rubric;
mod scale;
mod score;
mod strict;
mod table;
mod tolerant;
mod turn;
mod value;
mod withdrawn;
mod words;

use std::time::Duration;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use crate::config::VerdictPolicy;
use crate::decode::grammar::Written;
use crate::error::{Error, ErrorKind, PartialVerdict, Result};
use crate::number;
use crate::prompt::mask::AliasMap;
use crate::prompt::profile::{Profile, Scale, VerdictKind};

pub use self::blocks::{BlockOutcome, BlockTable};
use self::check::Outcome;
use self::extract::Form;
pub(crate) use self::forms::{Mark, marks_at_end, scores as scores_of_marks};
use self::interpret::Context;
use self::keys::Keys;
pub(crate) use self::merged::wins_over;
pub use self::merged::{Ensemble, PlaceEffect, Rewards, RunOutcome};
use self::names::Names;
pub use self::preferences::{MAX_LISTED, Preference, Preferences};
pub(crate) use self::quote::Texts;
use self::repair::Repairs;
pub use self::repair::{Flag, Repair};
pub use self::rubric::{CriterionVerdict, RubricTable};
use self::score::Rule;

/// The judgment of one response.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Scored {
    /// The caller's name of the response.
    pub name: String,
    /// The score as written, on the profile's scale.
    pub score: f64,
    /// The mean of the score's distribution: a finer reward than the written digit. `None` if the engine gave none.
    pub expected: Option<f64>,
    /// The probability of each score on the scale, from the lowest up, at the position where the score was written. Sums to 1.
    pub distribution: Option<Vec<f64>>,
    /// How likely the judge would have written a score of the scale there if no grammar had held it to one: far below 1, it had
    /// something else in mind. The embedded engine sees all tokens; of a server it is the sum over the tokens that it lists, so at least
    /// so much. `None` if the engine does not tell.
    pub mass: Option<f64>,
}

impl Scored {
    fn without_score(name: String) -> Self {
        Self { name, score: 0.0, expected: None, distribution: None, mass: None }
    }
}

/// Tokens of one judgment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens whose keys and values were already in the cache.
    pub reused_tokens: usize,
    /// Tokens of the reasoning, including its opening and closing tags.
    pub reasoning_tokens: usize,
    /// Tokens of the verdict.
    pub verdict_tokens: usize,
    /// Of these, tokens that the grammar forced: fed, not sampled.
    pub forced_tokens: usize,
}

/// Where the time of one judgment went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// From submission to the first computation.
    pub queue: Duration,
    /// Computing the prompt.
    pub prefill: Duration,
    /// Writing the reasoning.
    pub reasoning: Duration,
    /// Writing the verdict.
    pub verdict: Duration,
}

/// A complete, checked verdict.
///
/// As JSON: `scores`, `expected_scores`, `distributions` (objects by name, in the order given), `ranking`, `reasoning`,
/// `repairs`, `flags`, `aliases`, `usage`, `timing_ms`, `raw`; if there is one, also `ensemble`, `blocks`, `rubric`, `rewards`,
/// `preferences`, and `weights` if it is not 0.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Verdict {
    /// One entry for each response, in the order of the request.
    pub scores: Vec<Scored>,
    /// Indices into `scores`, best first; a permutation.
    pub ranking: Vec<usize>,
    /// The judge's reasoning, without its tags; empty if it did not reason.
    pub reasoning: String,
    /// What had to be repaired to read the verdict.
    pub repairs: Vec<Repair>,
    /// Remarks about it that a reader should know.
    pub flags: Vec<Flag>,
    /// Pairs of the name that the judge saw and the caller's name, in the order the judge saw them.
    pub aliases: Vec<(String, String)>,
    /// Tokens.
    pub usage: Usage,
    /// Times.
    pub timing: Timing,
    /// The number of the weights that judged: 0 for those that the judge was opened with, one more after each
    /// [`Judge::reload`](crate::Judge::reload).
    pub weights: u64,
    /// The judge's whole output as it came.
    pub raw: String,
    /// The runs, if this was merged from several. Scores are then means; `reasoning`, `aliases` and `raw` are those of the
    /// first run, `repairs` and `flags` those of all; tokens and times are summed, but for the longest time in the queue.
    pub ensemble: Option<Box<Ensemble>>,
    /// The blocks, if the responses were judged in several; those of the first run of an ensemble, whose runs each have
    /// theirs; with a rubric, the verdict of each criterion has them. `reasoning`, `aliases` and `raw` are those of the first
    /// block, `repairs` and `flags` those of all; tokens and times are summed. No response has a distribution.
    pub blocks: Option<Box<BlockTable>>,
    /// The verdict by each criterion, if there was a rubric. `reasoning` holds that of each criterion under its name;
    /// `aliases` and `raw` are those of the first one.
    pub rubric: Option<Box<RubricTable>>,
    /// The rewards that the request asked for.
    pub rewards: Option<Box<Rewards>>,
    /// How sure the judge is of each two responses, if its profile has a calibration and this is no rubric's table.
    pub preferences: Option<Box<Preferences>>,
}

impl Verdict {
    /// The keys of its JSON form, in their order. The last but `raw` are left out if there is nothing to say.
    pub const KEYS: [&'static str; 18] = [
        "scores",
        "expected_scores",
        "ranking",
        "reasoning",
        "distributions",
        "scale_mass",
        "repairs",
        "flags",
        "aliases",
        "usage",
        "timing_ms",
        "ensemble",
        "blocks",
        "rubric",
        "rewards",
        "preferences",
        "weights",
        "raw",
    ];

    /// The score of a response by its name.
    pub fn score(&self, name: &str) -> Option<f64> {
        self.scores.iter().find(|scored| scored.name == name).map(|scored| scored.score)
    }

    /// Puts a ranking that was derived from the scores in order again, now that expected scores are known: they part
    /// responses of one score. A ranking that the judge wrote is left as it is.
    pub fn refine_derived_ranking(&mut self) {
        if self.repairs.contains(&Repair::RankingDerived) {
            self.rank_by_scores();
        }
    }

    /// Ranks by the scores: the highest first; equal ones by expected score, then in the order given.
    pub(crate) fn rank_by_scores(&mut self) {
        let scores = &self.scores;
        let expected = |index: usize| scores[index].expected.unwrap_or(scores[index].score);
        self.ranking.sort_by(|&a, &b| {
            let by_score = scores[b].score.total_cmp(&scores[a].score);
            by_score.then(expected(b).total_cmp(&expected(a))).then(a.cmp(&b))
        });
    }

    /// The names, best first.
    pub fn ranked_names(&self) -> impl Iterator<Item = &str> {
        self.ranking.iter().map(|&index| self.scores[index].name.as_str())
    }
}

/// Serializes pairs as an object, in order.
struct Object<'a, T>(&'a [Scored], fn(&Scored) -> T);

impl<T: Serialize> Serialize for Object<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|scored| (scored.name.as_str(), (self.1)(scored))))
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let ranking: Vec<_> = self.ranked_names().collect();
        let aliases: serde_json::Map<String, Value> =
            self.aliases.iter().map(|(shown, name)| (shown.clone(), Value::from(name.as_str()))).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("scores", &Object(&self.scores, |scored| number::score(scored.score)))?;
        map.serialize_entry("expected_scores", &Object(&self.scores, |scored| scored.expected))?;
        map.serialize_entry("ranking", &ranking)?;
        map.serialize_entry("reasoning", &self.reasoning)?;
        map.serialize_entry("distributions", &Object(&self.scores, |scored| scored.distribution.clone()))?;
        if self.scores.iter().any(|scored| scored.mass.is_some()) {
            map.serialize_entry("scale_mass", &Object(&self.scores, |scored| scored.mass))?;
        }
        map.serialize_entry("repairs", &self.repairs)?;
        map.serialize_entry("flags", &self.flags)?;
        map.serialize_entry("aliases", &aliases)?;
        map.serialize_entry("usage", &self.usage)?;
        map.serialize_entry("timing_ms", &self.timing)?;
        if let Some(ensemble) = &self.ensemble {
            map.serialize_entry("ensemble", &ensemble.named(self))?;
        }
        if let Some(blocks) = &self.blocks {
            map.serialize_entry("blocks", &blocks.named(self))?;
        }
        if let Some(rubric) = &self.rubric {
            map.serialize_entry("rubric", &rubric.named(self))?;
        }
        if let Some(rewards) = &self.rewards {
            map.serialize_entry("rewards", &rewards.named(self))?;
        }
        if let Some(preferences) = &self.preferences {
            map.serialize_entry("preferences", &preferences.named(self))?;
        }
        if self.weights > 0 {
            map.serialize_entry("weights", &self.weights)?;
        }
        map.serialize_entry("raw", &self.raw)?;
        map.end()
    }
}

impl Serialize for Timing {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let ms = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("queue", &ms(self.queue))?;
        map.serialize_entry("prefill", &ms(self.prefill))?;
        map.serialize_entry("reasoning", &ms(self.reasoning))?;
        map.serialize_entry("verdict", &ms(self.verdict))?;
        map.end()
    }
}

/// Reads a verdict out of `text`, the judge's whole output.
///
/// `names` says which names must be scored and ranked, as the judge saw them and as the caller knows them. The answer
/// begins after the last tag that closes reasoning; a draft within the reasoning is never the verdict, and neither is a
/// verdict that the judge only quotes.
///
/// # Errors
/// [`ErrorKind::InvalidVerdict`] with what could be read, if the text holds no complete verdict under `policy`.
pub fn parse(text: &str, names: &AliasMap, profile: &Profile, policy: &VerdictPolicy) -> Result<Verdict> {
    parse_knowing(text, &Texts::none(), names, profile, policy)
}

/// Like [`parse`], if the texts that the judge was shown are known: whatever is in them word for word is a quotation.
///
/// # Errors
/// Those of [`parse`].
pub(crate) fn parse_knowing(
    text: &str,
    texts: &Texts,
    names: &AliasMap,
    profile: &Profile,
    policy: &VerdictPolicy,
) -> Result<Verdict> {
    let reader = Reader::new(texts, names, profile, policy);
    let mut repairs = Repairs::default();
    let opened = envelope::open(text, &reader.keys, || Names::new(names));
    let (blocks, inner) = match &opened {
        Some(opened) => {
            repairs.push(Repair::ContentBlocks);
            (opened.reasoning.as_str(), opened.answer.as_str())
        }
        None => ("", text),
    };
    let parts = extract::split(inner, profile);
    parts.repair.into_iter().for_each(|repair| repairs.push(repair));
    let reasoning =
        [blocks, &parts.reasoning].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n");
    reader.read(text.to_owned(), &reasoning, &parts.answer, parts.form, repairs)
}

/// Reads a verdict out of `answer`, if it is known where the reasoning ended: by token ids, or because there was
/// none. Tags of reasoning within `answer` are text. `raw` is the judge's whole output, kept in the verdict.
///
/// # Errors
/// Those of [`parse`].
pub fn parse_parts(
    raw: String,
    reasoning: &str,
    answer: &str,
    names: &AliasMap,
    profile: &Profile,
    policy: &VerdictPolicy,
) -> Result<Verdict> {
    parse_parts_knowing(raw, reasoning, answer, &Texts::none(), names, profile, policy)
}

/// Like [`parse_parts`], if the texts that the judge was shown are known.
///
/// # Errors
/// Those of [`parse`].
pub(crate) fn parse_parts_knowing(
    raw: String,
    reasoning: &str,
    answer: &str,
    texts: &Texts,
    names: &AliasMap,
    profile: &Profile,
    policy: &VerdictPolicy,
) -> Result<Verdict> {
    Reader::new(texts, names, profile, policy).read(raw, reasoning, answer, Form::Split, Repairs::default())
}

/// Reads a verdict as the command `dicast parse` prints it: `{"scores", "ranking", "reasoning", "repairs", "flags"}`
/// and true, or `{"error": {"kind", "message", "partial": {"scores", "ranking"}}}` and false.
pub fn parse_to_json(text: &str, names: &AliasMap, profile: &Profile, policy: &VerdictPolicy) -> (Value, bool) {
    match parse(text, names, profile, policy) {
        Ok(verdict) => {
            let scores: serde_json::Map<_, _> =
                verdict.scores.iter().map(|scored| (scored.name.clone(), number::score(scored.score))).collect();
            let ranking: Vec<_> = verdict.ranked_names().collect();
            let (reasoning, repairs, flags) = (&verdict.reasoning, &verdict.repairs, &verdict.flags);
            let value = json!({
                "scores": scores, "ranking": ranking, "reasoning": reasoning, "repairs": repairs, "flags": flags,
            });
            (value, true)
        }
        Err(error) => {
            let mut value = error.to_json();
            if let Some(partial) = value["error"]["partial"].as_object_mut() {
                partial.retain(|key, _| key == "scores" || key == "ranking");
            }
            (value, false)
        }
    }
}

/// The common path of all ways to read.
struct Reader<'a> {
    texts: &'a Texts,
    names: &'a AliasMap,
    keys: Keys,
    profile: &'a Profile,
    policy: &'a VerdictPolicy,
}

impl<'a> Reader<'a> {
    fn new(texts: &'a Texts, names: &'a AliasMap, profile: &'a Profile, policy: &'a VerdictPolicy) -> Self {
        Self { texts, names, keys: Keys::new(profile), profile, policy }
    }

    fn read(self, raw: String, reasoning: &str, answer: &str, form: Form, mut repairs: Repairs) -> Result<Verdict> {
        let Self { texts, names, keys, profile, policy } = self;
        let split = matches!(form, Form::Split | Form::Untagged);
        let is_table = profile.verdict.kind() == VerdictKind::Table;
        let clean = if split && is_table { strict::read(answer, names, profile) } else { None };
        let outcome = match clean {
            None if !is_table && matches!(form, Form::NoAnswer | Form::Unclosed) => {
                Outcome::refused("the judge wrote reasoning and no final answer")
            }
            None if !is_table => forms::read(&raw, answer, reasoning, texts, names, profile),
            Some(_) if texts.respond(answer) => {
                Outcome::refused("the answer only repeats, word for word, what one of the responses contains")
            }
            Some((scores, Some(ranking))) => Outcome::clean(scores, ranking),
            Some((scores, None)) => {
                let mut outcome = Outcome::clean(scores, Vec::new());
                outcome.ranking = Err("the ranking is empty".to_owned());
                check::apply(policy, &mut outcome, |scores| derive_ranking(names, scores));
                outcome
            }
            None => {
                let lookup = Names::new(names);
                let (clamp, rescale) = (policy.clamp, policy.rescale);
                let rule = Rule { scale: profile.scale, named: scale::in_prose(answer), clamp, rescale };
                let context = Context { names: &lookup, keys: &keys, rule };
                let mut outcome = check::read(answer, form, profile.reasoning.is_some(), texts, &context);
                check::apply(policy, &mut outcome, |scores| derive_ranking(names, scores));
                outcome
            }
        };
        repairs.extend(outcome.repairs);
        assemble(Outcome { repairs, ..outcome }, names.clone(), reasoning.to_owned(), raw)
    }
}

/// The verdict that an engine wrote under a grammar. If the judge wrote no ranking, it is derived from the scores.
pub(crate) fn of_grammar(
    raw: String,
    reasoning: String,
    written: Written,
    names: AliasMap,
    profile: &Profile,
) -> Result<Verdict> {
    let Written { scores, ranked } = written;
    let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
    let outcome = if ranked.is_empty() {
        forms::of_marks(&scores, &names, profile)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a choice without letters"))?
    } else {
        Outcome::clean(scores, ranked)
    };
    assemble(outcome, names, reasoning, raw)
}

/// The distributions of the scores of a choice, of the probability that each response was chosen: a response is the best or the
/// worst one.
pub(crate) fn of_choice(scale: Scale, distributions: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let of = |&chosen: &f64| {
        let mut distribution = vec![0.0; scale.len()];
        (distribution[0], distribution[scale.len() - 1]) = (1.0 - chosen, chosen);
        distribution
    };
    distributions.first().map(|chosen| chosen.iter().map(of).collect()).unwrap_or_default()
}

/// The checked verdict of what was read, or the error that says what is missing.
fn assemble(outcome: Outcome, names: AliasMap, reasoning: String, raw: String) -> Result<Verdict> {
    // Places count in the order shown; a verdict counts in the order of the request.
    match (outcome.scores, outcome.ranking) {
        (Ok(scores), Ok(mut ranking)) => {
            let flags = check::flags(&scores, &ranking, outcome.dropped);
            for place in &mut ranking {
                *place = names.request_index(*place);
            }
            let (names, shown, order) = names.into_parts();
            let aliases = shown.into_iter().zip(&order).map(|(shown, &index)| (shown, names[index].clone())).collect();
            let mut responses: Vec<Scored> = names.into_iter().map(Scored::without_score).collect();
            for (score, index) in scores.into_iter().zip(order) {
                responses[index].score = score;
            }
            Ok(Verdict {
                flags,
                scores: responses,
                ranking,
                reasoning,
                repairs: outcome.repairs.into_vec(),
                aliases,
                usage: Usage::default(),
                timing: Timing::default(),
                weights: 0,
                raw,
                ensemble: None,
                blocks: None,
                rubric: None,
                rewards: None,
                preferences: None,
            })
        }
        (scores, ranking) => {
            let message = match (&scores, &ranking) {
                (Err(scores), Err(ranking)) if scores == ranking => format!("no verdict could be read: {scores}"),
                (Err(scores), Err(ranking)) => {
                    format!("no verdict could be read: scores: {scores}; ranking: {ranking}")
                }
                (Err(scores), Ok(_)) => format!("the verdict has a ranking but no scores: {scores}"),
                (_, Err(ranking)) => format!("the verdict has scores but no ranking: {ranking}"),
                (Ok(_), Ok(_)) => String::new(),
            };
            let by_request = |scores: Vec<f64>| {
                let mut ordered = vec![0.0; scores.len()];
                for (place, score) in scores.into_iter().enumerate() {
                    ordered[names.request_index(place)] = score;
                }
                names.names().iter().cloned().zip(ordered).collect()
            };
            let partial = PartialVerdict {
                scores: scores.ok().map(by_request),
                ranking: ranking.ok().map(|ranking| {
                    ranking.iter().map(|&place| names.names()[names.request_index(place)].clone()).collect()
                }),
                reasoning,
                raw,
            };
            Err(Error::new(ErrorKind::InvalidVerdict, message).with_partial(partial))
        }
    }
}

/// The flags of a verdict that was merged from several.
pub(crate) fn merged_flags(scores: &[f64], ranking: &[usize]) -> Vec<Flag> {
    check::flags(scores, ranking, Vec::new())
}

/// Places by falling score; of equal ones, the one that the request gave first comes first.
fn derive_ranking(names: &AliasMap, scores: &[f64]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..scores.len()).collect();
    places.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(names.request_index(a).cmp(&names.request_index(b))));
    places
}
