//! What was counted in a span of a measurement, and what went wrong in all of it.

use crate::{clock::Stopwatch, error::BenchError, latencies::Latencies, span::Span};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Calls of many callers are noted here; times count from its clock.
pub struct Tally {
    clock: Stopwatch,
    span: Span,
    slice: Option<Duration>,
    counts: Mutex<Counts>,
}

/// What came together.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub count: u64,
    pub elapsed: Duration,
    pub latencies: Latencies,
    /// The same by slices of the span, where they are wanted.
    pub slices: Vec<Latencies>,
    pub errors: Errors,
}

/// Calls that were refused or not answered.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    pub by_code: BTreeMap<String, u64>,
    /// The first in full.
    pub first: Option<String>,
}

impl Tally {
    pub fn new(clock: Stopwatch, span: Span) -> Arc<Self> {
        Arc::new(Self { clock, span, slice: None, counts: Mutex::default() })
    }

    /// One that keeps the latencies of every slice as well.
    pub fn sliced(clock: Stopwatch, span: Span, slice: Duration) -> Arc<Self> {
        Arc::new(Self { clock, span, slice: Some(slice), counts: Mutex::default() })
    }

    pub fn clock(&self) -> Stopwatch {
        self.clock
    }

    pub fn span(&self) -> Span {
        self.span
    }

    fn with<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes `count` answers that belong to the moment `at` and took `latency`.
    pub fn answered(&self, at: Duration, latency: Duration, count: u64) {
        if self.span.contains(at) {
            self.with(|counts| {
                counts.count += count;
                self.record(counts, at, latency);
            });
        }
    }

    /// Notes what was due at `at` and has no answer after `latency`: it would have taken longer.
    pub fn unanswered(&self, at: Duration, latency: Duration) {
        if self.span.contains(at) {
            self.with(|counts| self.record(counts, at, latency));
        }
    }

    /// Notes an error, also outside of the span.
    pub fn failed(&self, error: &BenchError) {
        self.with(|counts| counts.errors.add(&error.code(), &error.to_string()));
    }

    fn record(&self, counts: &mut Counts, at: Duration, latency: Duration) {
        counts.latencies.record(latency);
        if let Some(slice) = self.slice {
            let since = at.saturating_sub(self.span.from);
            let number = usize::try_from(since.as_millis() / slice.as_millis().max(1)).unwrap_or(0);
            let slices = number.max(counts.slices.len().saturating_sub(1)) + 1;
            counts.slices.resize_with(slices, Latencies::default);
            counts.slices[number].record(latency);
        }
    }

    /// How many were answered so far.
    pub fn count(&self) -> u64 {
        self.with(|counts| counts.count)
    }

    /// What was counted in the span, which is over.
    pub fn finish(&self) -> Counts {
        self.finish_in(self.span.length())
    }

    /// The same where the last answer that counts came later or earlier.
    pub fn finish_in(&self, elapsed: Duration) -> Counts {
        Counts { elapsed, ..self.with(|counts| counts.clone()) }
    }
}

impl Counts {
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// For measurements in which an error makes the figure worthless.
    pub fn without_errors(self) -> Result<Self, BenchError> {
        match self.errors.first {
            Some(first) => Err(BenchError::Other(first)),
            None => Ok(self),
        }
    }
}

impl Errors {
    pub fn add(&mut self, code: &str, text: &str) {
        *self.by_code.entry(code.to_owned()).or_default() += 1;
        self.first.get_or_insert_with(|| text.to_owned());
    }

    pub fn merge(&mut self, other: &Self) {
        for (code, count) in &other.by_code {
            *self.by_code.entry(code.clone()).or_default() += count;
        }
        self.first = self.first.take().or_else(|| other.first.clone());
    }

    pub fn total(&self) -> u64 {
        self.by_code.values().sum()
    }
}
