//! Bounds: any text ends in a verdict or a typed error, in time that grows with its size and no faster.

use std::time::{Duration, Instant};

use dicast::config::VerdictPolicy;
use dicast::prompt::mask::AliasMap;
use dicast::{ErrorKind, Profile, verdict};

const PIECES: &[&str] = &[
    "<think>",
    "</think>",
    "<",
    "{",
    "[",
    "}",
    "]",
    "(",
    "{}",
    "[]",
    "{{",
    "[{",
    "\"",
    "'",
    "`",
    "“",
    "”",
    "«",
    "\\",
    "\\\"",
    " ",
    "\n",
    "\0",
    "é",
    "😀",
    ":",
    ",",
    ".",
    "...",
    "#",
    "//",
    "/*",
    "<!--",
    "|",
    ">",
    "=",
    "&quot;",
    "{\"a\":",
    "{\"a\":1}",
    "{\"a\":1,",
    "{\"a\":\"b",
    "{a:“",
    "{a:'",
    "[\"",
    "[\"a\",",
    "{\"scores\":",
    "{\"scores\": {\"model-1\": 4}, ",
    "{\"scores\": {\"model-1\": 4}}",
    "\"a\"b",
    "\"a\", ",
    "{\\\"a\\\":",
    "{\\n",
    "model-1 ",
    "model-1: 4\n",
    "model-1 > ",
    "scores:\n",
    "ranking: ",
    "| model-1 | 4 |\n",
    "```\n",
    "<|im_end|>",
    "{a",
    "{\"a",
    "{/*",
    "1",
    "1,",
    "x\"",
    "=>",
];

fn parse(text: &str) -> Result<dicast::Verdict, dicast::Error> {
    let profile = Profile::from_json(
        r#"{"format": 1, "name": "test", "system_prompt": "Judge.", "reasoning": {"open": "<think>", "close": "</think>"}}"#,
    )
    .expect("the profile is valid");
    let names = AliasMap::new(
        vec!["a".into(), "b".into(), "c".into()],
        vec!["model-1".into(), "model-2".into(), "model-3".into()],
        vec![0, 1, 2],
    );
    verdict::parse(text, &names, &profile, &VerdictPolicy::default())
}

#[test]
fn repetitions_are_errors_and_take_linear_time() {
    let mut failed = Vec::new();
    for piece in PIECES {
        for (before, after) in [("", ""), ("<think>x</think>\n", ""), ("{\"scores\": ", "\"}")] {
            let text = |size: usize| format!("{before}{}{after}", piece.repeat(size / piece.len()));
            let time = |text: &str| {
                let start = Instant::now();
                let kind = parse(text).map(|_| ()).map_err(|error| error.kind());
                assert_eq!(kind, Err(ErrorKind::InvalidVerdict), "{piece:?}");
                start.elapsed()
            };
            let (small, large) = (text(1 << 13), text(1 << 17));
            let small = (0..3).map(|_| time(&small)).min().expect("three times");
            // Sixteen times the text; quadratic time would be 256 times as long. The first try mostly passes; a busy
            // machine gets more.
            let limit = small * 64 + Duration::from_millis(150);
            let mut large_took = Duration::MAX;
            for _ in 0..3 {
                large_took = large_took.min(time(&large));
                if large_took <= limit {
                    break;
                }
            }
            let large = large_took;
            if large > limit {
                failed.push(format!("{before:?} {piece:?}: {small:?} for 8 KiB, {large:?} for 128 KiB"));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn deep_nesting_is_an_error() {
    for open in ["{\"a\":", "[", "{\"scores\":", "(", "[{\"a\":"] {
        assert!(parse(&open.repeat(100_000)).is_err(), "{open}");
    }
}

#[test]
fn a_verdict_after_a_long_reasoning_is_read() {
    let reasoning = "Model-1 says {x: \"y\"} and model-2's <b>fine</b>. ".repeat(20_000);
    let verdict =
        r#"{"scores": {"model-1": 4, "model-2": 2, "model-3": 5}, "best-to-worst": ["model-3", "model-1", "model-2"]}"#;
    let read = parse(&format!("<think>{reasoning}</think>\n{verdict}")).expect("a verdict");
    assert_eq!(read.ranking, [2, 0, 1]);
    assert_eq!(read.reasoning, reasoning.trim());
    assert!(read.repairs.is_empty());
}

#[test]
fn time_grows_with_the_number_of_names_and_no_faster() {
    let profile = Profile::builtin();
    let names = |count: usize| {
        let real = (1..=count).map(|name| format!("owner/{name}x")).collect();
        AliasMap::new(real, (1..=count).map(|name| format!("model-{name}")).collect(), (0..count).collect())
    };
    let each = |count: usize, write: &dyn Fn(usize) -> String, between: &str| {
        (1..=count).map(write).collect::<Vec<_>>().join(between)
    };
    let styles: [(&str, &dyn Fn(usize) -> String); 4] = [
        ("JSON with commas too many", &|count| {
            let scores = each(count, &|name| format!("\"Model {name}\": 4,"), " ");
            format!(
                "{{\"scores\": {{{scores}}}, \"best-to-worst\": [{}]}}",
                each(count, &|name| format!("\"{name}\""), ", ")
            )
        }),
        ("lines", &|count| {
            let ranking = each(count, &|name| format!("model-{name}"), " > ");
            format!("{}\n\nRanking: {ranking}", each(count, &|name| format!("model-{name}: 4"), "\n"))
        }),
        ("records on lines", &|count| {
            each(count, &|name| format!("{{\"model\": \"model-{name}\", \"score\": 4, \"rank\": {name}}}"), "\n")
        }),
        ("a table", &|count| {
            let rows = each(count, &|name| format!("| model-{name} | 2 | 4 | {name} |"), "\n");
            format!("| Model | Clarity | Overall | Rank |\n|---|---|---|---|\n{rows}")
        }),
    ];
    for (style, write) in styles {
        let time = |count: usize, times: usize| {
            let (text, names) = (write(count), names(count));
            let once = || {
                let start = Instant::now();
                let read = verdict::parse(&text, &names, &profile, &VerdictPolicy::default());
                assert_eq!(read.map(|verdict| verdict.ranking).ok(), Some((0..count).collect()), "{style}");
                start.elapsed()
            };
            (0..times).map(|_| once()).min().expect("a time")
        };
        let (small, large) = (time(500, 3), time(8_000, 2));
        // Sixteen times the names; quadratic time would be 256 times as long.
        assert!(large < small * 80 + Duration::from_millis(100), "{style}: {small:?} for 500, {large:?} for 8,000");
    }
}
