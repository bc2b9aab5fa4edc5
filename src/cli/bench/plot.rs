//! Line plots in SVG.

use std::fmt::Write as _;

use super::super::report::escape;

/// Size of a plot, and of the margins around what it shows.
const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 44.0;

/// One line of a plot.
pub(super) struct Line {
    pub(super) name: String,
    /// Number of the colour, from 1 to 6.
    pub(super) colour: usize,
    /// An earlier run.
    pub(super) dashed: bool,
    /// Places, and what a mark says when it is pointed at.
    pub(super) points: Vec<(f64, f64, String)>,
}

/// A scale, with the values that are written at it.
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    ticks: Vec<f64>,
}

impl Axis {
    /// From `low` to a round number at or above `high`.
    pub(super) fn linear(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        let step = round_step((high - low) / 5.0);
        let mut ticks = vec![low];
        while let Some(&last) = ticks.last()
            && last < high - step * 1e-6
        {
            ticks.push(last + step);
        }
        Self { low, high: ticks.last().copied().unwrap_or(high), logarithmic: false, ticks }
    }

    /// For values from 0 up; by powers of ten where they differ much.
    pub(super) fn of_values(values: impl Iterator<Item = f64> + Clone) -> Self {
        let most = values.clone().fold(0.0, f64::max);
        let least = values.filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        if !least.is_finite() || most / least < 20.0 {
            return Self::linear(0.0, most);
        }
        let (mut power, mut ticks) = (10f64.powf(least.log10().floor()), Vec::new());
        'powers: loop {
            for digit in [1.0, 2.0, 5.0] {
                ticks.push(power * digit);
                if power * digit >= most {
                    break 'powers;
                }
            }
            power *= 10.0;
        }
        // The first tick is the last one below all values.
        let skip = ticks.iter().filter(|tick| **tick <= least).count().saturating_sub(1);
        ticks.drain(..skip);
        Self { low: ticks[0], high: ticks[ticks.len() - 1], logarithmic: true, ticks }
    }

    /// Shares by their nines: 0 is 0 %, 1 is 90 %, 2 is 99 %. The median has a tick as well.
    pub(super) fn nines(high: f64) -> Self {
        let mut ticks = vec![0.0, 0.5f64.log10().abs(), 1.0];
        while ticks[ticks.len() - 1] + 1.0 <= high + 0.3 {
            ticks.push(ticks[ticks.len() - 1] + 1.0);
        }
        Self { low: 0.0, high: high.max(1.0), logarithmic: false, ticks }
    }

    /// Where a value lies between the ends, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.max(self.low).log10() } else { value };
        let (low, high) = (scale(self.low), scale(self.high));
        ((scale(value) - low) / (high - low)).clamp(0.0, 1.0)
    }
}

/// 1, 2 or 5 times a power of ten, at least this large.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|step| *step >= least * 0.999).unwrap_or(least)
}

/// A plot with its axes.
pub(super) struct Frame<'a> {
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) x_name: &'a str,
    pub(super) x_label: &'a dyn Fn(f64) -> String,
    pub(super) y_label: &'a dyn Fn(f64) -> String,
}

impl Frame<'_> {
    /// Draws the lines, with a mark for each point where there are few.
    pub(super) fn draw(&self, page: &mut String, lines: &[Line], title: &str) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let x = |value: f64| LEFT + self.x.place(value) * (right - LEFT);
        let y = |value: f64| bottom - self.y.place(value) * (bottom - TOP);
        let _ = writeln!(page, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">", escape(title));
        for &tick in &self.y.ticks {
            let (at, label) = (y(tick), escape(&(self.y_label)(tick)));
            let _ = writeln!(
                page,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 8.0,
                at + 4.0
            );
        }
        let _ = writeln!(page, "<line class=\"base\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>");
        for &tick in &self.x.ticks {
            let (at, label) = (x(tick), escape(&(self.x_label)(tick)));
            let _ = writeln!(page, "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", bottom + 18.0);
        }
        let middle = f64::midpoint(LEFT, right);
        let _ =
            writeln!(page, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>", HEIGHT - 6.0, self.x_name);
        for line in lines {
            let mut path = String::new();
            for (place, (at, value, _)) in line.points.iter().enumerate() {
                let _ = write!(path, "{}{:.1} {:.1}", if place == 0 { "M" } else { "L" }, x(*at), y(*value));
            }
            let dashes = if line.dashed { " stroke-dasharray=\"5 4\" opacity=\".6\"" } else { "" };
            let _ = writeln!(
                page,
                "<path d=\"{path}\" fill=\"none\" stroke=\"var(--s{})\" stroke-width=\"2\" stroke-linejoin=\"round\"{dashes}>\
                 <title>{}</title></path>",
                line.colour,
                escape(&line.name)
            );
            if line.points.len() <= 40 {
                for (at, value, said) in &line.points {
                    let _ = writeln!(
                        page,
                        "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4.5\" fill=\"var(--s{})\" stroke=\"var(--card)\" \
                         stroke-width=\"2\"><title>{}, {}: {}</title></circle>",
                        x(*at),
                        y(*value),
                        line.colour,
                        escape(&line.name),
                        escape(said),
                        escape(&(self.y_label)(*value))
                    );
                }
            }
        }
        page.push_str("</svg>\n");
    }
}

/// Says which colour is whose.
pub(super) fn legend(page: &mut String, names: &[(String, usize)], old: bool) {
    page.push_str("<div class=\"legend\">");
    for (name, colour) in names {
        let _ = write!(page, "<span><i style=\"background:var(--s{colour})\"></i>{}</span>", escape(name));
    }
    page.push_str(if old { "<span><i class=\"old\"></i>before</span></div>\n" } else { "</div>\n" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_all_values() {
        let axis = Axis::linear(0.0, 47.0);
        assert_eq!(axis.ticks, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert!((axis.place(25.0) - 0.5).abs() < 1e-9);
        let wide = Axis::of_values([3.0, 70.0, 900.0].into_iter());
        assert_eq!((wide.ticks[0], wide.ticks[wide.ticks.len() - 1], wide.logarithmic), (2.0, 1000.0, true));
        assert!(!Axis::of_values([3.0, 30.0].into_iter()).logarithmic);
        assert!((Axis::linear(0.0, 0.0).high - 1.0).abs() < 1e-9);
        assert_eq!(Axis::nines(2.1).ticks.len(), 4);
    }

    #[test]
    fn text_of_a_plot_stays_text() {
        let mut page = String::new();
        let points = vec![(1.0, 2.0, "<b>".to_owned())];
        let line = Line { name: "a&b".into(), colour: 1, dashed: true, points };
        let (x, y) = (Axis::linear(0.0, 1.0), Axis::linear(0.0, 2.0));
        let label = |value: f64| value.to_string();
        Frame { x, y, x_name: "x", x_label: &label, y_label: &label }.draw(&mut page, &[line], "t");
        assert!(page.contains("a&amp;b, &lt;b&gt;: 2") && !page.contains("<b>") && !page.contains("NaN"), "{page}");
    }
}
