//! The lines of all scenarios as one SVG: a panel per measurement, a bar per database.
//! `benches/load.sh` writes such lines, and draws them with `asyncflow-bench plot`.

mod panels;

use crate::{
    DatabaseKind,
    error::BenchError,
    machine::Machine,
    record::{shown, thousands},
    svg,
};
use clap::Args;
use panels::{PANELS, Panel};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

const COLUMNS: usize = 4;
const WIDTH: f64 = 215.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 14.0;
/// From the top of a panel to the end of its highest bar, with room for the value above it.
const TOP: f64 = 66.0;
const BOTTOM: f64 = 30.0;
const BAR: f64 = 46.0;
const GAP: f64 = 20.0;
const FOOT: f64 = 20.0;
const STYLE: &str = ".s{font-size:11px;fill:#666}.m{text-anchor:middle}";

/// One colour each; their names stand below them.
const DATABASES: [(DatabaseKind, &str); 3] = [
    (DatabaseKind::Sqlite, "#0072b2"),
    (DatabaseKind::Mariadb, "#d55e00"),
    (DatabaseKind::Postgres, "#009e73"),
];

/// Draws the lines that benches/load.sh has written.
#[derive(Args)]
pub struct PlotArgs {
    /// The lines of JSON
    #[arg(long, value_name = "FILE", default_value = "target/bench/load.jsonl")]
    lines: PathBuf,
    /// Where the plot is written
    #[arg(long, value_name = "FILE", default_value = "docs/bench-load.svg")]
    output: PathBuf,
}

/// Reads the lines and writes the plot.
pub fn draw(args: &PlotArgs) -> Result<(), BenchError> {
    let about = |what: String| BenchError::Other(format!("{}: {what}", args.lines.display()));
    let text = fs::read_to_string(&args.lines).map_err(|error| about(error.to_string()))?;
    let page = parse(&text).and_then(|lines| drawn(&lines)).map_err(about)?;
    svg::write(&page, &args.output)
}

fn parse(text: &str) -> Result<Vec<Value>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let value = |(at, line)| {
        serde_json::from_str(line).map_err(|error| format!("line {} is not JSON: {error}", at + 1))
    };
    lines.map(value).collect()
}

/// All panels, and below them on what their figures were made.
fn drawn(lines: &[Value]) -> Result<String, String> {
    let (mut text, mut machines) = (String::new(), BTreeSet::new());
    for (at, panel) in PANELS.iter().enumerate() {
        let found = DATABASES.map(|(kind, _)| panel.find(lines, kind));
        let made_on = found.iter().flatten().filter_map(|line| machine(line));
        machines.extend(made_on.map(|machine| machine.sentence()));
        let corner = ((at % COLUMNS) as f64 * WIDTH, (at / COLUMNS) as f64 * HEIGHT);
        bars(&mut text, panel, found.map(|line| line?[panel.field].as_f64()), corner);
    }
    if !text.contains("<rect") {
        let text = "no line of a measurement that can be drawn; benches/load.sh writes them";
        return Err(text.to_owned());
    }
    let mut height = PANELS.len().div_ceil(COLUMNS) as f64 * HEIGHT;
    for sentence in machines {
        let (y, sentence) = (height + 8.0, svg::escaped(&sentence));
        let _ = writeln!(text, "<text class=\"s\" x=\"{LEFT}\" y=\"{y}\">{sentence}</text>");
        height += FOOT;
    }
    Ok(svg::page(COLUMNS as f64 * WIDTH, height, STYLE, &text))
}

fn machine(line: &Value) -> Option<Machine> {
    Machine::deserialize(&line["machine"]).ok()
}

// Writing into a String cannot fail, so the results of `write!` are dropped here.
fn bars(text: &mut String, panel: &Panel, values: [Option<f64>; 3], (left, top): (f64, f64)) {
    let (x, end) = (left + LEFT, top + HEIGHT - BOTTOM);
    let _ = writeln!(
        text,
        "<text class=\"t\" x=\"{x}\" y=\"{}\">{}</text>\
         <text class=\"s\" x=\"{x}\" y=\"{}\">{}</text>\
         <line class=\"g\" x1=\"{x}\" x2=\"{}\" y1=\"{end}\" y2=\"{end}\"/>",
        top + 22.0,
        panel.title,
        top + 37.0,
        panel.about,
        x + 3.0 * BAR + 2.0 * GAP
    );
    let highest = values.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
    for (at, (value, (kind, color))) in values.iter().zip(DATABASES).enumerate() {
        let x = x + at as f64 * (BAR + GAP);
        let height = value.unwrap_or(0.0) / highest * (HEIGHT - TOP - BOTTOM);
        if value.is_some() {
            let _ = write!(
                text,
                "<rect x=\"{x}\" y=\"{:.1}\" width=\"{BAR}\" height=\"{height:.1}\" \
                 fill=\"{color}\"/>",
                end - height
            );
        }
        let middle = x + BAR / 2.0;
        let _ = writeln!(
            text,
            "<text class=\"m\" x=\"{middle}\" y=\"{:.1}\">{}</text>\
             <text class=\"m s\" x=\"{middle}\" y=\"{}\">{}</text>",
            end - height - 5.0,
            value.map_or("–".to_owned(), told),
            end + 15.0,
            kind.name()
        );
    }
}

/// Rates with commas; of small figures the digits that matter.
fn told(value: f64) -> String {
    if value < 100.0 { shown(value) } else { thousands(value.round() as u64) }
}

#[cfg(test)]
mod tests {
    use super::{drawn, parse};
    use serde_json::{Value, json};

    /// A line with plain settings, and some more.
    fn line(scenario: &str, database: &str, settings: Value, figures: Value) -> String {
        let plain = json!({"broker": [], "brokers": 1, "redis": false, "payload_bytes": 256,
            "context_bytes": 0, "by": "sdk", "workers": 4, "slots": 250});
        let mut line = json!({"scenario": scenario, "database": database, "settings": plain,
            "machine": {"cpu": "Abacus & Sons", "cores": 2, "memory_gb": 25, "kernel": "6",
                "commit": "abc1234", "profile": "release"}});
        for (into, more) in [("settings", settings), ("", figures)] {
            let into = if into.is_empty() { &mut line } else { &mut line[into] };
            for (key, value) in more.as_object().into_iter().flatten() {
                into[key] = value.clone();
            }
        }
        line.to_string()
    }

    fn rate(per_second: f64) -> Value {
        json!({"per_second": per_second})
    }

    fn plot(lines: &[String]) -> Result<String, String> {
        drawn(&parse(&lines.join("\n"))?)
    }

    #[test]
    fn values_stand_on_their_bars() -> Result<(), String> {
        let unary = json!({"in_flight": 256, "rate": null});
        let open = json!({"rate": 200.0, "urgent": 0});
        let page = plot(&[
            line("create", "sqlite", unary, rate(23_953.4)),
            line("types", "mariadb", json!({"types": 100}), rate(660.3)),
            line("start", "postgres", open, json!({"p50_ms": 1.106, "p99_ms": 1.796})),
        ])?;
        for value in ["23,953", "660", "1.11", "1.80"] {
            assert!(page.contains(&format!(">{value}</text>")), "{value}");
        }
        assert!(page.contains("2 cores of Abacus &amp; Sons") && page.contains("commit abc1234"));
        // The page itself, and a bar for each of the four.
        assert_eq!(page.matches("<rect").count(), 5);
        assert_eq!(page.matches(">–</text>").count(), 3 * 8 - 4);
        Ok(())
    }

    #[test]
    fn of_several_lines_the_last_plain_one_counts() -> Result<(), String> {
        let drain = |settings, per_second| line("drain", "mariadb", settings, rate(per_second));
        let page = plot(&[
            drain(json!({}), 11_111.0),
            drain(json!({}), 18_002.6),
            drain(json!({"context_bytes": 8_192}), 7_681.5),
            drain(json!({"brokers": 2}), 10_048.3),
            line("juggle", "mariadb", json!({}), rate(5_555.0)),
        ])?;
        assert!(page.contains(">18,003</text>"));
        for other in ["11,111", "7,682", "10,048", "5,555"] {
            assert!(!page.contains(other), "{other}");
        }
        Ok(())
    }

    #[test]
    fn a_file_without_lines_is_an_error_for_people() {
        let unknown = line("juggle", "sqlite", json!({}), rate(5.0));
        for lines in [vec![], vec![unknown]] {
            let error = "no line of a measurement that can be drawn; benches/load.sh writes them";
            assert_eq!(plot(&lines), Err(error.to_owned()));
        }
        let broken = plot(&["{}".to_owned(), "\"scenario".to_owned()]);
        assert!(broken.is_err_and(|error| error.starts_with("line 2 is not JSON: ")));
    }
}
