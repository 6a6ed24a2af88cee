//! Reads rows, applies events to them and writes what changed: the only way in which a task
//! changes.

use std::collections::BTreeMap;

use asyncflow_core::{
    event::Event,
    id::ShardId,
    invariant::check_step,
    task::{Attempt, Content, FullTask, Labels, ResultChange, Task},
    transition::{Refusal, transition},
};
use sea_orm::DatabaseTransaction;

use super::{
    attempts,
    row::{self, Parts},
    update,
};
use crate::{
    Store,
    backend::{for_update, now_sql},
    error::StoreError,
    ledger::Ledger,
    sql::{InsertInto, insert_rows},
};

/// Rows per SELECT … IN.
const KEYS_MAX: usize = 512;

/// Rows of one shard, and what becomes of them in this transaction.
pub(crate) struct Batch {
    shard: ShardId,
    rows: BTreeMap<i64, Row>,
}

/// A row: as it was read, as it will be, and what goes with it.
pub(super) struct Row {
    pub before: Task,
    pub after: Task,
    pub context: Option<Content>,
    pub result: Option<ResultChange>,
    pub labels: Option<Labels>,
    pub ended: Vec<Attempt>,
}

impl Row {
    fn new(task: Task) -> Self {
        let after = task.clone();
        Self { before: task, after, context: None, result: None, labels: None, ended: Vec::new() }
    }
}

impl Batch {
    /// The rows with these keys, and the database's time. With locks they are locked in the order
    /// of the keys. Keys without a row are passed over.
    pub async fn read(
        store: &Store,
        tx: &DatabaseTransaction,
        shard: &ShardId,
        mut keys: Vec<i64>,
        locks: bool,
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
            sql.is_in("id", chunk).push(" ORDER BY id");
            sql.push(if locks { for_update(store.backend()) } else { "" });
            for found in sql.all(tx).await? {
                now_ms = found.try_get_by_index(0)?;
                let task = row::read_task(&found, 1, shard, Parts::NONE)?.task;
                batch.rows.insert(task.id.key, Row::new(task));
            }
        }
        Ok((batch, now_ms))
    }

    /// Rows that a verb has selected in its own way.
    pub fn of(shard: &ShardId, tasks: impl IntoIterator<Item = Task>) -> Self {
        let rows = tasks.into_iter().map(|task| (task.id.key, Row::new(task))).collect();
        Self { shard: shard.clone(), rows }
    }

    /// Adds the rows of another batch of the same shard.
    pub fn extend(&mut self, other: Self) {
        self.rows.extend(other.rows);
    }

    /// Whether an event has changed this row so far.
    pub fn is_changed(&self, key: i64) -> bool {
        self.rows.get(&key).is_some_and(|row| row.before.revision != row.after.revision)
    }

    /// The tasks that events have changed so far: before them, and after.
    pub fn changes(&self) -> impl Iterator<Item = (&Task, &Task)> + Clone {
        let changed = self.rows.values().filter(|row| row.before.revision != row.after.revision);
        changed.map(|row| (&row.before, &row.after))
    }

    /// All tasks, as they are after the events applied so far.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.rows.values().map(|row| &row.after)
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
        ledger.changed(&row.after, event, &step.task);
        if let Some(usage) = step.ended.as_ref().and_then(|ended| ended.usage.as_deref()) {
            ledger.used(&step.task, usage);
        }
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
        update::write(store, tx, &self.shard, &rows).await?;
        attempts::write_ended(store, tx, &self.shard, &rows).await?;
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

/// Inserts the rows of new tasks and their labels.
pub(crate) async fn insert_tasks(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
    tasks: &[&FullTask],
) -> Result<(), StoreError> {
    let (table, columns) = (shard.task_table(), [&row::HEAD[..], &row::BODY[..]].concat());
    let mut rows = Vec::with_capacity(tasks.len());
    for full in tasks {
        let mut values = row::head_values(&full.task);
        values.extend(row::body_values(&full.body)?);
        rows.push(values);
    }
    insert_rows(store, tx, InsertInto { table: &table, columns: &columns, or: "" }, rows).await?;
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
    let (table, columns) = (shard.label_table(), ["name", "value", "task_key"]);
    let rows = rows.into_iter().map(|(n, v, key)| vec![n.into(), v.into(), key.into()]);
    insert_rows(store, tx, InsertInto { table: &table, columns: &columns, or: "" }, rows).await
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
