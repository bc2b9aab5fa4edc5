//! Prefixes that a worker keeps.

use std::sync::Condvar;

use super::tests::{CRASH, LONG, NEVER, Threads, open_threads, run};
use super::*;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

/// The prefixes that workers keep: the number of the worker, and the first token.
pub(super) type Kept = Arc<Mutex<Vec<(u32, u32)>>>;

/// The engine of a worker, which keeps prefixes too.
pub(super) struct Pinning {
    pub(super) inner: Arc<dyn Engine>,
    pub(super) stream: UnixStream,
    pub(super) worker: u32,
    pub(super) kept: Kept,
    pub(super) refused: Mutex<bool>,
    pub(super) changed: Condvar,
}

impl Engine for Pinning {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn submit(&self, job: Job, done: Completion) -> JobId {
        self.inner.submit(job, done)
    }

    fn cancel(&self, id: JobId) {
        self.inner.cancel(id);
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn close(&self) {
        self.refuse_pins(true);
        self.inner.close();
    }

    fn pin(&self, prefix: Vec<u32>, deadline: Instant) -> Result<Pin> {
        match prefix[0] {
            CRASH => {
                let _ = self.stream.shutdown(Shutdown::Both);
                Err(Error::new(ErrorKind::Engine, "nobody hears this"))
            }
            NEVER => {
                let mut refused = self.refused.lock().unwrap();
                while !*refused {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Error::new(ErrorKind::Timeout, "late"));
                    }
                    refused = self.changed.wait_timeout(refused, left).unwrap().0;
                }
                Err(Error::new(ErrorKind::Cancelled, "refused"))
            }
            first => {
                let (place, kept) = ((self.worker, first), self.kept.clone());
                kept.lock().unwrap().push(place);
                Ok(Pin::new(prefix.len(), move || kept.lock().unwrap().retain(|other| *other != place)))
            }
        }
    }

    fn refuse_pins(&self, refuse: bool) {
        *self.refused.lock().unwrap() = refuse;
        self.changed.notify_all();
    }
}

fn later() -> Instant {
    Instant::now() + LONG
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = later();
    while !is_so() {
        assert!(Instant::now() < end, "it never came that {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn fails(outcome: Result<Pin>, kind: ErrorKind, words: &[&str]) {
    let error = outcome.expect_err("the prefix must not be kept");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(words.iter().all(|word| error.message().contains(word)), "{error}");
}

#[test]
fn a_prefix_is_kept_by_the_worker_and_by_the_one_after_it() {
    let threads = Threads::default();
    let opened = open_threads(&threads, 30_000).unwrap();
    let engine = opened.engine.as_ref();
    let has = |place| threads.kept.lock().unwrap().contains(&place);
    let pins = [engine.pin(vec![1, 2, 3], later()).unwrap(), engine.pin(vec![4], later()).unwrap()];
    assert_eq!(pins.each_ref().map(Pin::tokens), [3, 1]);
    assert!(has((0, 1)) && has((0, 4)));
    assert!(run(engine, &[CRASH]).is_err());
    until("the next worker has both", || has((1, 1)) && has((1, 4)));
    let [first, second] = pins;
    drop(first);
    until("it is freed", || !has((1, 1)));
    assert!(has((1, 4)));
    assert!(run(engine, &[CRASH]).is_err());
    until("the third worker has one", || has((2, 4)));
    engine.close();
    drop(second);
    fails(engine.pin(vec![1], later()), ErrorKind::Closed, &[]);
}

#[test]
fn whoever_waits_for_a_prefix_is_told_how_it_ends() {
    let threads = Threads::default();
    let opened = open_threads(&threads, 30_000).unwrap();
    let engine = opened.engine.as_ref();
    let start = Instant::now();
    fails(engine.pin(vec![NEVER], Instant::now() + Duration::from_millis(100)), ErrorKind::Timeout, &[]);
    assert!(start.elapsed() < Duration::from_secs(10));
    let words = ["signal 6 (SIGABRT)", "GGML_ASSERT(x)", "started again", "warm the judge up again"];
    fails(engine.pin(vec![CRASH], later()), ErrorKind::Engine, &words);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| engine.pin(vec![NEVER], later()));
        std::thread::sleep(Duration::from_millis(50));
        engine.refuse_pins(true);
        fails(waits.join().unwrap(), ErrorKind::Cancelled, &["warming up was cancelled"]);
        fails(engine.pin(vec![1], later()), ErrorKind::Cancelled, &[]);
        engine.refuse_pins(false);
        assert!(engine.pin(vec![1], later()).is_ok());
        // A prefix that crashed the worker is not tried again.
        assert_eq!(run(engine, &[3]).unwrap().raw, "[3] seed 5");
        let waits = scope.spawn(|| engine.pin(vec![NEVER], later()));
        std::thread::sleep(Duration::from_millis(50));
        engine.close();
        fails(waits.join().unwrap(), ErrorKind::Closed, &[]);
    });
}
