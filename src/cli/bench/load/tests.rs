use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use dicast::JudgeRequest;
use dicast::engine::Stats;
use serde_json::Value;

use super::super::mix::tests::mix;
use super::super::target::Done;
use super::*;

/// A target that answers from a thread of its own, each judgment after the time that its script says.
struct Fake {
    script: Box<dyn Fn(usize) -> Answer + Send + Sync>,
    started: AtomicUsize,
    running: Arc<(AtomicUsize, AtomicUsize)>,
    cancelled: Arc<AtomicUsize>,
}

enum Answer {
    After(Duration),
    Fails,
    Never,
}

impl Fake {
    fn new(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            script: Box::new(script),
            started: AtomicUsize::new(0),
            running: Arc::default(),
            cancelled: Arc::default(),
        }
    }

    fn most_running(&self) -> usize {
        self.running.1.load(Ordering::Relaxed)
    }
}

impl Target for Fake {
    fn start(&self, _: JudgeRequest, done: Done) -> Cancel {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let now = self.running.0.fetch_add(1, Ordering::Relaxed) + 1;
        self.running.1.fetch_max(now, Ordering::Relaxed);
        let answer = (self.script)(number);
        let running = self.running.clone();
        let end = move |done: Done, outcome| {
            running.0.fetch_sub(1, Ordering::Relaxed);
            done(outcome);
        };
        let done = Arc::new(Mutex::new(Some(done)));
        let (later, cancelled, counted) = (done.clone(), done.clone(), self.cancelled.clone());
        let end_cancelled = end.clone();
        match answer {
            Answer::After(time) => drop(std::thread::spawn(move || {
                std::thread::sleep(time);
                if let Some(done) = later.lock().unwrap().take() {
                    end(done, Ok(Measured::default()));
                }
            })),
            Answer::Fails => {
                let done = done.lock().unwrap().take();
                if let Some(done) = done {
                    end(done, Err(Trouble::new("network", "refused")));
                }
            }
            Answer::Never => {}
        }
        Box::new(move || {
            if let Some(done) = cancelled.lock().unwrap().take() {
                counted.fetch_add(1, Ordering::Relaxed);
                end_cancelled(done, Err(Trouble::new("cancelled", "")));
            }
        })
    }

    fn stats(&self) -> Option<Stats> {
        None
    }

    fn describe(&self) -> Value {
        Value::Null
    }

    fn wanted(&self) -> usize {
        1
    }
}

fn extent(requests: u64, warmup: u64) -> Extent {
    let drain = Duration::from_secs(30);
    Extent { requests: Some(requests), duration: None, warmup, max_in_flight: 1000, drain, seed: 1 }
}

/// Puts a load on a target; gives the figures and the numbers of the judgments in the order of their ends.
fn measure(target: &Fake, load: Load, extent: &Extent, interrupt: bool) -> (Gathered, Vec<Sample>) {
    let (sender, receiver) = mpsc::channel();
    if interrupt {
        let sender = sender.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            let _ = sender.send(Event::Interrupted);
        });
    }
    let mut samples = Vec::new();
    let mix = mix(&[]);
    let gathered = Bench {
        target,
        mix: &mix,
        events: (&sender, &receiver),
        server_pid: None,
        each: &mut |_, sample| {
            let Sample { number, item, due, sent, ended, ref outcome } = *sample;
            samples.push(Sample { number, item, due, sent, ended, outcome: outcome.clone() });
        },
        live: &mut |_| {},
    }
    .measure(load, extent, 0);
    (gathered, samples)
}

const SOON: Duration = Duration::from_millis(2);

#[test]
fn a_closed_loop_keeps_its_number_in_flight_and_measures_what_comes_after_the_warm_up() {
    let fake = Fake::new(|_| Answer::After(SOON));
    let (gathered, samples) = measure(&fake, Load::Closed { concurrency: 3 }, &extent(20, 5), false);
    assert_eq!((gathered.succeeded(), samples.len(), fake.started.load(Ordering::Relaxed)), (20, 20, 25));
    assert_eq!(fake.most_running(), 3);
    let mut numbers: Vec<u64> = samples.iter().map(|sample| sample.number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    let point = gathered.point(&[]);
    assert_eq!((point.offered_per_s, point.interrupted, point.in_flight_at_end), (None, false, 0));
    assert!(point.judgments_per_s > 0.0);
}

#[test]
fn an_open_loop_sends_whatever_comes_back() {
    // The first measured judgment is answered last: in a closed loop nothing would be sent meanwhile.
    let fake = Fake::new(|number| Answer::After(if number == 2 { Duration::from_millis(300) } else { SOON }));
    let load = Load::Open { rate: 500.0, arrivals: Arrivals::Even, burst: 1 };
    let (gathered, samples) = measure(&fake, load, &extent(20, 2), false);
    assert_eq!((gathered.succeeded(), samples.last().unwrap().number), (20, 0));
    assert!(samples.iter().all(|sample| sample.sent >= sample.due && sample.ended >= sample.sent));
    let spacing: Vec<Duration> = {
        let mut due: Vec<Duration> = samples.iter().map(|sample| sample.due).collect();
        due.sort_unstable();
        due.windows(2).map(|two| two[1].saturating_sub(two[0])).collect()
    };
    assert!(spacing.iter().all(|gap| (1_999..=2_001).contains(&gap.as_micros())), "{spacing:?}");
}

#[test]
fn what_must_wait_for_room_has_its_latency_from_when_it_was_due() {
    let fake = Fake::new(|_| Answer::After(Duration::from_millis(20)));
    let load = Load::Open { rate: 10_000.0, arrivals: Arrivals::Poisson, burst: 1 };
    let extent = Extent { max_in_flight: 2, ..extent(10, 0) };
    let (gathered, samples) = measure(&fake, load, &extent, false);
    assert_eq!((gathered.succeeded(), fake.most_running()), (10, 2));
    // The last pair waited for four pairs before it.
    let last = samples.iter().find(|sample| sample.number == 9).unwrap();
    assert!(
        last.latency() >= Duration::from_millis(95) && last.sent.saturating_sub(last.due) >= Duration::from_millis(75)
    );
}

#[test]
fn answers_that_do_not_come_are_failures_and_their_places_are_freed() {
    let fake = Fake::new(|number| if number % 2 == 0 { Answer::Never } else { Answer::After(SOON) });
    let load = Load::Open { rate: 1000.0, arrivals: Arrivals::Even, burst: 1 };
    let extent = Extent { drain: Duration::from_millis(200), ..extent(10, 0) };
    let (gathered, _) = measure(&fake, load, &extent, false);
    assert_eq!((gathered.succeeded(), gathered.failed()), (5, 5));
    assert_eq!(gathered.failures["unfinished"].count, 5);
    assert!(gathered.failures["unfinished"].first.contains("--drain"));
    assert_eq!((fake.cancelled.load(Ordering::Relaxed), fake.running.0.load(Ordering::Relaxed)), (5, 0));
}

#[test]
fn a_target_that_only_fails_ends_the_load() {
    let fake = Fake::new(|_| Answer::Fails);
    let (gathered, _) = measure(&fake, Load::Closed { concurrency: 2 }, &extent(1_000_000, 0), false);
    assert_eq!(gathered.succeeded(), 0);
    assert!((HOPELESS..HOPELESS + 2).contains(&gathered.failed()), "{}", gathered.failed());
    let fake = Fake::new(|_| Answer::Fails);
    let (gathered, _) = measure(&fake, Load::Closed { concurrency: 2 }, &extent(10, 1000), false);
    assert_eq!(gathered.warm_failures["network"].count, HOPELESS + 1);
}

#[test]
fn an_interruption_keeps_what_was_measured() {
    let fake = Fake::new(|number| if number < 10 { Answer::After(SOON) } else { Answer::Never });
    let (gathered, samples) = measure(&fake, Load::Closed { concurrency: 4 }, &extent(100, 0), true);
    assert!(gathered.interrupted);
    assert_eq!((gathered.succeeded(), gathered.failed(), samples.len()), (10, 0, 10));
    assert_eq!((gathered.in_flight_at_end, fake.cancelled.load(Ordering::Relaxed)), (4, 4));
    assert!(gathered.point(&[]).seconds >= 0.09);
}

#[test]
fn a_load_by_time_counts_its_rate_over_that_time_and_waits_for_what_is_under_way() {
    // The second two are under way when the time is over.
    let fake = Fake::new(|number| Answer::After(if number < 2 { SOON } else { Duration::from_millis(700) }));
    let time = Duration::from_millis(500);
    let extent = Extent { requests: None, duration: Some(time), ..extent(0, 0) };
    let (gathered, samples) = measure(&fake, Load::Closed { concurrency: 2 }, &extent, false);
    let point = gathered.point(&[]);
    assert!((point.seconds - 0.5).abs() < 1e-9);
    assert!(samples.iter().all(|sample| sample.sent < time) && samples.iter().any(|sample| sample.ended > time));
    let within = samples.iter().filter(|sample| sample.ended <= time).count();
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let wanted = within as f64 / 0.5;
    assert!((point.judgments_per_s - wanted).abs() < 1e-6);
}
