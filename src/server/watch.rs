//! What happens to one judgment while somebody watches it.

use tokio::sync::mpsc;

/// What happens before the verdict.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// It waits; this many judgments start before it.
    Queued(usize),
    /// The engine has it.
    Started,
    /// A piece of the reasoning.
    Reasoning(String),
}

/// Events that are kept for a slow reader; later pieces are dropped, but the verdict has the whole reasoning.
const KEPT: usize = 1024;

/// Tells somebody what happens to a judgment.
#[derive(Clone)]
pub(crate) struct Watcher(mpsc::Sender<Event>);

impl Watcher {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(KEPT);
        (Self(sender), receiver)
    }

    pub(crate) fn tell(&self, event: Event) {
        let _ = self.0.try_send(event);
    }
}
