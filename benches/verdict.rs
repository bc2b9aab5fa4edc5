//! The reader of verdicts: a typical verdict, intact and damaged, and large texts; the time must only double with their
//! size.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dicast::config::VerdictPolicy;
use dicast::prompt::mask::AliasMap;
use dicast::{Profile, verdict};

fn profile() -> Profile {
    Profile::from_json(
        r#"{"format": 1, "name": "bench", "system_prompt": "Judge.", "reasoning": {"open": "<think>", "close": "</think>"}}"#,
    )
    .expect("the profile is valid")
}

fn names(count: usize) -> AliasMap {
    let numbered = |prefix: &str| (1..=count).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
    AliasMap::new(numbered("response "), numbered("model-"), (0..count).collect())
}

/// A guided verdict on `count` responses.
fn answer(count: usize) -> String {
    let mut text = String::from("{\n  \"scores\": {");
    for n in 1..=count {
        let comma = if n == count { "" } else { ", " };
        write!(text, "\"model-{n}\": {}{comma}", n % 5 + 1).expect("a string takes text");
    }
    text.push_str("},\n  \"best-to-worst\": [");
    for n in (1..=count).rev() {
        let comma = if n == 1 { "" } else { ", " };
        write!(text, "\"model-{n}\"{comma}").expect("a string takes text");
    }
    text.push_str("]\n}");
    text
}

const REASONING: &str = "Model-3 keeps to the principle and is complete. Model-1's answer is good but short; model-2 \
     does not follow the principle, since it repeats the question and answers another one. Model-4 is close to \
     model-1, with a mistake.";

fn typical(criterion: &mut Criterion) {
    let (profile, policy, names) = (profile(), VerdictPolicy::default(), names(4));
    let answer = answer(4);
    let clean = format!("<think>\n{REASONING}\n</think>\n\n{answer}");
    let fenced = format!("<think>\n{REASONING}\n</think>\n\nHere's my verdict:\n```json\n{answer}\n```\nThat's it.");
    let spoiled = clean.replace("\"model-", "'Model ").replace('"', "'").replace("]\n}", ",]");
    let mut group = criterion.benchmark_group("typical");
    for (name, text) in [("clean", &clean), ("fenced", &fenced), ("spoiled", &spoiled)] {
        assert!(verdict::parse(text, &names, &profile, &policy).is_ok(), "{text}");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new(name, text.len()), |bench| {
            bench.iter(|| verdict::parse(black_box(text), &names, &profile, &policy));
        });
    }
    group.bench_function(BenchmarkId::new("parts", clean.len()), |bench| {
        bench.iter(|| verdict::parse_parts(clean.clone(), REASONING, black_box(&answer), &names, &profile, &policy));
    });
    group.finish();
}

fn large(criterion: &mut Criterion) {
    let (profile, policy, names) = (profile(), VerdictPolicy::default(), names(4));
    let mut group = criterion.benchmark_group("large");
    group.sample_size(10);
    let pieces = [
        ("open_tags", "<think>"),
        ("close_tags", "</think>"),
        ("braces", "{"),
        ("brackets", "["),
        ("closing", "}]"),
        ("quotes", "\""),
        ("apostrophes", "'"),
        ("typographic", "{a:“"),
        ("spaces", " "),
        ("backslashes", "\\"),
        ("objects", "{\"a\":"),
        ("lists", "[\""),
        ("string_starts", "{\"a\":\"b"),
        ("numbers", "{\"a\":1}"),
        ("words", "model-1 "),
        ("comments", "{/*"),
        ("colons", "{a:"),
        ("verdicts", "{\"scores\": {\"model-1\": 4}, "),
        ("null", "\0"),
    ];
    for (name, piece) in pieces {
        for size in [1 << 19, 1 << 20] {
            let text = piece.repeat(size / piece.len());
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_with_input(BenchmarkId::new(name, size), &text, |bench, text| {
                bench.iter(|| verdict::parse(black_box(text), &names, &profile, &policy));
            });
        }
    }
    let long = format!("<think>{}</think>\n{}", REASONING.repeat((1 << 20) / REASONING.len()), answer(4));
    group.bench_with_input(BenchmarkId::new("reasoning", long.len()), &long, |bench, text| {
        bench.iter(|| verdict::parse(black_box(text), &names, &profile, &policy));
    });
    group.finish();
}

criterion_group!(benches, typical, large);
criterion_main!(benches);
