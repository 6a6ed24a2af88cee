//! Locks that thin out contention between brokers.
//!
//! A lock says "probably nobody else does it now"; nothing is wrong when two hold it. Every lock
//! has a ttl and is renewed at a third of it; a holder sees when it was lost.

mod database;
mod memory;
mod redis;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sea_orm::DatabaseConnection;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backend::Backend,
    error::StoreError,
    options::{LockKind, StoreOptions},
};

/// Takes locks. Cheap to clone.
#[derive(Clone)]
pub struct Locks {
    keeper: Arc<Keeper>,
    renewals: TaskTracker,
    closing: CancellationToken,
}

/// Where locks are kept. Each knows three verbs; `token` tells holders apart.
enum Keeper {
    Memory(memory::Memory),
    Database(database::Table),
    Redis(redis::Redis),
}

impl Keeper {
    /// Takes the lock if it is free; `false` when somebody has it.
    async fn take(&self, name: &str, token: &str, ttl: Duration) -> Result<bool, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.take(name, token, ttl)),
            Self::Database(table) => table.take(name, token, ttl).await,
            Self::Redis(redis) => redis.take(name, token, ttl).await,
        }
    }

    /// Holds it for another ttl; `false` when it is not ours any more.
    async fn renew(&self, name: &str, token: &str, ttl: Duration) -> Result<bool, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.renew(name, token, ttl)),
            Self::Database(table) => table.renew(name, token, ttl).await,
            Self::Redis(redis) => redis.renew(name, token, ttl).await,
        }
    }

    /// Gives it back if it is still ours.
    async fn release(&self, name: &str, token: &str) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => {
                memory.release(name, token);
                Ok(())
            }
            Self::Database(table) => table.release(name, token).await,
            Self::Redis(redis) => redis.release(name, token).await,
        }
    }
}

/// A lock that is held until it is dropped, released or lost.
#[derive(Debug)]
pub struct LockGuard {
    held: Arc<AtomicBool>,
    drop: CancellationToken,
    gone: CancellationToken,
}

impl Locks {
    pub(crate) fn new(
        options: &StoreOptions,
        backend: Backend,
        database: &DatabaseConnection,
    ) -> Result<Self, StoreError> {
        let keeper = match (options.lock, &options.redis_url) {
            (LockKind::Memory, _) => Keeper::Memory(memory::Memory::default()),
            (LockKind::Database, _) => {
                let time_max = options.call_timeout;
                Keeper::Database(database::Table::new(backend, database.clone(), time_max))
            }
            (LockKind::Redis, Some(url)) => {
                Keeper::Redis(redis::Redis::new(url, &options.redis_prefix)?)
            }
            (LockKind::Redis, None) => {
                return Err(StoreError::Options("Redis locks need the address of Redis".into()));
            }
        };
        Ok(Self {
            keeper: Arc::new(keeper),
            renewals: TaskTracker::new(),
            closing: CancellationToken::new(),
        })
    }

    /// Takes a lock if it is free: `None` when somebody has it. It never waits for the holder.
    ///
    /// # Errors
    /// `Unavailable` when the keeper does not answer, for Redis within 300 ms and then at once for
    /// a while: go on without the lock.
    pub async fn try_acquire(
        &self,
        name: &str,
        ttl: Duration,
    ) -> Result<Option<LockGuard>, StoreError> {
        let token = format!("{:032x}", rand::random::<u128>());
        if !self.keeper.take(name, &token, ttl).await? {
            return Ok(None);
        }
        let guard = LockGuard {
            held: Arc::new(AtomicBool::new(true)),
            drop: self.closing.child_token(),
            gone: CancellationToken::new(),
        };
        let renewal = Renewal {
            keeper: self.keeper.clone(),
            name: name.to_owned(),
            token,
            ttl,
            held: guard.held.clone(),
        };
        let (dropped, gone) = (guard.drop.clone(), guard.gone.clone());
        self.renewals.spawn(async move {
            renewal.run(dropped).await;
            gone.cancel();
        });
        Ok(Some(guard))
    }

    /// Releases all locks and waits until that is done.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.renewals.close();
        self.renewals.wait().await;
    }
}

impl LockGuard {
    /// Whether it is still held, as far as is known: a renewal failed otherwise.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Resolves when the lock is not held any more.
    pub async fn lost(&self) {
        self.gone.cancelled().await;
    }

    /// Gives it back and waits until that is done.
    pub async fn release(self) {
        self.drop.cancel();
        self.gone.cancelled().await;
    }
}

impl Drop for LockGuard {
    /// The renewal task gives it back.
    fn drop(&mut self) {
        self.drop.cancel();
    }
}

struct Renewal {
    keeper: Arc<Keeper>,
    name: String,
    token: String,
    ttl: Duration,
    held: Arc<AtomicBool>,
}

impl Renewal {
    /// Renews at a third of the ttl until the guard is dropped. An error is not yet a loss: it is
    /// one when the ttl is over without a renewal.
    async fn run(self, dropped: CancellationToken) {
        let mut failures = 0;
        while dropped.run_until_cancelled(tokio::time::sleep(self.ttl / 3)).await.is_some() {
            failures = match self.keeper.renew(&self.name, &self.token, self.ttl).await {
                Ok(true) => 0,
                Ok(false) => return self.held.store(false, Ordering::Release),
                Err(_) => failures + 1,
            };
            if failures >= 2 {
                return self.held.store(false, Ordering::Release);
            }
        }
        self.held.store(false, Ordering::Release);
        if let Err(error) = self.keeper.release(&self.name, &self.token).await {
            tracing::debug!(%error, name = self.name, "a lock runs out instead of being released");
        }
    }
}
