//! Logs of running tasks, bounded per attempt: the start and the end are kept, the middle goes.

use std::collections::BTreeMap;

use asyncflow_core::id::TaskId;
use sea_orm::{DatabaseTransaction, Value};

use crate::{
    Store,
    backend::or_ignore,
    error::StoreError,
    leader::LeaderFence,
    sql::{InsertInto, insert_rows},
};

/// The first so many bytes of an attempt's log are kept.
const HEAD_BYTES: i64 = 64 * 1_024;
/// And about the last so many.
const TAIL_BYTES: i64 = 1_024 * 1_024;
/// Chunks per read.
const CHUNKS_MAX: i64 = 256;

/// Where a process wrote something. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LogStream {
    Stdout = 1,
    Stderr = 2,
    /// What asyncflow itself says about the attempt.
    System = 3,
}

impl LogStream {
    fn from_code(code: i16) -> Self {
        match code {
            2 => Self::Stderr,
            3 => Self::System,
            _ => Self::Stdout,
        }
    }
}

/// A piece of an attempt's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    pub task_id: TaskId,
    pub attempt: i32,
    pub stream: LogStream,
    /// Where it starts, counted over both streams of the attempt in the order of writing.
    pub offset: i64,
    pub time_ms: i64,
    pub bytes: Vec<u8>,
}

/// A part of an attempt's log. A gap between two chunks' offsets is what was not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    pub chunks: Vec<LogChunk>,
    /// Where to go on: behind the last chunk, or where it was asked from when there is none.
    pub next_offset: i64,
}

impl Store {
    /// Adds chunks; one that is there already (same task, attempt and offset) is left as it is, so
    /// a lost answer is simply repeated. Whether the attempt may write is for the caller to check.
    ///
    /// # Errors
    /// Those of the database; then none was added.
    pub async fn append_log(&self, chunks: &[LogChunk]) -> Result<(), StoreError> {
        if chunks.is_empty() {
            return Ok(());
        }
        self.transact(chunks, |store, tx, chunks| Box::pin(append_once(store, tx, chunks))).await
    }

    /// An attempt's log from `from_offset` on: at least one chunk if there is one, otherwise up to
    /// `limit_bytes`. A chunk that starts before `from_offset` is cut.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn read_log(
        &self,
        task_id: &TaskId,
        attempt: i32,
        from_offset: i64,
        limit_bytes: usize,
    ) -> Result<LogPage, StoreError> {
        let id = task_id.to_string();
        let mut sql = self.sql("SELECT byte_offset, stream, time_ms, bytes FROM task_log_chunks");
        sql.push(" WHERE task_id = ").bind(id.as_str()).push(" AND attempt = ").bind(attempt);
        sql.push(" AND byte_offset >= COALESCE((SELECT MAX(byte_offset) FROM task_log_chunks");
        sql.push(" WHERE task_id = ").bind(id.as_str()).push(" AND attempt = ").bind(attempt);
        sql.push(" AND byte_offset <= ")
            .bind(from_offset)
            .push("), 0) ORDER BY byte_offset LIMIT ");
        sql.bind(CHUNKS_MAX);
        let mut page = LogPage { chunks: Vec::new(), next_offset: from_offset };
        let mut total = 0;
        for row in sql.all(self.reader()).await? {
            let start: i64 = row.try_get_by_index(0)?;
            let mut bytes: Vec<u8> = row.try_get_by_index(3)?;
            let skip = usize::try_from(from_offset - start).unwrap_or(0).min(bytes.len());
            bytes.drain(..skip);
            if bytes.is_empty() {
                continue;
            }
            total += bytes.len();
            if total > limit_bytes && !page.chunks.is_empty() {
                break;
            }
            let offset = start + skip as i64;
            page.next_offset = offset + bytes.len() as i64;
            page.chunks.push(LogChunk {
                task_id: task_id.clone(),
                attempt,
                stream: LogStream::from_code(row.try_get_by_index(1)?),
                offset,
                time_ms: row.try_get_by_index(2)?,
                bytes,
            });
        }
        Ok(page)
    }

    /// Deletes about `limit` chunks from before `before_ms`; returns how many. With a
    /// fence, only while that leader leads.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn purge_logs(
        &self,
        before_ms: i64,
        limit: u32,
        fence: Option<&LeaderFence>,
    ) -> Result<u64, StoreError> {
        self.purge_by_time("task_log_chunks", "time_ms", before_ms, limit, fence).await
    }
}

async fn append_once(
    store: &Store,
    tx: &DatabaseTransaction,
    chunks: &[LogChunk],
) -> Result<(), StoreError> {
    let mut rows: BTreeMap<(String, i32, i64), &LogChunk> = BTreeMap::new();
    let mut ends: BTreeMap<(String, i32), i64> = BTreeMap::new();
    for chunk in chunks {
        let id = chunk.task_id.to_string();
        let end = ends.entry((id.clone(), chunk.attempt)).or_default();
        *end = (*end).max(chunk.offset + chunk.bytes.len() as i64);
        rows.insert((id, chunk.attempt, chunk.offset), chunk);
    }
    let rows = rows.into_iter().map(|((id, attempt, offset), chunk)| -> Vec<Value> {
        vec![
            id.into(),
            attempt.into(),
            offset.into(),
            (chunk.stream as i16).into(),
            chunk.time_ms.into(),
            chunk.bytes.clone().into(),
        ]
    });
    let into = InsertInto {
        table: "task_log_chunks",
        columns: &["task_id", "attempt", "byte_offset", "stream", "time_ms", "bytes"],
        or: &or_ignore(store.backend(), "task_id, attempt, byte_offset", "attempt"),
    };
    insert_rows(store, tx, into, rows).await?;
    for ((id, attempt), end) in ends {
        if end > HEAD_BYTES + TAIL_BYTES {
            let mut sql = store.sql("DELETE FROM task_log_chunks WHERE task_id = ");
            sql.bind(id).push(" AND attempt = ").bind(attempt);
            sql.push(" AND byte_offset >= ").bind(HEAD_BYTES);
            sql.push(" AND byte_offset < ").bind(end - TAIL_BYTES).run(tx).await?;
        }
    }
    Ok(())
}
