//! Starting a worker, and the two threads that serve it.

use std::io::{BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::engine::{Generation, Patience};
use crate::error::{Error, ErrorKind, Result};
use crate::log::Level;

use super::super::process::{Death, Launcher, Quiet, Worker};
use super::super::protocol::{self, Ready, Report};
use super::{Answer, GRACE, Link, Opening, Phase, Served, Shared, State, Verdict, end, fail, watch};

/// Why a worker has not opened the model.
pub(super) struct Unopened {
    pub(super) error: Error,
    /// Whether it was killed from outside.
    pub(super) outside: bool,
}

impl From<Error> for Unopened {
    fn from(error: Error) -> Self {
        Self { error, outside: false }
    }
}

/// Starts a worker and waits until it has opened the model.
///
/// # Errors
/// The error that the worker reports, or how it died; the worker is gone then.
pub(super) fn start(
    shared: &Arc<Shared>,
    launcher: &mut dyn Launcher,
    opening: &Opening,
) -> std::result::Result<(Served, Ready), Unopened> {
    let (stream, worker) = launcher.launch()?;
    let served = serve(shared, stream, worker)?;
    shared.state().order(protocol::frame(&opening.order, &[])?);
    let verdict = watch(shared);
    let report = shared.state().link.as_mut().and_then(|link| link.opened.take());
    match (verdict, report) {
        (Verdict::Closed, _) => {
            end(shared, served, Duration::ZERO, Some("the engine was closed"));
            Err(Error::closed().into())
        }
        (Verdict::Ended, Some(Ok(ready))) if ready.model == opening.model => Ok((served, ready)),
        (Verdict::Ended, Some(Ok(_))) => {
            end(shared, served, Duration::ZERO, Some("it opened another model"));
            let message = format!("{}: the model was changed since it was opened", opening.place);
            Err(Error::new(ErrorKind::InvalidModel, message).into())
        }
        (Verdict::Ended, Some(Err(error))) => {
            end(shared, served, Duration::ZERO, Some("it could not open the model"));
            Err(error.into())
        }
        (Verdict::Ended, None) => {
            let death = end(shared, served, GRACE, None);
            Err(Unopened { error: died_opening(opening, &death), outside: !death.crashed })
        }
        (Verdict::Stuck(why) | Verdict::Broken(why), _) => {
            Err(died_opening(opening, &end(shared, served, Duration::ZERO, Some(&why))).into())
        }
    }
}

fn died_opening(opening: &Opening, death: &Death) -> Error {
    let kind = if death.crashed { ErrorKind::InvalidModel } else { ErrorKind::Engine };
    let place = &opening.place;
    Error::new(kind, format!("{place}: the worker process {} while it opened the model{}", death.how, said(death)))
}

pub(super) fn said(death: &Death) -> String {
    if death.words.is_empty() { String::new() } else { format!(": {}", death.words) }
}

/// Starts the threads that serve a worker.
fn serve(shared: &Arc<Shared>, stream: UnixStream, worker: Box<dyn Worker>) -> Result<Served> {
    let failed =
        |error: std::io::Error| Error::new(ErrorKind::Engine, format!("the worker process cannot be served: {error}"));
    let (orders, outbox) = channel();
    let (output, input) = (stream.try_clone().map_err(failed)?, stream.try_clone().map_err(failed)?);
    {
        let mut state = shared.state();
        state.link = Some(Link { orders, opened: None, ended: false, heard: false, dead: None });
        if !matches!(state.phase, Phase::Closed) {
            state.phase = Phase::Starting;
        }
    }
    let thread = |name: &str, work: Box<dyn FnOnce() + Send>| crate::thread::spawn(name, work).map_err(failed);
    let writer = thread("dicast-orders", Box::new(move || write_orders(output, &outbox)))?;
    let reading = shared.clone();
    let reader = thread("dicast-reports", Box::new(move || read_reports(&reading, input)))?;
    shared.state().threads.push(reader.thread().id());
    Ok(Served { worker, stream, threads: vec![writer, reader] })
}

fn write_orders(stream: UnixStream, outbox: &Receiver<Vec<u8>>) {
    let mut stream = Quiet(stream);
    while let Ok(frame) = outbox.recv() {
        if stream.write_all(&frame).is_err() {
            break;
        }
    }
}

fn read_reports(shared: &Shared, stream: UnixStream) {
    let mut input = BufReader::with_capacity(1 << 16, stream);
    while let Ok(Some((report, tail))) = protocol::read::<Report>(&mut input) {
        take(shared, report, &tail);
    }
    let mut state = shared.state();
    if let Some(link) = &mut state.link {
        link.ended = true;
    }
    shared.changed.notify_all();
}

/// Handles a report.
fn take(shared: &Shared, report: Report, tail: &[u8]) {
    let mut state = shared.state();
    if let Some(link) = &mut state.link {
        link.heard = true;
    }
    match report {
        Report::Opened(ready) => opened(shared, &mut state, Ok(ready)),
        Report::Failed(error) => opened(shared, &mut state, Err(error.into())),
        Report::Begun(id) => {
            let patience = state.ledger.begun(id);
            drop(state);
            // The supervisor may sleep until a later deadline.
            shared.changed.notify_all();
            patience.map(Patience::begin);
        }
        Report::Ended(_, Err(error)) if error.is_engine_dead() => {
            // The job stays in the ledger, and fails with the others when the worker is dead.
            if let Some(link) = &mut state.link {
                link.dead.get_or_insert(Error::from(error).message().to_owned());
            }
            shared.changed.notify_all();
        }
        Report::Ended(id, outcome) => {
            let completion = state.ledger.ended(id);
            if outcome.is_ok() {
                state.fruitless = 0;
            }
            let failed = state.send();
            drop(state);
            if let Some(done) = completion {
                let outcome: Result<Generation> =
                    outcome.map_err(Error::from).and_then(protocol::WireGeneration::generation);
                done(outcome);
            }
            fail(failed);
        }
        Report::Reasoned(id) => {
            let listener = state.ledger.listener(id);
            drop(state);
            if let Some(listener) = listener {
                listener.hear(&String::from_utf8_lossy(tail));
            }
        }
        Report::Stats(number, counters) => {
            state.stats = counters.into();
            answer(&mut state, number, Answer::Stats);
        }
        Report::Tokens(number, outcome) => {
            let ids =
                outcome.map_err(Error::from).and_then(|()| protocol::take_ids(tail).map_err(|error| broken(&error)));
            answer(&mut state, number, Answer::Tokens(ids));
        }
        Report::Said(level) => {
            let log = state.log.clone();
            drop(state);
            let level = [Level::Error, Level::Warn, Level::Info].into_iter().find(|known| *known as u8 == level);
            log.write(level.unwrap_or(Level::Debug), || String::from_utf8_lossy(tail).into_owned());
        }
        Report::Pinned(number, outcome) => state.pins.answered(number, outcome.map_err(Error::from)),
        Report::Vocabulary(number) => {
            let tokens = protocol::decode_vocabulary(tail).unwrap_or_default();
            answer(&mut state, number, Answer::Vocabulary(tokens));
        }
    }
}

fn broken(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("the worker process sent {error}"))
}

fn opened(shared: &Shared, state: &mut State, outcome: Result<Ready>) {
    if let Some(link) = &mut state.link {
        link.opened = Some(outcome);
    }
    shared.changed.notify_all();
}

fn answer(state: &mut State, number: u64, answer: Answer) {
    if let Some(asker) = state.asked.remove(&number) {
        // A caller that has stopped waiting is gone.
        let _ = asker.send(answer);
    }
}
