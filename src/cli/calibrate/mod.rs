//! `dicast calibrate`: learn from pairs whose order is known how sure a judge may be, and where it should abstain.

mod labelled;
mod learn;
mod page;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use dicast::config::Reward;
use dicast::prompt::profile::{Calibration, Threshold};
use dicast::{ErrorKind, Profile};
use serde_json::Value;

use self::labelled::Labelled;
use self::learn::Learned;
use super::eval::items::{ItemArgs, Judging, Paths};
use super::eval::summary::Summary;
use super::options::JudgeArgs;
use super::outputs::{WRITE_PROFILE, is_same};
use super::{Failure, Outcome, model, note, outputs, print, profile};

/// Fewer pairs than this are refused.
const LEAST_PAIRS: usize = 50;
/// Fewer pairs than this are worth a warning.
const FEW_PAIRS: usize = 300;

/// Learn win probabilities and where to abstain from pairs whose order is known.
#[derive(clap::Args)]
#[command(after_help = "\
Items are those of `dicast eval`: preferences, rankings, JudgeBench, RM-Bench. Each two responses whose order is known are a pair.
Results of `dicast eval` that are there already cost no second judging: --from.

The profile that --write-profile makes has the key \"calibration\". A judge opened with it adds \"preferences\" to its verdicts: the
probability that a response is better than another one, and \"abstain\" if they are too close. Its reward \"win\" is calibrated.

Run the same command again after an interruption: it continues where it stopped.

Examples:
  dicast calibrate pairs.jsonl -o results.jsonl --model judge.gguf --write-profile judge.profile.json
  dicast calibrate --from results.jsonl --html calibration.html
  dicast calibrate --from results.jsonl --model judge.gguf --error-rate 0.05 --write-profile strict.json")]
pub(crate) struct Args {
    /// The items; - is standard input.
    #[arg(value_name = "ITEMS.jsonl", required_unless_present = "from", conflicts_with = "from", requires = "output")]
    items: Option<PathBuf>,
    /// Results, one line an item; needed again to continue.
    #[arg(long, short, value_name = "RESULTS.jsonl", conflicts_with = "from")]
    output: Option<PathBuf>,
    /// Learn from results of `dicast eval` that are there, without judging; all of one judge.
    #[arg(long, value_name = "RESULTS.jsonl", value_delimiter = ',')]
    from: Vec<PathBuf>,
    /// Which map is learned. auto: the one with the lower Brier score in cross-validation.
    #[arg(long, value_enum, value_name = "METHOD", default_value = "auto")]
    method: learn::Choice,
    /// Of the pairs that the judge answers, at most this share may be wrong; above 0 and below 0.5.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    error_rate: f64,
    /// How likely --error-rate is to hold, over the choice of the pairs; from 0.5 to below 1.
    #[arg(long, value_name = "PROBABILITY", default_value_t = 0.9)]
    confidence: f64,
    /// Learn the probabilities alone: the judge abstains only if two scores are equal.
    #[arg(long, conflicts_with_all = ["error_rate", "confidence"])]
    no_abstain: bool,
    /// Parts of the cross-validation; the pairs of one prompt stay together.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=20))]
    folds: u32,
    /// Seed of the parts, and of the pair that is drawn of each prompt for the threshold.
    #[arg(long, value_name = "N", default_value_t = 42)]
    split_seed: u64,
    /// Write the judge's profile with what was learned.
    #[arg(long, value_name = "FILE.json")]
    write_profile: Option<PathBuf>,
    /// Replace a profile that is there.
    #[arg(long, requires = "write_profile")]
    overwrite: bool,
    /// Also write the report as one HTML page with a reliability plot.
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Also write the reliability plot, an SVG picture.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    given: ItemArgs,
    /// Replace results that are there, instead of continuing them.
    #[arg(long, conflicts_with_all = ["retry_failed", "from"])]
    rejudge: bool,
    #[command(flatten)]
    judge: JudgeArgs,
}

pub(crate) fn run(args: &Args) -> Outcome {
    args.check()?;
    // Before anything is judged: a profile that cannot be written is found wrong at once.
    let base = args.write_profile.as_ref().map(|_| args.base()).transpose()?;
    let (code, results) = match (&args.items, &args.output) {
        (Some(items), Some(output)) => {
            let overwrite = (args.rejudge, "--rejudge");
            let judging = Judging { items, output, args: &args.given, by: Reward::ExpectedOrScore, overwrite };
            (judging.run(args.judge.config()?)?, vec![output.clone()])
        }
        _ => (ExitCode::SUCCESS, args.from.clone()),
    };
    let summaries = results.iter().map(|path| Summary::read(path)).collect::<Result<Vec<_>, _>>()?;
    let labelled = Labelled::of(&summaries)?;
    if let Some(base) = &base {
        base.check(&labelled)?;
    }
    let (pairs, prompts) = (labelled.pairs.len(), labelled.prompts);
    if pairs < LEAST_PAIRS {
        let message = format!(
            "there are {pairs} pairs whose order is known, on {prompts} prompts: at least {LEAST_PAIRS} are needed to learn from"
        );
        return Err(Failure::new(ErrorKind::InvalidConfig, message)
            .hint(format!("{FEW_PAIRS} and more are better, each on a prompt of its own")));
    }
    if pairs < FEW_PAIRS {
        note(&format!("note: {pairs} pairs are few: look at the intervals; {FEW_PAIRS} and more are better\n"));
    }
    let learned = Learned::from(&labelled, args.method, args.folds as usize, args.split_seed, args.asked())?;
    if let Some(path) = &args.html {
        outputs::save(path, &page::page(&learned))?;
    }
    if let Some(path) = &args.plot {
        outputs::save(path, &page::figure(&learned))?;
    }
    print(&if args.given.json { format!("{}\n", learned.to_json()) } else { learned.to_text() })?;
    if let (Some(Base { profile: judged, .. }), Some(path)) = (base, &args.write_profile) {
        let written = calibrated(judged, &labelled, &learned)?;
        profile::write(&written, path, args.overwrite)?;
        note(&format!("wrote {}\n", path.display()));
    }
    Ok(code)
}

/// The profile that judged, and the model where it is named.
struct Base {
    profile: Profile,
    model: Option<Value>,
}

impl Base {
    /// Makes sure that this is what judged the results.
    fn check(&self, labelled: &Labelled) -> Result<(), Failure> {
        let other = |what: &str| {
            let message = format!("the results were judged by another {what} than the one that is named");
            Failure::new(ErrorKind::InvalidConfig, message)
                .hint("name the --model and the --profile that judged them, or judge again")
        };
        if self.model.as_ref().is_some_and(|model| *model != labelled.model) {
            return Err(other("model"));
        }
        if self.profile.judging_checksum() != labelled.profile {
            return Err(other("profile"));
        }
        Ok(())
    }
}

impl Args {
    fn check(&self) -> Result<(), Failure> {
        let wrong = |message: String| Err(Failure::new(ErrorKind::InvalidConfig, message));
        if !(self.error_rate > 0.0 && self.error_rate < 0.5) {
            return wrong(format!("--error-rate {}: must be above 0 and below 0.5", self.error_rate));
        }
        if !(self.confidence >= 0.5 && self.confidence < 1.0) {
            return wrong(format!("--confidence {}: must be from 0.5 to below 1", self.confidence));
        }
        let is_twice = |(index, path): &(usize, &PathBuf)| self.from[..*index].iter().any(|one| is_same(one, path));
        if let Some((_, path)) = self.from.iter().enumerate().find(is_twice) {
            return wrong(format!("--from names {} twice: each result counts once", path.display()));
        }
        let written = [("--html", &self.html), ("--plot", &self.plot), (WRITE_PROFILE, &self.write_profile)];
        let paths = Paths {
            items: self.items.as_deref(),
            output: self.output.as_deref().filter(|_| self.items.is_some()),
            results: ("--from", &self.from),
            written: written.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?))).collect(),
        };
        paths.check(&self.given, &self.judge)?;
        match &self.write_profile {
            Some(path) if path.exists() && !self.overwrite => {
                Err(Failure::new(ErrorKind::InvalidConfig, format!("{} exists", path.display()))
                    .hint("name another file, or give --overwrite to replace it"))
            }
            _ => Ok(()),
        }
    }

    /// The error rate and its confidence, where the judge is to abstain.
    fn asked(&self) -> Option<(f64, f64)> {
        (!self.no_abstain).then_some((self.error_rate, self.confidence))
    }

    /// The profile to write what was learned into.
    fn base(&self) -> Result<Base, Failure> {
        if self.items.is_some() || self.judge.names_model()? {
            let config = self.judge.config()?;
            let source = model::find(&config.model)?;
            return Ok(Base { profile: source.profile_for(&config)?, model: Some(source.brief_fingerprint()?) });
        }
        match self.judge.profile_file() {
            Some(path) => Ok(Base { profile: Profile::load(path)?, model: None }),
            None => Err(Failure::new(
                ErrorKind::InvalidConfig,
                "--write-profile: which profile judged the results? give --model or --profile",
            )),
        }
    }
}

/// A profile with what was learned.
fn calibrated(mut profile: Profile, labelled: &Labelled, learned: &Learned) -> Result<Profile, Failure> {
    let Labelled { pairs, prompts, model, options, expected_scores, .. } = labelled;
    let mut calibration = Calibration::new(
        learned.map.clone(),
        pairs.len() as u64,
        *prompts as u64,
        model.clone(),
        &profile,
        options.clone(),
        *expected_scores,
    );
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    dicast::date::iso(seconds * 1000)[..10].clone_into(&mut calibration.date);
    if let Some(abstaining) = &learned.abstaining {
        let found = abstaining.found.as_ref().map_err(|lowest| {
            let message = format!(
                "no profile is written: no threshold holds wrong answers at {} with confidence {}",
                abstaining.error_rate, abstaining.confidence
            );
            Failure::new(ErrorKind::InvalidConfig, message).hint(learn::remedy(*lowest))
        })?;
        calibration.threshold = Some(Threshold {
            difference: found.difference,
            probability: learned.map.probability(found.difference),
            error_rate: abstaining.error_rate,
            confidence: abstaining.confidence,
            answered: learn::share(found.answered, found.pairs),
        });
    }
    profile.calibration = Some(Box::new(calibration));
    profile.check()?;
    Ok(profile)
}
