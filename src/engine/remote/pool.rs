//! The servers: which one gets the next request.
//!
//! A request takes a lease of a server. Waiting requests are served in the order in which they came, at the least
//! loaded server. Requests with the same beginning go to the same server while it has room, for its prefix cache.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use tokio::sync::{Notify, oneshot};

use crate::config::RemoteConfig;
use crate::engine::Priority;
use crate::engine::lines::Lines;
use crate::error::{Error, ErrorKind};

use super::facts::Facts;
use super::fault::Fault;
use super::pace::{Breaker, Window, mixed};

/// How long requests wait while no server is up.
const PATIENCE: Duration = Duration::from_secs(30);

/// One server.
pub(super) struct Endpoint {
    /// Its URL without `/v1` and without a slash at the end.
    pub(super) root: String,
    /// Its keys, taken in turn.
    pub(super) keys: Vec<HeaderValue>,
    turn: AtomicUsize,
    pub(super) facts: Mutex<Option<Arc<Facts>>>,
    state: Mutex<State>,
}

struct State {
    in_flight: usize,
    breaker: Breaker,
    window: Window,
    /// It asked not to be called until then.
    paused_until: Option<Instant>,
    /// It gets no more work.
    draining: bool,
    /// Its last failure.
    last: Option<String>,
}

impl Endpoint {
    pub(super) fn new(root: String, keys: Vec<HeaderValue>, config: &RemoteConfig) -> Arc<Self> {
        let period = Duration::from_millis(config.request_limit_period_ms);
        let state = State {
            in_flight: 0,
            breaker: Breaker::new(config.max_failures),
            window: Window::new(config.request_limit as usize, period),
            paused_until: None,
            draining: false,
            last: None,
        };
        let (turn, facts) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { root, keys, turn, facts, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next key.
    pub(super) fn key(&self) -> Option<&HeaderValue> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.keys.get(turn.checked_rem(self.keys.len())?)
    }

    /// What is known about it; `None` until it was probed.
    pub(super) fn facts(&self) -> Option<Arc<Facts>> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_facts(&self, facts: Facts) {
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(facts));
    }

    /// Whether it gets no work because of failures.
    pub(super) fn is_down(&self) -> bool {
        self.state().breaker.is_open()
    }

    /// The result of a health check.
    pub(super) fn checked(&self, healthy: bool) {
        let mut state = self.state();
        if healthy {
            if state.breaker.is_open() && state.in_flight == 0 {
                state.breaker.succeed();
            }
        } else {
            state.last = Some("it did not answer when its health was checked".into());
            state.breaker.fail(Instant::now());
        }
    }
}

/// A request that waits for a place.
struct Waiter {
    affinity: u64,
    /// Servers at which it has already failed.
    avoid: Vec<String>,
    give: oneshot::Sender<Result<Lease, Error>>,
}

/// When a request gets its place among those that wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turn {
    /// Its judgment has begun. It comes before those that have not, so that judgments end, and find their prompts in
    /// the caches.
    Begun,
    /// The first request of a judgment.
    New(Priority),
}

/// The requests that wait for a place.
#[derive(Default)]
struct Waiters {
    begun: VecDeque<Waiter>,
    new: Lines<Waiter>,
}

impl Waiters {
    fn push(&mut self, turn: Turn, waiter: Waiter) {
        match turn {
            Turn::Begun => self.begun.push_back(waiter),
            Turn::New(priority) => self.new.push(priority, waiter),
        }
    }

    fn first(&self) -> Option<&Waiter> {
        self.begun.front().or_else(|| self.new.first())
    }

    fn pop(&mut self) -> Option<Waiter> {
        self.begun.pop_front().or_else(|| self.new.pop())
    }
}

/// All servers.
pub(super) struct Pool {
    endpoints: Mutex<Vec<Arc<Endpoint>>>,
    waiters: Mutex<Waiters>,
    /// Since when no server has been up.
    down_since: Mutex<Option<Instant>>,
    changed: Arc<Notify>,
    most: usize,
}

/// A request's place at a server.
pub(super) struct Lease {
    pub(super) endpoint: Arc<Endpoint>,
    changed: Arc<Notify>,
    told: bool,
}

impl Lease {
    /// The request has succeeded.
    pub(super) fn succeed(mut self) {
        let mut state = self.endpoint.state();
        state.breaker.succeed();
        state.last = None;
        drop(state);
        self.told = true;
    }

    /// The request has failed.
    pub(super) fn fail(mut self, fault: &Fault) {
        let now = Instant::now();
        let mut state = self.endpoint.state();
        if let Some(wait) = fault.retry_after() {
            state.paused_until = Some(now + wait);
        }
        if fault.is_the_servers() {
            state.breaker.fail(now);
            state.last = Some(fault.clone().into_error(&self.endpoint.root, 1).message().to_owned());
        } else {
            state.breaker.end();
        }
        drop(state);
        self.told = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.endpoint.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        if !self.told {
            state.breaker.end();
        }
        drop(state);
        self.changed.notify_one();
    }
}

/// Whether a server can take a request.
enum Room {
    Free(usize),
    /// Not before that time, if it is known.
    Later(Option<Instant>),
    /// It is down until that time.
    Down(Option<Instant>),
}

impl Pool {
    pub(super) fn new(endpoints: Vec<Arc<Endpoint>>, config: &RemoteConfig) -> Self {
        Self {
            endpoints: Mutex::new(endpoints),
            waiters: Mutex::default(),
            down_since: Mutex::default(),
            changed: Arc::new(Notify::new()),
            most: config.num_workers as usize,
        }
    }

    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the servers: new ones get work, removed ones finish theirs.
    pub(super) fn replace(&self, endpoints: Vec<Arc<Endpoint>>) {
        let mut now = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        for endpoint in now.iter().filter(|old| !endpoints.iter().any(|new| Arc::ptr_eq(old, new))) {
            endpoint.state().draining = true;
        }
        *now = endpoints;
        drop(now);
        self.changed.notify_one();
    }

    /// Checks again which servers can take work.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Requests at servers.
    pub(super) fn in_flight(&self) -> usize {
        self.endpoints().iter().map(|endpoint| endpoint.state().in_flight).sum()
    }

    /// Waits for a place at a server; `affinity` is the same for requests that begin alike.
    pub(super) async fn lease(&self, turn: Turn, affinity: u64, avoid: &[String]) -> Result<Lease, Error> {
        let (give, taken) = oneshot::channel();
        self.waiters().push(turn, Waiter { affinity, avoid: avoid.to_vec(), give });
        self.changed.notify_one();
        taken.await.unwrap_or_else(|_| Err(Error::shut_down()))
    }

    /// A server other than those in `avoid`, if one has room now.
    pub(super) fn lease_now(&self, affinity: u64, avoid: &[String]) -> Option<Lease> {
        let endpoints = self.endpoints();
        let others: Vec<_> = endpoints.into_iter().filter(|endpoint| !avoid.contains(&endpoint.root)).collect();
        self.choose(&others, affinity, &[], Instant::now()).ok()
    }

    /// Gives out places for as long as it is polled.
    pub(super) async fn serve(&self) {
        loop {
            let wake = self.dispatch();
            let changed = self.changed.notified();
            match wake {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at.into(), changed).await;
                }
                None => changed.await,
            }
        }
    }

    /// Gives out places; returns when to do it again even if nothing has changed.
    fn dispatch(&self) -> Option<Instant> {
        let now = Instant::now();
        let endpoints = self.endpoints();
        self.note_outage(&endpoints, now);
        let mut wake = None;
        let mut waiters = self.waiters();
        while let Some(waiter) = waiters.first() {
            if waiter.give.is_closed() {
                waiters.pop();
                continue;
            }
            let outcome = match self.choose(&endpoints, waiter.affinity, &waiter.avoid, now) {
                Ok(lease) => Ok(lease),
                Err(next) => {
                    let Some(error) = self.outage(&endpoints, now) else {
                        wake = next;
                        break;
                    };
                    Err(error)
                }
            };
            if let Some(waiter) = waiters.pop() {
                // If the request no longer waits, the lease gives its place back.
                drop(waiter.give.send(outcome));
            }
        }
        let down = *self.down_since.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = down.filter(|_| waiters.first().is_some()).map(|since| since + PATIENCE);
        [wake, patience].into_iter().flatten().min()
    }

    /// Notes since when every server has been down.
    fn note_outage(&self, endpoints: &[Arc<Endpoint>], now: Instant) {
        let down = endpoints.iter().all(|endpoint| endpoint.is_down());
        let mut since = self.down_since.lock().unwrap_or_else(PoisonError::into_inner);
        *since = down.then(|| since.unwrap_or(now));
    }

    /// The error of waiting requests, if every server has been down for too long.
    fn outage(&self, endpoints: &[Arc<Endpoint>], now: Instant) -> Option<Error> {
        let since = (*self.down_since.lock().unwrap_or_else(PoisonError::into_inner))?;
        if now < since + PATIENCE {
            return None;
        }
        let last = endpoints.iter().find_map(|endpoint| endpoint.state().last.clone());
        let last = last.map(|last| format!("; the last failure: {last}")).unwrap_or_default();
        let count = endpoints.len();
        let servers = if count == 1 { "the server is".into() } else { format!("all {count} servers are") };
        Some(Error::new(ErrorKind::Network, format!("{servers} down for {} s{last}", PATIENCE.as_secs())))
    }

    /// A place at the best server; if there is none, when to look again.
    fn choose(
        &self,
        endpoints: &[Arc<Endpoint>],
        affinity: u64,
        avoid: &[String],
        now: Instant,
    ) -> Result<Lease, Option<Instant>> {
        let mut wake: Option<Instant> = None;
        let mut free: Vec<(bool, usize, u64, &Arc<Endpoint>)> = Vec::new();
        for endpoint in endpoints {
            match self.room(endpoint, now) {
                Room::Free(load) => {
                    let failed = avoid.contains(&endpoint.root);
                    free.push((failed, load, mixed(affinity ^ hash(endpoint.root.as_bytes())), endpoint));
                }
                Room::Later(at) | Room::Down(at) => {
                    wake = [wake, at].into_iter().flatten().min();
                }
            }
        }
        let Some(&(failed, least, ..)) = free.iter().min_by_key(|(failed, load, ..)| (*failed, *load)) else {
            return Err(wake);
        };
        // A warm cache is worth a few more requests at one server.
        let slack = least + 2 + least / 4;
        let chosen = free
            .iter()
            .filter(|(avoided, load, ..)| *avoided == failed && *load <= slack)
            .max_by_key(|(_, _, rank, _)| *rank)
            .expect("the least loaded one is among them");
        let endpoint = chosen.3.clone();
        let mut state = endpoint.state();
        state.in_flight += 1;
        state.breaker.begin();
        state.window.begin(now);
        drop(state);
        Ok(Lease { endpoint, changed: self.changed.clone(), told: false })
    }

    fn room(&self, endpoint: &Endpoint, now: Instant) -> Room {
        if endpoint.facts().is_none() {
            return Room::Down(None);
        }
        let mut state = endpoint.state();
        if state.draining {
            return Room::Down(None);
        }
        if let Err(until) = state.breaker.allows(now) {
            return Room::Down(until);
        }
        if let Some(until) = state.paused_until.filter(|&until| until > now) {
            return Room::Later(Some(until));
        }
        if state.in_flight >= self.most {
            return Room::Later(None);
        }
        match state.window.blocked_until(now) {
            Some(until) => Room::Later(Some(until)),
            None => Room::Free(state.in_flight),
        }
    }
}

/// A hash that is the same in every process (FNV-1a).
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(count: usize, config: &RemoteConfig) -> Pool {
        let endpoint = |number: usize| {
            let endpoint = Endpoint::new(format!("http://server-{number}"), Vec::new(), config);
            endpoint.set_facts(Facts::default());
            endpoint
        };
        Pool::new((0..count).map(endpoint).collect(), config)
    }

    fn take(pool: &Pool, affinity: u64) -> Result<Lease, Option<Instant>> {
        pool.choose(&pool.endpoints(), affinity, &[], Instant::now())
    }

    #[test]
    fn work_goes_to_the_least_loaded_and_stays_where_its_beginning_is() {
        let config = RemoteConfig { num_workers: 100, ..RemoteConfig::default() };
        let pool = pool(4, &config);
        let leases: Vec<_> = (0..200).map(|number| take(&pool, number).unwrap()).collect();
        let loads: Vec<_> = pool.endpoints().iter().map(|endpoint| endpoint.state().in_flight).collect();
        assert!(loads.iter().all(|load| (35..=65).contains(load)), "{loads:?}");
        drop(leases);
        assert_eq!(pool.in_flight(), 0);
        for affinity in 0..20 {
            let first = take(&pool, affinity).unwrap();
            let second = take(&pool, affinity).unwrap();
            assert_eq!(first.endpoint.root, second.endpoint.root);
        }
    }

    #[test]
    fn a_server_has_no_more_than_its_share_and_a_full_pool_gives_none() {
        let config = RemoteConfig { num_workers: 3, ..RemoteConfig::default() };
        let pool = pool(2, &config);
        let leases: Vec<_> = (0..6).map(|_| take(&pool, 1).unwrap()).collect();
        assert!(take(&pool, 1).is_err());
        drop(leases);
        assert!(take(&pool, 1).is_ok());
    }

    #[test]
    fn a_server_that_fails_gets_no_work_and_comes_back() {
        let config = RemoteConfig { max_failures: 2, ..RemoteConfig::default() };
        let pool = pool(2, &config);
        let bad = pool.endpoints()[0].clone();
        while !bad.is_down() {
            let lease = take(&pool, 0).unwrap();
            if Arc::ptr_eq(&lease.endpoint, &bad) {
                lease.fail(&Fault::Broken("reset".into()));
            } else {
                // Held, so that the other server is chosen.
                std::mem::forget(lease);
            }
        }
        for affinity in 0..50 {
            let lease = take(&pool, affinity).unwrap();
            assert!(!Arc::ptr_eq(&lease.endpoint, &bad));
        }
        bad.checked(true);
        assert!(!bad.is_down());
    }

    #[test]
    fn a_retry_goes_elsewhere_where_it_can() {
        let config = RemoteConfig::default();
        let pool = pool(3, &config);
        let failed = vec!["http://server-0".to_owned(), "http://server-2".to_owned()];
        for affinity in 0..20 {
            let lease = pool.choose(&pool.endpoints(), affinity, &failed, Instant::now()).unwrap();
            assert_eq!(lease.endpoint.root, "http://server-1");
        }
        let all: Vec<_> = pool.endpoints().iter().map(|endpoint| endpoint.root.clone()).collect();
        assert!(pool.choose(&pool.endpoints(), 1, &all, Instant::now()).is_ok());
        assert!(pool.lease_now(1, &all).is_none());
    }

    #[test]
    fn retry_after_pauses_a_server_and_draining_ends_its_work() {
        let pool = pool(1, &RemoteConfig::default());
        let fault = Fault::refused(429, b"", Some("60"));
        take(&pool, 0).unwrap().fail(&fault);
        let Err(Some(until)) = take(&pool, 0) else { panic!("it is not paused") };
        assert!(until > Instant::now() + Duration::from_secs(50));
        let old = pool.endpoints()[0].clone();
        pool.replace(Vec::new());
        assert!(old.state().draining && take(&pool, 0).is_err());
    }
}
