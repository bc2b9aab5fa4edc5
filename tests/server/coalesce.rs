//! Samples that arrive one by one and are judged together.

use std::thread;
use std::time::{Duration, Instant};

use dicast::engine::scripted::{Reply, Scripted};
use serde_json::{Value, json};

use crate::support::{FAIL, Got, HANG, Running, asked, begin, configured, script, serve, serve_with, until};

fn config(window_ms: u64, group_size: usize) -> dicast::server::ServerConfig {
    configured(json!({ "routes": [{
        "path": "/rm", "protocol": "slime", "principle": "p", "reward_key": "reward",
        "coalesce": { "window_ms": window_ms, "group_size": group_size },
    }] }))
}

/// Asks for the rewards of samples, all at once.
fn rewards(server: &Running, samples: &[(&str, &str)]) -> Vec<Got> {
    thread::scope(|scope| {
        let calls: Vec<_> = samples
            .iter()
            .map(|(prompt, response)| {
                let call = json!({ "prompt": prompt, "response": response });
                scope.spawn(move || server.post("/rm", &call))
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    })
}

#[test]
fn a_group_is_one_judgment_and_each_caller_gets_its_own_score() {
    let server = serve(config(20_000, 8));
    let texts: Vec<_> = (0..8).map(|number| format!("score={} of {number}", number % 5 + 1)).collect();
    let samples: Vec<_> = texts.iter().map(|text| ("Hi", text.as_str())).collect();
    let began = Instant::now();
    let answers = rewards(&server, &samples);
    assert!(began.elapsed() < Duration::from_secs(10), "it did not wait for the window");
    for (number, answer) in answers.iter().enumerate() {
        let answer = answer.good();
        assert_eq!((answer["reward"].clone(), answer["group"].clone()), (json!((number % 5 + 1) as f64), json!(8)));
    }
    assert_eq!(server.engine.submitted(), 1);
    assert_eq!(server.figure("dicast_coalesced_groups_total{route=\"/rm\",by=\"full\"}"), 1.0);
}

#[test]
fn the_window_closes_a_group_and_duplicates_are_judged_once() {
    let server = serve(config(400, 0));
    let samples = [("Hi", "score=2"), ("Hi", "score=2"), ("Hi", "score=5"), ("Other", "score=3")];
    let answers: Vec<_> = rewards(&server, &samples).iter().map(Got::good).collect();
    let column = |key: &str| answers.iter().map(|answer| answer[key].clone()).collect::<Vec<Value>>();
    assert_eq!(column("reward"), [json!(2.0), json!(2.0), json!(5.0), json!(3.0)]);
    assert_eq!(column("group"), [json!(2), json!(2), json!(2), json!(1)]);
    assert_eq!(server.engine.submitted(), 2);
    assert_eq!(server.figure("dicast_coalesced_samples_total{route=\"/rm\",what=\"duplicate\"}"), 1.0);
}

#[test]
fn a_sample_at_fault_does_not_take_its_neighbours_with_it() {
    let server = serve(config(20_000, 5));
    let samples = [("Hi", "score=1"), ("Hi", "score=2"), ("Hi", FAIL), ("Hi", "score=4"), ("Hi", "score=5")];
    let answers = rewards(&server, &samples);
    for (number, answer) in answers.iter().enumerate() {
        if number == 2 {
            assert_eq!(answer.failed(502), "invalid_verdict");
        } else {
            assert_eq!(answer.good()["reward"], json!((number + 1) as f64));
        }
    }
    assert_eq!(server.figure("dicast_coalesced_samples_total{route=\"/rm\",what=\"failed\"}"), 1.0);
}

#[test]
fn more_samples_than_a_judgment_holds_are_several_groups() {
    let server = serve(config(300, 0));
    let texts: Vec<_> = (0..40).map(|number| format!("score={} of {number}", number % 5 + 1)).collect();
    let samples: Vec<_> = texts.iter().map(|text| ("Hi", text.as_str())).collect();
    for (number, answer) in rewards(&server, &samples).iter().enumerate() {
        assert_eq!(answer.good()["reward"], json!((number % 5 + 1) as f64));
    }
    assert_eq!(server.engine.submitted(), 2);
}

#[test]
fn who_goes_away_leaves_the_group_and_the_last_one_ends_it() {
    let engine = Scripted::new(|job, _| {
        let responses = asked(job)["responses"].as_object().unwrap().len();
        if responses == 1 { script(job) } else { Reply::never() }
    });
    let server = serve_with(config(300, 0), engine);
    let call = |text: &str| {
        let body = json!({ "prompt": "Hi", "response": text }).to_string();
        begin(server.address, "POST", "/rm", &[("content-type", "application/json")], body.as_bytes())
    };
    // One client leaves before the group is judged: the other sample is judged alone.
    let gone = call("score=1");
    thread::sleep(Duration::from_millis(50));
    drop(gone);
    assert_eq!(rewards(&server, &[("Hi", "score=4")])[0].good()["group"], 1);
    // Both clients leave while it is judged: the judgment is cancelled.
    let both = (call("score=1"), call("score=2"));
    until(|| server.engine.submitted() == 2);
    drop(both);
    until(|| server.engine.cancelled() == 1);
}

#[test]
fn a_group_that_is_never_judged_is_out_of_time() {
    let mut config = config(10, 0);
    config.routes[0].options.timeout_ms = Some(200);
    let server = serve(config);
    assert_eq!(rewards(&server, &[("Hi", HANG)])[0].failed(504), "timeout");
}
