//! The part of the API's description that tells of jobs.

use serde_json::{Map, Value, json};

use super::store::State;
use crate::server::openapi::{call, content, object, ok, query, reference};

/// The calls of [`super::routes`].
pub(in crate::server) fn paths(paths: &mut Map<String, Value>) {
    let id = json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } });
    let operation = |summary: &str, more: &[Value], body: Option<Value>, answers: Value| {
        let parameters: Vec<_> = std::iter::once(id.clone()).chain(more.iter().cloned()).collect();
        call(summary, "jobs", &parameters, body, answers)
    };
    let job = |description: &str| ok(description, content("application/json", reference("Job")));
    let created = || json!({ "description": "The new job", "content": content("application/json", reference("Job")) });
    let lines = || content("application/x-ndjson", json!({ "type": "string" }));
    let place = |name: &str, description: &str| query(name, json!({ "type": "integer", "minimum": 0 }), description);
    let upload = json!({
        "application/x-ndjson": { "schema": { "type": "string", "description": "A request on each line." } },
        "application/json": { "schema": { "type": "array", "minItems": 1, "items": reference("JudgeRequest") } },
    });

    let idempotent = json!({ "$ref": "#/components/parameters/IdempotencyKey" });
    let text = || json!({ "type": "string" });
    let parameters = [
        idempotent,
        query("name", text(), "A name for people, where the body is JSON Lines."),
        query("judge", text(), "The judge by name, where the body is JSON Lines."),
        query("keep_s", json!({ "type": "integer", "minimum": 1 }), "Seconds that results are kept."),
    ];
    let body = json!({
        "application/x-ndjson": { "schema": { "type": "string", "description": "A request on each line: the job starts at once." } },
        "application/json": { "schema": reference("NewJob") },
    });
    let mut answers = job("The job that was made with the same Idempotency-Key");
    answers["201"] = created();
    let create = call("Make a job", "jobs", &parameters, Some(body), answers);
    let limit = query("limit", json!({ "type": "integer", "minimum": 1, "maximum": 100 }), "Jobs on a page.");
    let before = query("before", text(), "The id of the last job of the page before.");
    let list = ok(
        "The caller's jobs, the newest first",
        content(
            "application/json",
            object(
                &["object", "data", "has_more"],
                json!({
                    "object": { "const": "list" }, "data": { "type": "array", "items": reference("Job") }, "has_more": { "type": "boolean" },
                }),
            ),
        ),
    );
    let list = call("The caller's jobs", "jobs", &[limit, before], None, list);
    paths.insert("/v1/jobs".into(), json!({ "get": list, "post": create }));

    let wait = json!({ "type": "number", "minimum": 0, "maximum": 600, "default": 0 });
    let wait = query("wait_s", wait, "Seconds to wait for the end of the job.");
    let gone = object(&["id", "deleted"], json!({ "id": text(), "object": text(), "deleted": { "const": true } }));
    paths.insert(
        "/v1/jobs/{id}".into(),
        json!({
            "get": operation("How far a job is", &[wait], None, job("The job")),
            "delete": operation("Delete a job and its results", &[], None, ok("It is gone", content("application/json", gone))),
        }),
    );
    let from = place("from", "The place of the first line. An upload that was repeated is taken once.");
    let part = [place("from", "The first line."), place("limit", "The most lines.")];
    paths.insert(
        "/v1/jobs/{id}/requests".into(),
        json!({
            "get": operation("The requests, as they were sent", &part, None, ok("A request on each line", lines())),
            "post": operation("Add requests", &[from], Some(upload), job("The job")),
        }),
    );
    paths.insert("/v1/jobs/{id}/start".into(), json!({ "post": operation("Start a job", &[], None, job("The job")) }));
    paths
        .insert("/v1/jobs/{id}/cancel".into(), json!({ "post": operation("Cancel a job", &[], None, job("The job")) }));
    let partial = query("partial", json!({ "type": "boolean", "default": false }), "Also of a job that still runs.");
    let [first, most] = part;
    let results = operation(
        "The results, in the order of the requests",
        &[first, most, partial],
        None,
        ok("A verdict or an error on each line", lines()),
    );
    paths.insert("/v1/jobs/{id}/results".into(), json!({ "get": results }));

    let any = || content("application/json", json!({ "type": "object" }));
    let list = content("application/json", json!({ "type": "array" }));
    let body = content(
        "application/json",
        object(
            &["requests"],
            json!({ "requests": { "type": "array", "minItems": 1, "items": reference("JudgeRequest") } }),
        ),
    );
    let answer = ok("Its id: `batch_request_id`, `requests`, `start_time`", any());
    paths.insert(
        "/api/batch_request".into(),
        json!({ "post": call("Submit a batch", "reference", &[], Some(body), answer) }),
    );
    let seconds = json!({ "type": "number", "minimum": 0, "maximum": 600, "default": 600 });
    let parameters = [id, query("max_timeout", seconds, "Seconds to wait; then the answer is 408.")];
    let results = call("The results of a batch", "reference", &parameters, None, ok("In order", list.clone()));
    paths.insert("/api/batch_request/{id}".into(), json!({ "get": results }));
    let clear = call("Forget the caller's batches", "reference", &[], None, ok("Done", any()));
    paths.insert("/api/clear_tasks".into(), json!({ "post": clear }));
    let tasks = json!({ "application/json": { "schema": {} } });
    paths.insert(
        "/api/list_tasks".into(),
        json!({ "get": call("The caller's batches", "reference", &[], None, ok("They", tasks)) }),
    );
}

/// What those calls give and take.
pub(in crate::server) fn schemas(schemas: &mut Value) {
    let count = json!({ "type": "integer", "minimum": 0 });
    let moment = json!({ "type": ["integer", "null"], "description": "Milliseconds since 1970." });
    let text = json!({ "type": "string" });
    let states = [State::Open, State::Running, State::Finished, State::Cancelled].map(State::name);
    schemas["Job"] = object(
        &["id", "object", "state", "requests", "done", "failed"],
        json!({
            "id": text, "object": { "const": "job" }, "name": text, "judge": text,
            "state": { "type": "string", "enum": states },
            "requests": count, "done": count, "failed": count,
            "created_ms": moment, "started_ms": moment, "ended_ms": moment, "expires_ms": moment,
            "problem": { "type": "string", "description": "Why it waits." },
        }),
    );
    schemas["NewJob"] = object(
        &[],
        json!({
            "name": { "type": "string", "maxLength": 200 },
            "judge": { "type": ["string", "null"] }, "model": { "type": ["string", "null"] },
            "keep_s": { "type": ["integer", "null"], "minimum": 1 },
            "options": { "type": "object", "description": "For every request that does not set them itself." },
            "requests": {
                "type": ["array", "null"], "items": reference("JudgeRequest"), "description": "With these the job starts at once.",
            },
        }),
    );
}
