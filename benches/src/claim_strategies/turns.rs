//! How claimers keep out of each other's way.

use crate::{error::BenchError, target::Target};
use asyncflow_core::id::TypeName;
use asyncflow_store::{
    LockKind, Store, StoreOptions,
    lock::LockGuard,
    testing::{Server, start_redis},
};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// A claim takes some milliseconds; the lock must not run out under one that waits for the disk.
const LOCK_TTL: Duration = Duration::from_secs(10);
/// The pause of a broker that finds the lock taken (`broker/src/dispatch/turns.rs`).
const PAUSE_MS_MAX: u64 = 20;

pub enum Turns {
    /// They do not.
    Free,
    InProcess(Mutex<()>),
    /// A store for its locks alone, so that claims go the same way as all others.
    Shared {
        store: Store,
        _redis: Server,
    },
}

/// It may be claimed until this is given back, or dropped.
pub enum Turn<'a> {
    Free,
    InProcess(MutexGuard<'a, ()>),
    Shared(LockGuard),
}

impl Turns {
    /// By the lock that brokers share, in a Redis that is started for it.
    pub async fn by_redis(target: &Target) -> Result<Self, BenchError> {
        let redis = start_redis();
        let options = StoreOptions {
            lock: LockKind::Redis,
            redis_url: Some(redis.admin_url()),
            ..StoreOptions::new(target.database_url())
        };
        Ok(Self::Shared { store: Store::connect(&options).await?, _redis: redis })
    }

    /// Waits for a turn. The lock in Redis knows no queue: who finds it taken tries again after a
    /// pause, and who has just given it back is often the first.
    pub async fn take(&self, task_type: &TypeName) -> Result<Turn<'_>, BenchError> {
        let store = match self {
            Self::Free => return Ok(Turn::Free),
            Self::InProcess(turn) => return Ok(Turn::InProcess(turn.lock().await)),
            Self::Shared { store, .. } => store,
        };
        let name = format!("claim:{task_type}");
        loop {
            if let Some(lock) = store.locks().try_acquire(&name, LOCK_TTL).await? {
                return Ok(Turn::Shared(lock));
            }
            let pause_ms = rand::random_range(0..=PAUSE_MS_MAX);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    pub async fn close(&self) {
        if let Self::Shared { store, .. } = self {
            store.close().await;
        }
    }
}

impl Turn<'_> {
    pub async fn give_back(self) {
        match self {
            Self::Free => {}
            Self::InProcess(turn) => drop(turn),
            Self::Shared(lock) => lock.release().await,
        }
    }
}
