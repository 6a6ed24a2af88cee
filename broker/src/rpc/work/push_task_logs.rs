//! PushTaskLogs: stores what tasks wrote, and calls whoever follows.

use std::collections::{BTreeSet, HashMap};

use asyncflow_core::{
    id::TaskId,
    limits::{LOG_CALL_BYTES_MAX, LOG_CALL_CHUNKS_MAX, LOG_CHUNK_BYTES_MAX, LOG_OFFSET_MAX},
    validate::{at::At, number},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::{LogChunk, Parts};

use crate::{
    broker::Broker,
    convert::{self, log, time},
    error::RpcError,
    session::Session,
};

pub async fn push_task_logs(
    broker: &Broker,
    request: v1::PushTaskLogsRequest,
) -> Result<v1::PushTaskLogsResponse, RpcError> {
    let chunks = check(request.chunks, broker.store.now_ms().await?)?;
    let session = broker.sessions.get(&request.session_id).await?;
    let chunks = own(broker, &session, chunks).await?;
    broker.store.append_log(&chunks).await?;
    let written: BTreeSet<&TaskId> = chunks.iter().map(|chunk| &chunk.task_id).collect();
    broker.store.wake().ring(written.into_iter().map(log::topic));
    Ok(v1::PushTaskLogsResponse {})
}

/// A chunk that does not say when it was written was written at `now_ms`: retention goes by it.
fn check(chunks: Vec<v1::LogChunk>, now_ms: i64) -> Result<Vec<LogChunk>, RpcError> {
    let mut violations = Violations::new();
    let list = At::REQUEST.field("chunks");
    let total: usize = chunks.iter().map(|chunk| chunk.data.len()).sum();
    if total > LOG_CALL_BYTES_MAX {
        violations.add(list, format!("{total} bytes are too many; at most {LOG_CALL_BYTES_MAX}"));
        return Err(violations.into());
    }
    number::item_count(chunks.len(), 0..=LOG_CALL_CHUNKS_MAX, list, &mut violations);
    let mut checked = Vec::with_capacity(chunks.len());
    for (index, chunk) in chunks.into_iter().enumerate().take(LOG_CALL_CHUNKS_MAX) {
        let at = list.item(index);
        let bytes = chunk.data.len();
        if bytes == 0 || bytes > LOG_CHUNK_BYTES_MAX {
            let what = format!("{bytes} bytes; 1 to {LOG_CHUNK_BYTES_MAX}");
            violations.add(at.field("data"), what);
        }
        if !(0..=LOG_OFFSET_MAX).contains(&chunk.offset) {
            let what = format!("{} is out of range; 0 to {LOG_OFFSET_MAX}", chunk.offset);
            violations.add(at.field("offset"), what);
        }
        let stream = log::stream_from_proto(chunk.stream);
        if stream.is_none() {
            violations.add(at.field("stream"), format!("{} is not a stream", chunk.stream));
        }
        let time_ms = time::timestamp_ms(chunk.time.as_ref(), at.field("time"), &mut violations);
        let lease = convert::work::lease(chunk.lease.as_ref(), at.field("lease"), &mut violations);
        if let (Some(lease), Some(stream)) = (lease, stream) {
            checked.push(LogChunk {
                task_id: lease.id,
                attempt: lease.attempt,
                stream,
                offset: chunk.offset,
                time_ms: time_ms.unwrap_or(now_ms),
                bytes: chunk.data.into(),
            });
        }
    }
    Ok(violations.ok_or(Some(checked))?)
}

/// The chunks of attempts that this session holds or was the last to hold; the end of a log may
/// come after the end of its attempt. Others have no business there any more and are dropped.
async fn own(
    broker: &Broker,
    session: &Session,
    chunks: Vec<LogChunk>,
) -> Result<Vec<LogChunk>, RpcError> {
    let ids: BTreeSet<TaskId> = chunks.iter().map(|chunk| chunk.task_id.clone()).collect();
    let ids: Vec<TaskId> = ids.into_iter().collect();
    let tasks = broker.store.get_many(&ids, Parts::NONE).await?;
    let held: HashMap<TaskId, i32> = (tasks.into_iter().flatten())
        .filter(|full| full.task.holder.session_id == session.id)
        .map(|full| (full.task.id, full.task.attempt))
        .collect();
    let is_held = |chunk: &LogChunk| held.get(&chunk.task_id) == Some(&chunk.attempt);
    Ok(chunks.into_iter().filter(is_held).collect())
}
