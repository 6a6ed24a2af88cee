//! What the stream measured: every call with its intended start, kept whole, so that a window or
//! the time around an event can be looked at afterwards.

use crate::span::Span;
use std::time::Duration;

/// The calls of a task's life that are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Create,
    Acquire,
    Start,
    Complete,
}

impl Call {
    pub const ALL: [Self; 4] = [Self::Create, Self::Acquire, Self::Start, Self::Complete];

    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Acquire => "claim",
            Self::Start => "start",
            Self::Complete => "complete",
        }
    }
}

/// One answered call; times from the beginning of the run.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub call: Call,
    /// When it had to be sent, whether or not the machine got to it in time.
    pub due: Duration,
    pub done: Duration,
}

/// All answered calls of a run.
#[derive(Clone, Debug, Default)]
pub struct Samples(pub Vec<Sample>);

impl Samples {
    /// Latencies of the calls that were due in `span`, shortest first.
    pub fn latencies(&self, call: Call, span: Span) -> Vec<Duration> {
        let chosen = self.0.iter().filter(|s| s.call == call && span.contains(s.due));
        let mut latencies: Vec<_> = chosen.map(|s| s.done.saturating_sub(s.due)).collect();
        latencies.sort_unstable();
        latencies
    }

    /// The longest time in `span` in which no such call was answered.
    pub fn longest_stall(&self, call: Call, span: Span) -> Duration {
        let chosen = self.0.iter().filter(|s| s.call == call && span.contains(s.done));
        let mut moments: Vec<_> = chosen.map(|s| s.done).collect();
        moments.extend([span.from, span.to]);
        moments.sort_unstable();
        let gaps = moments.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        gaps.max().unwrap_or_default()
    }
}

/// The latency that a share of `sorted` did not exceed; zero when there is none.
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn samples(of: &[(u64, u64)]) -> Samples {
        let sample = |&(due, done)| Sample { call: Call::Create, due: ms(due), done: ms(done) };
        Samples(of.iter().map(sample).collect())
    }

    #[test]
    fn a_stall_is_seen_at_the_edges_and_between_answers() {
        let span = Span { from: ms(0), to: ms(100) };
        assert_eq!(samples(&[]).longest_stall(Call::Create, span), ms(100));
        assert_eq!(samples(&[(0, 10), (0, 90)]).longest_stall(Call::Create, span), ms(80));
        assert_eq!(samples(&[(0, 60), (0, 90)]).longest_stall(Call::Create, span), ms(60));
        let of_others = samples(&[(0, 50)]).longest_stall(Call::Acquire, span);
        assert_eq!(of_others, ms(100));
    }

    #[test]
    fn a_call_belongs_where_it_was_due_however_late_it_was_answered() {
        let late = samples(&[(10, 500), (20, 25), (120, 121)]);
        let span = Span { from: ms(0), to: ms(100) };
        assert_eq!(late.latencies(Call::Create, span), [ms(5), ms(490)]);
    }

    #[test]
    fn a_quantile_is_a_latency_that_was_measured() {
        let latencies: Vec<Duration> = (1..=200).map(ms).collect();
        assert_eq!(quantile(&latencies, 0.5), ms(100));
        assert_eq!(quantile(&latencies, 0.99), ms(198));
        assert_eq!(quantile(&latencies, 1.0), ms(200));
        assert_eq!(quantile(&[], 0.99), ms(0));
    }
}
