//! `dicast completions` and `dicast man`: both from the definition of the command line itself.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Failure, Outcome, print};

/// Print completions for a shell.
#[derive(clap::Args)]
#[command(after_help = "For bash: dicast completions bash > ~/.local/share/bash-completion/completions/dicast")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Print the man page.
#[derive(clap::Args)]
#[command(after_help = "To read it: dicast man > dicast.1 && man ./dicast.1")]
pub(crate) struct ManArgs {}

pub(crate) fn completions(args: &CompletionsArgs) -> Outcome {
    // Into memory first: the generator panics where its writer fails, as a closed pipe would.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dicast", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// One page for the command, followed by what each verb takes.
pub(crate) fn man(_: &ManArgs) -> Outcome {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    render(&command, &mut page).map_err(|error| Failure::io("cannot write the man page", &error))?;
    print(&String::from_utf8_lossy(&page))?;
    Ok(ExitCode::SUCCESS)
}

fn render(command: &clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    clap_mangen::Man::new(command.clone()).render(page)?;
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        page.extend_from_slice(format!(".SH \"DICAST {}\"\n", verb.get_name().to_uppercase()).as_bytes());
        let man = clap_mangen::Man::new(verb.clone());
        man.render_description_section(page)?;
        man.render_synopsis_section(page)?;
        man.render_options_section(page)?;
    }
    Ok(())
}
