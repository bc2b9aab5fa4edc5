//! The protocols of trainers, in the form in which each calls.

use serde_json::{Value, json};

use crate::support::{FAIL, HANG, Running, asked, configured, send, serve, serve_with, until};
use dicast::engine::scripted::Scripted;

fn server(route: Value) -> Running {
    serve(configured(json!({ "routes": [route] })))
}

fn chatml(prompt: &str, response: &str) -> String {
    format!("<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n{response}<|im_end|>\n")
}

#[test]
fn openrlhf_sends_texts_with_their_prompts() {
    let server = server(json!({ "path": "/get_reward", "protocol": "openrlhf", "principle": "Be brief." }));
    let prompt = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
    let call = json!({ "query": [format!("{prompt}score=4<|im_end|>")], "prompts": [prompt], "labels": ["4"] });
    let answer = server.post("/get_reward", &call).good();
    assert_eq!((&answer["rewards"], &answer["scores"]), (&json!([4.0]), &json!([0.75])));
    assert_eq!(answer["extra_logs"]["judge_score"], json!([4.0]));
    // A rank without samples.
    assert_eq!(
        server.post("/get_reward", &json!({ "query": [], "prompts": [], "labels": [] })).good()["rewards"],
        json!([])
    );
    // Several samples of one prompt are one judgment.
    let before = server.engine.submitted();
    let query: Vec<_> = ["score=1", "score=5", "score=1"].iter().map(|text| chatml("Hi", text)).collect();
    let answer = server.post("/get_reward", &json!({ "query": query, "prompts": [], "labels": [] })).good();
    assert_eq!((answer["rewards"].clone(), server.engine.submitted() - before), (json!([1.0, 5.0, 1.0]), 1));
    let failed = server.post("/get_reward", &json!({ "query": [chatml("Hi", FAIL)] }));
    assert_eq!(failed.failed(502), "invalid_verdict");
    assert_eq!(server.post("/get_reward", &json!({ "query": ["no marks"] })).failed(400), "invalid_request");
}

#[test]
fn slime_gets_a_number_or_an_object() {
    let plain = server(json!({ "path": "/rm", "protocol": "slime", "principle": "p", "normalize": true }));
    let call = json!({ "prompt": "Hi", "response": "score=3<|im_end|>", "label": null });
    assert_eq!(plain.post("/rm", &call).good(), json!(0.5));
    let call = json!({ "prompt": [{ "role": "user", "content": "Hi" }], "response": "score=5", "label": "x" });
    assert_eq!(plain.post("/rm", &call).good(), json!(1.0));
    assert_eq!(plain.post("/rm", &json!({ "prompt": 7, "response": "x" })).failed(400), "invalid_request");
    let keyed = server(json!({ "path": "/rm", "protocol": "slime", "principle": "p", "reward_key": "value" }));
    assert_eq!(keyed.post("/rm", &call).good()["value"], json!(5.0));
}

#[test]
fn llama_factory_sends_whole_texts() {
    let server = server(json!({ "path": "/v1/score/evaluation", "protocol": "llama_factory", "principle": "p" }));
    let call = json!({ "model": "m", "messages": [chatml("a", "score=2"), chatml("b", "score=4")] });
    let answer = server.post("/v1/score/evaluation", &call).good();
    assert_eq!((&answer["object"], &answer["scores"]), (&json!("score.evaluation"), &json!([2.0, 4.0])));
}

#[test]
fn the_routes_of_vllm_score_texts_and_pairs() {
    let server = serve(configured(json!({ "routes": [
        { "path": "/classify", "protocol": "classify", "principle": "p" },
        { "path": "/score", "protocol": "score", "principle": "p" },
        { "path": "/pooling", "protocol": "pooling", "principle": "p" },
    ] })));
    let text = chatml("a", "score=2");
    let classified = server.post("/classify", &json!({ "model": "m", "input": text })).good();
    assert_eq!(classified["data"][0]["probs"], json!([2.0]));
    let messages = json!([{ "role": "user", "content": "a" }, { "role": "assistant", "content": "score=3" }]);
    let pooled = server.post("/pooling", &json!({ "messages": messages })).good();
    assert_eq!((&pooled["data"][0]["data"], &pooled["data"][0]["embedding"]), (&json!([3.0]), &json!([3.0])));
    assert_eq!(server.post("/pooling", &json!({ "messages": [messages[0]] })).failed(400), "invalid_request");
    let before = server.engine.submitted();
    let scored = server.post("/score", &json!({ "text_1": "a", "text_2": ["score=1", "score=5"] })).good();
    assert_eq!((&scored["data"][0]["score"], &scored["data"][1]["score"]), (&json!(1.0), &json!(5.0)));
    assert_eq!(server.engine.submitted() - before, 1, "one prompt is one judgment");
    let pairs = json!({ "queries": ["a", "b"], "documents": ["score=1", "score=5"] });
    assert_eq!(server.post("/score", &pairs).good()["data"][1]["score"], 5.0);
    assert_eq!(server.post("/score", &json!({ "text_1": ["a", "b"], "text_2": "x" })).failed(400), "invalid_request");
}

#[test]
fn roll_submits_and_polls() {
    let mut server = server(json!({ "path": "/reward", "protocol": "roll", "principle": "p" }));
    let address = server.address;
    let submit = |response: &str| {
        let call = json!({ "priority": 1, "project_id": "x", "prompt": "Hi", "response": response, "timeout": 20 });
        let answer = server.post("/reward", &call).good();
        assert_eq!(answer["errcode"], 0);
        answer["reward_request_id"].as_str().unwrap().to_owned()
    };
    let ask =
        move |id: &str| send(address, "GET", "/reward", &[], json!({ "reward_request_id": id }).to_string().as_bytes());
    // A question waits for the reward, and an answer that was lost can be had again.
    let id = submit("SLOW score=4");
    for answer in [ask(&id), server.get(&format!("/reward?reward_request_id={id}"))] {
        let answer = answer.good();
        assert_eq!((&answer["errcode"], &answer["reward_score"]), (&json!(0), &json!(4.0)));
    }
    // ROLL would ask on after an HTTP error.
    let failed = ask(&submit(FAIL)).good();
    assert_eq!((&failed["errcode"], &failed["reward_score"]), (&json!(0), &Value::Null));
    assert_eq!(failed["kind"], "invalid_verdict");
    assert!(!failed["errmsg"].as_str().unwrap().is_empty());
    assert_eq!(ask("unknown").failed(404), "not_found");
    // A server that ends keeps nobody waiting.
    let id = submit(HANG);
    let waiting = std::thread::spawn(move || ask(&id).good());
    until(|| server.figure("dicast_http_in_flight") >= 2.0);
    server.stop();
    assert_eq!(waiting.join().unwrap()["errcode"], 1);
}

#[test]
fn nemo_gym_verifies_a_rollout_and_compares_responses() {
    let server = serve(configured(json!({ "routes": [
        { "path": "/verify", "protocol": "nemo_gym_verify", "principle": "p" },
        { "path": "/compare", "protocol": "nemo_gym_compare", "principle": "p" },
    ] })));
    let response = |text: &str| {
        json!({ "output": [
            { "type": "reasoning", "summary": [] },
            { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": text, "annotations": [] }] },
        ] })
    };
    let rollout = json!({
        "responses_create_params": { "input": [{ "role": "user", "content": "Hi" }] }, "response": response("score=4"), "extra": 7,
    });
    let verified = server.post("/verify", &rollout).good();
    assert_eq!((&verified["reward"], &verified["extra"]), (&json!(4.0), &json!(7)));
    assert_eq!(verified["response"], rollout["response"]);
    let compared = json!({
        "conversation_history": [{ "role": "user", "content": "Hi" }],
        "response_objs": [response("score=1"), response("score=5"), response("score=2")],
        "principle": "Be long.",
    });
    assert_eq!(server.post("/compare", &compared).good()["rewards"], json!([1.0, 5.0, 2.0]));
    let empty = json!({ "responses_create_params": { "input": "Hi" }, "response": { "output": [] } });
    assert_eq!(server.post("/verify", &empty).failed(400), "invalid_request");
    // With observation on, calls name the rollout in the path.
    assert_eq!(server.post("/ng-rollout/7-0/verify", &rollout).good()["reward"], 4.0);
}

#[test]
fn nemo_gym_finds_a_whole_resources_server() {
    let server = server(json!({ "path": "/verify", "protocol": "nemo_gym_verify", "principle": "p" }));
    assert_eq!(
        server.post("/seed_session", &json!({ "responses_create_params": { "input": "Hi" } })).good(),
        json!({})
    );
    let named = json!({ "resources_session_id": "s", "episode_id": { "rollout_id": "r" } });
    for path in ["/seed_session", "/close_session"] {
        assert_eq!(server.post(path, &named).good(), json!({ "resources_session_id": "s" }));
    }
    assert_eq!(server.get("/reverify_mode").good(), "stateless");
    let rollout = |task: u64, repeat: u64, reward: f64| json!({ "_ng_task_index": task, "_ng_rollout_index": repeat, "reward": reward });
    let mut masked = rollout(1, 1, 0.0);
    masked["mask_sample"] = true.into();
    let run = json!({ "verify_responses": [rollout(0, 0, 1.0), rollout(0, 1, 2.0), rollout(1, 0, 5.0), masked] });
    let sums = server.post("/aggregate_metrics", &run).good();
    let agent = &sums["agent_metrics"];
    for (name, value) in [("mean", 8.0 / 3.0), ("max", 5.0), ("min", 1.0), ("median", 2.0), ("std", 2.081_665_999)] {
        assert!((agent[format!("{name}/reward")].as_f64().unwrap() - value).abs() < 1e-6, "{name}: {sums}");
    }
    assert_eq!((&agent["num_repeats"], &agent["coverage/masked_rollouts"]), (&json!(2), &json!(1)));
    assert_eq!(sums["key_metrics"]["mean/reward"], agent["mean/reward"]);
    let groups = sums["group_level_metrics"].as_array().unwrap();
    let means: Vec<_> = groups.iter().map(|group| (&group["_ng_task_index"], &group["mean/reward"])).collect();
    assert_eq!(means, [(&json!(0), &json!(1.5)), (&json!(1), &json!(5.0))]);
    let none = server.post("/aggregate_metrics", &json!({ "verify_responses": [] })).good();
    assert_eq!((&none["key_metrics"], &none["group_level_metrics"]), (&json!({}), &json!([])));
    // No other route may have one of these paths.
    let double = json!({ "server": { "routes": [
        { "path": "/verify", "protocol": "nemo_gym_verify", "principle": "p" },
        { "path": "/seed_session", "protocol": "slime", "principle": "p" },
    ] } });
    let config = dicast::server::ServerFile::read(double.to_string().as_bytes())
        .and_then(|file| dicast::server::Server::new(file.server, Vec::new()));
    assert!(config.err().unwrap().message().contains("/seed_session"));
}

#[test]
fn kserve_infers_from_json_and_from_bytes() {
    let server = server(json!({ "path": "/v2/models/reward/infer", "protocol": "kserve", "principle": "p" }));
    assert_eq!(server.get("/v2/health/ready").status, 200);
    assert_eq!(server.get("/v2/models/reward").good()["outputs"][0]["name"], "rewards");
    let (one, two) = (chatml("a", "score=2"), chatml("a", "score=4"));
    let call =
        json!({ "inputs": [{ "name": "sentences", "shape": [2, 1], "datatype": "BYTES", "data": [[one], [two]] }] });
    let answer = server.post("/v2/models/reward/infer", &call).good();
    assert_eq!((&answer["outputs"][0]["data"], &answer["outputs"][0]["shape"]), (&json!([2.0, 4.0]), &json!([2, 1])));
    let mut bytes = u32::try_from(one.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(one.as_bytes());
    let head = json!({ "inputs": [{ "name": "sentences", "shape": [1, 1], "datatype": "BYTES",
        "parameters": { "binary_data_size": bytes.len() } }] })
    .to_string();
    let length = head.len().to_string();
    let headers = [("inference-header-content-length", length.as_str()), ("content-type", "application/octet-stream")];
    let whole = [head.as_bytes(), &bytes].concat();
    let answer = send(server.address, "POST", "/v2/models/reward/infer", &headers, &whole).good();
    assert_eq!(answer["outputs"][0]["data"], json!([2.0]));
    let short = send(server.address, "POST", "/v2/models/reward/infer", &headers, &whole[..whole.len() - 3]);
    assert_eq!(short.failed(400), "invalid_request");
}

#[test]
fn the_judge_sees_the_principle_of_the_route_and_a_label_where_that_is_asked_for() {
    let (seen, told) = std::sync::mpsc::channel();
    let seen = std::sync::Mutex::new(seen);
    let engine = Scripted::new(move |job, _| {
        let asked = asked(job);
        seen.lock().unwrap().send((asked["principle"].clone(), asked["prompt"].clone())).unwrap();
        crate::support::script(job)
    });
    let config = configured(json!({ "routes": [
        { "path": "/rm", "protocol": "slime", "principle": "Be kind.", "label_as_reference": true },
    ] }));
    let server = serve_with(config, engine);
    server.post("/rm", &json!({ "prompt": "<|im_start|>user\nHi<|im_end|>\n", "response": "x", "label": "42" })).good();
    assert_eq!(told.recv().unwrap(), (json!("Be kind."), json!("Hi\n\nReference answer: 42")));
}
