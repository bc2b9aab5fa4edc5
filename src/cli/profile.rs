//! `dicast profile`: makes a judge profile from the reference package, shows one, checks one.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dicast::prompt::import;
use dicast::{ErrorKind, Profile};

use super::{Failure, Outcome, model, note, print};

/// Judge profiles: import, show and check them.
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
    /// Print the profile that a model uses, or the built-in one.
    Show {
        /// The model, as for `dicast judge`. Without it: the built-in profile.
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
        Verb::Show { model: None } => show(&Profile::builtin()),
        Verb::Show { model: Some(named) } => show(&model::find(named)?.profile(None)?),
        Verb::Check { files } => check(files),
    }
}

fn import(source: &Path, output: Option<&Path>, overwrite: bool) -> Outcome {
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
    let mut options = std::fs::File::options();
    options.write(true).truncate(true).create(true).create_new(!overwrite);
    let written = options.open(output).and_then(|mut file| file.write_all(profile.to_json().as_bytes()));
    written.map_err(|error| {
        let place = output.display();
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => Failure::new(ErrorKind::InvalidConfig, format!("{place} exists"))
                .hint("name another file, or give --overwrite to replace it"),
            _ => Failure::io(format_args!("cannot write {place}"), &error),
        }
    })
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
