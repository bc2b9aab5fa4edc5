//! Judging through a server, by its URL.

#[path = "../remote/server.rs"]
#[allow(dead_code, reason = "the tests of the engine use the rest")]
pub(super) mod server;

use serde_json::{Value, json};

use super::support::{Folder, run, text};
use server::{Act, Dialect, Server};

const REQUEST: &str =
    r#"{"principle":"Be brief.","prompt":"Why?","responses":{"long":"score=2","short":"score=5","none":"score=1"}}"#;

#[test]
fn a_url_is_a_model() {
    let server = Server::new(Dialect::Vllm);
    let folder = Folder::new();
    let request = folder.file("r.json", REQUEST);
    let ran = run(["judge", "--json", "--model", &server.url, text(&request)]).succeeds();
    let verdict: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(verdict["scores"], json!({ "long": 2, "short": 5, "none": 1 }));
    assert_eq!(verdict["ranking"], json!(["short", "long", "none"]));
}

#[test]
fn doctor_says_what_a_server_can_do() {
    let server = Server::new(Dialect::Vllm);
    let ran = run(["doctor", "--probe-seconds", "0", &server.url]).succeeds();
    for words in ["opens with the remote engine", "vLLM 0.0-test, model judge", "grammar (EBNF)", "remote  yes"] {
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    }
    let ran = run(["doctor", "http://127.0.0.1:1"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot be reached"), "{}", ran.stderr);
}

#[test]
fn a_configuration_of_the_reference_is_read_as_it_is_and_shows_no_key() {
    let server = Server::scripted(Dialect::Other, |_, _| Act::Status(401, "{\"error\": \"wrong key\"}"));
    let folder = Folder::new();
    let config = json!({ "api_base": server.url, "api_key": "sesame", "api_model": "judge", "request_limit": 100,
        "generation_config": { "temperature": 0.0 }, "dump_individual_rsp": false });
    let config = folder.file("config.json", config.to_string());
    let request = folder.file("r.json", REQUEST);
    let ran = run(["judge", "--config", text(&config), text(&request)]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("wrong key") && !ran.stderr.contains("sesame"), "{}", ran.stderr);
    assert!(server.seen().iter().all(|seen| seen.headers["authorization"] == "Bearer sesame"));
}
