//! The figures as lines of JSON and as tables in Markdown.

use super::{
    figures::{Figures, Stalls, Window},
    registry::Change,
    sample::Call,
};
use crate::{
    error::BenchError,
    record::{Records, shown, thousands},
};
use std::{fmt::Write as _, time::Duration};

/// Notes every figure of one database.
pub fn record(figures: &Figures, records: &mut Records) -> Result<(), BenchError> {
    for window in &figures.windows {
        let at = format!("at {} rows", window.rows);
        for (call, quantiles) in Call::ALL.iter().zip(&window.latencies) {
            let name = call.name();
            records.add(&format!("{name} p50 {at}"), "ms", ms(quantiles.p50))?;
            records.add(&format!("{name} p99 {at}"), "ms", ms(quantiles.p99))?;
        }
        records.add(&format!("burst {at}"), "tasks/s", window.claims_per_second)?;
        records.add(
            &format!("ballast up to {}", window.rows),
            "rows/s",
            window.ballast_per_second,
        )?;
    }
    for change in &figures.changes {
        let what = what(change.change, change.shard);
        stalls(&what, change.stalls, records)?;
    }
    stalls("ballast alone", figures.elsewhere, records)?;
    for read in &figures.reads {
        if let Some(took) = read.took {
            records.add(&format!("{}, p50", read.what), "ms", ms(took.p50))?;
            records.add(&format!("{}, longest", read.what), "ms", ms(took.longest))?;
        }
    }
    for drop in &figures.drops {
        let what = what(Change::Dropped, drop.shard);
        records.add(&format!("{what}: disk before"), "MB", megabytes(drop.before_bytes))?;
        records.add(&format!("{what}: disk after"), "MB", megabytes(drop.after_bytes))?;
    }
    records.add("calls that failed", "calls", figures.failures.count as f64)
}

fn stalls(what: &str, stalls: Stalls, records: &mut Records) -> Result<(), BenchError> {
    records.add(&format!("{what}: longest without a create"), "ms", ms(stalls.create))?;
    records.add(&format!("{what}: longest without a claim"), "ms", ms(stalls.claim))
}

/// The tables of one database.
pub fn tables(figures: &Figures) -> String {
    let plan = &figures.plan;
    let mut text = format!(
        "### {}\n\n{} creates/s and as many claims, {} calls answered, {} failed; shards of {} \
         rows; {:.0} s{}.\n\n",
        plan.kind.name(),
        plan.rate,
        figures.calls,
        figures.failures.count,
        thousands(plan.shard_max_rows),
        figures.took.as_secs_f64(),
        if figures.cut_short { "; **the time was over before all rows were written**" } else { "" },
    );
    figures.failures.told.iter().for_each(|failure| {
        let _ = writeln!(text, "- failed: {failure}");
    });
    text.push_str(&latencies(figures));
    text.push_str(&changes(figures));
    text.push_str(&disk(figures));
    text.push_str(&reads(figures));
    text
}

fn latencies(figures: &Figures) -> String {
    let mut text = "| rows".to_owned();
    for call in Call::ALL {
        let _ = write!(text, " | {0} p50 | {0} p99", call.name());
    }
    text.push_str(" | burst, tasks/s | ballast, rows/s |\n|---:");
    text.push_str(&"|---:".repeat(2 * Call::ALL.len() + 2));
    text.push_str("|\n");
    for window in &figures.windows {
        let _ = write!(text, "| {} |", thousands(window.rows));
        for quantiles in &window.latencies {
            let _ = write!(text, " {} | {} |", shown(ms(quantiles.p50)), shown(ms(quantiles.p99)));
        }
        let rates = [window.claims_per_second, window.ballast_per_second];
        rates.iter().for_each(|rate| {
            let _ = write!(text, " {rate:.0} |");
        });
        text.push('\n');
    }
    text.push_str(&ratio(&figures.windows));
    text
}

/// How the last window compares with the first.
fn ratio(windows: &[Window]) -> String {
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return String::new() };
    let mut text = format!("| p99 at {} : first |", thousands(last.rows));
    for (first, last) in first.latencies.iter().zip(&last.latencies) {
        let ratio = ms(last.p99) / ms(first.p99).max(f64::EPSILON);
        let _ = write!(text, " | {ratio:.2} |");
    }
    let burst = last.claims_per_second / first.claims_per_second.max(f64::EPSILON);
    let _ = writeln!(text, " {burst:.2} | |\n");
    text
}

fn changes(figures: &Figures) -> String {
    let mut text = "| 5 s before to 5 s after | it took | longest without a create | without a \
                    claim | slowest create | slowest claim |\n|---|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for change in &figures.changes {
        let what = what(change.change, change.shard);
        let took = shown(ms(change.took));
        let _ = write!(text, "| {what} | {took} |");
        for time in
            [change.stalls.create, change.stalls.claim, change.slowest.create, change.slowest.claim]
        {
            let _ = write!(text, " {} |", shown(ms(time)));
        }
        text.push('\n');
    }
    let [create, claim] = [figures.elsewhere.create, figures.elsewhere.claim].map(ms).map(shown);
    let _ = writeln!(text, "| the ballast's other time | | {create} | {claim} | | |");
    let _ = write!(text, "| the whole run | | | |");
    figures.worst.iter().take(2).for_each(|worst| {
        let _ = write!(text, " {} |", shown(ms(*worst)));
    });
    text.push_str("\n\n");
    text
}

fn disk(figures: &Figures) -> String {
    let mut text = "| shard | rows | DropShard answered after | tables before | tables after |\n\
                    |---:|---:|---:|---:|---:|\n"
        .to_owned();
    for drop in &figures.drops {
        let _ = writeln!(
            text,
            "| {} | {} | {} ms | {:.0} MB | {:.0} MB |",
            drop.shard,
            thousands(u64::try_from(drop.rows).unwrap_or_default()),
            shown(ms(drop.took)),
            megabytes(drop.before_bytes),
            megabytes(drop.after_bytes)
        );
    }
    text
}

fn reads(figures: &Figures) -> String {
    let mut text = "\n| read | p50, ms | longest of 20, ms |\n|---|---:|---:|\n".to_owned();
    for read in &figures.reads {
        let [p50, longest] = match read.took {
            Some(took) => [took.p50, took.longest].map(|time| shown(ms(time))),
            None => ["refused", ""].map(ToOwned::to_owned),
        };
        let _ = writeln!(text, "| {} | {p50} | {longest} |", read.what);
    }
    text
}

fn what(change: Change, shard: i32) -> String {
    match change {
        Change::Rolled => format!("roll to shard {shard}"),
        Change::Dropped => format!("drop of shard {shard}"),
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
