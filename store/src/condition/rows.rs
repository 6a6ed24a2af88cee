//! The rows of what is waited for.

use std::collections::BTreeSet;

use asyncflow_core::id::TaskId;
use sea_orm::DatabaseTransaction;

use crate::{
    Store,
    error::StoreError,
    sql::{InsertInto, insert_rows},
    workflow::or_replace,
};

/// Keys per statement.
const KEYS_MAX: usize = 256;
/// The name of the wait for a task's own children; no signal has it.
pub(super) const CHILDREN: &str = "*";

/// One thing that a task waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WaitRow {
    /// The task whose end is waited for, or what a signal is sent to: a task or a workflow.
    pub awaited: String,
    /// Of the signal, [`CHILDREN`], or empty for the end of a task.
    pub name: String,
    pub waiter: TaskId,
    /// Whether the task may end in any way.
    pub any_end: bool,
}

/// Notes what is waited for.
pub(crate) async fn insert(
    store: &Store,
    tx: &DatabaseTransaction,
    mut rows: Vec<WaitRow>,
) -> Result<(), StoreError> {
    rows.sort_unstable();
    let columns = ["awaited", "name", "waiter", "any_end", "outcome"];
    let rows = rows.into_iter().map(|row| {
        let WaitRow { awaited, name, waiter, any_end } = row;
        vec![
            awaited.into(),
            name.into(),
            waiter.to_string().into(),
            i16::from(any_end).into(),
            0_i16.into(),
        ]
    });
    // One that was left behind by an earlier wait is this one from now on.
    let or = or_replace(store.backend(), "awaited, name, waiter", &["any_end", "outcome"]);
    let into = InsertInto { table: "task_waits", columns: &columns, or: &or };
    insert_rows(store, tx, into, rows.collect::<Vec<_>>()).await
}

/// Forgets what tasks waited for that wait no more.
pub(crate) async fn forget(
    store: &Store,
    tx: &DatabaseTransaction,
    waiters: &[&TaskId],
) -> Result<(), StoreError> {
    let ids: Vec<String> = waiters.iter().map(ToString::to_string).collect();
    for chunk in ids.chunks(KEYS_MAX) {
        let mut sql = store.sql("DELETE FROM task_waits WHERE ");
        sql.is_in("waiter", chunk).run(tx).await?;
    }
    Ok(())
}

/// Those of these tasks that something is noted for.
pub(super) async fn still_waiting(
    store: &Store,
    tx: &DatabaseTransaction,
    waiters: &[&TaskId],
) -> Result<BTreeSet<String>, StoreError> {
    let ids: Vec<String> = waiters.iter().map(ToString::to_string).collect();
    let mut found = BTreeSet::new();
    for chunk in ids.chunks(KEYS_MAX) {
        let mut sql = store.sql("SELECT DISTINCT waiter FROM task_waits WHERE ");
        for row in sql.is_in("waiter", chunk).all(tx).await? {
            found.insert(row.try_get_by_index(0)?);
        }
    }
    Ok(found)
}
