//! What the governor's duties did last: written by the leader, readable by everybody.

use sea_orm::{DatabaseTransaction, QueryResult};

use crate::{
    Store,
    backend::or_ignore,
    error::StoreError,
    leader::{LeaderFence, check_fence},
};

const COLUMNS: &str = "name, runs, failures, done, last_start_ms, last_end_ms, last_error";

/// Runs of a duty that have ended: a few of them to be recorded, or all that were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DutyRuns {
    pub name: String,
    pub runs: i64,
    pub failures: i64,
    /// How many things they did: tasks reaped, rows deleted.
    pub done: i64,
    /// When the last of them began, in Unix milliseconds of the leader's host.
    pub last_start_ms: i64,
    pub last_end_ms: i64,
    /// Of the last run; `None` when it went well.
    pub last_error: Option<String>,
}

impl Store {
    /// Adds runs to a duty's row, while that leader leads.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn record_duty(
        &self,
        runs: &DutyRuns,
        fence: &LeaderFence,
    ) -> Result<(), StoreError> {
        self.transact(&(runs, fence), |store, tx, (runs, fence)| {
            Box::pin(record_once(store, tx, runs, fence))
        })
        .await
    }

    /// Every duty that ever ran, in order of their names, whoever led.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list_duties(&self) -> Result<Vec<DutyRuns>, StoreError> {
        let mut sql = self.sql(&format!("SELECT {COLUMNS} FROM duties ORDER BY name"));
        sql.all(self.reader()).await?.iter().map(read).collect()
    }
}

fn read(row: &QueryResult) -> Result<DutyRuns, StoreError> {
    Ok(DutyRuns {
        name: row.try_get_by_index(0)?,
        runs: row.try_get_by_index(1)?,
        failures: row.try_get_by_index(2)?,
        done: row.try_get_by_index(3)?,
        last_start_ms: row.try_get_by_index::<Option<i64>>(4)?.unwrap_or_default(),
        last_end_ms: row.try_get_by_index::<Option<i64>>(5)?.unwrap_or_default(),
        last_error: row.try_get_by_index(6)?,
    })
}

async fn record_once(
    store: &Store,
    tx: &DatabaseTransaction,
    runs: &DutyRuns,
    fence: &LeaderFence,
) -> Result<(), StoreError> {
    check_fence(store, tx, fence).await?;
    let mut sql = store.sql("INSERT INTO duties (name, runs, failures, done) VALUES ");
    sql.tuple([runs.name.as_str().into(), 0_i64.into(), 0_i64.into(), 0_i64.into()]);
    sql.push(&or_ignore(store.backend(), "name", "name")).run(tx).await?;
    let mut sql = store.sql("UPDATE duties SET runs = runs + ");
    sql.bind(runs.runs).push(", failures = failures + ").bind(runs.failures);
    sql.push(", done = done + ").bind(runs.done);
    sql.push(", last_start_ms = ").bind(runs.last_start_ms);
    sql.push(", last_end_ms = ").bind(runs.last_end_ms);
    sql.push(", last_error = ").bind(runs.last_error.clone());
    sql.push(" WHERE name = ").bind(runs.name.as_str()).run(tx).await?;
    Ok(())
}
