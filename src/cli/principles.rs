//! `dicast principles`: the library of principles and rubrics.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use dicast::{Criterion, ErrorKind, principles};
use serde_json::json;

use super::{Failure, Outcome, input, print};

/// List the library of principles and rubrics, or print one of them.
#[derive(clap::Args)]
#[command(after_help = "\
Use them as \"principle\": {\"named\": NAME} and \"rubric\": NAME in a request, or with --named-principle and --rubric.")]
pub(crate) struct Args {
    /// The principle or rubric to print. Default: the names of all.
    name: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let text = match (&args.name, args.json) {
        (None, false) => listed(),
        (None, true) => all(),
        (Some(name), json) => one(name, json)?,
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn listed() -> String {
    let mut text = String::new();
    for family in principles::families() {
        let names = |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            text,
            "{:<14}principles: {}\n{:<14}rubrics: {}",
            family.family,
            names(family.principles.keys().collect()),
            "",
            names(family.rubrics.keys().collect())
        );
    }
    text
}

fn all() -> String {
    let families: Vec<_> = principles::families()
        .iter()
        .map(|family| json!({ "family": family.family, "principles": family.principles, "rubrics": family.rubrics }))
        .collect();
    format!("{}\n", json!(families))
}

fn one(name: &str, json: bool) -> Result<String, Failure> {
    if let Ok(principle) = principles::principle(name) {
        return Ok(if json { format!("{}\n", json!(principle)) } else { format!("{principle}\n") });
    }
    let Ok(rubric) = principles::rubric(name) else {
        return Err(Failure::new(
            ErrorKind::InvalidConfig,
            format!("there is no principle or rubric {name:?} in the library"),
        )
        .hint("`dicast principles` lists all names"));
    };
    if json {
        return Ok(format!("{}\n", json!(rubric)));
    }
    let mut text = String::new();
    for Criterion { name, criterion, weight, kind } in &rubric {
        let kind = if *kind == dicast::CriterionKind::YesNo { ", met or not" } else { "" };
        let _ = writeln!(text, "{name} (weight {weight}{kind}): {criterion}");
    }
    Ok(text)
}

/// The file of the rubric that an option names, if it is not one of the library.
pub(crate) fn rubric_file(named: &str) -> Option<&Path> {
    let path = Path::new(named);
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")).then_some(path)
}

/// The rubric that an option names: a JSON file, or one of the library.
pub(crate) fn rubric(named: &str) -> Result<Vec<Criterion>, Failure> {
    let Some(path) = rubric_file(named) else {
        return principles::rubric(named).map_err(|error| usage("--rubric", &error));
    };
    let json = input::read_file(path, input::SMALL_FILE_BYTES)?;
    dicast::json::read(&json).map_err(|error| {
        Failure::new(ErrorKind::InvalidRequest, format!("{}: {error}", path.display()))
            .hint("a rubric is a list of {\"criterion\", \"weight\", \"kind\": \"scale\" or \"yes_no\", \"name\"}")
    })
}

/// The principle that an option names.
pub(crate) fn principle(named: &str) -> Result<&'static str, Failure> {
    principles::principle(named).map_err(|error| usage("--named-principle", &error))
}

/// A name that was typed wrongly is an error of usage, not of a request.
fn usage(option: &str, error: &dicast::Error) -> Failure {
    Failure::new(ErrorKind::InvalidConfig, format!("{option}: {}", error.message()))
}
