//! One line of JSON for each measurement, with everything that it was made with.

use super::{
    deployment::Deployment,
    tally::{Counts, Errors},
};
use crate::{
    error::BenchError,
    latencies::{Latencies, Quantiles},
    machine::Machine,
};
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
    time::Duration,
};

/// What some measurements tell beside rate and latency.
pub type More = BTreeMap<&'static str, Value>;

/// A measurement.
pub struct Measured<'a> {
    /// What was measured, where a scenario measures several things.
    pub measure: &'a str,
    pub count: u64,
    pub elapsed: Duration,
    /// Whether things were done, of which there were so many per second.
    pub is_rate: bool,
    pub latencies: Option<&'a Latencies>,
    pub errors: Errors,
    pub more: More,
}

impl<'a> Measured<'a> {
    /// What a tally has.
    pub fn of(measure: &'a str, counts: &'a Counts) -> Self {
        Self {
            latencies: Some(&counts.latencies),
            errors: counts.errors.clone(),
            ..Self::without_latencies(measure, counts.count, counts.elapsed)
        }
    }

    /// A number of things that were done in a time.
    pub fn without_latencies(measure: &'a str, count: u64, elapsed: Duration) -> Self {
        let (errors, more) = (Errors::default(), More::new());
        Self { measure, count, elapsed, is_rate: true, latencies: None, errors, more }
    }
}

/// It as it is written.
#[derive(Serialize)]
struct Line<'a> {
    scenario: &'a str,
    measure: &'a str,
    count: u64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_second: Option<f64>,
    #[serde(flatten)]
    quantiles: Option<Quantiles>,
    #[serde(flatten)]
    more: More,
    errors: &'a BTreeMap<String, u64>,
    settings: &'a Value,
    database: &'a str,
    durability: &'a str,
    machine: &'a Machine,
}

/// Where lines go.
pub struct Report {
    scenario: &'static str,
    settings: Value,
    database: &'static str,
    durability: &'static str,
    machine: Machine,
    file: Option<File>,
    errors: Errors,
}

impl Report {
    /// For one scenario; lines are added to `output` too, which is made if it is not there.
    pub fn begin(
        scenario: &'static str,
        settings: &impl Serialize,
        deployment: &Deployment,
        output: Option<&Path>,
    ) -> Result<Self, BenchError> {
        let file = match output {
            None => None,
            Some(path) => {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                Some(OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        Ok(Self {
            scenario,
            settings: serde_json::to_value(settings).map_err(unwritable)?,
            database: deployment.database,
            durability: deployment.durability,
            machine: Machine::this(),
            file,
            errors: Errors::default(),
        })
    }

    pub fn add(&mut self, measured: Measured<'_>) -> Result<(), BenchError> {
        let Measured { measure, count, elapsed, is_rate, latencies, errors, more } = measured;
        let seconds = elapsed.as_secs_f64();
        let line = Line {
            scenario: self.scenario,
            measure,
            count,
            seconds: rounded(seconds),
            per_second: is_rate.then(|| rounded(count as f64 / seconds.max(f64::EPSILON))),
            quantiles: latencies.and_then(Latencies::quantiles),
            more,
            errors: &errors.by_code,
            settings: &self.settings,
            database: self.database,
            durability: self.durability,
            machine: &self.machine,
        };
        let line = serde_json::to_string(&line).map_err(unwritable)?;
        println!("{line}");
        if let Some(file) = &mut self.file {
            writeln!(file, "{line}")?;
        }
        self.errors.merge(&errors);
        Ok(())
    }

    /// An error when there was one in any of the measurements and none is allowed.
    pub fn end(self, errors_allowed: bool) -> Result<(), BenchError> {
        let Errors { by_code, first } = &self.errors;
        let Some(first) = first else { return Ok(()) };
        let text = format!("{} calls failed: {by_code:?}; {first}", self.errors.total());
        if errors_allowed {
            eprintln!("{text}");
            return Ok(());
        }
        Err(BenchError::Other(text))
    }
}

/// Three digits behind the point are more than any measurement has.
pub fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

fn unwritable(error: serde_json::Error) -> BenchError {
    BenchError::Other(error.to_string())
}
