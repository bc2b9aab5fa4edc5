//! `dicast parse`: read a verdict out of text that is there already.

use std::path::PathBuf;
use std::process::ExitCode;

use dicast::config::{Incomplete, VerdictPolicy};
use dicast::prompt::mask::{AliasMap, check_names};
use dicast::verdict::parse_to_json;
use dicast::{ErrorKind, Profile};
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{FAILED, Failure, Outcome, input, print, table};

/// Most bytes of text that a verdict is looked for in.
const TEXT_BYTES: usize = 64 << 20;

/// Read a verdict out of a judge's raw output.
#[derive(clap::Args)]
#[command(after_help = "\
The text comes on standard input. With --json the result is {\"scores\", \"ranking\", \"reasoning\", \"repairs\",
\"flags\"}, or {\"error\": {\"kind\", \"message\", \"partial\"}} and exit code 1, where the text holds no complete verdict.")]
pub(crate) struct Args {
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
    /// The names as the judge saw them and as they are, in the order shown: a JSON file {"model-1": "real name", …}.
    #[arg(long, value_name = "FILE.json", required_unless_present = "names", conflicts_with = "names")]
    aliases: Option<PathBuf>,
    /// The names where none were hidden: a JSON list.
    #[arg(long, value_name = "JSON")]
    names: Option<String>,
    /// Judge profile that the text was made by. Default: the built-in one.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Derive a missing ranking from complete scores.
    #[arg(long)]
    derive_ranking: bool,
    /// Move a score off the scale to the nearest end of it.
    #[arg(long)]
    clamp: bool,
    /// Map scores on another scale that the text names, such as 8/10, to the profile's.
    #[arg(long)]
    rescale: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let names = args.alias_map()?;
    let profile = args.profile.as_deref().map_or_else(|| Ok(Profile::builtin()), Profile::load)?;
    let incomplete = if args.derive_ranking { Incomplete::DeriveRanking } else { Incomplete::Error };
    let policy = VerdictPolicy { incomplete, clamp: args.clamp, rescale: args.rescale };
    let bytes = input::read_stdin(TEXT_BYTES)?;
    // As with an engine's output: a character that was cut is no reason not to read the rest.
    let text = String::from_utf8_lossy(&bytes);
    if args.json {
        let (result, complete) = parse_to_json(&text, &names, &profile, &policy);
        print(&format!("{result}\n"))?;
        return Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(FAILED) });
    }
    let verdict = dicast::verdict::parse(&text, &names, &profile, &policy)?;
    print(&(table::parsed(&verdict, profile.scale, table::Surface::stdout(true)).join("\n") + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn alias_map(&self) -> Result<AliasMap, Failure> {
        let invalid = |what: String| Failure::new(ErrorKind::InvalidConfig, what);
        let pairs: Vec<(String, String)> = if let Some(path) = &self.aliases {
            let json = input::read_file(path, input::SMALL_FILE_BYTES)?;
            pairs(&json).map_err(|error| invalid(format!("{}: {error}", path.display())))?
        } else {
            let names: Vec<String> = serde_json::from_str(self.names.as_deref().unwrap_or_default())
                .map_err(|error| invalid(format!("--names is not a JSON list of strings: {error}")))?;
            names.into_iter().map(|name| (name.clone(), name)).collect()
        };
        let (shown, names): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        for list in [&shown, &names] {
            check_names(list).map_err(|error| invalid(error.message().to_owned()))?;
        }
        let order = (0..names.len()).collect();
        Ok(AliasMap::new(names, shown, order))
    }
}

/// Reads `{shown: real}` in order, with a shown name that is given twice left to the caller to see.
fn pairs(json: &[u8]) -> serde_json::Result<Vec<(String, String)>> {
    struct Pairs;

    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, String)>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("an object of real names by shown name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }

    let mut reader = serde_json::Deserializer::from_slice(json);
    let pairs = reader.deserialize_map(Pairs)?;
    reader.end()?;
    Ok(pairs)
}
