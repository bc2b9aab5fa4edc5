//! Workers that are killed at random while judgments run: nothing is lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dicast::config::Isolation;
use dicast::{ErrorKind, Judge};

use super::alone;
use super::support::{children, config, kill, open, request};

/// How often the worker is killed.
const KILLS: usize = 100;

/// Time limit, for a machine that is busy with other things.
const LONGEST: Duration = Duration::from_secs(300);

#[test]
fn a_worker_killed_a_hundred_times_under_load_loses_no_judgment() {
    let _alone = alone();
    let requests: Vec<_> = (0..6).map(request).collect();
    let judge = Judge::open(config(Isolation::Process)).unwrap();
    let (kills, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (judged, mut failed) = (AtomicUsize::new(0), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // A fixed sequence of uneven pauses: workers die while they open, wait and work.
            let mut pause = 7_u64;
            let (start, mut seen) = (Instant::now(), 0);
            while kills.load(Ordering::Relaxed) < KILLS && start.elapsed() < LONGEST {
                pause = (pause * 1_103_515_245 + 12_345) % 2_147_483_648;
                std::thread::sleep(Duration::from_millis(pause % 90));
                // Two of three times something was judged since the last death; the third worker may still be opening.
                let now = judged.load(Ordering::Relaxed);
                if now == seen && kills.load(Ordering::Relaxed) % 3 > 0 {
                    continue;
                }
                seen = now;
                for worker in children(std::process::id()) {
                    kill(worker, "KILL");
                    kills.fetch_add(1, Ordering::Relaxed);
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let mut left: Vec<_> = requests.iter().cycle().take(24).collect();
            let mut rounds = 0;
            while !left.is_empty() {
                rounds += 1;
                assert!(rounds < 200, "judgments that are sent again are judged at last");
                let tickets: Vec<_> = left.iter().map(|request| judge.submit(request)).collect();
                let mut again = Vec::new();
                for (request, ticket) in left.into_iter().zip(tickets) {
                    match ticket.wait() {
                        Ok(verdict) => {
                            assert_eq!(verdict.scores.len(), 2);
                            judged.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Engine, true), "{error}");
                            failed += 1;
                            again.push(request);
                        }
                    }
                }
                left = again;
            }
        }
    });
    let (kills, judged) = (kills.into_inner(), judged.into_inner());
    assert!(kills >= KILLS && judged > 0 && failed > 0, "{kills} kills, {judged} judged, {failed} failed");
    // In the end it judges like one that was never killed. Probabilities may differ in their last digits: they depend
    // on which judgments were computed together.
    let fresh = open(Isolation::None);
    for request in &requests {
        let [one, other] = [&judge, &fresh].map(|judge| judge.judge(request).unwrap());
        assert_eq!((one.raw, one.ranking), (other.raw, other.ranking));
    }
}
