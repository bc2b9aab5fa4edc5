//! The thread that reads verdicts and calls callbacks, so that neither holds up the engine.

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use crate::error::{Error, ErrorKind, Result};

/// What the thread runs. There are never more of them than judgments pending.
type Task = Box<dyn FnOnce() + Send>;

/// The thread. Dropping it waits until all tasks have run.
pub(super) struct Worker {
    tasks: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
}

/// Hands tasks to the thread.
#[derive(Clone)]
pub(super) struct Handle(Sender<Task>);

impl Worker {
    pub(super) fn start() -> Result<Self> {
        let (tasks, inbox) = channel::<Task>();
        let thread = std::thread::Builder::new()
            .name("dicast-verdicts".into())
            .spawn(move || {
                for task in inbox {
                    // A callback that panics must not take the other judgments with it.
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(task));
                }
            })
            .map_err(|error| Error::new(ErrorKind::Engine, format!("the verdict thread cannot be started: {error}")))?;
        Ok(Self { tasks: Some(tasks), thread: Some(thread) })
    }

    pub(super) fn handle(&self) -> Handle {
        Handle(self.tasks.clone().expect("it is taken in drop alone"))
    }
}

impl Handle {
    /// Queues a task. Where the thread is gone the task is dropped, which completes its judgment as closed.
    pub(super) fn run(&self, task: Task) {
        let _ = self.0.send(task);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.tasks.take());
        if let Some(thread) = self.thread.take()
            // A callback may drop the judge: the thread cannot wait for itself.
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}
