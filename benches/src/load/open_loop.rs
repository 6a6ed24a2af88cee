//! Calls on a fixed schedule, whether or not those before them were answered. A latency counts from
//! the moment at which the call was due: a target that stalls is not asked less often, and every
//! call that it kept waiting shows it.

use super::tally::Tally;
use crate::error::BenchError;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet};

/// How long after the span a call that was due in it may still be sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often, and how many calls at once.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub per_second: f64,
    /// A call that would be one more waits until another is answered; its time runs.
    pub in_flight_max: usize,
}

impl Pace {
    /// When this call is due, after the beginning.
    pub fn due(self, number: u32) -> Duration {
        Duration::from_secs_f64(f64::from(number) / self.per_second)
    }
}

/// Makes the calls from the tally's beginning to the end of its span, and waits until all of them
/// are answered. How long this was, from the beginning of the span.
pub async fn run<C, F>(
    pace: Pace,
    callers: &[C],
    tally: &Arc<Tally>,
    step: impl Fn(C, Duration) -> F,
) -> Duration
where
    C: Clone,
    F: Future<Output = Result<u64, BenchError>> + Send + 'static,
{
    let (clock, end) = (tally.clock(), tally.span().to);
    let places = Arc::new(Semaphore::new(pace.in_flight_max.max(1)));
    let mut calls = JoinSet::new();
    for (number, caller) in (0..).zip(callers.iter().cycle()) {
        let due = pace.due(number);
        if due >= end {
            break;
        }
        if clock.elapsed() < due {
            clock.until(due).await;
        }
        let left = end.saturating_add(PATIENCE).saturating_sub(clock.elapsed());
        let place = Arc::clone(&places).acquire_owned();
        let Ok(Ok(place)) = tokio::time::timeout(left, place).await else {
            never_sent(tally, (number..).map(|n| pace.due(n)).take_while(|due| *due < end));
            break;
        };
        let (call, tally) = (step(caller.clone(), due), Arc::clone(tally));
        calls.spawn(async move {
            let answer = call.await;
            note(&tally, due, answer);
            drop(place);
        });
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
    clock.elapsed().max(end).saturating_sub(tally.span().from)
}

fn note(tally: &Tally, due: Duration, answer: Result<u64, BenchError>) {
    let latency = tally.clock().elapsed().saturating_sub(due);
    match answer {
        Ok(count) => tally.answered(due, latency, count),
        Err(error) => {
            if error.is_late() {
                tally.unanswered(due, latency);
            }
            tally.failed(&error);
        }
    }
}

fn never_sent(tally: &Tally, dues: impl Iterator<Item = Duration>) {
    let now = tally.clock().elapsed();
    for due in dues {
        tally.unanswered(due, now.saturating_sub(due));
        tally.failed(&BenchError::NotSent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Stopwatch, load::closed_loop, load::tally::Counts, span::Span};

    const SPAN: Span = Span { from: Duration::ZERO, to: Duration::from_secs(10) };
    const STALL: Span = Span { from: Duration::from_secs(4), to: Duration::from_secs(6) };
    const QUICK: Duration = Duration::from_millis(1);

    /// A server that answers at once, but from 4 s to 6 s not at all.
    async fn answer(clock: Stopwatch) -> Result<u64, BenchError> {
        let now = clock.elapsed();
        let stalled = if STALL.contains(now) { STALL.to - now } else { Duration::ZERO };
        tokio::time::sleep(stalled + QUICK).await;
        Ok(1)
    }

    async fn open(in_flight_max: usize) -> Counts {
        let clock = Stopwatch::start();
        let tally = Tally::new(clock, SPAN);
        let pace = Pace { per_second: 100.0, in_flight_max };
        let elapsed = run(pace, &[clock], &tally, |clock, _| answer(clock)).await;
        tally.finish_in(elapsed)
    }

    async fn closed() -> Counts {
        let clock = Stopwatch::start();
        let tally = Tally::new(clock, SPAN);
        closed_loop::run(vec![clock], &tally, answer).await;
        tally.finish()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_shows_in_every_call_that_was_due_in_it() {
        let counts = open(10_000).await;
        assert_eq!((counts.count, counts.latencies.count()), (1_000, 1_000));
        // 200 of 1,000 calls were due in the stall and waited 1 s on average.
        let p90_ms = counts.latencies.quantile_ms(0.9);
        assert!((900.0..1_100.0).contains(&p90_ms), "{p90_ms}");
        let max_ms = counts.latencies.quantile_ms(1.0);
        assert!((1_990.0..2_020.0).contains(&max_ms), "{max_ms}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_had_to_wait_for_a_place_counts_from_when_it_was_due() {
        let counts = open(1).await;
        assert_eq!(counts.count, 1_000);
        let p90_ms = counts.latencies.quantile_ms(0.9);
        assert!(p90_ms > 900.0, "{p90_ms}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_does_not_see_the_same_stall() {
        let latencies = closed().await.latencies;
        assert!(latencies.quantile_ms(0.99) < 10.0, "{:?}", latencies.quantiles());
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_never_answers_makes_every_call_of_the_schedule_an_error() {
        let tally = Tally::new(Stopwatch::start(), SPAN);
        let pace = Pace { per_second: 10.0, in_flight_max: 2 };
        let never = |(), _| async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Err(BenchError::Other("no answer".to_owned()))
        };
        let elapsed = run(pace, &[()], &tally, never).await;
        let counts = tally.finish_in(elapsed);
        assert_eq!(counts.count, 0);
        assert_eq!(counts.errors.by_code["NOT_SENT"], 98);
        assert_eq!(counts.errors.total(), 100);
        assert!(counts.latencies.quantile_ms(0.5) > 30_000.0);
    }
}
