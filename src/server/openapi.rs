//! The description of the API, `OpenAPI` 3.1, served at `/openapi.json` and committed as `docs/openapi.json`.

#![expect(clippy::needless_pass_by_value, clippy::too_many_lines, reason = "tables, whose values are made in place")]

use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::config::JudgeConfig;
use crate::error::ErrorKind;

use super::body::json as written;
use super::jobs;

pub(super) async fn document() -> Response {
    written(&build())
}

pub(super) fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

pub(super) fn content(kind: &str, schema: Value) -> Value {
    json!({ kind: { "schema": schema } })
}

/// A call with a body of JSON.
fn post(summary: &str, tag: &str, body: Value, answers: Value) -> Value {
    json!({ "post": call(summary, tag, &[], Some(body), answers) })
}

fn get(summary: &str, tag: &str, answers: Value) -> Value {
    json!({ "get": call(summary, tag, &[], None, answers) })
}

/// One operation; every failure is a problem.
pub(super) fn call(summary: &str, tag: &str, parameters: &[Value], body: Option<Value>, mut answers: Value) -> Value {
    let problem = json!({ "$ref": "#/components/responses/Problem" });
    for status in ["4XX", "5XX"] {
        answers[status] = problem.clone();
    }
    let mut call = json!({ "summary": summary, "tags": [tag], "responses": answers });
    if !parameters.is_empty() {
        call["parameters"] = parameters.into();
    }
    if let Some(body) = body {
        call["requestBody"] = json!({ "required": true, "content": body });
    }
    call
}

pub(super) fn ok(description: &str, content: Value) -> Value {
    json!({ "200": { "description": description, "content": content } })
}

pub(super) fn query(name: &str, schema: Value, description: &str) -> Value {
    json!({ "name": name, "in": "query", "required": false, "schema": schema, "description": description })
}

/// The whole description.
pub(super) fn build() -> Value {
    let mut paths = Map::new();
    let mut add = |path: &str, item: Value| {
        paths.insert(path.to_owned(), item);
    };
    let json_of = |schema: &str| content("application/json", reference(schema));
    let idempotent = json!({ "$ref": "#/components/parameters/IdempotencyKey" });
    let with_key = |mut item: Value| {
        item["post"]["parameters"] = json!([idempotent]);
        item
    };
    let verdict = ok(
        "The verdict. With `stream` or `Accept: text/event-stream`: events `queued`, `started`, `reasoning`, then `verdict` or `error`.",
        json!({
            "application/json": { "schema": reference("Verdict") },
            "text/event-stream": { "schema": {} },
        }),
    );
    add("/v1/judge", with_key(post("Judge the responses of one request", "judge", json_of("JudgeCall"), verdict)));
    let batch_body = json!({
        "application/json": { "schema": { "type": "array", "minItems": 1, "items": reference("JudgeRequest") } },
        "application/x-ndjson": { "schema": { "type": "string", "description": "A request on each line." } },
    });
    let order = json!({ "type": "string", "enum": ["request", "finished"], "default": "request" });
    let parameters = [
        query("order", order, "Lines in the order of the requests, or as they finish."),
        query("judge", json!({ "type": "string" }), "The judge, by name."),
    ];
    let lines = ok(
        "A line of JSON for each request: `{\"index\", \"status\", \"verdict\"}` or `{\"index\", \"status\", \"error\"}`.",
        content("application/x-ndjson", json!({ "type": "string" })),
    );
    let batch = call("Judge many requests", "judge", &parameters, Some(batch_body), lines);
    add("/v1/judge/batch", json!({ "post": batch }));
    let rewards = ok("A reward for each response, in their order", json_of("Rewards"));
    add(
        "/v1/rewards",
        with_key(post("Rewards of the responses to one prompt", "judge", json_of("JudgeCall"), rewards)),
    );
    add("/v1/models", get("The judges of this server", "judge", ok("The judges", json_of("Models"))));
    let chat = ok(
        "The verdict, as content of the message. With `stream`: chunks, as `OpenAI` streams them.",
        json!({
            "application/json": { "schema": { "type": "object" } },
            "text/event-stream": { "schema": {} },
        }),
    );
    add("/v1/chat/completions", post("A judge request as a chat", "other clients", json_of("Chat"), chat));
    for path in ["/v1/rerank", "/v2/rerank"] {
        let answer = ok("Documents, the most relevant first", json_of("Reranked"));
        add(path, post("Rank documents by a query", "other clients", json_of("Rerank"), answer));
    }
    let one = ok("The verdict", json_of("ReferenceVerdict"));
    add("/api/rewardanything", with_key(post("Judge one request", "reference", json_of("JudgeRequest"), one)));
    let list =
        json!({ "type": "array", "items": { "anyOf": [reference("ReferenceVerdict"), reference("FailedItem")] } });
    let body =
        content("application/json", json!({ "type": "array", "minItems": 1, "items": reference("JudgeRequest") }));
    let seconds = json!({ "type": "number", "minimum": 0.001, "maximum": 86_400 });
    let parameters = [query("max_timeout", seconds, "Seconds for the whole batch.")];
    let many = call(
        "Judge many requests, in order",
        "reference",
        &parameters,
        Some(body),
        ok("A verdict or an error for each request", content("application/json", list)),
    );
    add("/api/rewardanything_batch", json!({ "post": many }));
    let object = || content("application/json", json!({ "type": "object" }));
    add("/health", get("The server lives", "operation", ok("It does", object())));
    let deep =
        query("deep", json!({ "type": "boolean", "default": false }), "Also have the judge judge something small.");
    let answer = ok("It can; 503 while the judge is loaded, or where the engine does not answer", object());
    add("/ready", json!({ "get": call("The server can judge", "operation", &[deep], None, answer) }));
    let text = content("text/plain", json!({ "type": "string" }));
    add("/metrics", get("Figures for Prometheus", "operation", ok("The figures", text)));
    add("/openapi.json", get("This description", "operation", ok("The description", object())));
    jobs::openapi::paths(&mut paths);
    let mut schemas = schemas();
    jobs::openapi::schemas(&mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Dicast",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Judges responses by a principle in plain language",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{}, { "bearer": [] }, { "header": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "header": { "type": "apiKey", "in": "header", "name": "x-api-key" },
            },
            "parameters": {
                "IdempotencyKey": {
                    "name": "Idempotency-Key", "in": "header", "required": false,
                    "schema": { "type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[!-~]+$" },
                    "description": "The same request with the same key gets the same answer, and is judged once.",
                },
            },
            "responses": {
                "Problem": {
                    "description": "What went wrong",
                    "headers": { "Retry-After": { "schema": { "type": "integer" }, "description": "Seconds to wait." } },
                    "content": {
                        "application/problem+json": { "schema": reference("Problem") },
                        "application/json": { "schema": { "type": "object" } },
                    },
                },
            },
            "schemas": schemas,
        },
    })
}

pub(super) fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties })
}

fn schemas() -> Value {
    let text = json!({ "type": "string" });
    let number = json!({ "type": "number" });
    let numbers = json!({ "type": "object", "additionalProperties": number });
    let texts = json!({ "type": "array", "items": text });
    let conversation = json!({
        "anyOf": [text, { "type": "array", "minItems": 1, "items": object(&["role", "content"], json!({ "role": text, "content": text })) }],
    });
    let mut options = JudgeConfig::schema()["properties"]["options"].take();
    options["description"] = "Settings of this request. Those that are null are not set.".into();
    for (_, setting) in options["properties"].as_object_mut().into_iter().flatten() {
        *setting = json!({ "anyOf": [setting.take(), { "type": "null" }] });
    }
    let request = |more: Value| {
        let mut properties = json!({
            "principle": { "type": "string", "description": "What to judge by, in plain language." },
            "prompt": conversation,
            "responses": {
                "description": "Responses by name, in order, or a list of them.",
                "anyOf": [
                    { "type": "object", "minProperties": 1, "additionalProperties": text },
                    { "type": "array", "minItems": 1, "items": text },
                ],
            },
            "reference": { "type": ["string", "null"], "description": "A reference answer." },
            "mask_responses": { "type": ["boolean", "null"], "description": "Hide the names from the judge." },
            "rubric": {
                "description": "Weighted criteria, or the name of a rubric; `principle` may be left out then.",
                "anyOf": [text, { "type": "array" }, { "type": "null" }],
            },
            "options": { "anyOf": [options, { "type": "null" }] },
        });
        if let (Value::Object(properties), Value::Object(more)) = (&mut properties, more) {
            properties.extend(more);
        }
        let mut schema = object(&["prompt", "responses"], properties);
        schema["anyOf"] = json!([{ "required": ["principle"] }, { "required": ["rubric"] }]);
        schema["additionalProperties"] = false.into();
        schema
    };
    let kinds: Vec<_> = ErrorKind::all().map(ErrorKind::name).collect();
    let partial = json!({ "type": ["object", "null"], "description": "What could be read of an incomplete verdict." });
    json!({
        "JudgeRequest": request(json!({})),
        "JudgeCall": request(json!({
            "judge": { "type": ["string", "null"], "description": "The judge, by name." },
            "stream": { "type": "boolean", "description": "Answer with events." },
        })),
        "Verdict": object(&["scores", "ranking"], json!({
            "scores": numbers,
            "expected_scores": { "type": "object", "additionalProperties": { "type": ["number", "null"] } },
            "scale_mass": { "type": "object", "additionalProperties": { "type": ["number", "null"] },
                "description": "How likely the judge would have written a score of the scale without a grammar, or at least how likely, if not all tokens are seen; left out if the engine does not tell." },
            "distributions": { "type": "object", "additionalProperties": { "type": ["array", "null"], "items": number } },
            "ranking": { "type": "array", "items": text, "description": "Names, best first." },
            "reasoning": text,
            "repairs": { "type": "array", "items": {} },
            "flags": { "type": "array", "items": {} },
            "aliases": { "type": "object", "additionalProperties": text },
            "usage": { "type": "object", "additionalProperties": { "type": "integer" } },
            "timing_ms": numbers,
            "preferences": {
                "type": "object",
                "description": "Of a calibrated judge: how sure it is of each two responses, and where it abstains.",
                "properties": {
                    "error_rate": { "type": ["number", "null"], "description": "At most this share of the answers is wrong." },
                    "threshold": { "type": "number", "description": "It abstains unless two values differ by more than this." },
                    "wins": numbers,
                    "pairs": { "type": "array", "items": object(
                        &["first", "second", "probability", "better", "abstain"],
                        json!({
                            "first": text, "second": text, "better": { "type": ["string", "null"] },
                            "abstain": { "type": "boolean" },
                            "probability": { "type": "number", "description": "That the first one is better." },
                        }),
                    ) },
                },
            },
            "raw": text,
        })),
        "Rewards": object(&["rewards", "scores", "names", "ranking"], json!({
            "rewards": { "type": "array", "items": number, "description": "Expected scores, or scores where there are none." },
            "scores": { "type": "array", "items": number },
            "names": texts,
            "ranking": { "type": "array", "items": { "type": "integer" }, "description": "Places in `rewards`, best first." },
            "repairs": { "type": "array", "items": {} },
            "flags": { "type": "array", "items": {} },
        })),
        "Models": object(&["object", "data"], json!({
            "object": { "const": "list" },
            "data": { "type": "array", "items": object(&["id", "object", "loaded"], json!({
                "id": text, "object": { "const": "model" }, "loaded": { "type": "boolean" }, "default": { "type": "boolean" },
            })) },
        })),
        "Chat": object(&["messages"], json!({
            "model": { "type": ["string", "null"], "description": "The judge, by name." },
            "messages": { "type": "array", "items": object(&["role", "content"], json!({ "role": text, "content": text })),
                "description": "The last message of the user is a judge request, as JSON. Its principle may be the system message." },
            "stream": { "type": "boolean" },
        })),
        "Rerank": object(&["query", "documents"], json!({
            "model": { "type": ["string", "null"], "description": "The judge, by name." },
            "query": text,
            "documents": { "type": "array", "minItems": 1, "items": { "anyOf": [text, object(&["text"], json!({ "text": text }))] } },
            "top_n": { "type": ["integer", "null"], "minimum": 0 },
            "return_documents": { "type": ["boolean", "null"] },
            "principle": { "type": ["string", "null"], "description": "What to rank by." },
        })),
        "Reranked": object(&["results"], json!({
            "results": { "type": "array", "items": object(&["index", "relevance_score"], json!({
                "index": { "type": "integer" }, "relevance_score": { "type": "number", "minimum": 0, "maximum": 1 },
            })) },
        })),
        "ReferenceVerdict": object(&["thoughts", "results"], json!({
            "thoughts": text,
            "results": object(&["scores", "best-to-worst"], json!({ "scores": numbers, "best-to-worst": texts })),
        })),
        "FailedItem": object(&["error", "results"], json!({ "error": { "type": "object" }, "results": { "type": "null" } })),
        "Problem": object(&["type", "title", "status", "detail", "kind", "retryable"], json!({
            "type": text, "title": text, "status": { "type": "integer" }, "detail": text,
            "kind": { "type": "string", "description": format!("The kind of the error: {}, or one of HTTP's own.", kinds.join(", ")) },
            "retryable": { "type": "boolean" },
            "partial": partial,
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_description_is_the_one_that_is_served() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        let built = serde_json::to_string_pretty(&build()).unwrap() + "\n";
        if std::env::var_os("DICAST_BLESS").is_some() {
            std::fs::write(&path, &built).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == built, "docs/openapi.json is not what is served: run the test with DICAST_BLESS=1");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, whole: &Value) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(place)) = map.get("$ref") {
                        assert!(whole.pointer(&place[1..]).is_some(), "{place}");
                    }
                    map.values().for_each(|value| walk(value, whole));
                }
                Value::Array(items) => items.iter().for_each(|item| walk(item, whole)),
                _ => {}
            }
        }
        let built = build();
        walk(&built, &built);
    }
}
