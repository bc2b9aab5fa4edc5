use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::*;
use crate::server::jobs::{NewJob, StoreLimits};

/// Fails every judgment with an answer of its own, so that no model is needed.
#[derive(Default)]
struct Fake {
    running: Arc<AtomicUsize>,
    most: AtomicUsize,
    begun: SyncMutex<Vec<String>>,
    /// How often each prompt fails first, and as what.
    first: Option<(usize, ErrorKind)>,
    tries: SyncMutex<HashMap<String, usize>>,
    slow: Duration,
    panics: bool,
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Judging for Fake {
    fn judge(&self, job: &JobInfo, request: JudgeRequest) -> Judgment {
        self.most.fetch_max(self.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let running = Running(self.running.clone());
        self.begun.lock().unwrap().push(format!("{}{}", job.owner, request.prompt));
        let tries = {
            let mut tries = self.tries.lock().unwrap();
            let tries = tries.entry(format!("{}{}", job.number, request.prompt)).or_default();
            *tries += 1;
            *tries
        };
        let kind = self.first.filter(|(times, _)| tries <= *times).map(|(_, kind)| kind);
        let (slow, panics) = (self.slow, self.panics);
        Box::pin(async move {
            let _running = running;
            tokio::time::sleep(slow).await;
            assert!(!panics, "as the test wants it");
            let kind = kind.unwrap_or(ErrorKind::ContextOverflow);
            Err(Error::new(kind, format!("answer to {}", request.prompt)))
        })
    }

    fn at_once(&self, _: &str) -> usize {
        3
    }
}

fn line(prompt: usize) -> Vec<u8> {
    format!(r#"{{"principle": "p", "prompt": "{prompt}", "responses": {{"a": "x"}}}}"#).into_bytes()
}

/// Makes and starts a job.
async fn started(jobs: &Jobs, owner: &str, count: usize) -> String {
    let owner = owner.to_owned();
    let id = jobs
        .with(move |store| {
            let new = NewJob { owner: owner.clone(), form: "jobs".into(), keep_ms: 1_000_000, ..NewJob::default() };
            let (job, _) = store.create(&new, now_ms())?;
            store.upload(&owner, &job.id, None, &(0..count).map(line).collect::<Vec<_>>(), now_ms())?;
            store.start(&owner, &job.id, now_ms())?;
            Ok(job.id)
        })
        .await
        .unwrap();
    jobs.changed();
    id
}

fn store() -> Store {
    Store::in_memory(StoreLimits::default()).unwrap()
}

/// A runner in a task, and what stops it.
fn start(jobs: &Jobs, judging: &Arc<Fake>) -> (tokio::task::JoinHandle<()>, Arc<Notify>) {
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone();
    let task = tokio::spawn(jobs.clone().run(judging.clone(), async move { stopped.notified().await }));
    (task, stop)
}

fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test)
}

async fn results(jobs: &Jobs, owner: &str, id: &str) -> Vec<Value> {
    let (owner, id) = (owner.to_owned(), id.to_owned());
    let results = jobs.with(move |store| store.results(&owner, &id, 0, 10_000, usize::MAX)).await.unwrap();
    results.into_iter().map(|(_, line)| serde_json::from_str(&line.unwrap_or("null".into())).unwrap()).collect()
}

const LONG: Duration = Duration::from_secs(100_000);

#[test]
fn every_request_has_one_result_in_its_place_and_no_more_run_than_may() {
    block_on(async {
        let slow = Duration::from_millis(1);
        let (jobs, fake) = (Jobs::new(store()), Arc::new(Fake { slow, ..Fake::default() }));
        let (task, stop) = start(&jobs, &fake);
        let id = started(&jobs, "", 100).await;
        let job = jobs.wait("", &id, LONG).await.unwrap();
        assert_eq!((job.state, job.done, job.failed), (State::Finished, 100, 100));
        for (place, result) in results(&jobs, "", &id).await.into_iter().enumerate() {
            assert_eq!(result["index"], place);
            assert_eq!(result["error"]["message"], format!("answer to {place}"));
        }
        assert_eq!((fake.begun.lock().unwrap().len(), fake.most.load(Ordering::SeqCst)), (100, 3));
        stop.notify_one();
        task.await.unwrap();
    });
}

#[test]
fn callers_take_turns_and_the_jobs_of_one_are_judged_in_order() {
    block_on(async {
        let jobs = Jobs::new(store());
        let fake = Arc::new(Fake { slow: Duration::from_millis(5), ..Fake::default() });
        let first = started(&jobs, "a", 30).await;
        started(&jobs, "a", 5).await;
        let other = started(&jobs, "b", 5).await;
        let (_task, _stop) = start(&jobs, &fake);
        jobs.wait("b", &other, LONG).await.unwrap();
        let begun = fake.begun.lock().unwrap().len();
        assert!(begun < 16, "five of b, and about as many of a: {begun}");
        assert_eq!(jobs.wait("a", &first, LONG).await.unwrap().done, 30);
        let begun = fake.begun.lock().unwrap().clone();
        assert_eq!(begun.iter().filter(|begun| begun.starts_with('b')).count(), 5);
    });
}

#[test]
fn what_may_succeed_is_sent_again_within_bounds() {
    for (times, kind, tries, found) in [
        (3, ErrorKind::Engine, 4, "context_overflow"),
        (99, ErrorKind::Engine, 10, "engine"),
        (20, ErrorKind::Overloaded, 21, "context_overflow"),
        (99, ErrorKind::InvalidVerdict, 1, "invalid_verdict"),
        (99, ErrorKind::InvalidRequest, 1, "invalid_request"),
    ] {
        block_on(async {
            let (jobs, fake) = (Jobs::new(store()), Arc::new(Fake { first: Some((times, kind)), ..Fake::default() }));
            let (_task, _stop) = start(&jobs, &fake);
            let id = started(&jobs, "", 4).await;
            jobs.wait("", &id, LONG).await.unwrap();
            for result in results(&jobs, "", &id).await {
                assert_eq!(result["error"]["kind"], found, "{kind}");
            }
            assert_eq!(fake.begun.lock().unwrap().len(), 4 * tries, "{kind}");
        });
    }
}

#[test]
fn a_job_waits_for_a_judge_that_is_not_there_and_says_so() {
    block_on(async {
        let fake = Arc::new(Fake { first: Some((1, ErrorKind::EngineDead)), ..Fake::default() });
        let jobs = Jobs::new(store());
        let (_task, _stop) = start(&jobs, &fake);
        let id = started(&jobs, "", 5).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let waiting = jobs.wait("", &id, Duration::ZERO).await.unwrap();
        assert_eq!((waiting.state, waiting.done), (State::Running, 0));
        assert!(jobs.problem(waiting.number).unwrap().starts_with("engine_dead"));
        let job = jobs.wait("", &id, LONG).await.unwrap();
        assert_eq!((job.state, job.done), (State::Finished, 5));
        for result in results(&jobs, "", &id).await {
            assert_eq!(result["error"]["kind"], "context_overflow");
        }
        assert_eq!(jobs.problem(job.number), None);

        // It does not wait for ever.
        let fake = Arc::new(Fake { first: Some((usize::MAX, ErrorKind::EngineDead)), ..Fake::default() });
        let jobs = Jobs::new(store());
        let (_task, _stop) = start(&jobs, &fake);
        let id = started(&jobs, "", 2).await;
        let job = jobs.wait("", &id, LONG).await.unwrap();
        assert_eq!((job.state, job.failed), (State::Finished, 2));
        assert_eq!(results(&jobs, "", &id).await[0]["error"]["kind"], "engine_dead");
    });
}

#[test]
fn a_cancelled_or_deleted_job_frees_its_places_at_once() {
    block_on(async {
        let jobs = Jobs::new(store());
        let fake = Arc::new(Fake { slow: LONG, ..Fake::default() });
        let (_task, _stop) = start(&jobs, &fake);
        let (first, second) = (started(&jobs, "", 3).await, started(&jobs, "", 3).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(fake.running.load(Ordering::SeqCst), 3);
        jobs.with(move |store| store.cancel("", &first, now_ms())).await.unwrap();
        jobs.changed();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!((fake.running.load(Ordering::SeqCst), fake.begun.lock().unwrap().len()), (3, 6));
        jobs.with(move |store| store.delete("", &second)).await.unwrap();
        jobs.changed();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!((fake.running.load(Ordering::SeqCst), fake.begun.lock().unwrap().len()), (0, 6));
    });
}

#[test]
fn a_server_that_stops_anywhere_loses_and_doubles_nothing() {
    block_on(async {
        let jobs = Jobs::new(store());
        let fake = Arc::new(Fake { slow: Duration::from_millis(7), ..Fake::default() });
        let id = started(&jobs, "", 60).await;
        for round in 0..20 {
            let (task, stop) = start(&jobs, &fake);
            tokio::time::sleep(Duration::from_millis(3 + round * 2)).await;
            if round % 2 == 0 {
                // As a kill: the runner has no last word.
                task.abort();
                let _ = task.await;
            } else {
                stop.notify_one();
                task.await.unwrap();
            }
            assert_eq!(fake.running.load(Ordering::SeqCst), 0, "what was under way is cancelled");
        }
        let (_task, _stop) = start(&jobs, &fake);
        let job = jobs.wait("", &id, LONG).await.unwrap();
        assert_eq!((job.state, job.done), (State::Finished, 60));
        for (place, result) in results(&jobs, "", &id).await.into_iter().enumerate() {
            assert_eq!(result["error"]["message"], format!("answer to {place}"));
        }
    });
}

#[test]
fn results_that_cannot_be_stored_are_kept_until_they_can() {
    block_on(async {
        let limits = StoreLimits { max_bytes: 1 << 19, ..StoreLimits::default() };
        let jobs = Jobs::new(Store::in_memory(limits).unwrap());
        let fake = Arc::new(Fake { slow: Duration::from_millis(5), ..Fake::default() });
        let id = started(&jobs, "", 400).await;
        // All the room that is left.
        let filler = jobs
            .with(|store| {
                let (filler, _) = store.create(&NewJob { owner: "f".into(), ..NewJob::default() }, now_ms())?;
                for size in [20_000, 2_000, 200] {
                    while store.upload("f", &filler.id, None, &[vec![b'x'; size]], now_ms()).is_ok() {}
                }
                Ok(filler.id)
            })
            .await
            .unwrap();
        let (_task, _stop) = start(&jobs, &fake);
        tokio::time::sleep(Duration::from_secs(20)).await;
        let stuck = jobs.wait("", &id, Duration::ZERO).await.unwrap();
        assert_eq!(stuck.state, State::Running);
        let begun = fake.begun.lock().unwrap().len();
        assert!(begun < 400, "nothing new is begun while results wait: {begun}");
        assert!(jobs.problem(stuck.number).unwrap().starts_with("storage_full"));
        jobs.with(move |store| store.delete("f", &filler)).await.unwrap();
        let job = jobs.wait("", &id, LONG).await.unwrap();
        assert_eq!((job.state, job.done), (State::Finished, 400));
        assert_eq!(fake.begun.lock().unwrap().len(), 400, "what waited was not judged again");
    });
}

#[test]
fn a_panic_is_the_error_of_its_request_alone() {
    block_on(async {
        let (jobs, fake) = (Jobs::new(store()), Arc::new(Fake { panics: true, ..Fake::default() }));
        let (_task, _stop) = start(&jobs, &fake);
        let id = started(&jobs, "", 5).await;
        jobs.wait("", &id, LONG).await.unwrap();
        for result in results(&jobs, "", &id).await {
            assert_eq!(result["error"]["kind"], "internal");
        }
    });
}
