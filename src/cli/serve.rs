//! `dicast serve`: the judge behind HTTP.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;

use dicast::server::{JudgeSource, Server, ServerFile, Telemetry};
use dicast::{ErrorKind, JudgeConfig};
use tokio::net::TcpListener;

use super::options::JudgeArgs;
use super::{Failure, Outcome, input, model};

/// Serve judges over HTTP.
#[derive(clap::Args)]
#[command(after_help = "\
The configuration is that of a judge, or of the reference system, with two more keys: \"server\" (settings of the server) and
\"judges\" ({name: configuration}, for several). docs/server-api.md describes all routes and settings.
OTEL_EXPORTER_OTLP_ENDPOINT names an OpenTelemetry collector for traces, in a build with the feature otel (docs/serving.md).
On SIGTERM or Ctrl-C the server ends once all running requests have ended, at the latest after server.drain_ms.")]
pub(crate) struct Args {
    /// Address to listen on. With any but a loopback address other machines can reach the server, and it needs keys.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 8001)]
    port: u16,
    /// The name of the judge, if the configuration does not name it. Default: that of its file.
    #[arg(long)]
    name: Option<String>,
    /// A file with API keys, one on each line: `name:key`.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Need no key, even if other machines can reach the server.
    #[arg(long)]
    anonymous: bool,
    /// Certificate for https, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Private key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// The file that holds the jobs, or `none` to keep them in memory. Default: jobs-PORT.db in the state folder, which is
    /// `$STATE_DIRECTORY` (set by systemd), else `$XDG_STATE_HOME/dicast`, else `~/.local/state/dicast`.
    #[arg(long, value_name = "FILE")]
    jobs: Option<PathBuf>,
    /// How much is logged: error, warn, info, debug.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = ["error", "warn", "info", "debug"])]
    log_level: String,
    /// How the log is written: text or json.
    #[arg(long, value_name = "FORM", default_value = "text", value_parser = ["text", "json"])]
    log_format: String,
    #[command(flatten)]
    judge: JudgeArgs,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let file = match args.judge.config_file() {
        Some(path) => {
            let json = input::read_file(path, input::SMALL_FILE_BYTES)?;
            ServerFile::read(&json).map_err(|error| error.context(path.display()))?
        }
        None => ServerFile {
            server: dicast::server::ServerConfig::default(),
            judges: Vec::new(),
            judge: JudgeConfig::default(),
        },
    };
    let mut config = file.server;
    if args.keys.is_some() {
        config.keys_file.clone_from(&args.keys);
    }
    config.anonymous |= args.anonymous;
    if let (Some(certificate), Some(key)) = (&args.tls_certificate, &args.tls_key) {
        config.tls = Some(dicast::server::TlsConfig { certificate: certificate.clone(), key: key.clone() });
    }
    let judges = judges(args, file.judges)?;
    let unkept = jobs_file(args, &mut config.jobs.file);
    let server = Server::new(config, judges)?;
    log(&args.log_level, args.log_format == "json");
    if let Some(why) = unkept {
        tracing::warn!("jobs are kept in memory and end with the server ({why}): --jobs names a file for them");
    }
    // A server without traces is better than none.
    match Telemetry::from_env() {
        Ok(None) => {}
        Ok(Some(telemetry)) => {
            tracing::info!("traces go to {}", telemetry.endpoint());
            server.trace_with(&telemetry);
        }
        Err(error) => tracing::warn!("no traces are sent: {error}"),
    }
    // Every connection and every worker process needs some.
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("dicast-http")
        .build()
        .map_err(|error| Failure::io("the server's threads cannot be started", &error))?;
    let address = address(&args.host, args.port)?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Failure::io(format!("cannot listen on {address}"), &error).hint("--port chooses another one")
        })?;
        server.serve(listener, stopped()).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Decides the file of the jobs. If jobs must be kept in memory although nobody asked for that, returns why.
fn jobs_file(args: &Args, file: &mut Option<PathBuf>) -> Option<String> {
    match &args.jobs {
        Some(named) if named.as_os_str() == "none" => *file = None,
        Some(named) => *file = Some(named.clone()),
        None if file.is_some() => {}
        None => {
            let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
            // systemd separates several folders by colons.
            let unit = variable("STATE_DIRECTORY").filter(|folder| folder.is_absolute());
            let own = || variable("XDG_STATE_HOME").map(|folder| folder.join("dicast"));
            let home = || variable("HOME").map(|folder| folder.join(".local/state/dicast"));
            let Some(folder) = unit.or_else(own).or_else(home) else {
                return Some("there is no home folder".to_owned());
            };
            if args.port == 0 {
                return Some("the port changes each time".to_owned());
            }
            let path = folder.join(format!("jobs-{}.db", args.port));
            let writable = std::fs::create_dir_all(&folder).and_then(|()| {
                std::fs::OpenOptions::new().append(true).create(true).open(path.with_extension("db.lock"))
            });
            match writable {
                Ok(_) => *file = Some(path),
                Err(error) => return Some(format!("{}: {error}", folder.display())),
            }
        }
    }
    None
}

/// The judges by name: those of the configuration, or the one given by the options.
fn judges(args: &Args, named: Vec<(String, JudgeConfig)>) -> Result<Vec<(String, JudgeSource)>, Failure> {
    let source = |mut config: JudgeConfig| {
        config.model = model::locate(&config.model)?;
        Ok::<_, Failure>(JudgeSource::Config(Box::new(config)))
    };
    if named.is_empty() {
        let config = args.judge.config()?;
        let name = args.name.clone().unwrap_or_else(|| name_of(&config));
        return Ok(vec![(name, source(config)?)]);
    }
    named.into_iter().map(|(name, config)| Ok((name, source(args.judge.over(config)?)?))).collect()
}

/// The default name of a judge: that of its file, or of the model on the server.
fn name_of(config: &JudgeConfig) -> String {
    let stem = || {
        let model = config.model.trim_end_matches('/');
        let last = model.rsplit(['/', ':']).next()?;
        let stem = last.strip_suffix(".gguf").unwrap_or(last);
        (!stem.is_empty() && !model.contains("://")).then(|| stem.to_owned())
    };
    stem().or_else(|| config.remote.model.clone()).unwrap_or_else(|| "judge".to_owned())
}

fn address(host: &str, port: u16) -> Result<SocketAddr, Failure> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = (bare, port).to_socket_addrs().map_err(|error| Failure::io(format!("--host {host}"), &error))?;
    found
        .into_iter()
        .next()
        .ok_or_else(|| Failure::new(ErrorKind::InvalidConfig, format!("--host {host}: it has no address")))
}

/// Writes what the server and its judges log to standard error.
fn log(level: &str, json: bool) {
    use std::io::IsTerminal as _;

    let level: tracing_subscriber::filter::LevelFilter =
        level.parse().unwrap_or(tracing_subscriber::filter::LevelFilter::INFO);
    let base = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    // Fails only if the process has a log already.
    let _ = if json {
        base.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        base.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
}

/// Allows as many open files as the system lets this process have.
fn raise_file_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        if limit.current < limit.maximum || limit.maximum.is_none() {
            let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        }
    }
}

/// Ends when the process is asked to stop.
async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = tokio::signal::ctrl_c().await;
}
