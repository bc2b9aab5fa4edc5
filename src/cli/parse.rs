//! `dicast parse`: reads a verdict from existing text.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dicast::config::{Incomplete, VerdictPolicy};
use dicast::prompt::mask::{AliasMap, check_names};
use dicast::verdict::parse_to_json;
use dicast::{Error, ErrorKind, Keys, Profile};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::run::formats::{self, Format, Records as _};
use super::run::lines::Line;
use super::{FAILED, Failure, Outcome, input, print, table};

/// Most bytes of a text to read.
const TEXT_BYTES: usize = 64 << 20;

/// Read a verdict from a judge's raw output.
#[derive(clap::Args)]
#[command(after_help = "\
The text is read from standard input. With --json the result is {\"scores\", \"ranking\", \"reasoning\", \"repairs\",
\"flags\"}, or {\"error\": {\"kind\", \"message\", \"partial\"}} and exit code 1 if the text holds no complete verdict.

With --jsonl each line of standard input is {\"raw\": text, \"aliases\": {...} or \"names\": [...]}; a line without names uses those of
--aliases or --names. Each line of output is its result, with the other fields of the line.")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Args {
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
    /// Read JSON Lines, many texts at once.
    #[arg(long)]
    jsonl: bool,
    /// The aliases and the real names, in the order shown: a JSON file {"model-1": "real name", …}.
    #[arg(long, value_name = "FILE.json", required_unless_present_any = ["names", "jsonl"], conflicts_with = "names")]
    aliases: Option<PathBuf>,
    /// The names, if they were not hidden: a JSON list.
    #[arg(long, value_name = "JSON")]
    names: Option<String>,
    /// Judge profile that the text was made with. Default: the built-in one.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Derive a missing ranking from complete scores.
    #[arg(long)]
    derive_ranking: bool,
    /// Move a score that is off the scale to the nearest end of the scale.
    #[arg(long)]
    clamp: bool,
    /// If the text names another scale, such as 8/10, map its scores to the profile's scale.
    #[arg(long)]
    rescale: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let profile = args.profile.as_deref().map_or_else(|| Ok(Profile::builtin()), Profile::load)?;
    let incomplete = if args.derive_ranking { Incomplete::DeriveRanking } else { Incomplete::Error };
    let mut policy = VerdictPolicy::default();
    (policy.incomplete, policy.clamp, policy.rescale) = (incomplete, args.clamp, args.rescale);
    if args.jsonl {
        return lines(args, &profile, &policy);
    }
    let names = args.alias_map()?;
    let bytes = input::read_stdin(TEXT_BYTES)?;
    // As with an engine's output: a cut character does not prevent reading the rest.
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

/// Reads a verdict from each line.
fn lines(args: &Args, profile: &Profile, policy: &VerdictPolicy) -> Outcome {
    let given = if args.aliases.is_some() || args.names.is_some() { Some(args.alias_map()?) } else { None };
    let mut records = formats::open(Path::new("-"), Some(Format::Jsonl), &Keys::default(), TEXT_BYTES)?;
    let mut all_complete = true;
    while let Some(record) = records.next_record()? {
        let place = record.place;
        let (rest, parsed) = line(record.line, given.as_ref(), profile, policy);
        let (result, complete) =
            parsed.unwrap_or_else(|what| (Error::new(ErrorKind::InvalidRequest, what).context(place).to_json(), false));
        all_complete &= complete;
        let mut text = String::from("{");
        for (key, value) in &rest {
            let _ = write!(text, "{}:{},", Value::from(key.as_str()), value.get());
        }
        let text = text.replace(['\n', '\r'], " ");
        print(&format!("{text}{}\n", &result.to_string()[1..]))?;
    }
    Ok(if all_complete { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// The fields of a line that are not read here, as they were written.
type Rest = Vec<(String, Box<RawValue>)>;

/// Reads a verdict from one line. Returns its other fields, the result, and whether that is a verdict.
fn line(
    line: Line,
    given: Option<&AliasMap>,
    profile: &Profile,
    policy: &VerdictPolicy,
) -> (Rest, Result<(Value, bool), String>) {
    let json = match line {
        Line::Whole(json) => json,
        Line::TooLong { bytes } => {
            return (Rest::new(), Err(format!("it has {bytes} bytes, the limit is {TEXT_BYTES}")));
        }
        _ => return (Rest::new(), Err("the line is blank".into())),
    };
    let fields: Entries<Box<RawValue>> = match serde_json::from_slice(&json) {
        Ok(fields) => fields,
        Err(error) => return (Rest::new(), Err(format!("it is not an object {{\"raw\", \"aliases\"}}: {error}"))),
    };
    let is_read = |key: &str| matches!(key, "raw" | "aliases" | "names");
    let (read, rest): (Rest, Rest) = fields.0.into_iter().partition(|(key, _)| is_read(key));
    let field = |key: &str| read.iter().find(|(name, _)| name == key).map(|(_, value)| value.get());
    let parsed = || {
        let text: String = serde_json::from_str(field("raw").ok_or("it has no \"raw\", the text to read")?)
            .map_err(|_| "\"raw\" must be text")?;
        let own = match (field("aliases"), field("names")) {
            (Some(aliases), _) => {
                let pairs: Entries<String> =
                    serde_json::from_str(aliases).map_err(|_| "\"aliases\" must be an object of names by alias")?;
                Some(pairs.0)
            }
            (None, Some(names)) => {
                let names: Vec<String> =
                    serde_json::from_str(names).map_err(|_| "\"names\" must be a list of texts")?;
                Some(names.into_iter().map(|name| (name.clone(), name)).collect())
            }
            (None, None) => None,
        };
        let own = own.map(alias_map).transpose()?;
        let names = own.as_ref().or(given).ok_or("it has neither \"aliases\" nor \"names\"")?;
        Ok(parse_to_json(&text, names, profile, policy))
    };
    let parsed = parsed();
    (rest, parsed)
}

/// Aliases and real names.
fn alias_map(pairs: Vec<(String, String)>) -> Result<AliasMap, String> {
    let (shown, names): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    for list in [&shown, &names] {
        check_names(list).map_err(|error| error.message().to_owned())?;
    }
    let order = (0..names.len()).collect();
    Ok(AliasMap::new(names, shown, order))
}

impl Args {
    fn alias_map(&self) -> Result<AliasMap, Failure> {
        let invalid = |what: String| Failure::new(ErrorKind::InvalidConfig, what);
        let pairs: Vec<(String, String)> = if let Some(path) = &self.aliases {
            let json = input::read_file(path, input::SMALL_FILE_BYTES)?;
            let pairs = serde_json::from_slice::<Entries<String>>(&json);
            pairs.map_err(|error| invalid(format!("{}: {error}", path.display())))?.0
        } else {
            let names: Vec<String> = serde_json::from_str(self.names.as_deref().unwrap_or_default())
                .map_err(|error| invalid(format!("--names is not a JSON list of strings: {error}")))?;
            names.into_iter().map(|name| (name.clone(), name)).collect()
        };
        alias_map(pairs).map_err(invalid)
    }
}

/// The entries of an object in order, including those whose key is given twice.
struct Entries<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
            type Value = Vec<(String, T)>;

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

        deserializer.deserialize_map(Pairs(std::marker::PhantomData)).map(Self)
    }
}
