//! Locks in Redis: SET NX PX with a random token, compare-and-expire, compare-and-delete.
//!
//! A call as a whole takes at most 300 ms. After one that failed the breaker is open for a second,
//! doubled up to 30: a Redis that is stopped costs nothing.

use std::{
    sync::{Mutex, PoisonError},
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

/// Open until a time; how long it opens next.
struct Breaker {
    until: Option<Instant>,
    next: Duration,
}

#[derive(Clone, Debug, thiserror::Error)]
#[error("Redis was away a moment ago")]
struct BreakerOpen;

impl Redis {
    pub fn new(url: &str, prefix: &str) -> Result<Self, StoreError> {
        let pool = Config::from_url(url)
            .create_pool(Some(Runtime::Tokio1))
            .map_err(|error| StoreError::Options(format!("the Redis address: {error}")))?;
        let breaker = Mutex::new(Breaker { until: None, next: OPEN_MIN });
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
        if self.is_open() {
            return Err(StoreError::unavailable(BreakerOpen));
        }
        let work = async {
            let mut connection = self.pool.get().await.map_err(StoreError::unavailable)?;
            command.query_async(&mut connection).await.map_err(StoreError::unavailable)
        };
        let outcome = match tokio::time::timeout(CALL_TIMEOUT, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::unavailable(TimedOut)),
        };
        self.note(outcome.is_ok());
        outcome
    }

    fn is_open(&self) -> bool {
        let breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        breaker.until.is_some_and(|until| until > monotonic())
    }

    fn note(&self, ok: bool) {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        if ok {
            *breaker = Breaker { until: None, next: OPEN_MIN };
        } else {
            breaker.until = Some(monotonic() + breaker.next);
            breaker.next = (breaker.next * 2).min(OPEN_MAX);
        }
    }
}
