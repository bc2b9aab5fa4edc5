//! Clients that know nothing about judges: `OpenAI`'s chat, and reranking.

use dicast::server::ServerConfig;
use serde_json::{Value, json};

use crate::support::{FAIL, request, serve};

#[test]
fn a_chat_holds_a_request_and_its_answer_the_verdict() {
    let server = serve(ServerConfig::default());
    let asked = request(&["score=2", "score=5"]).to_string();
    let chat =
        |messages: Value| json!({ "model": "second", "messages": messages, "temperature": 0.0, "max_tokens": 50 });
    let answer = server.post("/v1/chat/completions", &chat(json!([{ "role": "user", "content": asked }]))).good();
    assert_eq!((&answer["object"], &answer["model"]), (&json!("chat.completion"), &json!("second")));
    let message = &answer["choices"][0]["message"];
    let content: Value = serde_json::from_str(message["content"].as_str().unwrap()).unwrap();
    assert_eq!(content["scores"], json!({ "r0": 2, "r1": 5 }));
    assert_eq!(content["best-to-worst"], json!(["r1", "r0"]));
    assert!(message["reasoning"].as_str().unwrap().contains("2 responses"));
    // The principle may come from the system message.
    let without = json!({ "prompt": "q", "responses": { "a": "score=4" } }).to_string();
    let messages = json!([
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": [{ "type": "text", "text": without }] },
    ]);
    assert!(
        server.post("/v1/chat/completions", &chat(messages)).good()["choices"][0]["message"]["content"].is_string()
    );
    for (messages, n, status) in [
        (json!([{ "role": "user", "content": "Which is better?" }]), 1, 400),
        (json!([]), 1, 400),
        (json!([{ "role": "user", "content": asked }]), 2, 400),
        (json!([{ "role": "user", "content": request(&[FAIL]).to_string() }]), 1, 502),
    ] {
        let mut chat = chat(messages);
        chat["n"] = n.into();
        let got = server.post("/v1/chat/completions", &chat);
        assert_eq!(got.status, status, "{got:?}");
        assert!(got.json()["error"]["message"].is_string(), "{got:?}");
    }
}

#[test]
fn a_chat_streams_chunks() {
    let server = serve(ServerConfig::default());
    let chat =
        json!({ "messages": [{ "role": "user", "content": request(&["score=2"]).to_string() }], "stream": true });
    let got = server.post("/v1/chat/completions", &chat);
    assert_eq!(got.header("content-type"), Some("text/event-stream"));
    let mut chunks: Vec<_> = got.body.split("\n\n").filter_map(|chunk| chunk.strip_prefix("data: ")).collect();
    assert_eq!(chunks.pop(), Some("[DONE]"));
    let chunks: Vec<Value> = chunks.iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect();
    let joined = |key: &str| -> String {
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][key].as_str()).collect()
    };
    assert!(joined("reasoning").contains("1 responses"));
    let content: Value = serde_json::from_str(&joined("content")).unwrap();
    assert_eq!(content["scores"]["r0"], 2);
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
}

#[test]
fn documents_are_ranked_and_more_than_one_judgment_holds_are_merged() {
    let server = serve(ServerConfig::default());
    let asked = json!({ "query": "q", "documents": ["score=2", { "text": "score=5" }, "score=3"], "top_n": 2, "return_documents": true });
    for path in ["/v1/rerank", "/v2/rerank"] {
        let answer = server.post(path, &asked).good();
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results.len(), 2);
        assert_eq!((&results[0]["index"], &results[0]["relevance_score"]), (&json!(1), &json!(1.0)));
        assert_eq!((&results[1]["index"], &results[1]["document"]["text"]), (&json!(2), &json!("score=3")));
    }
    let many: Vec<_> =
        (0..70).map(|number| format!("score={}", if number == 64 { 5 } else { 1 + number % 4 })).collect();
    let answer = server.post("/v1/rerank", &json!({ "query": "q", "documents": many })).good();
    let results = answer["results"].as_array().unwrap();
    assert_eq!((results.len(), &results[0]["index"]), (70, &json!(64)));
    let mut indices: Vec<_> = results.iter().map(|result| result["index"].as_u64().unwrap()).collect();
    indices.sort_unstable();
    assert!(indices.into_iter().eq(0..70));
    for wrong in [
        json!({ "query": "q", "documents": [] }),
        json!({ "query": "q", "documents": [7] }),
        json!({ "query": "q", "documents": ["a"], "max_tokens_per_doc": 10 }),
    ] {
        assert_eq!(server.post("/v1/rerank", &wrong).failed(400), "invalid_request", "{wrong}");
    }
    assert_eq!(
        server.post("/v1/rerank", &json!({ "query": "q", "documents": ["a", FAIL] })).failed(502),
        "invalid_verdict"
    );
}
