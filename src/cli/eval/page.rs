//! An evaluation as one HTML page with its plots as inline SVG; it loads nothing.

use std::fmt::Write as _;

use super::super::report::page::{STYLE, escape};
use super::compare::{Comparison, number};
use super::summary::{Estimate, METRICS, Row, Summary};

/// Number of disagreements that are shown for each file.
const WORST: usize = 20;
/// Further rules of style.
pub(crate) const MORE: &str = "pre{white-space:pre-wrap;overflow-wrap:anywhere;border-left:3px solid #8888;padding-left:.7rem;margin:.3rem 0}\
line{stroke:currentColor;stroke-width:1.5}summary{cursor:pointer}";

/// The page.
pub(super) fn page(summaries: &[Summary], comparison: Option<&Comparison>) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Evaluation</title>\n<style>{STYLE}{MORE}</style>\n<h1>Evaluation</h1>\n<p>Means over items with 95 % bootstrap \
         intervals; items that failed count as wrong.</p>\n"
    );
    let bars: Vec<(String, Estimate)> = summaries
        .iter()
        .filter_map(|summary| Some((summary.name.clone(), summary.estimate(&METRICS[0], None)?)))
        .collect();
    plot(&mut page, "Accuracy on pairs", &bars);
    for summary in summaries {
        section(&mut page, summary);
    }
    if let Some(comparison) = comparison {
        page.push_str(
            "<h2>Comparison</h2>\n<table>\n<tr><th>first</th><th>second</th><th>items</th><th>difference in accuracy</th>\
             <th>95 % interval</th><th>p</th><th>p (Holm)</th><th>Cohen's kappa</th></tr>\n",
        );
        for pair in &comparison.pairs {
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:+.3}</td><td>[{:+.3}, {:+.3}]</td><td>{:.4}</td><td>{:.4}</td>\
                 <td>{}</td></tr>",
                escape(&pair.names[0]),
                escape(&pair.names[1]),
                pair.items,
                pair.difference,
                pair.interval.0,
                pair.interval.1,
                pair.p,
                pair.adjusted,
                number(pair.kappa)
            );
        }
        let _ = writeln!(
            page,
            "</table>\n<p>Krippendorff's alpha over all: {} on pairs, {} on values. p: paired permutation test.</p>",
            number(comparison.alpha[0]),
            number(comparison.alpha[1])
        );
    }
    page
}

fn section(page: &mut String, summary: &Summary) {
    let _ = writeln!(
        page,
        "<h2>{}</h2>\n<p>{} items, {} failed.</p>\n<table>\n<tr><th>metric</th><th>mean</th><th>95 % interval</th><th>items</th></tr>",
        escape(&summary.name),
        summary.rows.len(),
        summary.failed()
    );
    for metric in &METRICS {
        if let Some(one) = summary.estimate(metric, None) {
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td>{:.3}</td><td>[{:.3}, {:.3}]</td><td>{}</td></tr>",
                escape(metric.name),
                one.mean,
                one.low,
                one.high,
                one.items
            );
        }
    }
    page.push_str("</table>\n");
    if let Some([easy, normal, hard, all]) = summary.by_domain() {
        let _ = writeln!(
            page,
            "<p>RM-Bench, mean over domains: {all:.3} (easy {easy:.3}, normal {normal:.3}, hard {hard:.3}).</p>"
        );
    }
    let groups: Vec<(String, Estimate)> = summary
        .groups()
        .into_iter()
        .filter_map(|group| Some((group.to_owned(), summary.estimate(&METRICS[0], Some(group))?)))
        .collect();
    plot(page, "Accuracy by group", &groups);
    worst(page, &summary.rows);
}

/// By how much the judge prefers a worse response to a better one, and which.
fn fault(row: &Row) -> Option<(f64, usize, usize)> {
    row.scores.as_ref()?;
    let pairs = (0..row.values.len()).flat_map(|a| (0..row.values.len()).map(move |b| (a, b)));
    let wrong = pairs
        .filter(|&(better, worse)| {
            row.relevance[better] > row.relevance[worse] && row.values[worse] > row.values[better]
        })
        .map(|(better, worse)| (row.values[worse] - row.values[better], better, worse));
    wrong.max_by(|a, b| a.0.total_cmp(&b.0))
}

/// The principle of a result, and the criteria of its rubric.
fn judged_by(line: &serde_json::Value) -> String {
    let lead = line["principle"].as_str().filter(|lead| !lead.is_empty()).map(escape);
    let criteria = line["rubric"].as_array().into_iter().flatten().map(|criterion| {
        let text = |key: &str| escape(criterion[key].as_str().unwrap_or_default());
        match (text("name"), criterion["weight"].as_f64().unwrap_or(1.0)) {
            (name, weight) if name.is_empty() => format!("(weight {weight}) {}", text("criterion")),
            (name, weight) => format!("{name} (weight {weight}): {}", text("criterion")),
        }
    });
    lead.into_iter().chain(criteria).collect::<Vec<_>>().join("\n")
}

fn worst(page: &mut String, rows: &[Row]) {
    let mut faults: Vec<_> = rows.iter().filter_map(|row| Some((fault(row)?, row))).collect();
    faults.sort_by(|a, b| b.0.0.total_cmp(&a.0.0));
    if faults.is_empty() {
        return;
    }
    page.push_str("<h3>The worst disagreements</h3>\n");
    for ((margin, better, worse), row) in faults.into_iter().take(WORST) {
        let text = |value: &serde_json::Value| escape(value.as_str().unwrap_or_default());
        let (line, responses) = (&row.line, &row.line["responses"]);
        let _ = writeln!(
            page,
            "<details><summary>{} {}: prefers the worse response by {margin:.2}</summary>\n<p>Principle</p><pre>{}</pre><p>Prompt</p>\
             <pre>{}</pre>",
            escape(&row.group),
            escape(&row.id),
            judged_by(line),
            text(&line["prompt"])
        );
        for (what, index) in [("better", better), ("worse", worse)] {
            let name = &row.names[index];
            let _ = writeln!(
                page,
                "<p>{} ({what}), {:.2}</p><pre>{}</pre>",
                escape(name),
                row.values[index],
                text(&responses[name.as_str()])
            );
        }
        let _ = writeln!(page, "<p>Reasoning</p><pre>{}</pre></details>", text(&line["reasoning"]));
    }
}

/// One plot as a separate file: the accuracy of each of several results with its interval, and the tokens that it cost.
pub(super) fn figure(summaries: &[Summary]) -> String {
    let bars: Vec<(String, Estimate)> = summaries
        .iter()
        .filter_map(|summary| {
            let stem = std::path::Path::new(&summary.name).file_stem()?.to_string_lossy().into_owned();
            let tokens = METRICS.iter().find(|metric| metric.name == "tokens a judgment")?;
            let cost = summary.estimate(tokens, None).map_or(0.0, |one| one.mean);
            Some((format!("{stem} ({cost:.0} tokens)"), summary.estimate(&METRICS[0], None)?))
        })
        .collect();
    let mut figure = String::new();
    plot(&mut figure, "Accuracy on pairs", &bars);
    standalone(&figure)
}

/// The picture of a page as a file of its own.
pub(crate) fn standalone(page: &str) -> String {
    let start = page.find("<svg").unwrap_or(0);
    // A separate picture has no page whose colours it could use.
    page[start..].replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" color=\"#555\" ", 1).replacen(
        '>',
        "><style>text{font:12px system-ui,sans-serif;fill:currentColor}rect{fill:#5b8fc7}line{stroke:currentColor;\
         stroke-width:1.5}</style>",
        1,
    )
}

/// Bars of shares with their intervals.
fn plot(page: &mut String, title: &str, bars: &[(String, Estimate)]) {
    const ROW: usize = 24;
    const LEFT: f64 = 230.0;
    const WIDE: f64 = 380.0;
    if bars.is_empty() {
        return;
    }
    let height = bars.len() * ROW;
    let title = escape(title);
    let _ = writeln!(
        page,
        "<h3>{title}</h3>\n<svg viewBox=\"0 0 720 {height}\" width=\"720\" height=\"{height}\" role=\"img\" aria-label=\"{title}\">"
    );
    for (index, (label, one)) in bars.iter().enumerate() {
        let top = index * ROW;
        let x = |share: f64| LEFT + share.clamp(0.0, 1.0) * WIDE;
        let count = label.chars().count();
        // The end of a path is more useful than its beginning.
        let short: String = label.chars().skip(count.saturating_sub(30)).collect();
        let _ = writeln!(
            page,
            "<text x=\"222\" y=\"{}\" text-anchor=\"end\">{}</text><rect x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"14\" \
             opacity=\".6\"/><line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{}\" y2=\"{}\"/><text x=\"{:.1}\" y=\"{}\">{:.3}</text>",
            top + 16,
            escape(&short),
            top + 4,
            x(one.mean) - LEFT,
            x(one.low),
            x(one.high),
            top + 11,
            top + 11,
            x(one.high) + 8.0,
            top + 16,
            one.mean
        );
    }
    page.push_str("</svg>\n");
}
