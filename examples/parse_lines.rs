//! Reads verdicts from standard input, one JSON object a line: `text`, and `masked2real` (alias to name, in the order
//! shown) or `names`. Writes what was read, one JSON object a line, as `dicast parse --json` does for one text.

use std::io::{BufRead, BufWriter, Write};

use dicast::config::VerdictPolicy;
use dicast::prompt::mask::AliasMap;
use dicast::{Profile, verdict};
use serde_json::Value;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let profile = Profile::from_json(
        r#"{"format": 1, "name": "lines", "system_prompt": "Judge.", "reasoning": {"open": "<think>", "close": "</think>"}}"#,
    )?;
    let policy = VerdictPolicy::default();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let case: Value = serde_json::from_str(&line?)?;
        let text = case["text"].as_str().ok_or("a line has no text")?;
        let (json, _) = verdict::parse_to_json(text, &names(&case)?, &profile, &policy);
        serde_json::to_writer(&mut out, &json)?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

fn names(case: &Value) -> Result<AliasMap, &'static str> {
    if let Some(map) = case["masked2real"].as_object() {
        let real: Vec<String> = map.values().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        return Ok(AliasMap::new(real, map.keys().cloned().collect(), (0..map.len()).collect()));
    }
    let names = case["names"].as_array().ok_or("a line has neither masked2real nor names")?;
    Ok(AliasMap::identity(names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()))
}
