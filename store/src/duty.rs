//! What the governor's duties did last: written by the leader, readable by everybody.

use sea_orm::{DatabaseTransaction, QueryResult};

use crate::{Store, backend::or_ignore, error::StoreError};

const COLUMNS: &str = "name, runs, failures, done, last_start_ms, last_end_ms, last_error";

/// One run of a duty that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DutyRun {
    pub name: String,
    pub start_ms: i64,
    pub end_ms: i64,
    /// How many things it did: tasks reaped, rows deleted.
    pub done: i64,
    /// Why it failed; `None` when it went well.
    pub error: Option<String>,
}

/// A duty over all its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    pub name: String,
    pub runs: i64,
    pub failures: i64,
    pub done: i64,
    pub last_start_ms: Option<i64>,
    pub last_end_ms: Option<i64>,
    /// Of the last run; `None` when it went well.
    pub last_error: Option<String>,
}

impl Store {
    /// Adds a run to a duty's row.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn record_duty(&self, run: &DutyRun) -> Result<(), StoreError> {
        self.transact(run, |store, tx, run| Box::pin(record_once(store, tx, run))).await
    }

    /// Every duty that ever ran, in order of their names.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list_duties(&self) -> Result<Vec<Duty>, StoreError> {
        let sql = self.sql(&format!("SELECT {COLUMNS} FROM duties ORDER BY name"));
        sql.all(self.reader()).await?.iter().map(read).collect()
    }
}

fn read(row: &QueryResult) -> Result<Duty, StoreError> {
    Ok(Duty {
        name: row.try_get_by_index(0)?,
        runs: row.try_get_by_index(1)?,
        failures: row.try_get_by_index(2)?,
        done: row.try_get_by_index(3)?,
        last_start_ms: row.try_get_by_index(4)?,
        last_end_ms: row.try_get_by_index(5)?,
        last_error: row.try_get_by_index(6)?,
    })
}

async fn record_once(
    store: &Store,
    tx: &DatabaseTransaction,
    run: &DutyRun,
) -> Result<(), StoreError> {
    let mut sql = store.sql("INSERT INTO duties (name, runs, failures, done) VALUES ");
    sql.tuple([run.name.as_str().into(), 0_i64.into(), 0_i64.into(), 0_i64.into()]);
    sql.push(&or_ignore(store.backend(), "name", "name")).run(tx).await?;
    let mut sql = store.sql("UPDATE duties SET runs = runs + 1, failures = failures + ");
    sql.bind(i64::from(run.error.is_some())).push(", done = done + ").bind(run.done);
    sql.push(", last_start_ms = ").bind(run.start_ms).push(", last_end_ms = ").bind(run.end_ms);
    sql.push(", last_error = ").bind(run.error.clone());
    sql.push(" WHERE name = ").bind(run.name.as_str()).run(tx).await?;
    Ok(())
}
