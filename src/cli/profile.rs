//! `dicast profile`: makes a judge profile from the reference package, lists those of the library, shows one, checks one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dicast::prompt::import;
use dicast::{ErrorKind, Profile, profiles};

use super::{Failure, Outcome, model, note, outputs, print};

/// Judge profiles: list, show, import and check them.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Make a profile with the system prompt from the `rewardanything` wheel or a Python file; no code of it is run.
    Import {
        /// The wheel, as `pip download --no-deps rewardanything==1.0.1` fetches it, or a .py file.
        #[arg(value_name = "WHEEL or FILE.py")]
        source: PathBuf,
        /// Where to write the profile; MODEL.profile.json beside MODEL.gguf is found automatically. Default: standard output.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace an existing file.
        #[arg(long)]
        overwrite: bool,
    },
    /// List the profiles of the library, for judges that read one or two responses at once.
    List,
    /// Print a profile of the library, the one that a model uses, or the built-in one.
    Show {
        /// The name of a profile of the library (`dicast profile list`).
        #[arg(value_name = "NAME", conflicts_with = "model")]
        name: Option<String>,
        /// The model, as for `dicast judge`. Without it and without a name: the built-in profile.
        #[arg(long, short)]
        model: Option<String>,
    },
    /// Check profile files.
    Check {
        /// The files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

pub(crate) fn run(args: &Args) -> Outcome {
    match &args.verb {
        Verb::Import { source, output, overwrite } => import(source, output.as_deref(), *overwrite),
        Verb::List => list(),
        Verb::Show { name: Some(name), .. } => show(profiles::find(name).ok_or_else(|| {
            Failure::new(ErrorKind::InvalidConfig, format!("there is no profile {name:?} in the library"))
                .hint("`dicast profile list` lists all names")
        })?),
        Verb::Show { name: None, model: None } => show(&Profile::builtin()),
        Verb::Show { name: None, model: Some(named) } => show(&model::find(named)?.profile(None)?),
        Verb::Check { files } => check(files),
    }
}

fn import(source: &Path, output: Option<&Path>, overwrite: bool) -> Outcome {
    let outputs: Vec<_> = output.map(|output| ("--output", output)).into_iter().collect();
    outputs::check(&[("what is imported", source)], &outputs)?;
    let profile = import::import(source)?;
    let Some(output) = output else { return show(&profile) };
    write(&profile, output, overwrite)?;
    note(&format!(
        "wrote {}: system prompt of {} characters\n",
        output.display(),
        profile.system_prompt.chars().count()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Writes a profile to a file; one that is there is replaced only with `overwrite`.
pub(crate) fn write(profile: &Profile, output: &Path, overwrite: bool) -> Result<(), Failure> {
    outputs::write(output, profile.to_json().as_bytes(), overwrite).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::new(ErrorKind::InvalidConfig, format!("{} exists", output.display()))
                .hint("name another file, or give --overwrite to replace it")
        }
        _ => outputs::cannot_write(output, &error),
    })
}

fn list() -> Outcome {
    let rows = profiles::all().iter().map(|named| {
        let reads = match named.profile.verdict.kind().responses() {
            Some(1) => "one",
            Some(2) => "two",
            _ => "any",
        };
        format!("{:<24}{reads:<11}{}\n", named.profile.name, named.usage)
    });
    print(&format!("{:<24}{:<11}for\n{}", "name", "responses", rows.collect::<String>()))?;
    Ok(ExitCode::SUCCESS)
}

fn show(profile: &Profile) -> Outcome {
    print(&profile.to_json())?;
    Ok(ExitCode::SUCCESS)
}

fn check(files: &[PathBuf]) -> Outcome {
    let mut code = 0;
    for file in files {
        match Profile::load(file) {
            Ok(profile) => print(&format!("{}: profile {:?} is valid\n", file.display(), profile.name))?,
            Err(error) => {
                code = code.max(error.kind().exit_code());
                super::complain(&error.into());
            }
        }
    }
    Ok(ExitCode::from(code))
}
