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
    // Into memory first: the generator panics if its writer fails, for example on a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dicast", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// One page for the command, followed by the arguments of each verb.
pub(crate) fn man(_: &ManArgs) -> Outcome {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    render(&command, &mut page).map_err(|error| Failure::io("cannot write the man page", &error))?;
    // Older readers take bytes for characters, so characters other than ASCII are written as escapes.
    let page = String::from_utf8_lossy(&page);
    let ascii: String =
        page.chars().map(|c| if c.is_ascii() { c.to_string() } else { format!("\\[u{:04X}]", u32::from(c)) }).collect();
    print(&ascii)?;
    Ok(ExitCode::SUCCESS)
}

/// Defines the apostrophe; the generator writes this before each section.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// Sections that do not come from the options.
const SECTIONS: &str = r#".SH EXAMPLES
.TP
Judge one request, and show a table:
.B dicast judge \-\-model judge.gguf request.json
.TP
The same as one line of JSON, with a model from the hub:
.B dicast judge \-\-json \-\-model hf:OWNER/REPO:Q8_0 request.json
.TP
Without a file:
.B dicast judge \-\-model judge.gguf \-\-principle "Be kind." \-\-prompt "Hi" \-\-response a="Hello!" \-\-response b=@b.txt
.TP
Judge a file of requests; run it again to continue after an interruption:
.B dicast batch requests.jsonl \-o results.jsonl \-\-model judge.gguf
.TP
A table of pairs, one principle for all, results as a table:
.B dicast batch pairs.csv \-o results.csv \-\-principle @principle.txt \-\-responses\-key chosen,rejected
.TP
Judge failed records again that may succeed now, then summarize the results:
.B dicast batch requests.jsonl \-o results.jsonl \-\-retry\-failed && dicast report results.jsonl
.SH ENVIRONMENT
.TP
.B DICAST_MODEL
The model, if neither an option nor the configuration names one.
.TP
.B HF_HOME, HF_HUB_CACHE
Where models from the Hugging Face hub are kept. Default: ~/.cache/huggingface.
.TP
.B HF_TOKEN
Token for private and gated models.
.TP
.B HF_ENDPOINT
Another hub.
.TP
.B HF_HUB_OFFLINE
1 means that no request is made: only models in the cache are used.
.TP
.B NO_COLOR
Set to anything: no colours.
.TP
.B OTEL_EXPORTER_OTLP_ENDPOINT
The OpenTelemetry collector to which \fBdicast serve\fR sends traces, if it was built with the feature otel.
.SH FILES
.TP
.I MODEL.profile.json, dicast\-profile.json
The judge profile beside the model.
.TP
.I OUT.state
Beside the output of a batch; records what it was made from. Delete it when you are done.
.TP
.I OUT.new
New results, which replace those in OUT when they are complete.
.TP
.I OUT.results.jsonl
Results of a batch whose output is of another format.
"#;

fn render(command: &clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let man = clap_mangen::Man::new(command.clone());
    let mut section = Vec::new();
    man.render_title(&mut section)?;
    man.render_name_section(&mut section)?;
    man.render_synopsis_section(&mut section)?;
    man.render_description_section(&mut section)?;
    man.render_extra_section(&mut section)?;
    page.extend_from_slice(PREAMBLE.as_bytes());
    page.extend_from_slice(plain(&section).replace(".SH EXTRA\n", ".SH EXIT STATUS\n").as_bytes());
    render_verbs(command, "DICAST", page)?;
    page.extend_from_slice(SECTIONS.as_bytes());
    let mut version = Vec::new();
    man.render_version_section(&mut version)?;
    page.extend_from_slice(plain(&version).as_bytes());
    Ok(())
}

/// A section without its preamble.
fn plain(section: &[u8]) -> String {
    String::from_utf8_lossy(section).replace(PREAMBLE, "")
}

/// The verbs of a command, each followed by its own verbs. clap's renderer would refer to a separate page for each.
fn render_verbs(command: &clap::Command, above: &str, page: &mut Vec<u8>) -> std::io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let title = format!("{above} {}", verb.get_name().to_uppercase());
        page.extend_from_slice(format!(".SH \"{title}\"\n").as_bytes());
        let man = clap_mangen::Man::new(verb.clone());
        let mut parts = Vec::new();
        man.render_description_section(&mut parts)?;
        if !verb.has_subcommands() {
            man.render_synopsis_section(&mut parts)?;
            man.render_options_section(&mut parts)?;
            man.render_extra_section(&mut parts)?;
        }
        // Under the title of the verb these are subsections; its description needs no title of its own.
        let parts = plain(&parts)
            .replace(".SH DESCRIPTION\n", "")
            .replace(".SH SYNOPSIS\n", ".SS Synopsis\n")
            .replace(".SH OPTIONS\n", ".SS Options\n")
            .replace(".SH EXTRA\n", ".SS Notes\n")
            .replace(".SH \"", ".SS \"");
        page.extend_from_slice(parts.as_bytes());
        render_verbs(verb, &title, page)?;
    }
    Ok(())
}
