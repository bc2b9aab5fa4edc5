//! Every step of a judgment that runs on the host, each measured alone: reading a request, masking names, messages,
//! chat template, tokens, the plan with its grammar in each notation, reading the verdict.
//!
//! Template and tokenizer are those of the demonstration judge. `capi` measures all steps together; `guide` the grammar
//! at work; `verdict` damaged verdicts.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dicast::config::{Mask, Options, Settings, VerdictPolicy};
use dicast::decode::grammar::VerdictGrammar;
use dicast::decode::plan::Plan;
use dicast::prompt::mask::mask;
use dicast::prompt::messages::messages;
use dicast::prompt::template::ChatTemplate;
use dicast::prompt::tokenize::Tokenizer;
use dicast::prompt::{Prompter, ReasoningState, aliases};
use dicast::{JudgeRequest, Profile, verdict};

/// The numbers of responses.
const COUNTS: [usize; 3] = [2, 4, 16];

fn file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo").join(name))
        .expect("the demonstration judge is there")
}

fn profile() -> Profile {
    let json = String::from_utf8(file("dicast-demo.profile.json")).expect("a profile is UTF-8");
    Profile::from_json(&json).expect("the profile of the demonstration judge is valid")
}

fn template() -> ChatTemplate {
    let config: serde_json::Value = serde_json::from_slice(&file("hf/tokenizer_config.json")).expect("it is JSON");
    ChatTemplate::new(config["chat_template"].as_str().expect("a template"), None, None).expect("it is valid")
}

fn tokenizer() -> Arc<Tokenizer> {
    Arc::new(Tokenizer::from_json(&file("hf/tokenizer.json")).expect("the tokenizer is valid"))
}

fn settings() -> Settings {
    Options::default().resolve().expect("the defaults are valid")
}

/// A request with `count` responses of about a hundred words.
fn request(count: usize) -> JudgeRequest {
    let text =
        "Start with the official tutorial, type every example, then build something small that you need yourself. ";
    let responses = (1..=count).map(|number| (format!("answer {number}"), format!("{number}. {}", text.repeat(6))));
    JudgeRequest::new("Prefer clear, concise and helpful responses.", "How do I learn Python?", responses)
}

fn pieces(criterion: &mut Criterion) {
    let (profile, settings, tokenizer, template) = (profile(), settings(), tokenizer(), template());
    let prompter = Prompter::new(profile.clone(), self::template(), tokenizer.clone()).expect("the two fit");
    let mut group = criterion.benchmark_group("host");
    for count in COUNTS {
        let request = request(count);
        let json = serde_json::to_vec(&request).expect("a request is JSON");
        let names: Vec<String> = request.responses.iter().map(|response| response.name.clone()).collect();
        let shown = aliases(&profile, &request, &settings);
        let written = messages(&profile, &request, &shown);
        let segments = template.render(&written, true).expect("it renders");
        let tokens = tokenizer.encode(&segments).expect("it tokenizes");
        group.bench_function(BenchmarkId::new("mask", count), |bench| {
            bench.iter(|| mask(black_box(names.clone()), &profile.alias_prefix, Mask::Shuffle, 42));
        });
        group.bench_function(BenchmarkId::new("messages", count), |bench| {
            bench.iter(|| messages(&profile, black_box(&request), &shown));
        });
        group.bench_function(BenchmarkId::new("template", count), |bench| {
            bench.iter(|| template.render(black_box(&written), true));
        });
        group.throughput(Throughput::Bytes(json.len() as u64));
        group.bench_function(BenchmarkId::new("request", count), |bench| {
            bench.iter(|| JudgeRequest::from_json(black_box(&json)));
        });
        group.throughput(Throughput::Elements(tokens.len() as u64));
        group.bench_function(BenchmarkId::new("tokenize", count), |bench| {
            bench.iter(|| tokenizer.encode(black_box(&segments)));
        });
        group.bench_function(BenchmarkId::new("prompt", count), |bench| {
            bench.iter(|| prompter.prompt(black_box(&request), &settings));
        });
    }
    group.finish();
}

fn grammars(criterion: &mut Criterion) {
    let (profile, settings) = (profile(), settings());
    let mut group = criterion.benchmark_group("grammar");
    for count in COUNTS {
        let shown = aliases(&profile, &request(count), &settings);
        let grammar = VerdictGrammar::new(&profile.verdict, profile.scale, "", shown.shown());
        group.bench_function(BenchmarkId::new("plan", count), |bench| {
            bench.iter(|| Plan::new(&profile, &settings, black_box(&shown), ReasoningState::Unopened));
        });
        group
            .bench_function(BenchmarkId::new("lark", count), |bench| bench.iter(|| black_box(&grammar).whole().lark()));
        if count <= 4 {
            // There, rankings of more names are written in stages.
            group.bench_function(BenchmarkId::new("ebnf", count), |bench| {
                bench.iter(|| black_box(&grammar).whole().ebnf(None));
            });
            group.bench_function(BenchmarkId::new("schema", count), |bench| {
                bench.iter(|| black_box(&grammar).json_schema());
            });
        }
    }
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let (profile, settings, policy) = (profile(), settings(), VerdictPolicy::default());
    let mut group = criterion.benchmark_group("read");
    for count in COUNTS {
        let shown = aliases(&profile, &request(count), &settings);
        let (mut scores, mut ranking) = (String::new(), String::new());
        for (place, name) in shown.shown().iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(scores, "{comma}\"{name}\": {}", place % 5 + 1).expect("a string takes text");
            write!(ranking, "{comma}\"{name}\"").expect("a string takes text");
        }
        let answer = format!("{{\n  \"scores\": {{{scores}}},\n  \"best-to-worst\": [{ranking}]\n}}");
        let reasoning =
            "model-1 keeps to the principle and is complete; model-2 is close to it, with a mistake. ".repeat(8);
        let whole = format!("<think>\n{reasoning}</think>\n\n{answer}");
        assert!(verdict::parse(&whole, &shown, &profile, &policy).is_ok(), "{whole}");
        group.throughput(Throughput::Bytes(whole.len() as u64));
        group.bench_function(BenchmarkId::new("parts", count), |bench| {
            bench.iter(|| {
                verdict::parse_parts(whole.clone(), &reasoning, black_box(&answer), &shown, &profile, &policy)
            });
        });
        group.bench_function(BenchmarkId::new("text", count), |bench| {
            bench.iter(|| verdict::parse(black_box(&whole), &shown, &profile, &policy));
        });
    }
    group.finish();
}

criterion_group!(benches, pieces, grammars, read);
criterion_main!(benches);
