//! Opening and closing: with work in progress, many times, leaving nothing behind in the process.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use dicast::{ErrorKind, Judge};

use crate::support::{Folder, answer, check_distributions, request};

#[test]
fn closing_with_work_in_flight_ends_it_all() {
    let folder = Folder::new(&format!("step_us 5000\nrule\n{}no_end\n", answer(&[4, 2], &[0, 1])));
    let judge = folder.judge();
    let (sender, outcomes) = channel();
    for index in 0..100 {
        let sender = sender.clone();
        judge
            .submit(&request(2, &index.to_string()))
            .on_completion(move |verdict| sender.send(verdict.err().map(|error| error.kind())).unwrap());
    }
    drop((judge, sender));
    let kinds: Vec<_> = outcomes.iter().collect();
    assert_eq!(kinds.len(), 100);
    assert!(kinds.iter().all(|kind| matches!(kind, None | Some(ErrorKind::Closed))), "{kinds:?}");
    assert!(kinds.contains(&Some(ErrorKind::Closed)));
}

#[test]
fn closing_ends_within_its_bound_whatever_is_queued() {
    // Two judgments are computed at once, slowly; the library finishes everything before it stops. None ends before the
    // judge is closed, however long submitting takes: they are held until the shutdown.
    let slow = format!("step_us 20000\nrule\nhold held\n{}no_end\n", answer(&[4, 2], &[0, 1]));
    // Two libraries that hang: one in its stop, one in the call that the waiting thread is in.
    let stops = "shutdown_ms 60000\nrule\nhang_hard\n".to_owned();
    let awaits = format!("await_ms 60000\nrule\n{}", answer(&[4, 2], &[0, 1]));
    for (script, most) in [(slow, 10), (stops, 13), (awaits, 13)] {
        let folder = Folder::with(&script, &["--max-batch-size", "2"]);
        folder.write("held", "");
        let judge = folder.judge();
        let tickets: Vec<_> = (0..300).map(|index| judge.submit(&request(2, &index.to_string()))).collect();
        std::thread::sleep(Duration::from_millis(100));
        let start = std::time::Instant::now();
        drop(judge);
        assert!(start.elapsed() < Duration::from_secs(most), "{:?}", start.elapsed());
        for ticket in tickets {
            assert_eq!(ticket.wait().unwrap_err().kind(), ErrorKind::Closed);
        }
    }
}

#[test]
fn a_callback_may_drop_the_judge() {
    let folder = Folder::new(&format!("rule\n{}", answer(&[4, 2], &[0, 1])));
    // Either of the two may release it last; this is enough rounds to see both.
    for _ in 0..20 {
        let judge = Arc::new(folder.judge());
        let (sender, ended) = channel();
        let held = judge.clone();
        judge.submit(&request(2, "this")).on_completion(move |verdict| {
            drop(held);
            sender.send(verdict.err().map(|error| error.kind())).unwrap();
        });
        drop(judge);
        let outcome = ended.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(matches!(outcome, None | Some(ErrorKind::Closed)), "{outcome:?}");
    }
}

#[test]
fn a_hung_executor_does_not_hold_up_the_end() {
    let folder = Folder::new("rule\nhang_hard\n");
    let judge = folder.judge();
    let ticket = judge.submit(&request(2, "this"));
    drop(judge);
    assert_eq!(ticket.wait().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn two_judges_do_not_meet() {
    let one = Folder::new(&format!("rule\n{}", answer(&[5, 1], &[0, 1])));
    let other = Folder::new(&format!("rule\n{}", answer(&[1, 5], &[1, 0])));
    let (one, other) = (one.judge(), other.judge());
    let mut asked = request(2, "this");
    asked.options.mask = Some(dicast::config::Mask::Given);
    for _ in 0..5 {
        assert_eq!(one.judge(&asked).unwrap().ranking, [0, 1]);
        assert_eq!(other.judge(&asked).unwrap().ranking, [1, 0]);
    }
}

/// Resources of the process: file descriptors and resident memory in KiB.
fn held() -> (usize, usize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (descriptors, memory.split_whitespace().next().unwrap().parse().unwrap())
}

/// Set if this test runs in a separate process: other tests would change the measured resources.
const ALONE: &str = "DICAST_TEST_ALONE";

#[test]
fn opening_a_hundred_times_leaves_nothing() {
    if std::env::var_os(ALONE).is_none() {
        let program = std::env::current_exe().unwrap();
        let mut command = std::process::Command::new(program);
        command.args(["--exact", "lifecycle::opening_a_hundred_times_leaves_nothing", "--nocapture"]);
        let output = command.env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let folder = Folder::new(&format!("rule\n{}", answer(&[4, 2], &[0, 1])));
    let open = || {
        let judge = folder.judge();
        check_distributions(&request(2, "this"), &judge.judge(&request(2, "this")).unwrap());
    };
    (0..20).for_each(|_| open());
    let (descriptors, memory) = held();
    (0..100).for_each(|_| open());
    let (descriptors_after, memory_after) = held();
    assert_eq!(descriptors_after, descriptors);
    let grown = memory_after.saturating_sub(memory);
    // Sanitizers hold back freed memory to find later uses.
    let sanitized = std::env::var_os("DICAST_SANITIZER").is_some();
    assert!(sanitized || grown < 8 << 10, "{grown} KiB more than after the first 20 times");
}

#[test]
#[expect(unsafe_code, reason = "asks the system for a signal's handler")]
fn the_hosts_signal_handlers_stay() {
    extern "C" fn of_the_host(_: libc::c_int) {}
    let handler = of_the_host as extern "C" fn(libc::c_int) as libc::sighandler_t;
    let current = |signal| {
        // SAFETY: with a null new action the call only reads the current one, which is written to a live struct of that
        // type.
        unsafe {
            let mut action = std::mem::zeroed::<libc::sigaction>();
            assert_eq!(libc::sigaction(signal, std::ptr::null(), &raw mut action), 0);
            action.sa_sigaction
        }
    };
    let signals = [libc::SIGABRT, libc::SIGUSR2];
    // SAFETY: the handler does nothing, which is safe in any signal.
    let before = signals.map(|signal| unsafe { libc::signal(signal, handler) });
    let segv = current(libc::SIGSEGV);
    let folder = Folder::new("rule\n");
    let judge: Judge = folder.judge();
    assert_eq!(signals.map(current), [handler; 2]);
    assert_eq!(current(libc::SIGSEGV), segv);
    drop(judge);
    for (signal, handler) in signals.into_iter().zip(before) {
        // SAFETY: restores the handler that was there.
        unsafe { libc::signal(signal, handler) };
    }
}
