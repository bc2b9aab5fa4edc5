//! A calibration as one HTML page, and its reliability plot as a picture.

use std::fmt::Write as _;

use dicast::eval::calibration::{Bin, Estimate, upper_bound};

use super::super::eval::page::{MORE, standalone};
use super::super::report::page::{STYLE, escape};
use super::learn::Learned;

/// Size of the plot, and the margins around what it shows.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 16.0;
const RIGHT: f64 = 16.0;
const BOTTOM: f64 = 70.0;

/// The two lines: their names and colours.
const BEFORE: (&str, &str) = ("before", "#c2703d");
const AFTER: (&str, &str) = ("after, by cross-validation", "#3a6ea5");

/// The page.
pub(super) fn page(learned: &Learned) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Calibration</title>\n<style>{STYLE}{MORE}</style>\n<h1>Calibration</h1>\n<p>{}</p>\n<p>{} pairs on {} prompts; {} \
         items failed and are left out. Map: {}, measured by cross-validation over prompts in {} parts. 95 % bootstrap intervals \
         over prompts.</p>\n",
        escape(&learned.files.join(", ")),
        learned.pairs,
        learned.prompts,
        learned.failed,
        learned.map.name(),
        learned.folds
    );
    page.push_str("<table>\n<tr><th></th><th>before</th><th>after</th><th>change</th></tr>\n");
    for (name, before, after, change) in learned.figures() {
        let cell = |one: &Estimate| format!("{:.3} [{:.3}, {:.3}]", one.value, one.low, one.high);
        let _ = writeln!(
            page,
            "<tr><td>{name}</td><td>{}</td><td>{}</td><td>{:+.3} [{:+.3}, {:+.3}]</td></tr>",
            cell(before),
            cell(after),
            change.value,
            change.low,
            change.high
        );
    }
    page.push_str("</table>\n<h2>Abstaining</h2>\n");
    for line in learned.abstaining_lines() {
        let _ = writeln!(page, "<p>{}</p>", escape(&line));
    }
    page.push_str("<h2>Reliability</h2>\n<p>Each point is a tenth of the pairs: how sure the judge is, and the share in which it is right, with a 95 % interval. On the line it is as sure as it may be.</p>\n");
    plot(&mut page, learned);
    page
}

/// The reliability plot as a file of its own.
pub(super) fn figure(learned: &Learned) -> String {
    let mut figure = String::new();
    plot(&mut figure, learned);
    standalone(&figure)
}

/// The 95 % interval of a share (Clopper and Pearson).
fn interval(bin: &Bin) -> (f64, f64) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    #[expect(clippy::cast_precision_loss, reason = "a share of a count")]
    let right = (bin.accuracy * bin.pairs as f64).round() as usize;
    let right = right.min(bin.pairs);
    (1.0 - upper_bound(bin.pairs - right, bin.pairs, 0.025), upper_bound(right, bin.pairs, 0.025))
}

fn plot(page: &mut String, learned: &Learned) {
    let lines = [(BEFORE, &learned.measured.before.bins), (AFTER, &learned.measured.after.bins)];
    let lowest = lines.iter().flat_map(|(_, bins)| bins.iter()).map(|bin| interval(bin).0).fold(0.5, f64::min);
    let floor = (lowest * 10.0).floor() / 10.0;
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let x = |confidence: f64| LEFT + (confidence - 0.5) / 0.5 * (right - LEFT);
    let y = |share: f64| bottom - (share - floor) / (1.0 - floor) * (bottom - TOP);
    let title = "Reliability: how sure the judge is, and how often it is right";
    let _ = writeln!(
        page,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" aria-label=\"{title}\">"
    );
    let mut tick = floor;
    while tick < 1.0 + 1e-9 {
        let at = y(tick);
        let _ = writeln!(
            page,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" opacity=\".15\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\">{tick:.1}</text>",
            LEFT - 8.0,
            at + 4.0
        );
        tick += 0.1;
    }
    for tick in [0.5, 0.6, 0.7, 0.8, 0.9, 1.0] {
        let _ = writeln!(
            page,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{tick:.1}</text>",
            x(tick),
            bottom + 18.0
        );
    }
    let _ = writeln!(
        page,
        "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">probability of the response that is said to be better</text>\
         <text x=\"14\" y=\"{:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {:.1})\">share in which it is</text>",
        f64::midpoint(LEFT, right),
        bottom + 38.0,
        f64::midpoint(TOP, bottom),
        f64::midpoint(TOP, bottom)
    );
    let _ = writeln!(
        page,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke-dasharray=\"5 4\" opacity=\".5\"/>",
        x(0.5),
        y(0.5),
        x(1.0),
        y(1.0)
    );
    for (place, ((name, colour), bins)) in lines.into_iter().enumerate() {
        let mut path = String::new();
        for (index, bin) in bins.iter().enumerate() {
            let (low, high) = interval(bin);
            let (at, mid) = (x(bin.confidence), y(bin.accuracy));
            let _ = write!(path, "{}{at:.1} {mid:.1}", if index == 0 { "M" } else { "L" });
            let _ = writeln!(
                page,
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" style=\"stroke:{colour}\" opacity=\".5\"/>\
                 <circle cx=\"{at:.1}\" cy=\"{mid:.1}\" r=\"4\" fill=\"{colour}\"><title>{name}: {} pairs, sure {:.3}, right \
                 {:.3}</title></circle>",
                y(low),
                y(high),
                bin.pairs,
                bin.confidence,
                bin.accuracy
            );
        }
        let from = [LEFT, LEFT + 110.0][place];
        let _ = writeln!(
            page,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/><circle cx=\"{from}\" cy=\"{:.1}\" r=\"4\" \
             fill=\"{colour}\"/><text x=\"{}\" y=\"{:.1}\">{name}</text>",
            HEIGHT - 12.0,
            from + 10.0,
            HEIGHT - 8.0
        );
    }
    page.push_str("</svg>\n");
}
