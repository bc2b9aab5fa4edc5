//! A report as tables for people, and as CSV.

use std::fmt::Write as _;

use dicast::ErrorKind;
use serde_json::Value;

use super::super::{Failure, table};
use super::objective::Objective;
use super::point::{Point, Process, Quantiles, Report, Swept, figure, time};

/// Rows under headings: the first column is aligned left, the others right.
fn grid(text: &mut String, rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| console::measure_text_width(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let blank = " ".repeat(widths[column] - console::measure_text_width(cell));
            if column == 0 {
                let _ = write!(line, "{cell}{blank}");
            } else {
                let _ = write!(line, "  {blank}{cell}");
            }
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

fn or_dash(ms: Option<f64>) -> String {
    ms.map_or_else(|| "-".into(), time)
}

fn quantiles(of: &Quantiles) -> [String; 6] {
    let shown = if of.count == 0 { None } else { Some(of.max) };
    [of.p50, of.p90, of.p95, of.p99, of.p999, shown].map(or_dash)
}

/// A value of a description in one line: `model m.gguf, engine local`.
pub(super) fn described(value: &Value) -> String {
    let Some(fields) = value.as_object() else { return value.to_string() };
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
            fields.join(" ")
        }
        value => value.to_string(),
    };
    let is_worth = |value: &Value| {
        !value.is_null() && *value != Value::Bool(false) && value.as_object().is_none_or(|of| !of.is_empty())
    };
    let parts = fields.iter().filter(|(_, value)| is_worth(value)).map(|(key, value)| {
        match (key.strip_suffix("_bytes"), value) {
            (_, Value::Bool(true)) => key.clone(),
            (Some(key), Value::Number(number)) => format!("{key} {}", size(number.as_u64().unwrap_or(0))),
            _ => format!("{} {}", key.replace('_', " "), shown(value)),
        }
    });
    table::printable(&parts.collect::<Vec<_>>().join(", "), false)
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes >= 10_240.0 { format!("{:.1} GiB", mebibytes / 1024.0) } else { format!("{mebibytes:.0} MiB") }
}

/// The whole report for people.
pub(super) fn text(report: &Report) -> String {
    let mut text = format!("target    {}\nrequests  {}\n", described(&report.target), described(&report.requests));
    if let Some(seconds) = report.open_seconds {
        let _ = writeln!(text, "opened    in {}", time(seconds * 1e3));
    }
    let points = &report.points;
    text.push('\n');
    let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<String>>();
    let mut rows =
        vec![row(&["latency", "judged", "failed", "judgments/s", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"])];
    for point in points {
        let mean = (point.latency_ms.count > 0).then_some(point.latency_ms.mean);
        let mut cells = vec![
            label(point),
            point.succeeded.to_string(),
            point.failed.to_string(),
            figure(point.judgments_per_s),
            or_dash(mean),
        ];
        cells.extend(quantiles(&point.latency_ms));
        rows.push(cells);
    }
    grid(&mut text, &rows);
    phases(&mut text, points);
    resources(&mut text, points);
    objectives(&mut text, points);
    for point in points {
        for (kind, failures) in &point.failures {
            let first: String = table::printable(&failures.first, false).chars().take(200).collect();
            let _ = writeln!(text, "\n{}: {} {kind}, the first: {first}", point.load, failures.count);
        }
        let warm: u64 = point.warmup_failures.values().map(|failures| failures.count).sum();
        if warm > 0 {
            let _ = writeln!(text, "{}: {warm} judgments of the warm-up failed", point.load);
        }
    }
    if let Some(swept) = &report.sweep {
        text.push('\n');
        text.push_str(&sweep(swept));
    }
    text
}

fn label(point: &Point) -> String {
    if point.interrupted { format!("{} (interrupted)", point.load) } else { point.load.to_string() }
}

/// Median and p99 of the phases.
fn phases(text: &mut String, points: &[Point]) {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in points.iter().flat_map(Point::phases) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let firsts = points.iter().any(|point| point.first_token_ms.is_some()) && !names.contains(&"first_token");
    if names.is_empty() {
        return;
    }
    names.sort_by_key(|name| super::target::PHASES.iter().position(|phase| phase == name));
    let mut heading = vec!["phases, p50 / p99".to_owned()];
    heading.extend(names.iter().map(|name| name.replace('_', " ")));
    if firsts {
        heading.push("to first token".into());
    }
    let delays = points.iter().any(|point| point.send_delay_ms.is_some());
    if delays {
        heading.push("sent late".into());
    }
    let pair = |of: Option<&Quantiles>| {
        of.filter(|of| of.count > 0).map_or_else(
            || "-".into(),
            |of| format!("{} / {}", or_dash(of.p50.or(Some(of.max))), time(of.p99.unwrap_or(of.max))),
        )
    };
    let mut rows = vec![heading];
    for point in points {
        let mut cells = vec![point.load.to_string()];
        cells.extend(names.iter().map(|&name| pair(point.phases_ms.get(name))));
        if firsts {
            cells.push(pair(point.first_token_ms.as_ref()));
        }
        if delays {
            cells.push(pair(point.send_delay_ms.as_ref()));
        }
        rows.push(cells);
    }
    text.push('\n');
    grid(text, &rows);
}

fn resources(text: &mut String, points: &[Point]) {
    let any = |has: fn(&Point) -> bool| points.iter().any(has);
    let (tokens, batch) = (any(|point| point.tokens.is_some()), any(|point| point.batch.is_some()));
    let (own, server) = (any(|point| point.process.is_some()), any(|point| point.server.is_some()));
    let mut heading = vec!["resources"];
    let groups: [(bool, &[&str]); 4] = [
        (tokens, &["written/s", "computed/s", "reused"]),
        (batch, &["running", "waiting", "tokens/step"]),
        (own, &["CPU each", "memory"]),
        (server, &["server's CPU each", "memory"]),
    ];
    groups.iter().filter(|(shown, _)| *shown).for_each(|(_, names)| heading.extend(*names));
    if heading.len() == 1 {
        return;
    }
    let mut rows = vec![heading.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for point in points {
        let mut cells = vec![point.load.to_string()];
        if tokens {
            match &point.tokens {
                Some(tokens) => cells.extend([
                    figure(tokens.written_per_s),
                    figure(tokens.computed_per_s),
                    format!("{} %", (100 * tokens.reused).checked_div(tokens.prompt).unwrap_or(0)),
                ]),
                None => cells.extend(["-".into(), "-".into(), "-".into()]),
            }
        }
        if batch {
            match &point.batch {
                Some(batch) => cells.extend([
                    figure(batch.running_mean),
                    figure(batch.waiting_mean),
                    batch.tokens_per_step.map_or_else(|| "-".into(), figure),
                ]),
                None => cells.extend(["-".into(), "-".into(), "-".into()]),
            }
        }
        let mut process = |shown: bool, process: &Option<Process>| {
            if shown {
                let each = process.and_then(|process| process.cpu_seconds_per_judgment).map(|seconds| seconds * 1e3);
                cells.push(or_dash(each));
                cells.push(process.map_or_else(|| "-".into(), |process| size(process.peak_resident_bytes)));
            }
        };
        process(own, &point.process);
        process(server, &point.server);
        rows.push(cells);
    }
    text.push('\n');
    grid(text, &rows);
}

fn objectives(text: &mut String, points: &[Point]) {
    if points.iter().all(|point| point.objectives.is_empty()) {
        return;
    }
    let mut rows =
        vec![["objective", "", "goodput/s", "within the limit", "95 % interval", "held"].map(str::to_owned).to_vec()];
    for point in points {
        for reached in &point.objectives {
            let percent = |share: f64| format!("{:.2} %", share * 100.0);
            rows.push(vec![
                point.load.to_string(),
                reached.objective.clone(),
                point.goodput_per_s.map_or_else(|| "-".into(), figure),
                percent(reached.within),
                format!("{} to {}", percent(reached.within_low), percent(reached.within_high)),
                match (reached.held, reached.sure) {
                    (true, true) => "yes",
                    (true, false) => "yes, not sure",
                    (false, true) => "no",
                    (false, false) => "no, not sure",
                }
                .to_owned(),
            ]);
        }
    }
    text.push('\n');
    grid(text, &rows);
    let unsure = points.iter().flat_map(|point| &point.objectives).any(|reached| !reached.sure);
    let enough = points
        .iter()
        .flat_map(|point| &point.objectives)
        .filter_map(|reached| reached.objective.parse::<Objective>().ok().and_then(|objective| objective.enough()));
    if let (true, Some(enough)) = (unsure, enough.max()) {
        let _ = writeln!(text, "To be certain takes at least {enough} judgments (--requests {enough}).");
    }
}

/// What a sweep found, in sentences.
pub(super) fn sweep(swept: &Swept) -> String {
    let under = swept.objectives.join(" and ");
    let sure = |sure: bool| if sure { "certain" } else { "but not certain: give each rate more judgments" };
    let mut text = match swept.held {
        Some((rate, is_sure)) => {
            format!("Highest rate held under {under}: {} judgments/s, {}.", figure(rate), sure(is_sure))
        }
        None => format!("No rate was held under {under}."),
    };
    if let Some((rate, is_sure)) = swept.missed {
        let _ = write!(text, " Missed at {} judgments/s, {}.", figure(rate), sure(is_sure));
    }
    let rates = if swept.trials == 1 { "rate" } else { "rates" };
    let _ = write!(text, " {} {rates} tried", swept.trials);
    text.push_str(if swept.interrupted { "; interrupted before the search was done.\n" } else { ".\n" });
    text
}

/// One row for each load.
pub(super) fn csv(report: &Report) -> Result<String, Failure> {
    let broken =
        |error: &dyn std::fmt::Display| Failure::new(ErrorKind::Internal, format!("cannot write CSV: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut header: Vec<String> = [
        "load",
        "concurrency",
        "rate",
        "arrivals",
        "judged",
        "failed",
        "seconds",
        "judgments_per_s",
        "goodput_per_s",
        "held",
    ]
    .map(str::to_owned)
    .to_vec();
    let parts = ["mean", "p50", "p90", "p95", "p99", "p99.9", "max"];
    let names: Vec<&str> = ["latency"].into_iter().chain(super::target::PHASES).collect();
    for name in &names {
        header.extend(parts.iter().map(|part| format!("{name}_{part}_ms")));
    }
    header.extend(
        [
            "written_tokens_per_s",
            "computed_tokens_per_s",
            "reused_share",
            "running_mean",
            "tokens_per_step",
            "cpu_s_per_judgment",
            "peak_resident_bytes",
            "server_cpu_s_per_judgment",
            "server_peak_resident_bytes",
        ]
        .map(str::to_owned),
    );
    writer.write_record(&header).map_err(|error| broken(&error))?;
    for point in &report.points {
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let mut row = vec![
            point.load.to_string(),
            point.load.concurrency.map(|count| count.to_string()).unwrap_or_default(),
            number(point.load.rate),
            point.load.arrivals.clone().unwrap_or_default(),
            point.succeeded.to_string(),
            point.failed.to_string(),
            point.seconds.to_string(),
            point.judgments_per_s.to_string(),
            number(point.goodput_per_s),
            if point.objectives.is_empty() { String::new() } else { point.held().0.to_string() },
        ];
        for &name in &names {
            let of = if name == "latency" { Some(&point.latency_ms) } else { point.phases_ms.get(name) };
            let of = of.filter(|of| of.count > 0);
            let values =
                of.map_or([None; 7], |of| [Some(of.mean), of.p50, of.p90, of.p95, of.p99, of.p999, Some(of.max)]);
            row.extend(values.map(number));
        }
        let tokens = point.tokens.as_ref();
        #[expect(clippy::cast_precision_loss, reason = "counts of tokens")]
        let reused = tokens.map(|tokens| tokens.reused as f64 / tokens.prompt.max(1) as f64);
        let of = |process: &Option<Process>| {
            let process = process.as_ref();
            [
                number(process.and_then(|process| process.cpu_seconds_per_judgment)),
                process.map(|process| process.peak_resident_bytes.to_string()).unwrap_or_default(),
            ]
        };
        row.extend([
            number(tokens.map(|tokens| tokens.written_per_s)),
            number(tokens.map(|tokens| tokens.computed_per_s)),
            number(reused),
            number(point.batch.map(|batch| batch.running_mean)),
            number(point.batch.and_then(|batch| batch.tokens_per_step)),
        ]);
        row.extend(of(&point.process));
        row.extend(of(&point.server));
        writer.write_record(&row).map_err(|error| broken(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| broken(&error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let mut text = String::new();
        let rows = [vec!["a".to_owned(), "bcd".into(), "e".into()], vec!["long".into(), "1".into(), "µµ".into()]];
        grid(&mut text, &rows);
        assert_eq!(text, "a     bcd   e\nlong    1  µµ\n");
    }

    #[test]
    fn a_sweep_says_how_sure_it_is() {
        let mut swept = Swept {
            objectives: vec!["p99=2s".into()],
            held: Some((12.5, true)),
            missed: Some((13.0, false)),
            trials: 7,
            interrupted: false,
        };
        let text = sweep(&swept);
        assert!(text.contains("12.5 judgments/s, certain. Missed at 13.0 judgments/s, but not certain"), "{text}");
        (swept.held, swept.interrupted, swept.trials) = (None, true, 1);
        assert!(sweep(&swept).ends_with("1 rate tried; interrupted before the search was done.\n"));
    }
}
