//! Writes the changed columns of rows, if they still are as they were read.
//!
//! Rows that change the same columns go together: what all of them get is set plainly, the rest by
//! the key of each. The statements of batches of all sizes share a few texts, for the reason that
//! `sql/insert.rs` tells. Every change raises the revision, so one that does not match means that
//! somebody else was here since the row was read; the transaction is then repeated.

use std::collections::BTreeMap;

use asyncflow_core::{id::ShardId, task::ResultChange};
use sea_orm::{DatabaseTransaction, Value};

use super::{row, write::Row};
use crate::{
    Store,
    backend::{Backend, for_update},
    error::StoreError,
    sql::{Arrays, Sql},
};

/// Rows of a statement, at most.
const ROWS_MAX: usize = 256;
/// Where a column has a CASE, which is searched from its start for every row.
const CASE_ROWS_MAX: usize = 64;
/// Neighbours that get the same values go without a CASE if they are so many on average.
const RUN_MIN: usize = 8;

/// What an UPDATE does, whatever the values: the columns, whether each becomes NULL, and by how
/// much the revision grows.
type Shape = (Vec<(&'static str, bool)>, i64);

/// The changed columns of one row, but for its revision.
struct Update {
    key: i64,
    revision: i64,
    values: Vec<Value>,
}

pub(super) async fn write(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
    rows: &[Row],
) -> Result<(), StoreError> {
    let mut groups: BTreeMap<Shape, Vec<Update>> = BTreeMap::new();
    for row in rows {
        let (shape, update) = changes(row)?;
        groups.entry(shape).or_default().push(update);
    }
    if groups.len() > 1 && store.backend() == Backend::Postgres {
        lock_in_order(store, tx, shard, rows).await?;
    }
    for (shape, updates) in &groups {
        for chunk in chunks(store.backend(), updates) {
            let varies = varying(chunk);
            let mut sql = store.sql("UPDATE ");
            sql.push(&shard.task_table()).push(" AS t SET revision = t.revision + ").bind(shape.1);
            if let [only] = chunk {
                push_sets(&mut sql, &shape.0, &varies, only);
                sql.push(" WHERE t.id = ").bind(only.key);
                if !store.is_off("update.compares") {
                    sql.push(" AND t.revision = ").bind(only.revision);
                }
            } else if store.backend() == Backend::Postgres {
                push_joined(&mut sql, &shape.0, &varies, chunk)?;
            } else {
                push_cases(&mut sql, store.backend(), (&shape.0, &varies), chunk);
            }
            if sql.run(tx).await? != chunk.len() as u64 {
                return Err(StoreError::Contended(std::sync::Arc::new(RevisionMoved)));
            }
        }
    }
    Ok(())
}

/// What goes into a statement each.
fn chunks(backend: Backend, updates: &[Update]) -> Vec<&[Update]> {
    if backend == Backend::Postgres || !varying(updates).contains(&true) {
        return updates.chunks(ROWS_MAX).collect();
    }
    let runs: Vec<&[Update]> = updates.chunk_by(|a, b| a.values == b.values).collect();
    if runs.len() * RUN_MIN > updates.len() {
        return updates.chunks(CASE_ROWS_MAX).collect();
    }
    runs.into_iter().flat_map(|run| run.chunks(ROWS_MAX)).collect()
}

/// Groups come in the order of what they change, not of their keys. Two transactions that wrote the
/// same tasks so could wait for each other, and PostgreSQL looks for that only after a second.
async fn lock_in_order(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
    rows: &[Row],
) -> Result<(), StoreError> {
    let keys: Vec<i64> = rows.iter().map(|row| row.before.id.key).collect();
    let mut sql = store.sql(&format!("SELECT id FROM {} WHERE ", shard.task_table()));
    sql.is_in("id", &keys).push(" ORDER BY id").push(for_update(store.backend()));
    sql.all(tx).await?;
    Ok(())
}

/// Which of the values are not the same for all.
fn varying(updates: &[Update]) -> Vec<bool> {
    let columns = 0..updates[0].values.len();
    let same = |at: usize| updates.iter().all(|update| update.values[at] == updates[0].values[at]);
    columns.map(|at| !same(at)).collect()
}

fn changes(row: &Row) -> Result<(Shape, Update), StoreError> {
    let mut changes = row::changed_values(&row.before, &row.after);
    changes.retain(|(column, _)| *column != "revision");
    if let Some(context) = &row.context {
        let values = row::content_values(Some(context));
        changes.extend(["context", "context_type"].into_iter().zip(values));
    }
    if let Some(change) = &row.result {
        changes.extend(["result", "result_type"].into_iter().zip(result_values(change)));
    }
    if let Some(labels) = &row.labels {
        changes.push(("labels", row::encode_labels(labels)?.into()));
    }
    let revision = row.before.revision;
    let columns = changes.iter().map(|(column, value)| (*column, *value == value.as_null()));
    let shape = (columns.collect(), row.after.revision - revision);
    let values = changes.into_iter().map(|(_, value)| value).collect();
    Ok((shape, Update { key: row.before.id.key, revision, values }))
}

/// The new values of `result`, and of `result_type` unless it stays.
fn result_values(change: &ResultChange) -> Vec<Value> {
    match change {
        ResultChange::Keep(content) => row::content_values(Some(content)),
        ResultChange::Clear => row::content_values(None),
        ResultChange::Expire => vec![row::NO_BYTES.into()],
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a row was changed after it was read")]
struct RevisionMoved;

/// Sets what does not vary, and says what does.
fn push_sets<'a>(
    sql: &mut Sql,
    columns: &'a [(&'static str, bool)],
    varies: &'a [bool],
    first: &'a Update,
) -> Vec<(usize, &'static str)> {
    let mut varying = Vec::new();
    for (at, (column, is_null)) in columns.iter().enumerate() {
        if varies[at] {
            varying.push((at, *column));
            continue;
        }
        sql.push(", ").push(column).push(" = ");
        if *is_null {
            sql.push("NULL");
        } else {
            sql.bind(first.values[at].clone());
        }
    }
    varying
}

/// PostgreSQL: joined with a table of values.
fn push_joined(
    sql: &mut Sql,
    columns: &[(&'static str, bool)],
    varies: &[bool],
    updates: &[Update],
) -> Result<(), StoreError> {
    let varying = push_sets(sql, columns, varies, &updates[0]);
    for (place, (_, column)) in varying.iter().enumerate() {
        sql.push(", ").push(column).push(" = v.").push(&Arrays::name(place + 2));
    }
    let mut arrays = Arrays::new(varying.len() + 2);
    for update in updates {
        let values = varying.iter().map(|(at, _)| update.values[*at].clone());
        arrays.push([update.key.into(), update.revision.into()].into_iter().chain(values));
    }
    sql.push(" FROM ");
    arrays.push_to(sql)?;
    sql.push(" WHERE t.id = v.c0 AND t.revision = v.c1");
    Ok(())
}

/// Elsewhere: a CASE on the key. Rows are filled up to a power of two with the last of them.
fn push_cases(
    sql: &mut Sql,
    backend: Backend,
    (columns, varies): (&[(&'static str, bool)], &[bool]),
    updates: &[Update],
) {
    let width = updates.len().next_power_of_two();
    let padding = width - updates.len();
    let padded = || updates.iter().chain(updates.last().into_iter().cycle()).take(width);
    for (at, column) in push_sets(sql, columns, varies, &updates[0]) {
        sql.push(", ").push(column).push(" = CASE t.id");
        for update in updates {
            sql.push(" WHEN ").bind(update.key);
            sql.push(" THEN ").bind(update.values[at].clone());
        }
        // Never reached, so the last one's value, which may be large, is not sent again.
        for _ in 0..padding {
            let Update { key, values, .. } = &updates[0];
            sql.push(" WHEN ").bind(*key).push(" THEN ").bind(values[at].as_null());
        }
        sql.push(" END");
    }
    let keys: Vec<i64> = updates.iter().map(|update| update.key).collect();
    sql.push(" WHERE ").is_in("t.id", &keys);
    let revision = updates[0].revision;
    if updates.iter().all(|update| update.revision == revision) {
        sql.push(" AND t.revision = ").bind(revision);
        return;
    }
    sql.push(" AND (t.id, t.revision) IN (");
    // A list of rows is a table of values to SQLite.
    sql.push(if backend == Backend::Sqlite { "VALUES " } else { "" });
    for (at, update) in padded().enumerate() {
        sql.push(if at > 0 { ", " } else { "" });
        sql.tuple([update.key.into(), update.revision.into()]);
    }
    sql.push(")");
}
