//! Transactions: the whole of one is repeated when another was in the way.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::future::BoxFuture;
use sea_orm::{DatabaseTransaction, SqliteTransactionMode, TransactionOptions, TransactionTrait};

use crate::{
    Store,
    error::{StoreError, TimedOut},
};

/// How often a transaction is tried before its contention counts as an outage.
const ATTEMPTS_MAX: u32 = 6;
const PAUSE_MS: u64 = 4;

/// The body of a transaction: what it is done with, in which transaction, with which arguments.
pub(crate) type Body<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl Store {
    /// Runs `body` in a write transaction and commits it; repeats the whole of it, at most
    /// `ATTEMPTS_MAX` times with growing random pauses, when it met a deadlock, a lock wait, a
    /// busy database or a key that somebody else inserted at the same moment. An error rolls back.
    ///
    /// Cancel safe: a future that is dropped rolls back, unless COMMIT was already on its way.
    pub(crate) async fn transact<C, T, F>(&self, context: &C, body: F) -> Result<T, StoreError>
    where
        C: Sync + ?Sized,
        T: Send,
        F: for<'a> Fn(&'a Store, &'a DatabaseTransaction, &'a C) -> Body<'a, T> + Sync,
    {
        let committing = AtomicBool::new(false);
        let work = self.attempts(context, &body, &committing);
        match tokio::time::timeout(self.options().call_timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let error = StoreError::unavailable(TimedOut);
                let unknown = committing.load(Ordering::Relaxed);
                Err(if unknown { error.at_commit() } else { error })
            }
        }
    }

    /// The same once, within `time_max`: for what is better tried again later than waited for.
    pub(crate) async fn transact_once<C, T, F>(
        &self,
        context: &C,
        time_max: Duration,
        body: F,
    ) -> Result<T, StoreError>
    where
        C: Sync + ?Sized,
        T: Send,
        F: for<'a> Fn(&'a Store, &'a DatabaseTransaction, &'a C) -> Body<'a, T> + Sync,
    {
        let committing = AtomicBool::new(false);
        let attempt = self.attempt(context, &body, &committing);
        tokio::time::timeout(time_max, attempt)
            .await
            .unwrap_or_else(|_| Err(StoreError::unavailable(TimedOut)))
    }

    async fn attempts<C, T, F>(
        &self,
        context: &C,
        body: &F,
        committing: &AtomicBool,
    ) -> Result<T, StoreError>
    where
        C: Sync + ?Sized,
        T: Send,
        F: for<'a> Fn(&'a Store, &'a DatabaseTransaction, &'a C) -> Body<'a, T> + Sync,
    {
        let mut attempt = 1;
        loop {
            committing.store(false, Ordering::Relaxed);
            let error = match self.attempt(context, body, committing).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let again = matches!(error, StoreError::Contended(_) | StoreError::Duplicate(_));
            if !again || attempt >= ATTEMPTS_MAX {
                return Err(if again { error.exhausted() } else { error });
            }
            metrics::counter!("asyncflow_store_retries_total").increment(1);
            let longest_ms = PAUSE_MS << attempt;
            tokio::time::sleep(Duration::from_millis(rand::random_range(1..=longest_ms))).await;
            attempt += 1;
        }
    }

    async fn attempt<C, T, F>(
        &self,
        context: &C,
        body: &F,
        committing: &AtomicBool,
    ) -> Result<T, StoreError>
    where
        C: Sync + ?Sized,
        T: Send,
        F: for<'a> Fn(&'a Store, &'a DatabaseTransaction, &'a C) -> Body<'a, T> + Sync,
    {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let tx = self.writer().begin_with_options(options).await?;
        let done = body(self, &tx, context).await;
        match done.and_then(|value| self.check_place().map(|()| value)) {
            Ok(value) => {
                committing.store(true, Ordering::Relaxed);
                tx.commit().await.map_err(|error| StoreError::from(error).at_commit())?;
                Ok(value)
            }
            Err(error) => {
                // A lock wait of MySQL rolls back the statement only, so this is not left to it.
                // A rollback that fails loses nothing: the connection is then closed, on SQLite by
                // what looks at those that are given back.
                let _ = tx.rollback().await;
                Err(error)
            }
        }
    }
}
