//! Threads that work off tasks in order: one reads verdicts, so that this does not hold up the engine, and one calls
//! callbacks, so that these do not hold up the reading of verdicts, not even if they wait for one.

use crate::error::{Error, ErrorKind, Result};
use crate::sync::mpsc::{Receiver, SendError, Sender, channel};
use crate::thread::{JoinHandle, current};

/// What a thread runs. There are never more of them than judgments pending.
pub(super) type Task = Box<dyn FnOnce() + Send>;

/// A thread. Dropping it waits until all tasks have run; if one of them drops it, they run after that one.
pub(super) struct Worker {
    tasks: Handle,
    thread: Option<JoinHandle<()>>,
}

/// Hands tasks to the thread. May outlive it.
#[derive(Clone)]
pub(super) struct Handle(Sender<Option<Task>>);

impl Worker {
    pub(super) fn start(name: &str) -> Result<Self> {
        let (tasks, inbox) = channel();
        let thread = crate::thread::spawn(name, move || work(&inbox))
            .map_err(|error| Error::new(ErrorKind::Engine, format!("the thread {name} cannot be started: {error}")))?;
        Ok(Self { tasks: Handle(tasks), thread: Some(thread) })
    }

    pub(super) fn handle(&self) -> Handle {
        self.tasks.clone()
    }
}

/// Runs tasks until it gets the message to stop, and what was queued by then.
fn work(inbox: &Receiver<Option<Task>>) {
    // One task that panics must not take the others with it.
    let run = |task: Task| drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(task)));
    while let Ok(Some(task)) = inbox.recv() {
        run(task);
    }
    inbox.try_iter().flatten().for_each(run);
}

impl Handle {
    /// Queues a task; gives it back if the thread is gone.
    pub(super) fn run(&self, task: Task) -> Option<Task> {
        self.0.send(Some(task)).err().and_then(|SendError(task)| task)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Fails only if the thread is gone already.
        let _ = self.tasks.0.send(None);
        if let Some(thread) = self.thread.take()
            // A callback may drop the judge: the thread cannot wait for itself.
            && thread.thread().id() != current().id()
        {
            let _ = thread.join();
        }
    }
}
