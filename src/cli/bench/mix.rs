//! The requests of a load: those of a file, one after the other and again from its start, or generated ones.
//!
//! A generated request depends only on the seed, its load and its number, so that two runs judge the same requests in
//! whatever order the answers come.

use std::path::{Path, PathBuf};

use dicast::config::Limits;
use dicast::{ErrorKind, JudgeRequest, Keys};
use serde_json::{Value, json};

use super::super::batch::Form;
use super::super::run::formats::{self, First, Records as _};
use super::super::{Failure, input};
use super::schedule::Random;

/// Most requests of a file that are held.
const MAX_ITEMS: u64 = 1_000_000;

/// Which requests are sent.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Requests")]
pub(super) struct MixArgs {
    /// Requests, in any form that `dicast batch` reads. They are sent in order, then again from the start.
    #[arg(long, value_name = "FILE")]
    pub(super) input: Option<PathBuf>,
    /// Only the first N requests of the file.
    #[arg(long, value_name = "N", requires = "input", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Put a number before each prompt when the requests of the file are sent again, so that no cache has them.
    #[arg(long, requires = "input")]
    fresh: bool,
    /// Generated requests: responses per request, such as 4 or 2-8.
    #[arg(long, value_name = "N[-N]", default_value = "4", value_parser = span)]
    responses: Span,
    /// Generated requests: words per response.
    #[arg(long, value_name = "N[-N]", default_value = "20-80", value_parser = span)]
    response_words: Span,
    /// Generated requests: words per prompt.
    #[arg(long, value_name = "N[-N]", default_value = "8-24", value_parser = span)]
    prompt_words: Span,
    /// Generated requests: number of different principles.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    principles: u32,
    /// Generated requests: number of different prompts; 0 makes each prompt new.
    #[arg(long, value_name = "N", default_value = "0")]
    prompts: u32,
    /// Generated requests: how many in a row share principle and prompt and differ only in their responses, like the samples of
    /// one prompt in reinforcement learning.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    group: u32,
    /// Seed of generated requests and of the arrivals.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) mix_seed: u64,
}

/// A range of counts, both ends included.
type Span = (u32, u32);

fn span(text: &str) -> Result<Span, String> {
    let read = |text: &str| text.trim().parse::<u32>().ok().filter(|count| (1..=100_000).contains(count));
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (read(low), read(high)) {
        (Some(low), Some(high)) if low <= high => Ok((low, high)),
        _ => Err("must be a whole number from 1 to 100000, or a range such as 2-8".into()),
    }
}

/// The requests of a load.
pub(super) struct Mix {
    args: MixArgs,
    items: Vec<JudgeRequest>,
}

impl Mix {
    /// Reads the file, or prepares to generate.
    pub(super) fn new(args: &MixArgs, limits: &Limits) -> Result<Self, Failure> {
        let items = match &args.input {
            Some(path) => read(path, args.limit, limits)?,
            None => Vec::new(),
        };
        Ok(Self { args: args.clone(), items })
    }

    /// The request `number` of the load `load`, and which of the file's requests it is.
    pub(super) fn request(&self, load: u64, number: u64) -> (JudgeRequest, Option<usize>) {
        if self.items.is_empty() {
            return (self.made(load, number), None);
        }
        let count = self.items.len() as u64;
        let item = usize::try_from(number % count).unwrap_or(0);
        let mut request = self.items[item].clone();
        if self.args.fresh && (load > 0 || number >= count) {
            request.prompt = format!("({load}.{}) {}", number / count, request.prompt);
        }
        (request, Some(item))
    }

    /// What the requests are, for a report: two runs whose descriptions differ judged other requests.
    pub(super) fn describe(&self) -> Value {
        let MixArgs {
            input, fresh, responses, response_words, prompt_words, principles, prompts, group, mix_seed, ..
        } = &self.args;
        let range = |(low, high): Span| if low == high { low.to_string() } else { format!("{low}-{high}") };
        match input {
            Some(path) => {
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
                json!({ "file": name, "requests": self.items.len(), "fresh": fresh })
            }
            None => json!({
                "generated": true, "responses": range(*responses), "response_words": range(*response_words),
                "prompt_words": range(*prompt_words), "principles": principles, "prompts": prompts, "group": group,
                "seed": mix_seed,
            }),
        }
    }

    fn made(&self, load: u64, number: u64) -> JudgeRequest {
        let args = &self.args;
        let seed = args.mix_seed ^ load.wrapping_mul(0x9e6c_63d0_876a_3f6b);
        let group = number / u64::from(args.group);
        let mut shared = Random::new(seed, group.wrapping_mul(4) + 2);
        let principle = principle(shared.below(args.principles as usize));
        let count = between(&mut shared, args.responses);
        let prompt = if args.prompts == 0 {
            text(&mut shared, args.prompt_words)
        } else {
            // The same in every load.
            let chosen = shared.below(args.prompts as usize) as u64;
            text(&mut Random::new(args.mix_seed, chosen.wrapping_mul(4) + 4), args.prompt_words)
        };
        let mut own = Random::new(seed, number.wrapping_mul(4) + 3);
        let responses = (1..=count).map(|place| (format!("answer {place}"), text(&mut own, args.response_words)));
        JudgeRequest::new(principle, format!("{}?", prompt.trim_end_matches('.')), responses)
    }
}

fn read(path: &Path, limit: Option<u64>, limits: &Limits) -> Result<Vec<JudgeRequest>, Failure> {
    let form = Form { limits: limits.clone(), ..Form::default() };
    let records = formats::open(path, None, &Keys::default(), input::request_bytes(limits))?;
    let mut records = First { records, left: limit.unwrap_or(MAX_ITEMS).min(MAX_ITEMS) };
    let mut items = Vec::new();
    while let Some(record) = records.next_record()? {
        let place = record.place;
        let (_, request) = form.read(record);
        let request = request.map_err(|error| error.context(format_args!("{}, {place}", path.display())))?;
        items.push(request);
    }
    if items.is_empty() {
        return Err(Failure::new(ErrorKind::InvalidConfig, format!("{} holds no requests", path.display())));
    }
    Ok(items)
}

fn between(random: &mut Random, (low, high): Span) -> usize {
    low as usize + random.below((high - low) as usize + 1)
}

/// A principle by its number: every number gives a different one.
fn principle(number: usize) -> String {
    const QUALITIES: [&str; 8] = [
        "short and to the point",
        "complete and detailed",
        "friendly and polite",
        "careful about facts",
        "full of examples",
        "easy to follow step by step",
        "formal in tone",
        "honest about what is not known",
    ];
    let (quality, round) = (QUALITIES[number % QUALITIES.len()], number / QUALITIES.len());
    let also = if round == 0 { String::new() } else { format!(" Rule {round} of the house holds as well.") };
    format!("Prefer responses that are {quality}.{also}")
}

/// Sentences of plain words.
fn text(random: &mut Random, words: Span) -> String {
    const WORDS: [&str; 64] = [
        "the", "a", "we", "you", "they", "it", "time", "day", "work", "plan", "water", "house", "city", "market",
        "train", "letter", "garden", "number", "question", "answer", "reason", "example", "story", "music", "paper",
        "table", "small", "large", "early", "late", "quiet", "simple", "common", "useful", "strong", "open", "takes",
        "makes", "finds", "keeps", "gives", "needs", "shows", "moves", "builds", "reads", "writes", "follows",
        "before", "after", "with", "without", "under", "between", "because", "while", "often", "never", "again",
        "together", "first", "then", "also", "well",
    ];
    let count = between(random, words);
    let mut text = String::with_capacity(count * 6);
    let mut left_of_sentence = 0;
    for place in 0..count {
        let word = WORDS[random.below(WORDS.len())];
        if left_of_sentence == 0 {
            left_of_sentence = 6 + random.below(9);
            text.push_str(if place > 0 { ". " } else { "" });
            text.extend(word[..1].chars().map(|c| c.to_ascii_uppercase()));
            text.push_str(&word[1..]);
        } else {
            text.push(' ');
            text.push_str(word);
        }
        left_of_sentence -= 1;
    }
    text.push('.');
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn mix(options: &[&str]) -> Mix {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            mix: MixArgs,
        }
        let args = <Only as clap::Parser>::parse_from(std::iter::once(&"x").chain(options));
        Mix::new(&args.mix, &Limits::default()).unwrap()
    }

    #[test]
    fn a_seed_gives_the_same_requests_and_another_one_others() {
        let (one, same, other) = (mix(&["--mix-seed", "9"]), mix(&["--mix-seed", "9"]), mix(&["--mix-seed", "8"]));
        for number in [0, 7, 1000] {
            assert_eq!(one.request(0, number), same.request(0, number));
            assert_ne!(one.request(0, number), other.request(0, number));
            assert_ne!(one.request(0, number), one.request(1, number), "each load has its own");
        }
    }

    #[test]
    fn counts_and_lengths_are_within_their_ranges() {
        let mix =
            mix(&["--responses", "2-5", "--response-words", "10-12", "--prompt-words", "3", "--principles", "20"]);
        let mut principles = std::collections::HashSet::new();
        let mut counts = std::collections::BTreeSet::new();
        for number in 0..400 {
            let (request, item) = mix.request(0, number);
            assert!(request.check(&Limits::default()).is_ok() && item.is_none());
            counts.insert(request.responses.len());
            assert_eq!(request.prompt.split(' ').count(), 3);
            assert!(request.responses.iter().all(|one| (10..=12).contains(&one.text.split(' ').count())));
            principles.insert(request.principle);
        }
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert_eq!(principles.len(), 20);
    }

    #[test]
    fn a_group_shares_principle_and_prompt() {
        let mix = mix(&["--group", "8"]);
        let of = |number| mix.request(0, number).0;
        let first = of(0);
        for number in 1..8 {
            let next = of(number);
            assert_eq!((&next.principle, &next.prompt), (&first.principle, &first.prompt));
            assert_eq!(next.responses.len(), first.responses.len());
            assert_ne!(next.responses, first.responses);
        }
        assert_ne!(of(8).prompt, first.prompt);
    }

    #[test]
    fn prompts_may_come_from_a_small_set() {
        let mix = mix(&["--prompts", "3"]);
        let seen: std::collections::HashSet<_> =
            (0..200).map(|number| mix.request(number % 2, number).0.prompt).collect();
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn a_file_comes_again_from_its_start() {
        let path = std::env::temp_dir().join(format!("dicast-mix-{}.jsonl", std::process::id()));
        let line =
            |name: &str| format!("{{\"principle\":\"p\",\"prompt\":\"{name}\",\"responses\":{{\"a\":\"x\"}}}}\n");
        std::fs::write(&path, line("one") + &line("two") + &line("three")).unwrap();
        let plain = mix(&["--input", path.to_str().unwrap(), "--limit", "2"]);
        let fresh = mix(&["--input", path.to_str().unwrap(), "--fresh"]);
        std::fs::write(&path, line("one") + "{}\n").unwrap();
        let wrong = Mix::new(&plain.args, &Limits::default()).err().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(plain.request(3, 2), plain.request(0, 0));
        assert_eq!(plain.request(0, 3).1, Some(1));
        assert_eq!(fresh.request(0, 1).0.prompt, "two");
        assert_eq!(fresh.request(0, 4).0.prompt, "(0.1) two");
        assert!(wrong.error.message().contains("line 2"), "{wrong:?}");
    }

    #[test]
    fn ranges_are_checked() {
        assert_eq!((span("4"), span("2-8")), (Ok((4, 4)), Ok((2, 8))));
        for wrong in ["0", "8-2", "x", "1-", "-3", "200000"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
