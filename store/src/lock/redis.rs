//! Locks in Redis: SET NX PX with a random token, compare-and-expire, compare-and-delete.
//!
//! A call as a whole takes at most 300 ms. After one that failed nobody calls for about a second,
//! doubled up to 30; then one tries, and the others go on without until it was answered. A Redis
//! that is stopped costs next to nothing, and processes that lost it together come back spread.

use std::{
    error::Error,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use deadpool_redis::{Config, Pool, Runtime, redis};

use crate::{
    clock::monotonic,
    error::{StoreError, TimedOut},
};

const CALL_TIMEOUT: Duration = Duration::from_millis(300);
const OPEN_MIN: Duration = Duration::from_secs(1);
const OPEN_MAX: Duration = Duration::from_secs(30);
const RENEW: &str = "if redis.call('get', KEYS[1]) == ARGV[1] then \
     return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end";
const RELEASE: &str = "if redis.call('get', KEYS[1]) == ARGV[1] then \
     return redis.call('del', KEYS[1]) else return 0 end";

pub(super) struct Redis {
    pool: Pool,
    prefix: String,
    breaker: Mutex<Breaker>,
}

/// Closed, or open until a time.
#[derive(Debug)]
struct Breaker {
    until: Option<Instant>,
    /// How long it opens next, at most.
    next: Duration,
    /// How often it was opened.
    openings: u64,
}

impl Breaker {
    const CLOSED: Self = Self { until: None, next: OPEN_MIN, openings: 0 };

    /// Whether a call may be made now: a number to tell with its outcome. When the time is over
    /// the first who asks may, and the others not before that call must have ended.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        match self.until {
            Some(until) if until > now => return None,
            Some(_) => self.until = Some(now + CALL_TIMEOUT),
            None => {}
        }
        Some(self.openings)
    }

    /// Whether it was open. What was called before it opened says nothing of what is now.
    fn succeeded(&mut self, admitted: u64) -> bool {
        if admitted != self.openings {
            return false;
        }
        self.next = OPEN_MIN;
        self.until.take().is_some()
    }

    /// Whether it was closed. Calls that fail together are one failure.
    fn failed(&mut self, admitted: u64, now: Instant) -> bool {
        if admitted != self.openings {
            return false;
        }
        let was_closed = self.until.is_none();
        self.until = Some(now + self.next.mul_f64(rand::random_range(0.5..1.0)));
        self.next = (self.next * 2).min(OPEN_MAX);
        self.openings += 1;
        was_closed
    }
}

#[derive(Clone, Debug, thiserror::Error)]
#[error("Redis was away a moment ago")]
struct BreakerOpen;

impl Redis {
    pub fn new(url: &str, prefix: &str) -> Result<Self, StoreError> {
        let pool = Config::from_url(url)
            .create_pool(Some(Runtime::Tokio1))
            .map_err(|error| StoreError::Options(format!("the Redis address: {error}")))?;
        let breaker = Mutex::new(Breaker::CLOSED);
        Ok(Self { pool, prefix: format!("{prefix}:lock:"), breaker })
    }

    pub async fn take(&self, name: &str, token: &str, ttl: Duration) -> Result<bool, StoreError> {
        let mut command = redis::cmd("SET");
        command.arg(self.key(name)).arg(token).arg("NX").arg("PX").arg(ttl.as_millis() as u64);
        Ok(self.call::<Option<String>>(command).await?.is_some())
    }

    pub async fn renew(&self, name: &str, token: &str, ttl: Duration) -> Result<bool, StoreError> {
        let mut command = redis::cmd("EVAL");
        command.arg(RENEW).arg(1).arg(self.key(name)).arg(token).arg(ttl.as_millis() as u64);
        Ok(self.call::<i64>(command).await? == 1)
    }

    pub async fn release(&self, name: &str, token: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("EVAL");
        command.arg(RELEASE).arg(1).arg(self.key(name)).arg(token);
        self.call::<i64>(command).await.map(|_| ())
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn call<T: redis::FromRedisValue>(&self, command: redis::Cmd) -> Result<T, StoreError> {
        let admitted = self.breaker().admit(monotonic());
        let admitted = admitted.ok_or_else(|| StoreError::unavailable(BreakerOpen))?;
        let work = async {
            let mut connection = self.pool.get().await.map_err(StoreError::unavailable)?;
            command.query_async(&mut connection).await.map_err(StoreError::unavailable)
        };
        let outcome = match tokio::time::timeout(CALL_TIMEOUT, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::unavailable(TimedOut)),
        };
        match &outcome {
            Ok(_) if self.breaker().succeeded(admitted) => tracing::info!("Redis answers again"),
            Err(error) if self.breaker().failed(admitted, monotonic()) => {
                // Without the words about the database.
                let error: &dyn Error = error.source().unwrap_or(error);
                tracing::warn!(%error, "Redis does not answer, and is done without");
            }
            _ => {}
        }
        outcome
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Opens it so often, at moments when it lets calls through, and tells until when it is open.
    fn opened(breaker: &mut Breaker, times: usize, mut now: Instant) -> Instant {
        for _ in 0..times {
            let admitted = breaker.admit(now).unwrap();
            breaker.failed(admitted, now);
            now = breaker.until.unwrap();
        }
        now
    }

    #[test]
    fn calls_that_fail_together_are_one_failure() {
        let (mut breaker, now) = (Breaker::CLOSED, monotonic());
        let together = [(); 8].map(|()| breaker.admit(now).unwrap());
        let first = together.map(|admitted| breaker.failed(admitted, now));
        assert_eq!(first, [true, false, false, false, false, false, false, false]);
        assert_eq!(breaker.next, 2 * OPEN_MIN);
        assert!(breaker.until.unwrap() <= now + OPEN_MIN);
    }

    #[test]
    fn when_its_time_is_over_one_tries() {
        let mut breaker = Breaker::CLOSED;
        let now = opened(&mut breaker, 1, monotonic());
        assert!(breaker.admit(now - Duration::from_millis(1)).is_none());
        let admitted = breaker.admit(now).unwrap();
        assert!(breaker.admit(now).is_none(), "the others wait for how it fares");
        assert!(!breaker.failed(admitted, now), "it was open before");
        let again = breaker.admit(breaker.until.unwrap()).unwrap();
        assert!(!breaker.succeeded(admitted), "an answer from before it failed");
        assert!(breaker.succeeded(again) && !breaker.succeeded(again));
        assert!(breaker.admit(now).is_some() && breaker.admit(now).is_some());
    }

    /// Brokers lose it at the same moment, and do not come back at the same moment.
    #[test]
    fn a_hundred_that_lost_it_together_come_back_spread() {
        let lost = monotonic();
        for (outages, most) in [(1, OPEN_MIN), (10, OPEN_MAX)] {
            let mut in_tenths = [0; 10];
            for _ in 0..100 {
                let mut breaker = Breaker::CLOSED;
                let before = opened(&mut breaker, outages - 1, lost);
                let waits = opened(&mut breaker, 1, before) - before;
                let share = waits.as_secs_f64() / most.as_secs_f64();
                assert!((0.5..1.0).contains(&share), "{share}");
                in_tenths[((share - 0.5) * 20.0) as usize] += 1;
            }
            // 10 are to be expected; 40 do not come in 10^9 runs.
            assert!(in_tenths.iter().all(|count| *count < 40), "{in_tenths:?}");
        }
    }
}
