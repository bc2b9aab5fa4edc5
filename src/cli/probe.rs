//! The probe of `dicast doctor`: does a model judge by the content of the responses?
//!
//! There are a few pairs of responses that differ in one thing each. Every pair is judged by a principle and by its opposite,
//! and in both orders. A judge that reads prefers one response under the principle and the other under its opposite, whichever
//! stands first; a judge that follows places, names or an example in its prompt does not.

use std::time::{Duration, Instant};

use dicast::config::Mask;
use dicast::{Error, ErrorKind, Judge, JudgeRequest, Options, Submission, Verdict};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

/// Most tokens of reasoning; the contrasts are simple.
const REASONING: u32 = 192;
/// The share of all judgments that must follow the principle for "by content"; below the second value it is as good as chance.
const SURE: f64 = 0.85;
const DOUBTFUL: f64 = 0.7;

/// Two responses that differ in one thing.
struct Contrast {
    /// What differs.
    what: &'static str,
    prompt: &'static str,
    /// Which the principle prefers, and which its opposite.
    responses: [&'static str; 2],
    principles: [&'static str; 2],
}

const CONTRASTS: [Contrast; 4] = [
    Contrast {
        what: "length",
        prompt: "How do I keep bread fresh?",
        responses: [
            "Keep it in a paper bag, and freeze what you do not eat in two days.",
            "There are many things to think of here. First of all, bread goes stale because its starch changes as it cools, \
             and this happens fastest in the cold, which is why a refrigerator is a poor place for it. A paper bag or a \
             bread box lets the crust breathe, so that it stays crisp, while a plastic bag holds the moisture in and makes \
             it soft. What you will not eat within about two days is best cut into slices and frozen, since single slices \
             can be toasted straight from the freezer without any loss of taste. Old bread is still good for crumbs, for \
             soup and for puddings, so there is hardly ever a reason to throw any of it away.",
        ],
        principles: ["I prefer short and concise responses.", "I prefer long and detailed responses."],
    },
    Contrast {
        what: "politeness",
        prompt: "Where can I buy a bus ticket?",
        responses: [
            "Thank you for asking! Please try the machine at the stop; I am happy to help if you have more questions.",
            "At the machine, obviously. Are you blind? Everyone knows that, so do not waste my time.",
        ],
        principles: ["I prefer polite and friendly responses.", "I prefer rude and unfriendly responses."],
    },
    Contrast {
        what: "lists",
        prompt: "What should I pack for a day on a mountain?",
        responses: [
            "- water\n- food\n- a warm jacket\n- a map\n- a lamp\n- a small medical kit",
            "Take water and food, a warm jacket for the top, a map and a lamp, and a small medical kit in case of a fall.",
        ],
        principles: [
            "I prefer responses that are written as lists with bullet points.",
            "I prefer responses that are written as prose, without lists.",
        ],
    },
    Contrast {
        what: "questions",
        prompt: "My plant has yellow leaves.",
        responses: [
            "How often do you water it? Does it stand in the sun? When did you last give it new soil?",
            "It gets too much water. Let the soil dry before you water it again, and move it into more light.",
        ],
        principles: ["I prefer responses that ask questions.", "I prefer responses that ask no questions."],
    },
];

/// One judgment of the probe: a contrast, under its principle (0) or the opposite (1), in the order given (0) or turned (1).
#[derive(Clone, Copy)]
struct Place {
    contrast: usize,
    principle: usize,
    order: usize,
}

impl Place {
    fn all() -> impl Iterator<Item = Self> {
        (0..CONTRASTS.len())
            .flat_map(|contrast| (0..4).map(move |number| Self { contrast, principle: number / 2, order: number % 2 }))
    }

    fn request(self, options: Options) -> JudgeRequest {
        let Contrast { prompt, responses, principles, .. } = &CONTRASTS[self.contrast];
        let mut named = [("first", responses[0]), ("second", responses[1])];
        if self.order == 1 {
            named.reverse();
        }
        let mut request = JudgeRequest::new(principles[self.principle], *prompt, named);
        request.options = options;
        request
    }
}

/// Which response a verdict prefers, 0 or 1; `None` if it prefers none.
fn preferred(verdict: &Verdict) -> Option<usize> {
    let reward = |name: &str| {
        let scored = verdict.scores.iter().find(|scored| scored.name == name);
        scored.map_or(0.0, |scored| scored.expected.unwrap_or(scored.score))
    };
    match reward("first").total_cmp(&reward("second")) {
        std::cmp::Ordering::Greater => Some(0),
        std::cmp::Ordering::Less => Some(1),
        std::cmp::Ordering::Equal => None,
    }
}

/// Runs the probe, for at most this long.
pub(super) fn run(judge: &Judge, most: Duration) -> Value {
    let started = Instant::now();
    let places: Vec<Place> = Place::all().collect();
    let defaults = judge.config().options.or(&judge.profile().decoding);
    let budget = defaults.max_reasoning_tokens.unwrap_or(REASONING).min(REASONING);
    let bar = progress(places.len());
    let mut outcomes: Vec<(Place, dicast::Result<Verdict>)> = Vec::with_capacity(places.len());
    // One contrast after the other, so that some are complete when the time of a slow judge is over.
    for contrast in places.chunks(places.len() / CONTRASTS.len()) {
        let left = most.saturating_sub(started.elapsed()).as_millis().max(1);
        let options = Options {
            mask: Some(Mask::Given),
            max_reasoning_tokens: Some(budget),
            timeout_ms: Some(u64::try_from(left).unwrap_or(u64::MAX)),
            ..Options::default()
        };
        // The time of the whole probe, also for what the engine begins with late.
        let submission = || Submission::default().deadline(started + most);
        let submit = |place: &Place| judge.submit_when_free_with(&place.request(options.clone()), submission());
        let tickets: Vec<_> = contrast.iter().map(submit).collect();
        for (&place, ticket) in contrast.iter().zip(tickets) {
            outcomes.push((place, ticket.wait()));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    summary(&outcomes, started.elapsed())
}

fn progress(count: usize) -> ProgressBar {
    use std::io::IsTerminal as _;
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(count as u64);
    bar.set_style(ProgressStyle::with_template("probing {pos}/{len} {elapsed}").expect("a valid template"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// What the judgments show about the judge.
fn summary(outcomes: &[(Place, dicast::Result<Verdict>)], elapsed: Duration) -> Value {
    let choice = |contrast: usize, principle: usize, order: usize| {
        let matches =
            |place: &Place| place.contrast == contrast && place.principle == principle && place.order == order;
        let found = outcomes.iter().find(|(place, _)| matches(place))?;
        Some(preferred(found.1.as_ref().ok()?))
    };
    // Pairs of judgments that differ only in the order, or only in the principle.
    let (mut orders, mut stable, mut opposites, mut turned) = (0, 0, 0, 0);
    let (mut judged, mut right) = (0, 0);
    let mut by_contrast = serde_json::Map::new();
    for (index, contrast) in CONTRASTS.iter().enumerate() {
        let (mut judged_here, mut right_here) = (0, 0);
        for fixed in 0..2 {
            if let (Some(given), Some(other)) = (choice(index, fixed, 0), choice(index, fixed, 1)) {
                orders += 1;
                stable += usize::from(given.is_some() && given == other);
            }
            if let (Some(principle), Some(opposite)) = (choice(index, 0, fixed), choice(index, 1, fixed)) {
                opposites += 1;
                turned += usize::from(principle.is_some() && opposite.is_some() && principle != opposite);
            }
            for principle in 0..2 {
                if let Some(choice) = choice(index, principle, fixed) {
                    judged_here += 1;
                    right_here += usize::from(choice == Some(principle));
                }
            }
        }
        judged += judged_here;
        right += right_here;
        by_contrast.insert(contrast.what.into(), json!({ "judgments": judged_here, "as_expected": right_here }));
    }
    let verdicts = || outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok());
    let tokens: usize = verdicts()
        .map(|verdict| {
            let usage = verdict.usage;
            usage.prompt_tokens - usage.reused_tokens.min(usage.prompt_tokens)
                + usage.reasoning_tokens
                + usage.verdict_tokens
        })
        .sum();
    let written: usize = verdicts().map(|verdict| verdict.usage.reasoning_tokens + verdict.usage.verdict_tokens).sum();
    let seconds = elapsed.as_secs_f64().max(1e-3);
    let is_late = |error: &Error| error.kind() == ErrorKind::Timeout;
    let errors = || outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().err());
    let first_error = errors().find(|error| !is_late(error)).map(Error::to_json);
    json!({
        "judgments": judged,
        "failed": errors().filter(|error| !is_late(error)).count(),
        "out_of_time": errors().filter(|error| is_late(error)).count(),
        "error": first_error.map(|error| error["error"].clone()),
        "as_expected": right,
        "contrasts": by_contrast,
        "orders": { "pairs": orders, "same": stable },
        "opposites": { "pairs": opposites, "changed": turned },
        "by_content": by_content(judged, right),
        "seconds": (seconds * 100.0).round() / 100.0,
        "tokens_per_second": rate(tokens, seconds),
        "written_tokens_per_second": rate(written, seconds),
    })
}

/// Tokens a second, to one decimal.
#[expect(clippy::cast_precision_loss, reason = "counts of some thousands")]
fn rate(tokens: usize, seconds: f64) -> f64 {
    (tokens as f64 / seconds * 10.0).round() / 10.0
}

/// The finding; `None` if too little was judged.
#[expect(clippy::cast_precision_loss, reason = "counts of some dozens")]
fn by_content(judged: usize, right: usize) -> Option<&'static str> {
    if judged < 2 * CONTRASTS.len() {
        return None;
    }
    Some(match right as f64 / judged as f64 {
        share if share >= SURE => "yes",
        share if share >= DOUBTFUL => "partly",
        _ => "no",
    })
}

/// The finding for people.
pub(super) fn in_words(probe: &Value) -> Vec<String> {
    let count = |pointer: &str| probe.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let mut lines = vec![format!(
        "  probe: {} judgments in {} s, {} tokens/s, of which {} written",
        count("/judgments"),
        probe["seconds"],
        probe["tokens_per_second"],
        probe["written_tokens_per_second"],
    )];
    for (key, what) in [("/failed", "failed"), ("/out_of_time", "did not end in time (--probe-seconds)")] {
        match count(key) {
            0 => {}
            number => lines.push(format!("    {number} {what}")),
        }
    }
    if let Some(message) = probe["error"]["message"].as_str() {
        lines.push(format!("    the first error: {}", super::table::printable(message, false)));
    }
    if count("/judgments") > 0 {
        lines.push(format!(
            "    follows the principle in {} of {}; same preference in both orders: {} of {}; reversed by the opposite principle: \
             {} of {}",
            count("/as_expected"),
            count("/judgments"),
            count("/orders/same"),
            count("/orders/pairs"),
            count("/opposites/changed"),
            count("/opposites/pairs"),
        ));
    }
    lines.push(
        match probe["by_content"].as_str() {
            Some("yes") => "    it judges by content",
            Some("partly") => {
                "    warning: it judges by content only in part: order and names influence its scores"
            }
            Some(_) => {
                "    warning: it does not judge by content: its scores say nothing about the responses. Take another model, or \
                 the profile that it was trained with"
            }
            None => "    too few judgments to say whether it judges by content",
        }
        .to_owned(),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the probe finds for a judge that prefers a response by `choose`, which returns the place of that response.
    fn found(choose: impl Fn(Place) -> Option<usize>) -> Value {
        let outcomes: Vec<_> = Place::all()
            .map(|place| {
                let scores = match choose(place) {
                    None => [3.0, 3.0],
                    Some(0) => [5.0, 1.0],
                    Some(_) => [1.0, 5.0],
                };
                let request = place.request(Options::default());
                let text = request
                    .responses
                    .iter()
                    .zip(scores)
                    .map(|(response, score)| format!("{:?}: {score}", response.name));
                let names: Vec<_> = request.responses.iter().map(|response| response.name.clone()).collect();
                let text = format!(
                    "{{\"scores\": {{{}}}, \"best-to-worst\": {names:?}}}",
                    text.collect::<Vec<_>>().join(", ")
                );
                let names = dicast::prompt::mask::AliasMap::identity(names);
                let verdict = dicast::verdict::parse(
                    &text,
                    &names,
                    &dicast::Profile::builtin(),
                    &dicast::config::VerdictPolicy::default(),
                );
                (place, verdict)
            })
            .collect();
        summary(&outcomes, Duration::from_secs(1))
    }

    #[test]
    fn a_judge_that_reads_is_known_from_one_that_does_not() {
        // By the principle, whatever the order.
        let reads = found(|place| Some(usize::from(place.principle != place.order)));
        assert_eq!((&reads["by_content"], &reads["as_expected"]), (&json!("yes"), &json!(16)));
        assert_eq!(reads["orders"], json!({ "pairs": 8, "same": 8 }));
        assert_eq!(reads["opposites"], json!({ "pairs": 8, "changed": 8 }));
        // Always the second place.
        let places = found(|_| Some(1));
        assert_eq!((&places["by_content"], &places["as_expected"]), (&json!("no"), &json!(8)));
        assert_eq!((&places["orders"]["same"], &places["opposites"]["changed"]), (&json!(0), &json!(0)));
        // Always the same response.
        let stubborn = found(|place| Some(place.order));
        assert_eq!((&stubborn["by_content"], &stubborn["orders"]["same"]), (&json!("no"), &json!(8)));
        let ties = found(|_| None);
        assert_eq!(
            (&ties["by_content"], &ties["as_expected"], &ties["orders"]["same"]),
            (&json!("no"), &json!(0), &json!(0))
        );
        assert!(in_words(&ties).last().unwrap().contains("does not judge by content"));
        assert!(in_words(&reads).last().unwrap().ends_with("it judges by content"));
    }
}
