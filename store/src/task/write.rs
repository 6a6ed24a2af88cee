//! Locks rows, applies events to them and writes what changed: the only way in which a task
//! changes.

use std::collections::BTreeMap;

use asyncflow_core::{
    event::Event,
    id::ShardId,
    invariant::check_step,
    task::{Attempt, Content, FullTask, Labels, ResultChange, Task},
    transition::{Refusal, transition},
};
use sea_orm::{DatabaseTransaction, Value};

use super::row::{self, Parts, REVISION};
use crate::{
    Store,
    backend::{for_update, now_sql},
    error::StoreError,
    ledger::Ledger,
    sql::{Sql, VALUES_MAX},
};

/// Rows per SELECT … IN.
const KEYS_MAX: usize = 512;
/// Rows per UPDATE: a CASE is searched from its start for every row.
const UPDATE_ROWS_MAX: usize = 64;

/// The rows of one shard that are locked in this transaction.
pub(crate) struct Batch {
    shard: ShardId,
    rows: BTreeMap<i64, Row>,
}

/// A locked row: as it was read, as it will be, and what goes with it.
struct Row {
    before: Task,
    after: Task,
    context: Option<Content>,
    result: Option<ResultChange>,
    labels: Option<Labels>,
    ended: Vec<Attempt>,
}

impl Row {
    fn new(task: Task) -> Self {
        let after = task.clone();
        Self { before: task, after, context: None, result: None, labels: None, ended: Vec::new() }
    }
}

impl Batch {
    /// Locks the rows with these keys, in the order of the keys, and tells the database's time.
    /// Keys without a row are passed over.
    pub async fn lock(
        store: &Store,
        tx: &DatabaseTransaction,
        shard: &ShardId,
        mut keys: Vec<i64>,
    ) -> Result<(Self, i64), StoreError> {
        keys.sort_unstable();
        keys.dedup();
        let mut batch = Self { shard: shard.clone(), rows: BTreeMap::new() };
        let mut now_ms = 0;
        let head = row::columns("", Parts::NONE);
        for chunk in keys.chunks(KEYS_MAX) {
            let table = shard.task_table();
            let now = now_sql(store.backend());
            let mut sql = store.sql(&format!("SELECT {now}, {head} FROM {table} WHERE "));
            sql.is_in("id", chunk).push(" ORDER BY id").push(for_update(store.backend()));
            for found in sql.all(tx).await? {
                now_ms = found.try_get_by_index(0)?;
                let task = row::read_task(&found, 1, shard, Parts::NONE)?.task;
                batch.rows.insert(task.id.key, Row::new(task));
            }
        }
        Ok((batch, now_ms))
    }

    /// Rows that a verb has selected and locked in its own way.
    pub fn of(shard: &ShardId, tasks: impl IntoIterator<Item = Task>) -> Self {
        let rows = tasks.into_iter().map(|task| (task.id.key, Row::new(task))).collect();
        Self { shard: shard.clone(), rows }
    }

    /// The task as it is after the events applied so far.
    pub fn task(&self, key: i64) -> Option<&Task> {
        self.rows.get(&key).map(|row| &row.after)
    }

    /// Applies an event to a row that must be part of the batch; a refusal leaves it as it is.
    pub fn apply(
        &mut self,
        key: i64,
        event: &Event,
        now_ms: i64,
        ledger: &mut Ledger,
    ) -> Result<Option<&Task>, Refusal> {
        let Some(row) = self.rows.get_mut(&key) else { return Ok(None) };
        let step = transition(&row.after, event, now_ms)?;
        debug_assert_eq!(check_step(&row.after, event, &step), Ok(()), "{event:?}");
        ledger.changed(&row.after, &step.task);
        row.after = step.task;
        row.context = step.context.or(row.context.take());
        row.result = step.result.or(row.result.take());
        row.labels = step.labels.or(row.labels.take());
        row.ended.extend(step.ended);
        Ok(Some(&row.after))
    }

    /// Writes all rows that changed, their ended attempts and their labels.
    pub async fn write(self, store: &Store, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        let rows: Vec<Row> = (self.rows.into_values())
            .filter(|row| row.before.revision != row.after.revision)
            .collect();
        let mut groups: BTreeMap<Vec<&'static str>, Vec<Update>> = BTreeMap::new();
        for row in &rows {
            let update = Update::of(row)?;
            let columns = update.changes.iter().map(|(column, _)| *column).collect();
            groups.entry(columns).or_default().push(update);
        }
        for (columns, updates) in &groups {
            for chunk in updates.chunks(UPDATE_ROWS_MAX) {
                write_updates(store, tx, &self.shard, columns, chunk).await?;
            }
        }
        write_attempts(store, tx, &self.shard, &rows).await?;
        let labelled = rows.iter().filter_map(|row| Some((row.after.id.key, row.labels.as_ref()?)));
        let labelled: Vec<_> = labelled.collect();
        if !labelled.is_empty() {
            let keys: Vec<i64> = labelled.iter().map(|(key, _)| *key).collect();
            delete_by_key(store, tx, &self.shard.label_table(), "task_key", &keys).await?;
            insert_labels(store, tx, &self.shard, &labelled).await?;
        }
        Ok(())
    }
}

/// The changed columns of one row.
struct Update {
    key: i64,
    revision: i64,
    changes: Vec<(&'static str, Value)>,
}

impl Update {
    fn of(row: &Row) -> Result<Self, StoreError> {
        let (before, after) = (row::head_values(&row.before), row::head_values(&row.after));
        let mut changes: Vec<(&'static str, Value)> = (row::HEAD.into_iter())
            .zip(before.into_iter().zip(after))
            .filter(|(_, (before, after))| before != after)
            .map(|(column, (_, after))| (column, after))
            .collect();
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
        Ok(Self { key: row.before.id.key, revision: row.before.revision, changes })
    }
}

/// The new values of `result`, and of `result_type` unless it stays.
fn result_values(change: &ResultChange) -> Vec<Value> {
    match change {
        ResultChange::Keep(content) => row::content_values(Some(content)),
        ResultChange::Clear => row::content_values(None),
        ResultChange::Expire => vec![row::NO_BYTES.into()],
    }
}

/// One UPDATE for rows that change the same columns: a value that all of them get is set plainly,
/// the others by a CASE on the key. The rows are locked, so a revision that does not match means
/// that somebody wrote past this module; the transaction is then repeated.
async fn write_updates(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
    columns: &[&'static str],
    updates: &[Update],
) -> Result<(), StoreError> {
    let mut sql = store.sql(&format!("UPDATE {} SET ", shard.task_table()));
    for (at, column) in columns.iter().enumerate() {
        sql.push(if at > 0 { ", " } else { "" }).push(column).push(" = ");
        by_key(&mut sql, updates, |update| &update.changes[at].1);
    }
    let keys: Vec<i64> = updates.iter().map(|update| update.key).collect();
    let revisions: Vec<Value> = updates.iter().map(|update| update.revision.into()).collect();
    let pairs: Vec<(i64, &Value)> = keys.iter().copied().zip(&revisions).collect();
    sql.push(" WHERE ");
    if let [key] = keys[..] {
        sql.push("id = ").bind(key);
    } else {
        sql.is_in("id", &keys);
    }
    sql.push(" AND ").push(row::HEAD[REVISION]).push(" = ");
    case(&mut sql, &pairs);
    if sql.run(tx).await? == updates.len() as u64 {
        Ok(())
    } else {
        Err(StoreError::Contended(std::sync::Arc::new(RevisionMoved)))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the revision of a locked row moved")]
struct RevisionMoved;

fn by_key<'a>(sql: &mut Sql, updates: &'a [Update], value: impl Fn(&'a Update) -> &'a Value) {
    let pairs: Vec<(i64, &Value)> = updates.iter().map(|u| (u.key, value(u))).collect();
    case(sql, &pairs);
}

fn case(sql: &mut Sql, pairs: &[(i64, &Value)]) {
    let Some((_, first)) = pairs.first() else { return };
    if pairs.iter().all(|(_, value)| value == first) {
        sql.bind((*first).clone());
        return;
    }
    sql.push("CASE id");
    for (key, value) in pairs {
        sql.push(" WHEN ").bind(*key).push(" THEN ").bind((*value).clone());
    }
    sql.push(" END");
}

async fn write_attempts(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
    rows: &[Row],
) -> Result<(), StoreError> {
    let ended = rows.iter().flat_map(|row| row.ended.iter().map(|ended| (row.after.id.key, ended)));
    insert_attempts(store, tx, shard, &ended.collect::<Vec<_>>()).await
}

/// Inserts ended attempts, each with the key of its task.
pub(crate) async fn insert_attempts(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
    ended: &[(i64, &Attempt)],
) -> Result<(), StoreError> {
    for chunk in ended.chunks(VALUES_MAX / 13) {
        let table = shard.attempt_table();
        let columns = super::attempts::COLUMNS;
        let mut sql = store.sql(&format!("INSERT INTO {table} (task_key, {columns}) VALUES "));
        sql.rows(chunk.iter().map(|(key, ended)| attempt_values(*key, ended))).run(tx).await?;
    }
    Ok(())
}

fn attempt_values(key: i64, ended: &Attempt) -> Vec<Value> {
    vec![
        key.into(),
        ended.attempt.into(),
        ended.run.into(),
        ended.worker_id.as_str().into(),
        ended.session_id.into(),
        ended.stage.as_str().into(),
        ended.claim_time_ms.into(),
        ended.start_time_ms.into(),
        ended.end_time_ms.into(),
        ended.outcome.code().into(),
        ended.failure.as_ref().map(|failure| failure.reason.code()).into(),
        ended.failure.as_ref().map(|failure| failure.message.clone()).into(),
        ended.exit_code.into(),
    ]
}

/// Inserts the rows of new tasks and their labels.
pub(crate) async fn insert_tasks(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
    tasks: &[&FullTask],
) -> Result<(), StoreError> {
    let names = [&row::HEAD[..], &row::BODY[..]].concat();
    for chunk in tasks.chunks(VALUES_MAX / names.len()) {
        let table = shard.task_table();
        let mut sql = store.sql(&format!("INSERT INTO {table} ({}) VALUES ", names.join(", ")));
        let mut rows = Vec::with_capacity(chunk.len());
        for full in chunk {
            let mut values = row::head_values(&full.task);
            values.extend(row::body_values(&full.body)?);
            rows.push(values);
        }
        sql.rows(rows).run(tx).await?;
    }
    let labelled: Vec<_> = tasks.iter().map(|full| (full.task.id.key, &full.body.labels)).collect();
    insert_labels(store, tx, shard, &labelled).await
}

async fn insert_labels(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
    labelled: &[(i64, &Labels)],
) -> Result<(), StoreError> {
    let mut rows: Vec<(&str, &str, i64)> = (labelled.iter())
        .flat_map(|(key, labels)| labels.iter().map(|(n, v)| (n.as_str(), v.as_str(), *key)))
        .collect();
    rows.sort_unstable();
    for chunk in rows.chunks(VALUES_MAX / 3) {
        let table = shard.label_table();
        let mut sql = store.sql(&format!("INSERT INTO {table} (name, value, task_key) VALUES "));
        let values = chunk.iter().map(|(n, v, key)| vec![(*n).into(), (*v).into(), (*key).into()]);
        sql.rows(values).run(tx).await?;
    }
    Ok(())
}

/// Deletes the rows of `table` whose `column` is one of `keys`.
pub(crate) async fn delete_by_key(
    store: &Store,
    tx: &DatabaseTransaction,
    table: &str,
    column: &str,
    keys: &[i64],
) -> Result<(), StoreError> {
    for chunk in keys.chunks(KEYS_MAX) {
        let mut sql = store.sql(&format!("DELETE FROM {table} WHERE "));
        sql.is_in(column, chunk).run(tx).await?;
    }
    Ok(())
}
