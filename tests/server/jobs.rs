//! Jobs over HTTP: uploads, results in order, limits, and the reference's batches that are fetched later.

use serde_json::{Value, json};

use super::support::{FAIL, Got, HANG, Running, SLOW, configured, request, send, serve, until};

const LINES: &[(&str, &str)] = &[("content-type", "application/x-ndjson")];

fn lines(count: usize) -> String {
    (0..count).fold(String::new(), |lines, index| {
        let mut line = request(&[&format!("score={}", index % 5 + 1), "score=3"]);
        line["id"] = format!("q{index}").into();
        lines + &line.to_string() + "\n"
    })
}

fn upload(server: &Running, path: &str, body: &str) -> Got {
    send(server.address, "POST", path, LINES, body.as_bytes())
}

fn finished(server: &Running, id: &str) -> Value {
    let job = server.get(&format!("/v1/jobs/{id}?wait_s=20")).good();
    assert_eq!(job["state"], "finished", "{job}");
    job
}

fn results(server: &Running, query: &str) -> Vec<Value> {
    let got = server.get(query);
    assert_eq!(got.status, 200, "{got:?}");
    got.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn server() -> Running {
    serve(configured(json!({})))
}

#[test]
fn a_job_is_one_call_and_its_results_are_lines_in_order() {
    let server = server();
    let body = format!("{}no request\n{}", lines(30), request(&[FAIL]));
    let made = upload(&server, "/v1/jobs?name=first", &body);
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location").unwrap(), format!("/v1/jobs/{id}"));
    let job = finished(&server, &id);
    assert_eq!((&job["requests"], &job["done"], &job["failed"]), (&json!(32), &json!(32), &json!(2)));
    let lines = results(&server, &format!("/v1/jobs/{id}/results"));
    for (index, line) in lines[..30].iter().enumerate() {
        assert_eq!((&line["index"], &line["id"]), (&json!(index), &json!(format!("q{index}"))));
        assert_eq!(line["scores"], json!({ "r0": index % 5 + 1, "r1": 3 }));
    }
    assert_eq!(lines[30]["error"]["kind"], "invalid_request");
    assert_eq!(lines[31]["error"]["kind"], "invalid_verdict");
    assert_eq!(results(&server, &format!("/v1/jobs/{id}/results?from=5&limit=2"))[1]["index"], 6);
    assert_eq!(server.get("/v1/jobs").good()["data"][0]["name"], "first");
    assert_eq!(send(server.address, "DELETE", &format!("/v1/jobs/{id}"), &[], b"").good()["deleted"], true);
    assert_eq!(server.get(&format!("/v1/jobs/{id}")).failed(404), "job_not_found");
}

#[test]
fn uploads_add_up_until_the_job_is_started() {
    let server = server();
    let id = server.post("/v1/jobs", &json!({ "options": { "seed": 3 } })).json()["id"].as_str().unwrap().to_owned();
    let path = |rest: &str| format!("/v1/jobs/{id}{rest}");
    assert_eq!(server.post(&path("/start"), &json!({})).failed(409), "job_state");
    assert_eq!(upload(&server, &path("/requests?from=0"), &lines(3)).good()["requests"], 3);
    assert_eq!(upload(&server, &path("/requests?from=0"), &lines(3)).failed(409), "job_state");
    assert_eq!(server.post(&path("/requests?from=3"), &json!([request(&["x"])])).good()["requests"], 4);
    assert_eq!(server.get(&path("/results")).failed(409), "job_state");
    assert_eq!(results(&server, &path("/results?partial=true"))[0], json!({ "index": 0, "pending": true }));
    server.post(&path("/start"), &json!({})).good();
    finished(&server, &id);
    assert_eq!(results(&server, &path("/results")).len(), 4);
    assert_eq!(server.get(&path("/requests")).body.lines().count(), 4);
}

#[test]
fn an_idempotency_key_gives_the_same_job_again() {
    let server = server();
    let headers = [LINES[0], ("idempotency-key", "one")];
    let send = || send(server.address, "POST", "/v1/jobs", &headers, lines(3).as_bytes());
    let (first, second) = (send(), send());
    assert_eq!((first.status, first.json()["id"].clone()), (201, second.json()["id"].clone()));
    assert_eq!(server.get("/v1/jobs").good()["data"].as_array().unwrap().len(), 1);
}

#[test]
fn a_cancelled_job_frees_the_engine_and_says_what_was_not_judged() {
    let server = server();
    let body = format!("{}\n{}\n", request(&["score=2"]), request(&[HANG]));
    let id = upload(&server, "/v1/jobs", &body).json()["id"].as_str().unwrap().to_owned();
    until(|| server.get(&format!("/v1/jobs/{id}")).good()["done"] == 1);
    assert_eq!(server.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).good()["state"], "cancelled");
    until(|| server.engine.cancelled() >= 1);
    let lines = results(&server, &format!("/v1/jobs/{id}/results"));
    assert_eq!((&lines[0]["scores"]["r0"], &lines[1]["error"]["kind"]), (&json!(2), &json!("cancelled")));
}

#[test]
fn limits_and_mistakes_are_errors_that_name_them() {
    let limits = json!({ "jobs": { "max_jobs": 2, "max_requests": 3, "max_upload_bytes": 2000 } });
    let server = serve(configured(limits));
    assert_eq!(upload(&server, "/v1/jobs", &lines(4)).failed(413), "too_large");
    assert_eq!(upload(&server, "/v1/jobs", &"x".repeat(2001)).failed(413), "too_large");
    assert_eq!(upload(&server, "/v1/jobs", "\n").failed(400), "invalid_request");
    assert_eq!(upload(&server, "/v1/jobs?judge=none", &lines(1)).failed(404), "model_not_found");
    assert_eq!(upload(&server, "/v1/jobs?nmae=x", &lines(1)).failed(400), "invalid_request");
    let form = [("content-type", "text/plain")];
    assert_eq!(send(server.address, "POST", "/v1/jobs", &form, b"{}").failed(415), "unsupported_media_type");
    assert_eq!(server.post("/v1/jobs", &json!({ "options": { "temperature": 9 } })).status, 400);
    assert_eq!(server.get("/v1/jobs/none").failed(404), "job_not_found");
    assert!(server.get("/v1/jobs").good()["data"].as_array().unwrap().is_empty(), "nothing of these is left");
    for _ in 0..2 {
        assert_eq!(upload(&server, "/v1/jobs", &lines(1)).status, 201);
    }
    assert_eq!(upload(&server, "/v1/jobs", &lines(1)).failed(413), "too_large");
}

#[test]
fn an_upload_with_a_key_may_be_as_large_as_one_without() {
    let server = serve(configured(json!({ "max_body_bytes": 4096, "jobs": { "max_upload_bytes": 20_000 } })));
    let keyed = [LINES[0], ("idempotency-key", "nightly")];
    let send = |body: &str| send(server.address, "POST", "/v1/jobs", &keyed, body.as_bytes());
    let body = lines(40);
    assert!(body.len() > 4096);
    let (made, again) = (send(&body), send(&body));
    assert_eq!((made.status, again.status), (201, 200), "{made:?} {again:?}");
    assert_eq!(made.json()["id"], again.json()["id"]);
    for refused in [send(&"x".repeat(20_001)), upload(&server, "/v1/jobs", &"x".repeat(20_001))] {
        assert_eq!(refused.failed(413), "too_large");
        assert!(refused.body.contains("server.jobs.max_upload_bytes"), "{refused:?}");
    }
}

#[test]
fn clients_see_their_own_jobs_alone() {
    let keys = json!([{ "name": "a", "key": "key-of-a-client" }, { "name": "b", "key": "key-of-b-client" }]);
    let server = serve(configured(json!({ "keys": keys })));
    let (a, b) = (("authorization", "Bearer key-of-a-client"), ("authorization", "Bearer key-of-b-client"));
    let made = send(server.address, "POST", "/v1/jobs", &[LINES[0], a], lines(2).as_bytes()).json();
    let path = format!("/v1/jobs/{}", made["id"].as_str().unwrap());
    assert_eq!(send(server.address, "GET", &path, &[a], b"").status, 200);
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("GET", format!("{path}/results")),
        ("POST", format!("{path}/cancel")),
    ] {
        assert_eq!(send(server.address, method, &path, &[b], b"").failed(404), "job_not_found");
    }
    assert!(send(server.address, "GET", "/v1/jobs", &[b], b"").good()["data"].as_array().unwrap().is_empty());
    assert_eq!(server.get("/v1/jobs").failed(401), "unauthorized");
    // Pages need no key: they hold no secret.
    assert_eq!((server.get("/").status, server.get("/jobs").status), (200, 200));
}

#[test]
fn the_references_batches_keep_order_and_names_and_choose_no_server() {
    let server = server();
    let requests: Vec<_> = (0..12).map(|index| request(&[&format!("score={}", index % 5 + 1), "score=2"])).collect();
    for field in ["api_base", "api_key", "api_proxy", "output_path"] {
        let refused = server.post("/api/batch_request", &json!({ "requests": requests, field: "x" }));
        assert_eq!(refused.failed(400), "invalid_request");
        assert!(refused.body.contains(field));
    }
    let batch = json!({ "requests": requests, "num_workers": 4, "output_path": null,
        "generation_config": { "temperature": 0.1, "max_tokens": 10 } });
    let made = server.post("/api/batch_request", &batch).good();
    assert_eq!(made["requests"], 12);
    assert!(made["start_time"].as_str().unwrap().starts_with("20"));
    assert_eq!(made["warnings"].as_array().unwrap().len(), 2, "{made}");
    let id = made["batch_request_id"].as_str().unwrap();
    let results = server.get(&format!("/api/batch_request/{id}?max_timeout=20")).good();
    for (index, result) in results.as_array().unwrap().iter().enumerate() {
        let scores = &result["results"]["scores"];
        assert_eq!(scores, &json!({ "r0": index % 5 + 1, "r1": 2 }));
        assert!(result["thoughts"].as_str().unwrap().contains("I look at 2"));
    }
    let listed = server.get("/api/list_tasks").good();
    assert_eq!((&listed[id]["complete"], &listed[id]["num_requests"]), (&json!(true), &json!(12)));
    assert_eq!(server.post("/api/clear_tasks", &json!({})).good()["message"], "All tasks cleared");
    assert_eq!(server.get(&format!("/api/batch_request/{id}")).status, 404);

    let slow = server.post("/api/batch_request", &json!({ "requests": [request(&[HANG])] })).good();
    let id = slow["batch_request_id"].as_str().unwrap();
    assert_eq!(server.get(&format!("/api/batch_request/{id}?max_timeout=0")).failed(408), "not_ready");
}

#[test]
fn jobs_leave_room_for_who_waits() {
    let server = server();
    // Slow requests: each takes 300 ms, eight at once.
    let body = format!("{}\n", request(&[SLOW])).repeat(80);
    let id = upload(&server, "/v1/jobs", &body).json()["id"].as_str().unwrap().to_owned();
    until(|| server.engine.most_running() >= 8);
    assert_eq!(server.post("/api/rewardanything", &request(&["score=4"])).good()["results"]["scores"]["r0"], 4);
    let job = server.get(&format!("/v1/jobs/{id}")).good();
    assert!(job["done"].as_u64().unwrap() < 40, "it did not wait for the job: {job}");
    assert_eq!(finished(&server, &id)["failed"], 0);
}
