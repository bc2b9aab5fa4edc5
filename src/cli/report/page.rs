//! A report as one HTML page with its plots as inline SVG; it loads nothing.

use std::fmt::Write as _;

use super::{Totals, number};

/// Most names that are shown; a file whose names differ from record to record may have thousands.
const NAMES: usize = 60;
pub(in super::super) const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child{text-align:left}h1{font-size:1.3rem;overflow-wrap:anywhere}h2{font-size:1.05rem;margin-top:2rem}\
svg text{font:12px system-ui,sans-serif;fill:currentColor}rect{fill:#3a6ea5}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}rect{fill:#7aa7d6}}";

/// The page.
pub(super) fn page(totals: &Totals, file: &str) -> String {
    let title = escape(file);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n<table>\n"
    );
    for (label, value) in totals.facts() {
        let _ = writeln!(page, "<tr><td>{}</td><td>{}</td></tr>", escape(&label), escape(&value));
    }
    page.push_str("</table>\n");
    let shown = &totals.names[..totals.names.len().min(NAMES)];
    if !shown.is_empty() {
        page.push_str(
            "<h2>Responses</h2>\n<table>\n<tr><th>name</th><th>judged</th><th>mean score</th><th>mean expected score</th>\
             <th>win rate</th><th>ranked first</th></tr>\n",
        );
        for (name, of) in shown {
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(name),
                of.judged,
                number(of.mean_score()),
                number(of.mean_expected()),
                number(of.win_rate()),
                of.first
            );
        }
        page.push_str("</table>\n");
        if shown.len() < totals.names.len() {
            let _ = writeln!(page, "<p>and {} more names</p>", totals.names.len() - shown.len());
        }
        let most = totals.scores.keys().next_back().copied().unwrap_or(1).max(1);
        #[expect(clippy::cast_precision_loss, reason = "a score of a few digits")]
        let most = most as f64;
        let bars = |value: fn(&super::OfName) -> Option<f64>| -> Vec<(String, f64, String)> {
            let bar = |(name, of): &(String, super::OfName)| {
                value(of).map(|value| (name.clone(), value, format!("{value:.2}")))
            };
            shown.iter().filter_map(bar).collect()
        };
        plot(&mut page, "Mean score", &bars(super::OfName::mean_score), most);
        plot(&mut page, "Win rate", &bars(super::OfName::win_rate), 1.0);
    }
    let highest = totals.scores.values().copied().max().unwrap_or(0);
    if highest > 0 {
        #[expect(clippy::cast_precision_loss, reason = "counts of scores")]
        let bars: Vec<_> =
            totals.scores.iter().map(|(score, count)| (score.to_string(), *count as f64, count.to_string())).collect();
        #[expect(clippy::cast_precision_loss, reason = "counts of scores")]
        plot(&mut page, "How often each score was given", &bars, highest as f64);
    }
    page
}

/// Horizontal bars with a label before and a value behind each.
fn plot(page: &mut String, title: &str, bars: &[(String, f64, String)], most: f64) {
    const ROW: usize = 22;
    const LEFT: usize = 210;
    const WIDE: f64 = 420.0;
    if bars.is_empty() {
        return;
    }
    let height = bars.len() * ROW;
    let _ = writeln!(
        page,
        "<h2>{title}</h2>\n<svg viewBox=\"0 0 700 {height}\" width=\"700\" height=\"{height}\" role=\"img\" aria-label=\"{title}\">"
    );
    for (row, (label, value, shown)) in bars.iter().enumerate() {
        let (top, wide) = (row * ROW, (value / most).clamp(0.0, 1.0) * WIDE);
        let short: String = label.chars().take(28).collect();
        let cut = if short.len() < label.len() { "…" } else { "" };
        let (text, label_end) = (top + 15, LEFT - 8);
        #[expect(clippy::cast_precision_loss, reason = "a place on a page")]
        let behind = LEFT as f64 + wide + 6.0;
        let _ = writeln!(
            page,
            "<text x=\"{label_end}\" y=\"{text}\" text-anchor=\"end\">{}{cut}</text><rect x=\"{LEFT}\" y=\"{}\" width=\"{wide:.1}\" \
             height=\"16\"/><text x=\"{behind:.1}\" y=\"{text}\">{}</text>",
            escape(&short),
            top + 3,
            escape(shown)
        );
    }
    page.push_str("</svg>\n");
}

/// Text that stays text in HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
