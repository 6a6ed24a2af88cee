//! What a run on one database has shown.

use super::{
    Plan,
    reads::Read,
    registry::{Change, Event},
    sample::{Call, Samples, quantile},
    stream::Failures,
};
use crate::span::Span;
use std::time::Duration;

/// Around a roll or a drop.
const MARGIN: Duration = Duration::from_secs(5);

/// Everything of one database.
pub struct Figures {
    pub plan: Plan,
    pub windows: Vec<Window>,
    pub changes: Vec<ChangeFigures>,
    /// The longest stalls while the ballast was written and no shard was rolled or dropped.
    pub elsewhere: Stalls,
    /// The slowest call of each kind in the whole run, in the order of [`Call::ALL`].
    pub worst: Vec<Duration>,
    pub calls: usize,
    pub failures: Failures,
    pub reads: Vec<Read>,
    pub drops: Vec<Drop>,
    /// Whether the time was over before all rows were written.
    pub cut_short: bool,
    pub took: Duration,
}

/// The stream alone, at a number of rows.
pub struct Window {
    pub rows: u64,
    /// In the order of [`Call::ALL`].
    pub latencies: Vec<Quantiles>,
    /// Of a burst, claimed and completed.
    pub claims_per_second: f64,
    /// Written since the window before, while the stream went on.
    pub ballast_per_second: f64,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Quantiles {
    pub p50: Duration,
    pub p99: Duration,
}

/// Longest times without an answered call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stalls {
    pub create: Duration,
    pub claim: Duration,
}

/// The time around a roll or a drop, with the ballast at work.
pub struct ChangeFigures {
    pub change: Change,
    pub shard: i32,
    /// In all shards when it began.
    pub rows: u64,
    pub took: Duration,
    pub stalls: Stalls,
    /// The slowest create and claim that were due then.
    pub slowest: Stalls,
}

/// A shard's end.
pub struct Drop {
    pub shard: i32,
    pub rows: i64,
    /// Of the call that asked for it, the last one when it had to be asked again.
    pub took: Duration,
    pub before_bytes: u64,
    pub after_bytes: u64,
}

/// The latencies of all calls that were due in `span`.
pub fn quantiles(samples: &Samples, span: Span) -> Vec<Quantiles> {
    let of = |call| {
        let sorted = samples.latencies(call, span);
        Quantiles { p50: quantile(&sorted, 0.5), p99: quantile(&sorted, 0.99) }
    };
    Call::ALL.into_iter().map(of).collect()
}

/// The slowest call of each kind.
pub fn worst(samples: &Samples, span: Span) -> Vec<Duration> {
    let of = |call| samples.latencies(call, span).last().copied().unwrap_or_default();
    Call::ALL.into_iter().map(of).collect()
}

/// What each roll and drop did to the stream, which ended at `end`.
pub fn changes(samples: &Samples, events: &[Event], end: Duration) -> Vec<ChangeFigures> {
    let of = |event: &Event| {
        let mut around = event.span.widened(MARGIN);
        around.to = around.to.min(end);
        let slowest = worst(samples, around);
        ChangeFigures {
            change: event.change,
            shard: event.shard,
            rows: event.rows,
            took: event.span.length(),
            stalls: stalls(samples, around),
            slowest: Stalls { create: slowest[0], claim: slowest[1] },
        }
    };
    events.iter().map(of).collect()
}

/// The longest stalls in the spans of the ballast that keep off all rolls and drops.
pub fn elsewhere(samples: &Samples, ballast: &[Span], events: &[Event]) -> Stalls {
    let mut longest = Stalls::default();
    for span in ballast.iter().flat_map(|span| apart(*span, events)) {
        let here = stalls(samples, span);
        longest.create = longest.create.max(here.create);
        longest.claim = longest.claim.max(here.claim);
    }
    longest
}

fn stalls(samples: &Samples, span: Span) -> Stalls {
    Stalls {
        create: samples.longest_stall(Call::Create, span),
        claim: samples.longest_stall(Call::Acquire, span),
    }
}

/// What is left of `span` without the time around the events, which are in order.
fn apart(span: Span, events: &[Event]) -> Vec<Span> {
    let mut left = Vec::new();
    let mut from = span.from;
    for around in events.iter().map(|event| event.span.widened(MARGIN)) {
        if around.meets(span) {
            left.push(Span { from, to: around.from.max(from) });
            from = around.to.max(from);
        }
    }
    left.push(Span { from, to: span.to });
    left.retain(|span| span.from < span.to);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: u64, to: u64) -> Span {
        Span { from: Duration::from_secs(from), to: Duration::from_secs(to) }
    }

    #[test]
    fn what_is_elsewhere_keeps_five_seconds_off_every_event() {
        let event =
            |from, to| Event { change: Change::Rolled, shard: 2, rows: 0, span: span(from, to) };
        let events = [event(20, 21), event(50, 51), event(200, 201)];
        assert_eq!(apart(span(0, 100), &events), [span(0, 15), span(26, 45), span(56, 100)]);
        assert_eq!(apart(span(17, 24), &events), []);
        assert_eq!(apart(span(60, 70), &events), [span(60, 70)]);
    }
}
