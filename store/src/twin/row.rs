//! The rows of `twins`.

use asyncflow_core::{
    id::{ShardId, TaskId},
    state::TaskState,
    task::{FullTask, Task},
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult};

use crate::{
    Store,
    error::StoreError,
    sql::Sql,
    task::{Parts, columns, read_task},
};

/// Keys per statement.
const KEYS_MAX: usize = 256;
const COLUMNS: &str = "original, run, twin, host";
/// The outcome of a twin that has not ended.
const LIVE: i16 = 0;

/// Which task is the twin of which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    pub original: TaskId,
    /// The original's run that it belongs to.
    pub run: i32,
    pub twin: TaskId,
    /// Where the original ran when it was made.
    pub host: String,
}

fn read(row: &QueryResult) -> Result<Twin, StoreError> {
    let id = |at: usize| {
        let text: String = row.try_get_by_index(at)?;
        text.parse().map_err(|_| StoreError::Corrupt(format!("the twin {text:?}")))
    };
    Ok(Twin {
        original: id(0)?,
        run: row.try_get_by_index(1)?,
        twin: id(2)?,
        host: row.try_get_by_index(3)?,
    })
}

async fn rows(mut sql: Sql, db: &impl ConnectionTrait) -> Result<Vec<Twin>, StoreError> {
    sql.all(db).await?.iter().map(read).collect()
}

fn texts<'a>(ids: impl IntoIterator<Item = &'a TaskId>) -> Vec<String> {
    ids.into_iter().map(ToString::to_string).collect()
}

pub(super) async fn insert(
    store: &Store,
    tx: &DatabaseTransaction,
    twin: &Twin,
    now_ms: i64,
) -> Result<(), StoreError> {
    let mut sql = store.sql(&format!("INSERT INTO twins ({COLUMNS}, outcome, create_time_ms)"));
    sql.push(" VALUES ").tuple([
        twin.original.to_string().into(),
        twin.run.into(),
        twin.twin.to_string().into(),
        twin.host.as_str().into(),
        LIVE.into(),
        now_ms.into(),
    ]);
    sql.run(tx).await?;
    Ok(())
}

/// The one of a run.
pub(super) async fn of_run(
    store: &Store,
    db: &impl ConnectionTrait,
    original: &TaskId,
    run: i32,
) -> Result<Option<Twin>, StoreError> {
    let mut sql = store.sql(&format!("SELECT {COLUMNS} FROM twins WHERE original = "));
    sql.bind(original.to_string()).push(" AND run = ").bind(run);
    Ok(rows(sql, db).await?.pop())
}

/// Those that are the twins, in the order of their originals.
pub(super) async fn of_twins(
    store: &Store,
    db: &impl ConnectionTrait,
    twins: impl IntoIterator<Item = &TaskId>,
) -> Result<Vec<Twin>, StoreError> {
    let mut found = Vec::new();
    for chunk in texts(twins).chunks(KEYS_MAX) {
        let mut sql = store.sql(&format!("SELECT {COLUMNS} FROM twins WHERE "));
        sql.is_in("twin", chunk);
        found.extend(rows(sql, db).await?);
    }
    found.sort_unstable_by(|a, b| (&a.original, a.run).cmp(&(&b.original, b.run)));
    Ok(found)
}

/// Those of all runs of these tasks.
pub(super) async fn of_originals(
    store: &Store,
    db: &impl ConnectionTrait,
    originals: impl IntoIterator<Item = &TaskId>,
) -> Result<Vec<Twin>, StoreError> {
    let mut found = Vec::new();
    for chunk in texts(originals).chunks(KEYS_MAX) {
        let mut sql = store.sql(&format!("SELECT {COLUMNS} FROM twins WHERE "));
        sql.is_in("original", chunk);
        found.extend(rows(sql, db).await?);
    }
    Ok(found)
}

/// Those that have not ended, at most `limit`; of one task, or of all.
pub(super) async fn live(
    store: &Store,
    db: &impl ConnectionTrait,
    original: Option<&TaskId>,
    limit: u32,
) -> Result<Vec<Twin>, StoreError> {
    let mut sql = store.sql(&format!("SELECT {COLUMNS} FROM twins WHERE outcome = "));
    sql.bind(LIVE);
    if let Some(original) = original {
        sql.push(" AND original = ").bind(original.to_string());
    }
    sql.push(" ORDER BY original, run LIMIT ").bind(i64::from(limit));
    rows(sql, db).await
}

/// How a twin has ended.
pub(super) async fn note_end(
    store: &Store,
    tx: &DatabaseTransaction,
    twin: &TaskId,
    state: TaskState,
) -> Result<(), StoreError> {
    let mut sql = store.sql("UPDATE twins SET outcome = ");
    sql.bind(state.code()).push(" WHERE twin = ").bind(twin.to_string()).run(tx).await?;
    Ok(())
}

/// Forgets what tasks that are deleted have to do with each other. A twin that lives still is known
/// until its own end, so that it is found and cancelled.
pub(crate) async fn forget(
    store: &Store,
    tx: &DatabaseTransaction,
    tasks: &[Task],
) -> Result<(), StoreError> {
    let twins = texts(tasks.iter().filter(|task| task.ties.twin).map(|task| &task.id));
    for chunk in twins.chunks(KEYS_MAX) {
        store.sql("DELETE FROM twins WHERE ").is_in("twin", chunk).run(tx).await?;
    }
    let originals = texts(tasks.iter().filter(|task| task.ties.twinned).map(|task| &task.id));
    for chunk in originals.chunks(KEYS_MAX) {
        let mut sql = store.sql("DELETE FROM twins WHERE ");
        sql.is_in("original", chunk).push(" AND outcome <> ").bind(LIVE).run(tx).await?;
    }
    Ok(())
}

pub(super) async fn forget_twin(
    store: &Store,
    tx: &DatabaseTransaction,
    twin: &TaskId,
) -> Result<(), StoreError> {
    let mut sql = store.sql("DELETE FROM twins WHERE twin = ");
    sql.bind(twin.to_string()).run(tx).await?;
    Ok(())
}

/// Forgets the twins of a shard's tasks: the shard is dropped, so each has ended.
pub(crate) async fn forget_shard(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
) -> Result<(), StoreError> {
    // An underscore stands for any character otherwise.
    let name = shard.task_type.as_str().replace('_', "!_");
    let mut sql = store.sql("DELETE FROM twins WHERE original LIKE ");
    sql.bind(format!("{name}-{}-%", shard.number)).push(" ESCAPE '!'").run(tx).await?;
    Ok(())
}

/// A task with some of its parts, as it is in this transaction.
pub(super) async fn read_full(
    store: &Store,
    tx: &DatabaseTransaction,
    id: &TaskId,
    parts: Parts,
) -> Result<Option<FullTask>, StoreError> {
    let (table, columns) = (id.shard.task_table(), columns("", parts));
    let mut sql = store.sql(&format!("SELECT {columns} FROM {table} WHERE id = "));
    let row = sql.bind(id.key).one(tx).await?;
    row.map(|row| read_task(&row, 0, &id.shard, parts)).transpose()
}
