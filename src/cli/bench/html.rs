//! A report as one HTML page with its plots as inline SVG; it loads nothing.

use std::fmt::Write as _;

use super::super::report::escape;
use super::output::{described, size, sweep};
use super::plot::{Axis, Frame, Line, legend};
use super::point::{Point, Report, figure, time};

/// Most loads in the plots with a line for each load; more lines cannot be told apart.
const SHOWN: usize = 6;

const STYLE: &str = "
:root{color-scheme:light dark;--page:#f9f9f7;--card:#fcfcfb;--ink:#0b0b0b;--soft:#52514e;--faint:#898781;--grid:#e1e0d9;
--base:#c3c2b7;--s1:#2a78d6;--s2:#eb6834;--s3:#1baf7a;--s4:#eda100;--s5:#4a3aa7;--s6:#e87ba4}
@media(prefers-color-scheme:dark){:root{--page:#0d0d0d;--card:#1a1a19;--ink:#fff;--soft:#c3c2b7;--faint:#898781;--grid:#2c2c2a;
--base:#383835;--s1:#3987e5;--s2:#d95926;--s3:#199e70;--s4:#c98500;--s5:#9085e9;--s6:#d55181}}
body{font:15px/1.5 system-ui,sans-serif;max-width:58rem;margin:2rem auto;padding:0 1rem;color:var(--ink);background:var(--page)}
h1{font-size:1.3rem;margin-bottom:.2rem}h2{font-size:1.05rem;margin:0 0 .2rem}p{margin:.2rem 0;color:var(--soft);overflow-wrap:anywhere}
section{background:var(--card);border:1px solid var(--grid);border-radius:8px;padding:1rem 1.2rem;margin:1rem 0;overflow-x:auto}
.tiles{display:flex;flex-wrap:wrap;gap:1rem 2.5rem}.tiles b{display:block;font-size:1.7rem;font-weight:600;line-height:1.2}
.tiles span{color:var(--soft);font-size:.85rem}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums;margin:.4rem 0}
td,th{padding:.25rem .7rem;border-bottom:1px solid var(--grid);text-align:right;white-space:nowrap}th{color:var(--soft);font-weight:500}
td:first-child,th:first-child{text-align:left;padding-left:0}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;font-size:.85rem;color:var(--soft);margin:.4rem 0}
.legend i{display:inline-block;width:.75rem;height:.75rem;border-radius:2px;margin-right:.4rem;vertical-align:-1px}
.legend i.old{background:none!important;border-top:2px dashed var(--faint);height:0;vertical-align:4px;border-radius:0;width:1.2rem}
svg{display:block;width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:var(--soft)}
svg .value{fill:var(--ink)}svg .grid{stroke:var(--grid)}svg .base{stroke:var(--base)}
";

/// The page; `old` is an earlier run that is drawn for comparison.
pub(super) fn page(report: &Report, old: Option<&Report>) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>dicast bench</title>\n<style>{STYLE}</style>\n<h1>Latency and throughput</h1>\n"
    );
    let mut fact = |label: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(page, "<p>{label}: {}</p>", escape(value));
        }
    };
    fact("Target", &described(&report.target));
    fact("Requests", &described(&report.requests));
    fact("Machine", &described(&report.machine));
    fact("Measured", &format!("{}, dicast {}", report.date, report.version));
    fact("Note", report.note.as_deref().unwrap_or_default());
    if let Some(old) = old {
        let note = old.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
        fact("Before, dashed", &format!("{}, dicast {}{note}", old.date, old.version));
    }
    tiles(&mut page, report);
    curves(&mut page, report, old);
    phases(&mut page, &report.points);
    distribution(&mut page, &report.points);
    figures(&mut page, report);
    failures(&mut page, &report.points);
    page
}

fn tiles(page: &mut String, report: &Report) {
    let mut tiles: Vec<(String, String)> = Vec::new();
    let done: Vec<&Point> = report.points.iter().filter(|point| point.succeeded > 0).collect();
    if let Some(best) = done.iter().max_by(|one, other| one.judgments_per_s.total_cmp(&other.judgments_per_s)) {
        tiles.push((figure(best.judgments_per_s), format!("judgments/s at most ({})", best.load)));
    }
    if let Some(light) = done.first() {
        let median = light.latency_ms.p50.unwrap_or(light.latency_ms.mean);
        tiles.push((time(median), format!("median latency ({})", light.load)));
    }
    if let Some((rate, sure)) = report.sweep.as_ref().and_then(|swept| swept.held) {
        let sure = if sure { "" } else { ", not certain" };
        tiles.push((figure(rate), format!("judgments/s held under the objective{sure}")));
    }
    let cpu = done.iter().filter_map(|point| point.server.or(point.process)?.cpu_seconds_per_judgment);
    if let Some(least) = cpu.min_by(f64::total_cmp) {
        tiles.push((time(least * 1e3), "least processor time per judgment".into()));
    }
    let memory =
        done.iter().filter_map(|point| point.server.or(point.process)).map(|process| process.peak_resident_bytes);
    if let Some(most) = memory.max() {
        tiles.push((size(most), "peak resident memory".into()));
    }
    let failed: u64 = report.points.iter().map(|point| point.failed).sum();
    tiles.push((failed.to_string(), if failed == 1 { "judgment failed" } else { "judgments failed" }.into()));
    page.push_str("<section class=\"tiles\">\n");
    for (value, label) in tiles {
        let _ = writeln!(page, "<div><b>{}</b><span>{}</span></div>", escape(&value), escape(&label));
    }
    page.push_str("</section>\n");
    if let Some(swept) = &report.sweep {
        let _ = writeln!(page, "<p>{}</p>", escape(&sweep(swept)));
    }
}

/// Latency over throughput, a line for each quantile.
fn curves(page: &mut String, report: &Report, old: Option<&Report>) {
    type Pick = fn(&Point) -> Option<f64>;
    let quantiles: [(&str, Pick); 3] = [
        ("p50", |point| point.latency_ms.p50),
        ("p90", |point| point.latency_ms.p90),
        ("p99", |point| point.latency_ms.p99.or(Some(point.latency_ms.max))),
    ];
    let line = |report: &Report, pick: Pick| {
        // In the order of the loads: above its best load, a judge does less when it gets more.
        report
            .points
            .iter()
            .filter(|point| point.succeeded > 0)
            .filter_map(|point| Some((point.judgments_per_s, pick(point)?, point.load.to_string())))
            .collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    for (place, (name, pick)) in quantiles.into_iter().enumerate() {
        if let Some(old) = old {
            lines.push(Line {
                name: format!("{name} before"),
                colour: place + 1,
                dashed: true,
                points: line(old, pick),
            });
        }
        lines.push(Line { name: name.into(), colour: place + 1, dashed: false, points: line(report, pick) });
    }
    lines.retain(|line| !line.points.is_empty());
    if lines.is_empty() {
        return;
    }
    let names: Vec<(String, usize)> =
        quantiles.iter().enumerate().map(|(place, (name, _))| ((*name).into(), place + 1)).collect();
    page.push_str("<section>\n<h2>Latency over throughput</h2>\n<p>Each mark is one load. If there are too few judgments for p99, the longest latency is shown instead.</p>\n");
    legend(page, &names, old.is_some());
    let every = || lines.iter().flat_map(|line| &line.points);
    let frame = Frame {
        x: Axis::linear(0.0, every().map(|point| point.0).fold(0.0, f64::max)),
        y: Axis::of_values(every().map(|point| point.1)),
        x_name: "judgments a second",
        x_label: &figure,
        y_label: &time,
    };
    frame.draw(page, &lines, "Latency over throughput");
    page.push_str("</section>\n");
}

/// The mean time of a judgment in each load, phase after phase.
fn phases(page: &mut String, points: &[Point]) {
    const ROW: f64 = 34.0;
    const LEFT: f64 = 150.0;
    const WIDE: f64 = 560.0;
    let mut names: Vec<&str> = Vec::new();
    for (name, times) in points.iter().flat_map(Point::phases) {
        if times.mean > 0.0 && !names.contains(&name) {
            names.push(name);
        }
    }
    let shown: Vec<&Point> = points.iter().filter(|point| !point.phases_ms.is_empty()).collect();
    let sum = |point: &Point| point.phases().map(|(_, times)| times.mean).sum::<f64>();
    let most = shown.iter().map(|point| sum(point)).fold(0.0, f64::max);
    if names.is_empty() || most <= 0.0 {
        return;
    }
    // Each phase keeps its colour, whatever other phases there are.
    let colour =
        |name: &str| super::target::PHASES.iter().position(|phase| *phase == name).map_or(6, |place| place + 1);
    names.sort_by_key(|name| colour(name));
    page.push_str("<section>\n<h2>Where the time of a judgment goes</h2>\n<p>Means of each load, from sending to the answer.</p>\n");
    let coloured: Vec<_> = names.iter().map(|name| (name.replace('_', " "), colour(name))).collect();
    legend(page, &coloured, false);
    #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
    let height = shown.len() as f64 * ROW + 4.0;
    let _ = writeln!(page, "<svg viewBox=\"0 0 820 {height}\" role=\"img\" aria-label=\"Phases\">");
    for (row, point) in shown.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
        let top = row as f64 * ROW + 4.0;
        let text = top + 17.0;
        let _ = writeln!(
            page,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>",
            LEFT - 10.0,
            escape(&point.load.to_string())
        );
        let mut left = LEFT;
        for (name, times) in point.phases() {
            let wide = times.mean / most * WIDE;
            // Two pixels of background separate two phases.
            let _ = writeln!(
                page,
                "<rect x=\"{left:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"24\" rx=\"2\" fill=\"var(--s{})\"><title>{}: {} {}</title></rect>",
                (wide - 2.0).max(0.0),
                colour(name),
                escape(&point.load.to_string()),
                name.replace('_', " "),
                time(times.mean)
            );
            left += wide;
        }
        let _ =
            writeln!(page, "<text class=\"value\" x=\"{:.1}\" y=\"{text}\">{}</text>", left + 6.0, time(sum(point)));
    }
    page.push_str("</svg>\n</section>\n");
}

/// Latency by percentile, in nines.
#[expect(clippy::cast_precision_loss, reason = "counts of judgments")]
fn distribution(page: &mut String, points: &[Point]) {
    let done: Vec<&Point> = points.iter().filter(|point| point.succeeded > 1).collect();
    // If there are many loads, some of all sizes.
    let step = done.len().div_ceil(SHOWN).max(1);
    let lines: Vec<Line> = done
        .iter()
        .step_by(step)
        .enumerate()
        .map(|(place, point)| {
            let count: u64 = point.latency_histogram_us.iter().map(|&(_, of)| of).sum();
            let mut below = 0;
            let mut line: Vec<(f64, f64, String)> = Vec::new();
            for &(value, of) in &point.latency_histogram_us {
                let share = below as f64 / count as f64;
                below += of;
                line.push((
                    -(1.0 - share).log10(),
                    value as f64 / 1e3,
                    format!("{}, {:.2} %", point.load, share * 100.0),
                ));
            }
            // More points than pixels are not needed.
            let thin = line.len().div_ceil(200).max(1);
            let last = line.len() - 1;
            let line = line.into_iter().enumerate().filter(|(at, _)| at % thin == 0 || *at == last);
            Line {
                name: point.load.to_string(),
                colour: place + 1,
                dashed: false,
                points: line.map(|(_, point)| point).collect(),
            }
        })
        .collect();
    if lines.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>How latencies are spread</h2>\n<p>Horizontal axis: share of the judgments. Vertical axis: the time that this share did not exceed.</p>\n");
    let names: Vec<_> = lines.iter().map(|line| (line.name.clone(), line.colour)).collect();
    legend(page, &names, false);
    let most = lines.iter().flat_map(|line| &line.points).map(|point| point.0).fold(1.0, f64::max);
    let frame = Frame {
        x: Axis::nines(most),
        y: Axis::of_values(lines.iter().flat_map(|line| &line.points).map(|point| point.1)),
        x_name: "share of judgments",
        x_label: &|nines| {
            let percent = (1.0 - 10f64.powf(-nines)) * 100.0;
            format!("{} %", (percent * 1e4).round() / 1e4)
        },
        y_label: &time,
    };
    frame.draw(page, &lines, "How latencies are spread");
    page.push_str("</section>\n");
}

fn figures(page: &mut String, report: &Report) {
    page.push_str("<section>\n<h2>Figures</h2>\n<table>\n<tr>");
    let goodput = report.points.iter().any(|point| point.goodput_per_s.is_some());
    let mut heading = vec![
        "load",
        "judged",
        "failed",
        "judgments/s",
        "p50",
        "p90",
        "p95",
        "p99",
        "p99.9",
        "max",
        "to first token p50",
    ];
    heading.extend(["written tokens/s", "reused", "running", "CPU each", "memory"]);
    if goodput {
        heading.extend(["goodput/s", "objective"]);
    }
    for name in heading {
        let _ = write!(page, "<th>{name}</th>");
    }
    page.push_str("</tr>\n");
    let dash = |value: Option<String>| value.unwrap_or_else(|| "–".into());
    for point in &report.points {
        let latency = &point.latency_ms;
        let max = (latency.count > 0).then_some(latency.max);
        let mut cells = vec![
            point.load.to_string(),
            point.succeeded.to_string(),
            point.failed.to_string(),
            figure(point.judgments_per_s),
        ];
        cells.extend(
            [latency.p50, latency.p90, latency.p95, latency.p99, latency.p999, max].map(|ms| dash(ms.map(time))),
        );
        cells.push(dash(point.first_token_ms.and_then(|first| first.p50).map(time)));
        cells.push(dash(point.tokens.map(|tokens| figure(tokens.written_per_s))));
        cells.push(dash(
            point
                .tokens
                .and_then(|tokens| (100 * tokens.reused).checked_div(tokens.prompt))
                .map(|part| format!("{part} %")),
        ));
        cells.push(dash(point.batch.map(|batch| figure(batch.running_mean))));
        let process = point.server.or(point.process);
        cells.push(dash(
            process.and_then(|process| process.cpu_seconds_per_judgment).map(|seconds| time(seconds * 1e3)),
        ));
        cells.push(dash(process.map(|process| size(process.peak_resident_bytes))));
        if goodput {
            cells.push(dash(point.goodput_per_s.map(figure)));
            let (held, sure) = point.held();
            cells.push(format!("{}{}", if held { "held" } else { "missed" }, if sure { "" } else { ", not certain" }));
        }
        page.push_str("<tr>");
        for cell in cells {
            let _ = write!(page, "<td>{}</td>", escape(&cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n</section>\n");
}

fn failures(page: &mut String, points: &[Point]) {
    if points.iter().all(|point| point.failures.is_empty()) {
        return;
    }
    page.push_str(
        "<section>\n<h2>Failures</h2>\n<table>\n<tr><th>load</th><th>kind</th><th>count</th><th>the first</th></tr>\n",
    );
    for point in points {
        for (kind, failures) in &point.failures {
            let first: String = failures.first.chars().take(200).collect();
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&point.load.to_string()),
                escape(kind),
                failures.count,
                escape(&first)
            );
        }
    }
    page.push_str("</table>\n</section>\n");
}
