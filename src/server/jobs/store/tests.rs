use std::path::PathBuf;

use super::*;

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dicast-jobs-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("jobs.db")
    }

    fn open(&self) -> Store {
        Store::open(&self.file(), StoreLimits::default()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn memory() -> Store {
    Store::in_memory(StoreLimits::default()).unwrap()
}

fn new_job() -> NewJob {
    NewJob { form: "jobs".into(), keep_ms: 1000, ..NewJob::default() }
}

fn lines(from: usize, to: usize) -> Vec<Vec<u8>> {
    (from..to).map(|index| format!("request {index}").into_bytes()).collect()
}

/// A running job of `count` requests.
fn running(store: &mut Store, count: usize) -> JobInfo {
    let (job, _) = store.create(&new_job(), 1).unwrap();
    store.upload("", &job.id, Some(0), &lines(0, count), 2).unwrap();
    store.start("", &job.id, 3).unwrap()
}

fn outcome(job: &JobInfo, place: i64) -> Outcome {
    Outcome { job: job.number, place, failed: place % 5 == 4, line: format!("result {place}") }
}

#[test]
fn a_job_goes_from_upload_to_results_in_order() {
    let mut store = memory();
    let (job, is_new) = store.create(&new_job(), 10).unwrap();
    assert!(is_new && job.state == State::Open && job.id.len() == 36);
    assert!(matches!(store.start("", &job.id, 11), Err(Fault::State(_))), "it has no requests");
    assert_eq!(store.upload("", &job.id, None, &lines(0, 7), 11).unwrap(), 7);
    assert_eq!(store.upload("", &job.id, Some(7), &lines(7, 10), 11).unwrap(), 10);
    assert!(store.claim(job.number, 0, 10, usize::MAX).unwrap().is_empty(), "it was not started");
    let job = store.start("", &job.id, 12).unwrap();
    assert_eq!((job.state, job.total, job.started_ms), (State::Running, 10, Some(12)));

    let claims = store.claim(job.number, 0, 100, usize::MAX).unwrap();
    assert_eq!(claims.len(), 10);
    assert_eq!((claims[3].place, claims[3].line.as_slice()), (3, b"request 3".as_slice()));
    // Out of order, and one of them twice.
    let outcomes: Vec<_> = [9, 0, 4, 7, 0].iter().map(|&place| outcome(&job, place)).collect();
    assert_eq!(store.finish(&outcomes, 20).unwrap(), Stored { stored: 4, finished: vec![] });
    let left: Vec<_> =
        store.claim(job.number, 2, 3, usize::MAX).unwrap().into_iter().map(|claim| claim.place).collect();
    assert_eq!(left, [2, 3, 5]);
    let partial = store.results("", &job.id, 0, 5, usize::MAX).unwrap();
    assert_eq!(partial.len(), 5);
    assert_eq!(partial[0], (0, Some("result 0".into())));
    assert_eq!(partial[1], (1, None));

    let rest: Vec<_> = [1, 2, 3, 5, 6, 8].iter().map(|&place| outcome(&job, place)).collect();
    assert_eq!(store.finish(&rest, 30).unwrap(), Stored { stored: 6, finished: vec![job.number] });
    let job = store.get("", &job.id).unwrap();
    assert_eq!((job.state, job.done, job.failed), (State::Finished, 10, 2));
    assert_eq!((job.ended_ms, job.expires_ms), (Some(30), 1030));
    let all = store.results("", &job.id, 0, 100, usize::MAX).unwrap();
    for (place, result) in all {
        assert_eq!(result.unwrap(), format!("result {place}"));
    }
    // A page of results is bounded by bytes as well, and is never empty.
    assert_eq!(store.results("", &job.id, 3, 100, 1).unwrap(), [(3, Some("result 3".into()))]);
    assert_eq!(store.requests("", &job.id, 9, 100, 1).unwrap(), [(9, b"request 9".to_vec())]);
}

#[test]
fn an_upload_that_is_sent_again_is_not_stored_twice() {
    let mut store = memory();
    let (job, _) = store.create(&new_job(), 1).unwrap();
    store.upload("", &job.id, Some(0), &lines(0, 5), 1).unwrap();
    let again = store.upload("", &job.id, Some(0), &lines(0, 5), 1).unwrap_err();
    assert!(matches!(&again, Fault::State(message) if message.contains("has 5 requests")), "{again}");
    assert_eq!(store.get("", &job.id).unwrap().total, 5);
    store.start("", &job.id, 2).unwrap();
    assert!(matches!(store.upload("", &job.id, None, &lines(5, 6), 1), Err(Fault::State(_))));
    assert_eq!(store.start("", &job.id, 9).unwrap().started_ms, Some(2), "started once");
}

#[test]
fn an_idempotency_key_makes_one_job() {
    let mut store = memory();
    let new = NewJob { idempotency: Some("k".into()), ..new_job() };
    let (first, _) = store.create(&new, 1).unwrap();
    let (second, is_new) = store.create(&new, 2).unwrap();
    assert!(!is_new);
    assert_eq!(first, second);
    let (other, is_new) = store.create(&NewJob { owner: "b".into(), ..new.clone() }, 2).unwrap();
    assert!(is_new && other.id != first.id, "keys of two owners have nothing to do with each other");
    store.delete("", &first.id).unwrap();
    assert!(store.create(&new, 3).unwrap().1, "a deleted job frees its key");
}

#[test]
fn nobody_sees_the_jobs_of_another() {
    let mut store = memory();
    let (job, _) = store.create(&NewJob { owner: "a".into(), ..new_job() }, 1).unwrap();
    assert!(matches!(store.get("b", &job.id), Err(Fault::Unknown(_))));
    assert!(matches!(store.upload("b", &job.id, None, &lines(0, 1), 1), Err(Fault::Unknown(_))));
    assert!(matches!(store.delete("b", &job.id), Err(Fault::Unknown(_))));
    assert!(matches!(store.results("b", &job.id, 0, 1, 1), Err(Fault::Unknown(_))));
    assert!(matches!(store.list("b", None, Some(&job.id), 1), Err(Fault::Unknown(_))));
    assert!(store.list("b", None, None, 10).unwrap().is_empty());
    assert_eq!(store.list("a", None, None, 10).unwrap(), [job]);
}

#[test]
fn jobs_are_listed_newest_first_by_pages_and_cleared_by_form() {
    let mut store = memory();
    let ids: Vec<_> = (0..5)
        .map(|index| {
            let form = if index == 2 { "reference" } else { "jobs" };
            store.create(&NewJob { form: form.into(), ..new_job() }, index).unwrap().0.id
        })
        .collect();
    let listed = |store: &Store, form: Option<&str>, before: Option<&str>, most: usize| -> Vec<String> {
        store.list("", form, before, most).unwrap().into_iter().map(|job| job.id).collect()
    };
    assert_eq!(listed(&store, None, None, 2), [ids[4].clone(), ids[3].clone()]);
    assert_eq!(listed(&store, Some("jobs"), Some(&ids[3]), 9), [ids[1].clone(), ids[0].clone()]);
    assert_eq!(store.clear("", "jobs").unwrap().len(), 4);
    assert_eq!(listed(&store, None, None, 9), [ids[2].clone()]);
    while store.sweep(0, 10).unwrap() {}
    assert_eq!(store.counts().unwrap(), Counts { open: 1, ..Counts::default() });
}

#[test]
fn a_cancelled_job_keeps_its_results_and_takes_no_more() {
    let mut store = memory();
    let job = running(&mut store, 4);
    store.finish(&[outcome(&job, 1)], 5).unwrap();
    let cancelled = store.cancel("", &job.id, 6).unwrap();
    assert_eq!((cancelled.state, cancelled.done, cancelled.ended_ms), (State::Cancelled, 1, Some(6)));
    assert!(store.claim(job.number, 0, 10, usize::MAX).unwrap().is_empty());
    assert_eq!(store.finish(&[outcome(&job, 2)], 7).unwrap().stored, 0);
    assert_eq!(store.cancel("", &job.id, 9).unwrap(), cancelled, "cancelled once");
    let results = store.results("", &job.id, 0, 10, usize::MAX).unwrap();
    assert_eq!(results.iter().filter(|(_, line)| line.is_some()).count(), 1);
    // One that is over cannot be cancelled.
    let job = running(&mut store, 1);
    store.finish(&[outcome(&job, 0)], 5).unwrap();
    assert_eq!(store.cancel("", &job.id, 6).unwrap().state, State::Finished);
}

#[test]
fn what_expires_is_deleted_bit_by_bit_and_running_jobs_never_expire() {
    let limits = StoreLimits { open_ms: 100, max_keep_ms: 500, ..StoreLimits::default() };
    let mut store = Store::in_memory(limits).unwrap();
    let job = running(&mut store, 30);
    let (open, _) = store.create(&new_job(), 50).unwrap();
    assert_eq!(open.expires_ms, 150);
    store.upload("", &open.id, None, &lines(0, 1), 120).unwrap();
    assert!(!store.sweep(200, 10).unwrap(), "an upload keeps an open job alive");
    while store.sweep(1_000_000, 10).unwrap() {}
    assert!(matches!(store.get("", &open.id), Err(Fault::Unknown(_))));
    assert_eq!(store.get("", &job.id).unwrap().state, State::Running);

    let all: Vec<_> = (0..30).map(|place| outcome(&job, place)).collect();
    store.finish(&all, 2000).unwrap();
    // 1000 was asked for, the store allows 500.
    assert_eq!(store.get("", &job.id).unwrap().expires_ms, 2500);
    assert!(!store.sweep(2499, 7).unwrap());
    let mut steps = 0;
    while store.sweep(2500, 7).unwrap() {
        steps += 1;
        assert!(matches!(store.get("", &job.id), Err(Fault::Unknown(_))), "it is gone at once");
    }
    assert!(steps > 5, "60 rows, 7 at a time: {steps}");
    for table in ["jobs", "requests", "results"] {
        let count: i64 =
            store.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(count, 0, "{table}");
    }
}

#[test]
fn limits_are_errors_that_store_nothing() {
    let mut store = Store::in_memory(StoreLimits { max_jobs: 2, max_requests: 5, ..StoreLimits::default() }).unwrap();
    let (job, _) = store.create(&new_job(), 1).unwrap();
    store.upload("", &job.id, None, &lines(0, 4), 1).unwrap();
    assert!(matches!(store.upload("", &job.id, None, &lines(4, 6), 1), Err(Fault::TooLarge(_))));
    assert_eq!(store.get("", &job.id).unwrap().total, 4);
    store.create(&new_job(), 1).unwrap();
    assert!(matches!(store.create(&new_job(), 1), Err(Fault::TooLarge(_))));
    assert!(store.create(&NewJob { owner: "b".into(), ..new_job() }, 1).is_ok(), "the limit is one caller's");
    store.delete("", &job.id).unwrap();
    assert!(store.create(&new_job(), 1).is_ok());
}

#[test]
fn a_store_that_is_opened_again_goes_on_where_it_was() {
    let folder = Folder::new("resume");
    let mut store = folder.open();
    let job = running(&mut store, 6);
    store.finish(&[outcome(&job, 0), outcome(&job, 3)], 5).unwrap();
    // Dropped without any farewell: there is none to be said.
    drop(store);
    let mut store = folder.open();
    assert_eq!(store.running().unwrap().len(), 1);
    let left: Vec<_> =
        store.claim(job.number, 0, 10, usize::MAX).unwrap().into_iter().map(|claim| claim.place).collect();
    assert_eq!(left, [1, 2, 4, 5]);
    let all: Vec<_> = (0..6).map(|place| outcome(&job, place)).collect();
    let stored = store.finish(&all, 6).unwrap();
    assert_eq!(stored, Stored { stored: 4, finished: vec![job.number] }, "those of before stay");
}

#[test]
fn two_servers_do_not_share_a_file() {
    let folder = Folder::new("lock");
    let store = folder.open();
    let second = Store::open(&folder.file(), StoreLimits::default()).err().unwrap();
    assert!(matches!(&second, Fault::Busy(message) if message.contains("another server")), "{second}");
    drop(store);
    folder.open();
    let nowhere = Store::open(&folder.0.join("no/jobs.db"), StoreLimits::default()).err().unwrap();
    assert!(matches!(&nowhere, Fault::Io(message) if message.contains("does the folder exist")), "{nowhere}");
}

#[test]
fn a_file_of_something_else_is_refused_and_left_alone() {
    let folder = Folder::new("foreign");
    let refusal = || {
        let fault = Store::open(&folder.file(), StoreLimits::default()).err().unwrap();
        assert!(matches!(fault, Fault::Damaged(_)), "{fault:?}");
        fault.message().to_owned()
    };
    std::fs::write(folder.file(), "no database at all, but text of some length ".repeat(100)).unwrap();
    let before = std::fs::read(folder.file()).unwrap();
    assert!(refusal().contains("jobs.db: the job database is damaged"));
    assert_eq!(std::fs::read(folder.file()).unwrap(), before);

    std::fs::remove_file(folder.file()).unwrap();
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("CREATE TABLE t (a); PRAGMA user_version = 1;").unwrap();
    drop(other);
    assert!(refusal().contains("another program"));

    std::fs::remove_file(folder.file()).unwrap();
    drop(folder.open());
    let newer = Connection::open(folder.file()).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    assert!(refusal().contains("another version of Dicast (format 99"));
}

#[test]
fn a_program_that_holds_the_file_makes_a_typed_error_in_bounded_time() {
    let folder = Folder::new("busy");
    let mut store = folder.open();
    store.connection.busy_timeout(std::time::Duration::from_millis(50)).unwrap();
    let backup = Connection::open(folder.file()).unwrap();
    backup.execute_batch("BEGIN IMMEDIATE").unwrap();
    let fault = store.create(&new_job(), 1).unwrap_err();
    assert!(matches!(fault, Fault::Busy(_)) && fault.is_retryable(), "{fault:?}");
    backup.execute_batch("ROLLBACK").unwrap();
    assert!(store.create(&new_job(), 1).is_ok());
}

#[test]
fn a_full_store_says_so_and_keeps_what_it_has() {
    let folder = Folder::new("full");
    let limits = StoreLimits { max_bytes: 1 << 20, ..StoreLimits::default() };
    let mut store = Store::open(&folder.file(), limits).unwrap();
    let job = running(&mut store, 3);
    store.finish(&[outcome(&job, 0)], 4).unwrap();
    let (big, _) = store.create(&new_job(), 5).unwrap();
    let line = vec![b'x'; 100_000];
    let mut uploads = 0;
    let fault = loop {
        match store.upload("", &big.id, None, std::slice::from_ref(&line), 5) {
            Ok(_) => uploads += 1,
            Err(fault) => break fault,
        }
        assert!(uploads < 20, "the limit holds");
    };
    assert!(matches!(fault, Fault::Full(_)) && fault.http_status() == 507, "{fault:?}");
    assert_eq!(store.get("", &big.id).unwrap().total, uploads, "nothing of the refused upload is there");
    // A result that does not fit is not lost by being refused: it is stored when there is room.
    let large = Outcome { line: "y".repeat(200_000), ..outcome(&job, 1) };
    assert!(matches!(store.finish(std::slice::from_ref(&large), 6), Err(Fault::Full(_))));
    assert_eq!(store.get("", &job.id).unwrap().done, 1);
    store.delete("", &big.id).unwrap();
    while store.sweep(6, 100).unwrap() {}
    assert_eq!(store.finish(std::slice::from_ref(&large), 7).unwrap().stored, 1);
}

#[test]
fn a_file_that_shrinks_gives_its_room_back() {
    let folder = Folder::new("shrink");
    let mut store = folder.open();
    let (job, _) = store.create(&new_job(), 1).unwrap();
    let many: Vec<_> = (0..200).map(|_| vec![b'x'; 20_000]).collect();
    store.upload("", &job.id, None, &many, 1).unwrap();
    let pages =
        |store: &Store| -> i64 { store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap() };
    let full = pages(&store);
    store.delete("", &job.id).unwrap();
    while store.sweep(1, 50).unwrap() {}
    assert!(pages(&store) * 10 < full, "{} of {full} pages", pages(&store));
}
