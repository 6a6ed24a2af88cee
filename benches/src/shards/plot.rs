//! Latency over rows as an SVG, a panel per database.

use super::{figures::Figures, registry::Change, sample::Call};
use crate::{error::BenchError, record::thousands, svg};
use std::{fmt::Write as _, path::Path, time::Duration};

const WIDTH: f64 = 860.0;
const PANEL: f64 = 260.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 40.0;
/// Grid lines per axis.
const LINES: u32 = 4;
const STYLE: &str = ".r{stroke:#999;stroke-dasharray:4 4}polyline{fill:none;stroke-width:2}";

/// A curve: a call, and whether it is the p99 or the p50.
struct Curve {
    call: usize,
    is_p99: bool,
    color: &'static str,
    dashes: &'static str,
}

const CURVES: [Curve; 4] = [
    Curve { call: 0, is_p99: true, color: "#c0392b", dashes: "" },
    Curve { call: 0, is_p99: false, color: "#c0392b", dashes: "2 3" },
    Curve { call: 1, is_p99: true, color: "#2471a3", dashes: "" },
    Curve { call: 1, is_p99: false, color: "#2471a3", dashes: "2 3" },
];

/// Where a panel's values are drawn.
struct Axes {
    rows_max: f64,
    ms_max: f64,
    top: f64,
}

impl Axes {
    fn x(&self, rows: f64) -> f64 {
        LEFT + rows / self.rows_max * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, ms: f64) -> f64 {
        let height = PANEL - TOP - BOTTOM;
        self.top + TOP + height * (1.0 - ms / self.ms_max)
    }
}

/// Writes the plot, with its folder if it is not there.
pub fn write(outcomes: &[Figures], path: &Path) -> Result<(), BenchError> {
    let mut text = String::new();
    for (number, figures) in outcomes.iter().enumerate() {
        panel(&mut text, figures, number as f64 * PANEL);
    }
    svg::write(&svg::page(WIDTH, PANEL * outcomes.len() as f64, STYLE, &text), path)
}

// Writing into a String cannot fail, so the results of `write!` are dropped here.
fn panel(text: &mut String, figures: &Figures, top: f64) {
    let all = figures.windows.iter().flat_map(|w| CURVES.iter().map(|c| value(w, c)));
    let rows = figures.windows.last().map_or(1, |window| window.rows);
    let axes = Axes { rows_max: rows.max(1) as f64, ms_max: rounded(all.fold(0.0, f64::max)), top };
    let name = figures.plan.kind.name();
    let title = format!("{name}: latency in ms over rows, {}/s of each", figures.plan.rate);
    let _ = writeln!(text, "<text class=\"t\" x=\"{LEFT}\" y=\"{}\">{title}</text>", top + 20.0);
    grid(text, &axes);
    for change in figures.changes.iter().filter(|change| change.change == Change::Rolled) {
        let x = axes.x(change.rows as f64);
        let (from, to) = (axes.y(axes.ms_max), axes.y(0.0));
        let _ = writeln!(
            text,
            "<line class=\"r\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{from:.1}\" y2=\"{to:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">roll</text>",
            x + 3.0,
            from + 10.0
        );
    }
    for (at, curve) in CURVES.iter().enumerate() {
        draw(text, figures, curve, &axes);
        legend(text, curve, LEFT + 110.0 * at as f64, top + 40.0);
    }
}

fn grid(text: &mut String, axes: &Axes) {
    for line in 0..=LINES {
        let share = f64::from(line) / f64::from(LINES);
        let (ms, rows) = (axes.ms_max * share, axes.rows_max * share);
        let (x, y) = (axes.x(rows), axes.y(ms));
        let _ = writeln!(
            text,
            "<line class=\"g\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{ms}</text>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0,
            axes.y(0.0) + 18.0,
            thousands(rows as u64)
        );
    }
}

fn draw(text: &mut String, figures: &Figures, curve: &Curve, axes: &Axes) {
    let Curve { color, dashes, .. } = curve;
    let _ = write!(text, "<polyline stroke=\"{color}\" stroke-dasharray=\"{dashes}\" points=\"");
    for window in &figures.windows {
        let (x, y) = (axes.x(window.rows as f64), axes.y(value(window, curve)));
        let _ = write!(text, "{x:.1},{y:.1} ");
    }
    text.push_str("\"/>\n");
}

fn legend(text: &mut String, curve: &Curve, x: f64, y: f64) {
    let Curve { color, dashes, .. } = curve;
    let name = Call::ALL[curve.call].name();
    let quantile = if curve.is_p99 { "p99" } else { "p50" };
    let _ = writeln!(
        text,
        "<line x1=\"{x}\" x2=\"{}\" y1=\"{}\" y2=\"{}\" stroke=\"{color}\" stroke-width=\"2\" \
         stroke-dasharray=\"{dashes}\"/><text x=\"{}\" y=\"{y}\">{name} {quantile}</text>",
        x + 24.0,
        y - 4.0,
        y - 4.0,
        x + 30.0
    );
}

fn value(window: &super::figures::Window, curve: &Curve) -> f64 {
    let quantiles = window.latencies.get(curve.call).copied().unwrap_or_default();
    let time: Duration = if curve.is_p99 { quantiles.p99 } else { quantiles.p50 };
    time.as_secs_f64() * 1_000.0
}

/// The next of 1, 2, 4, 8 × 10ⁿ, which four grid lines divide well.
fn rounded(ms: f64) -> f64 {
    let ten = 10_f64.powf(ms.max(0.1).log10().floor());
    let steps = [1.0, 2.0, 4.0, 8.0, 10.0];
    steps.iter().map(|step| step * ten).find(|bound| *bound >= ms).unwrap_or(ten * 10.0)
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn an_axis_ends_at_a_round_number_above_the_curve() {
        for (ms, bound) in [(3.1, 4.0), (4.0, 4.0), (9.0, 10.0), (11.0, 20.0), (450.0, 800.0)] {
            assert!((rounded(ms) - bound).abs() < 1e-9, "{ms}");
        }
    }
}
