//! `dicast bench`: how fast a judge or a running server judges, under which load.
//!
//! `mix` makes the requests, `schedule` the times, `load` sends and gathers, `gather` turns the outcomes into figures,
//! `sweep` searches, `compare` compares two runs, `output` and `html` show them.

mod compare;
mod gather;
mod html;
mod live;
mod load;
mod mix;
mod objective;
mod output;
mod plot;
mod point;
mod process;
mod schedule;
mod sweep;
mod target;
mod watch;

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dicast::ErrorKind;
use serde_json::json;

use self::gather::{Gathered, Sample};
use self::live::Live;
use self::load::{Bench, Event, Extent, Load, MAX_REQUESTS, Progress};
use self::mix::{Mix, MixArgs};
use self::objective::Objective;
use self::point::{FORMAT, Point, Report, Swept, figure};
use self::schedule::Arrivals;
use self::sweep::{Search, Tried};
use self::target::{ServerArgs, Target};
use super::export::write;
use super::options::JudgeArgs;
use super::outputs::{self, Named};
use super::{FAILED, Failure, Outcome, model, print};

/// How often a rate of a sweep is measured again if it is not certain whether it holds.
const AGAIN: usize = 2;
/// Most sequences that the embedded engine can decode at once.
const MAX_LOCAL_SEQUENCES: u32 = 64;

/// Measure latency and throughput of a model or a running server.
#[derive(clap::Args)]
#[command(after_help = "\
Without --concurrency and --rate it measures one judgment at a time, and as many as the engine decodes at once.

A closed loop (--concurrency) sends the next judgment when one has ended, as a batch does. An open loop (--rate) sends at times that
do not depend on the answers, as users do; latency counts from when a judgment was due, so that every wait in a stall is seen.

Examples:
  dicast bench --model judge.gguf
  dicast bench --model judge.gguf --input requests.jsonl --concurrency 1,2,4,8 --requests 200 --html report.html
  dicast bench --model judge.gguf --group 8 --response-words 200-400 --max-reasoning-tokens 256
  dicast bench --url http://127.0.0.1:8000 --rate 2,4,8 --arrivals bursty --burst 8 --objective p99=2s
  dicast bench --model judge.gguf --sweep --objective p99=2s --requests 500
  dicast bench --model judge.gguf --json before.json          # then, after a change:
  dicast bench --model judge.gguf --baseline before.json --fail-above 10%
  dicast bench --compare before.json after.json

Exit codes: 0 measured; 1 a judgment failed, a measure is worse than --fail-above allows, or interrupted (what was measured is
printed); 2 usage or set-up. docs/performance.md says what each figure means.")]
pub(crate) struct Args {
    /// Closed loop: number of judgments in flight; several values are measured one after the other.
    #[arg(long, value_name = "N[,N...]", value_delimiter = ',', conflicts_with = "rate",
        value_parser = clap::value_parser!(u32).range(1..=65_536))]
    concurrency: Vec<u32>,
    /// Open loop: judgments per second; several values are measured one after the other.
    #[arg(long, value_name = "R[,R...]", value_delimiter = ',', value_parser = rate)]
    rate: Vec<f64>,
    /// How judgments of an open loop arrive.
    #[arg(long, value_enum, default_value = "poisson")]
    arrivals: Arrivals,
    /// Number of judgments in a burst.
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    burst: u32,
    /// Measure this many judgments of each load.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_REQUESTS))]
    requests: Option<u64>,
    /// Send judgments of each load for this long, such as 30s or 5m. Default: 30s, unless --requests is given.
    #[arg(long, value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// Judgments of each load that are sent first and not measured. Default: as many as are in flight, at least 4.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=MAX_REQUESTS))]
    warmup: Option<u64>,
    /// Open loop: most judgments in flight. If more are due, they are sent later, and the wait counts as latency.
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    max_in_flight: u32,
    /// How long to wait for answers after the last request was sent; answers that come later count as failed (unfinished).
    /// Default: until the deadline of each (--timeout-ms); in a sweep five times the objective's limit, at least 5s.
    #[arg(long, value_name = "TIME", value_parser = time)]
    drain: Option<Duration>,
    /// A limit that each load should hold: p99=2s, p50=300ms, mean=1s, max=10s. A failed judgment counts as too late. Goodput
    /// is the rate of judgments within the limit.
    #[arg(long, value_name = "MEASURE=TIME")]
    objective: Vec<Objective>,
    /// Find the highest rate that holds the objectives.
    #[arg(long, requires = "objective", conflicts_with_all = ["rate", "concurrency"])]
    sweep: bool,
    /// A sweep ends when the highest rate held and the lowest rate missed differ by less than this.
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = percent)]
    tolerance: f64,
    #[command(flatten)]
    mix: MixArgs,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    judge: JudgeArgs,
}

/// Where results go.
#[derive(clap::Args)]
#[command(next_help_heading = "Results")]
struct Output {
    /// Write the whole report as JSON; - is standard output, instead of the tables.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write one row for each load.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write one page with curves, which needs no other file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write one line of JSON for each judgment.
    #[arg(long, value_name = "FILE.jsonl")]
    trace: Option<PathBuf>,
    /// A remark for the report, such as the commit.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Compare with an earlier run, a file of --json.
    #[arg(long, value_name = "OLD.json")]
    baseline: Option<PathBuf>,
    /// Compare two files of --json; measure nothing.
    #[arg(long, num_args = 2, value_names = ["OLD.json", "NEW.json"],
        conflicts_with_all = ["baseline", "model", "url", "rate", "concurrency", "sweep", "input"])]
    compare: Vec<PathBuf>,
    /// Exit with 1 if a measure of a comparison is worse by more than this, and its interval does not contain 1.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    fail_above: Option<f64>,
    /// No progress.
    #[arg(long, short)]
    quiet: bool,
}

impl Args {
    fn drain(&self) -> Duration {
        // In a sweep, an answer that comes later has missed the objective anyway.
        let limit = self.objective.iter().map(|objective| objective.limit).max().filter(|_| self.sweep);
        let sweeping = limit.map(|limit| (limit * 5).max(Duration::from_secs(5)));
        // No deadline is later than a day.
        self.drain.or(sweeping).unwrap_or(Duration::from_secs(2 * 86_400))
    }
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| (1e-4..=1e6).contains(rate))
        .ok_or_else(|| "must be a number from 0.0001 to 1000000, judgments a second".into())
}

fn time(text: &str) -> Result<Duration, String> {
    let read = objective::duration(text).filter(|time| !time.is_zero());
    read.ok_or_else(|| "must be a time of up to a day, such as 30s, 500ms or 5m".into())
}

fn percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    let share = number.filter(|percent| (0.0..=1000.0).contains(percent)).map(|percent| percent / 100.0);
    share.ok_or_else(|| "must be a percentage from 0 to 1000, such as 10%".into())
}

pub(crate) fn run(args: &Args) -> Outcome {
    let output = &args.output;
    check_files(args)?;
    if let [old, new] = output.compare.as_slice() {
        let (old, new) = (compare::read(old)?, compare::read(new)?);
        if let Some(path) = &output.html {
            write(Some(path), &html::page(&new, Some(&old)))?;
        }
        return compared(args, &old, &new);
    }
    if output.fail_above.is_some() && output.baseline.is_none() {
        return Err(Failure::new(ErrorKind::InvalidConfig, "--fail-above needs --baseline or --compare"));
    }
    // Errors in a file are found before anything is measured.
    let baseline = output.baseline.as_deref().map(compare::read).transpose()?;
    let mut samples = output.trace.as_deref().map(Samples::create).transpose()?;
    let mut config = match &args.server.url {
        Some(url) => args.judge.config_for(Some(url))?,
        None => args.judge.config()?,
    };
    let mix = Mix::new(&args.mix, &config.limits)?;
    let opening = Instant::now();
    let (target, open_seconds) = if let Some(url) = &args.server.url {
        (target::connect(&args.server, url, &config)?, None)
    } else {
        let most = args.concurrency.iter().copied().max().unwrap_or(0);
        config.local.max_sequences = config.local.max_sequences.max(most.min(MAX_LOCAL_SEQUENCES));
        let judge = model::open(config)?;
        (Box::new(judge) as Box<dyn Target>, Some(opening.elapsed().as_secs_f64()))
    };
    let mut report = Report {
        dicast_bench: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        date: point::date(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
        note: output.note.clone(),
        machine: process::machine(),
        target: target.describe(),
        requests: mix.describe(),
        open_seconds,
        points: Vec::new(),
        sweep: None,
    };
    let events = mpsc::channel();
    super::run::interruption(&events.0, || Event::Interrupted)?;
    let mut session = Session {
        args,
        target: target.as_ref(),
        mix: &mix,
        events: (&events.0, &events.1),
        next: 0,
        samples: samples.as_mut(),
        live: Live::new(output.quiet),
    };
    let interrupted = session.all(&mut report)?;
    session.live.finish();
    // Cancels what still runs and waits for the engine's thread: if the process exits while it runs, it may crash.
    drop(target);
    if let Some(samples) = samples {
        samples.finish()?;
    }
    let mut code = show(args, &report, baseline.as_ref())?;
    if let Some(baseline) = &baseline {
        let compared = compared(args, baseline, &report)?;
        code = if code == ExitCode::SUCCESS { compared } else { code };
    }
    if interrupted {
        return Err(
            Failure::new(ErrorKind::Cancelled, "interrupted").hint("the figures cover what was measured until then")
        );
    }
    Ok(code)
}

/// Refuses, before anything is measured, what could not be written and what would replace a file that is read.
fn check_files(args: &Args) -> Result<(), Failure> {
    let Output { json, csv, html, trace, baseline, compare, .. } = &args.output;
    let of_judge = args.judge.files()?;
    let mut inputs: Vec<Named<'_>> = of_judge.iter().map(|(option, path)| (*option, path.as_path())).collect();
    inputs.extend(compare.iter().map(|path| ("--compare", path.as_path())));
    inputs.extend(baseline.as_deref().map(|path| ("--baseline", path)));
    inputs.extend(args.mix.input.as_deref().map(|path| ("--input", path)));
    let written = [("--json", json), ("--csv", csv), ("--html", html), ("--trace", trace)];
    let written = written.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?)));
    // Reports may go to standard output.
    let written: Vec<_> = written.filter(|(option, path)| *option == "--trace" || *path != Path::new("-")).collect();
    outputs::check(&inputs, &written)
}

/// Writes the report in every form that was asked for.
fn show(args: &Args, report: &Report, baseline: Option<&Report>) -> Outcome {
    let output = &args.output;
    if let Some(path) = &output.html {
        write(Some(path), &html::page(report, baseline))?;
    }
    if let Some(path) = &output.csv {
        write(Some(path), &output::csv(report)?)?;
    }
    let stdout = Path::new("-");
    if let Some(path) = &output.json {
        let mut json = serde_json::to_string(report)
            .map_err(|error| Failure::new(ErrorKind::Internal, format!("cannot write the report as JSON: {error}")))?;
        json.push('\n');
        write(Some(path), &json)?;
    }
    if [&output.json, &output.csv, &output.html].iter().all(|path| path.as_deref() != Some(stdout)) {
        print(&output::text(report))?;
    }
    let nothing = report.points.iter().all(|point| point.succeeded == 0);
    // Above its capacity a target may fail: a sweep looks for that.
    let failed = report.sweep.is_none() && report.points.iter().any(|point| point.failed > 0);
    Ok(if nothing || failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// Shows a comparison, and decides the exit code from it.
fn compared(args: &Args, old: &Report, new: &Report) -> Outcome {
    let comparison = compare::compare(old, new)?;
    let text = comparison.text();
    if args.output.json.as_deref() == Some(Path::new("-")) {
        super::note(&text);
    } else {
        print(&if args.output.compare.is_empty() { format!("\n{text}") } else { text })?;
    }
    let past = args.output.fail_above.map(|allowed| comparison.past(allowed)).unwrap_or_default();
    for line in &past {
        super::note(&format!("worse than --fail-above allows: {line}\n"));
    }
    Ok(if past.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Loads put on one target, one after the other.
struct Session<'a> {
    args: &'a Args,
    target: &'a dyn Target,
    mix: &'a Mix,
    events: (&'a Sender<Event>, &'a Receiver<Event>),
    /// Number of the next load.
    next: u64,
    samples: Option<&'a mut Samples>,
    live: Live,
}

impl Session<'_> {
    /// Measures all that was asked for; true if the user ended it.
    fn all(&mut self, report: &mut Report) -> Result<bool, Failure> {
        if self.args.sweep {
            return self.sweep(report);
        }
        for load in self.loads() {
            let gathered = self.measure(load)?;
            let point = gathered.point(&self.args.objective);
            let (interrupted, hopeless) = (point.interrupted, point.succeeded == 0);
            report.points.push(point);
            if interrupted || hopeless {
                return Ok(interrupted);
            }
        }
        Ok(false)
    }

    fn loads(&self) -> Vec<Load> {
        let Args { concurrency, rate, .. } = self.args;
        if !rate.is_empty() {
            return rate.iter().map(|&rate| self.open(rate)).collect();
        }
        let closed = |count: usize| Load::Closed { concurrency: count };
        if concurrency.is_empty() {
            let wanted = self.target.wanted();
            return [1, wanted].into_iter().take(if wanted > 1 { 2 } else { 1 }).map(closed).collect();
        }
        concurrency.iter().map(|&count| closed(count as usize)).collect()
    }

    fn open(&self, rate: f64) -> Load {
        Load::Open { rate, arrivals: self.args.arrivals, burst: self.args.burst }
    }

    fn measure(&mut self, load: Load) -> Result<Gathered, Failure> {
        let args = self.args;
        let in_flight = match load {
            Load::Closed { concurrency } => concurrency as u64,
            Load::Open { .. } => self.target.wanted() as u64,
        };
        let duration = args.duration.or(args.requests.is_none().then_some(Duration::from_secs(30)));
        let extent = Extent {
            requests: args.requests,
            duration,
            warmup: args.warmup.unwrap_or(in_flight.max(4)),
            max_in_flight: args.max_in_flight as usize,
            drain: args.drain(),
            seed: args.mix.mix_seed,
        };
        let mut failed = None;
        let Self { samples, live, .. } = self;
        let mut each = |load: &Load, sample: &Sample| {
            if let Some(samples) = samples.as_mut()
                && let Err(failure) = samples.add(load, sample)
            {
                failed.get_or_insert(failure);
            }
        };
        let mut shown = |progress: &Progress<'_>| live.update(progress);
        let mut bench = Bench {
            target: self.target,
            mix: self.mix,
            events: self.events,
            server_pid: args.server.server_pid,
            each: &mut each,
            live: &mut shown,
        };
        let gathered = bench.measure(load, &extent, self.next);
        self.next += 1;
        match failed {
            Some(failure) => Err(failure),
            None => Ok(gathered),
        }
    }

    /// Finds the highest rate held.
    fn sweep(&mut self, report: &mut Report) -> Result<bool, Failure> {
        let args = self.args;
        // The rate is highest with twice as many in flight as it decodes: there is always a next one ready.
        let concurrency = self.target.wanted() * 2;
        let full = self.measure(Load::Closed { concurrency })?.point(&args.objective);
        let (capacity, ended) = (full.judgments_per_s, full.interrupted || full.succeeded == 0);
        report.points.push(full);
        if ended || capacity <= 0.0 {
            return Ok(report.points[0].interrupted);
        }
        self.live.say(&format!("{concurrency} in flight: at most {} judgments/s", figure(capacity)));
        let mut failure = None;
        let points = &mut report.points;
        let search = Search { capacity, tolerance: args.tolerance.max(0.001), trials: 32 };
        let found = sweep::search(search, |rate| match self.attempt(rate) {
            Ok(point) => {
                let (held, sure) = point.held();
                let tried = Tried { held, sure, interrupted: point.interrupted };
                points.push(point);
                tried
            }
            Err(error) => {
                failure = Some(error);
                Tried { held: false, sure: false, interrupted: true }
            }
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        points[1..].sort_by(|one, other| one.load.rate.unwrap_or(0.0).total_cmp(&other.load.rate.unwrap_or(0.0)));
        let interrupted = found.interrupted;
        let objectives = args.objective.iter().map(ToString::to_string).collect();
        report.sweep = Some(Swept { objectives, ..found });
        Ok(interrupted)
    }

    /// Measures a rate of a sweep, and measures again if it is not certain whether it holds.
    fn attempt(&mut self, rate: f64) -> Result<Point, Failure> {
        let load = self.open(rate);
        let mut gathered = self.measure(load)?;
        for _ in 0..AGAIN {
            if gathered.interrupted || gathered.point(&self.args.objective).held().1 {
                break;
            }
            let more = self.measure(load)?;
            gathered.pool(&more);
        }
        let point = gathered.point(&self.args.objective);
        let held = if point.held().0 { "held" } else { "missed" };
        self.live.say(&format!("{}: {held}", point.load));
        Ok(point)
    }
}

/// A file with a line for each judgment.
struct Samples {
    path: PathBuf,
    file: BufWriter<std::fs::File>,
}

impl Samples {
    fn create(path: &Path) -> Result<Self, Failure> {
        let file = std::fs::File::create(path)
            .map_err(|error| Failure::io(format_args!("cannot write {}", path.display()), &error))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    fn add(&mut self, load: &Load, sample: &Sample) -> Result<(), Failure> {
        let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        let mut line = json!({
            "load": point::Shape::from(*load), "number": sample.number, "item": sample.item, "due_ms": ms(sample.due),
            "sent_ms": ms(sample.sent), "ended_ms": ms(sample.ended), "latency_ms": ms(sample.latency()),
        });
        match &sample.outcome {
            Ok(measured) => {
                let phases = target::PHASES.iter().zip(sample.phases());
                let phases: serde_json::Map<_, _> =
                    phases.filter_map(|(name, time)| Some(((*name).to_owned(), ms(time?).into()))).collect();
                let scores: serde_json::Map<_, _> =
                    measured.scores.iter().map(|(name, score)| (name.clone(), (*score).into())).collect();
                line["phases_ms"] = phases.into();
                line["first_token_ms"] = json!(measured.first_token.map(ms));
                line["usage"] = json!(measured.usage);
                line["scores"] = scores.into();
                line["ranking"] = json!(measured.ranking);
            }
            Err(trouble) => line["error"] = json!({ "kind": trouble.kind, "message": trouble.message }),
        }
        writeln!(self.file, "{line}").map_err(|error| self.broken(&error))
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.file.flush().map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &std::io::Error) -> Failure {
        Failure::io(format_args!("cannot write {}", self.path.display()), error)
    }
}
