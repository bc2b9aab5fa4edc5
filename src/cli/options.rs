//! The options that several verbs share, and the configuration that they make.

use std::path::{Path, PathBuf};

use dicast::config::{Incomplete, Mask};
use dicast::{Error, ErrorKind, JudgeConfig, Options};

use super::{Failure, input};

/// Names the model where no option and no configuration does.
const MODEL_VARIABLE: &str = "DICAST_MODEL";

/// Which judge, and how it judges.
#[derive(clap::Args)]
pub(crate) struct JudgeArgs {
    /// Model: a .gguf file, or hf:OWNER/REPO[@REVISION][:FILE or QUANTIZATION] to fetch one. Default: the
    /// configuration's, else the variable `DICAST_MODEL`.
    #[arg(long, short)]
    model: Option<String>,
    /// Judge profile, a JSON file. Default: the one beside the model, else the built-in one.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Configuration, a JSON file; options given here override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    decoding: DecodingArgs,
}

/// Defaults for every request; a request's own "options" go before them.
#[derive(clap::Args)]
#[command(next_help_heading = "Judging (a request's own \"options\" go before these)")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
struct DecodingArgs {
    /// Softmax temperature, 0 to 2; 0 is greedy.
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    /// Nucleus sampling, over 0 to 1; 1 is off.
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Sample from the K most probable tokens; 0 is off.
    #[arg(long, value_name = "K")]
    top_k: Option<u32>,
    /// Seed of the sampling.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Give the verdict at once, without reasoning.
    #[arg(long)]
    no_reasoning: bool,
    /// Tokens after which the reasoning is ended.
    #[arg(long, value_name = "N")]
    max_reasoning_tokens: Option<u32>,
    /// Tokens for an unguided verdict.
    #[arg(long, value_name = "N")]
    max_verdict_tokens: Option<u32>,
    /// Do not hold the verdict to a grammar.
    #[arg(long)]
    no_guided: bool,
    /// Hold the ranking to the order of the scores.
    #[arg(long)]
    consistent_ranking: bool,
    /// How names are hidden from the judge.
    #[arg(long, value_enum)]
    mask: Option<MaskArg>,
    /// Seed of the shuffle of the names.
    #[arg(long, value_name = "N")]
    mask_seed: Option<u64>,
    /// Milliseconds after which a request has failed.
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u64>,
    /// Derive a missing ranking from complete scores.
    #[arg(long)]
    derive_ranking: bool,
    /// Move a score off the scale to the nearest end of it.
    #[arg(long)]
    clamp: bool,
    /// Threads of the computation; 0 is one a physical core.
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// Most tokens of one judgment, prompt and output together.
    #[arg(long, value_name = "N")]
    context_tokens: Option<u32>,
}

/// [`Mask`] as an option.
#[derive(Clone, Copy, clap::ValueEnum)]
enum MaskArg {
    /// Aliases in a shuffled order.
    Shuffle,
    /// Aliases in the order given.
    Given,
    /// The real names in the order given.
    Off,
}

impl JudgeArgs {
    /// Whether a model is named in any of the places where one can be.
    pub(crate) fn names_model(&self) -> Result<bool, Failure> {
        Ok(self.model.is_some()
            || std::env::var(MODEL_VARIABLE).is_ok_and(|model| !model.is_empty())
            || self.config.as_deref().map(read_config).transpose()?.is_some_and(|config| !config.model.is_empty()))
    }

    /// The whole configuration, checked; its model is still as it was named, and opened by [`super::model::open`].
    pub(crate) fn config(&self) -> Result<JudgeConfig, Failure> {
        let mut config = self.config.as_deref().map_or_else(|| Ok(JudgeConfig::default()), read_config)?;
        if let Some(model) = &self.model {
            config.model.clone_from(model);
        } else if config.model.is_empty() {
            config.model = std::env::var(MODEL_VARIABLE).unwrap_or_default();
        }
        if config.model.is_empty() {
            return Err(Failure::new(ErrorKind::InvalidConfig, "no model is named").hint(format!(
                "give --model FILE.gguf or --model hf:OWNER/REPO, or set {MODEL_VARIABLE}; `make demo` shows one at work"
            )));
        }
        if let Some(profile) = &self.profile {
            config.profile = Some(profile.clone());
        }
        self.decoding.apply(&mut config);
        config.check()?;
        Ok(config)
    }
}

impl DecodingArgs {
    fn apply(&self, config: &mut JudgeConfig) {
        let given = Options {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            seed: self.seed,
            reasoning: self.no_reasoning.then_some(false),
            max_reasoning_tokens: self.max_reasoning_tokens,
            max_verdict_tokens: self.max_verdict_tokens,
            guided: self.no_guided.then_some(false),
            consistent_ranking: self.consistent_ranking.then_some(true),
            mask: self.mask.map(|mask| match mask {
                MaskArg::Shuffle => Mask::Shuffle,
                MaskArg::Given => Mask::Given,
                MaskArg::Off => Mask::Off,
            }),
            mask_seed: self.mask_seed,
            timeout_ms: self.timeout_ms,
        };
        config.options = given.or(&config.options);
        if self.derive_ranking {
            config.verdict.incomplete = Incomplete::DeriveRanking;
        }
        config.verdict.clamp |= self.clamp;
        if let Some(threads) = self.threads {
            config.local.threads = threads;
        }
        if let Some(tokens) = self.context_tokens {
            config.local.context_tokens = tokens;
        }
    }
}

/// Reads a configuration that may leave the model to an option.
fn read_config(path: &Path) -> Result<JudgeConfig, Failure> {
    let json = input::read_file(path, input::SMALL_FILE_BYTES)?;
    dicast::json::read(&json).map_err(|error| {
        Error::new(ErrorKind::InvalidConfig, format!("the configuration is not valid: {error}"))
            .context(path.display())
            .into()
    })
}
