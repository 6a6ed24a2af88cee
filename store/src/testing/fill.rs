//! Fills shards with tasks that have their life behind them, for measurements at size.

use std::sync::PoisonError;

use asyncflow_core::{
    create::NewTask,
    event::{Event, Fence, Settle},
    id::{ShardId, TaskId, TypeName},
    task::{Content, FullTask, Labels, ResultChange},
    task_type::TaskType,
    transition::transition,
};
use sea_orm::DatabaseTransaction;

use crate::{Store, error::StoreError, ledger::Ledger, task::insert_tasks};

const PAYLOAD_BYTES: usize = 200;
const RESULT_BYTES: usize = 50;
const SESSION_ID: i64 = 1;
const LEASE_TTL_MS: i64 = 30_000;

/// What one transaction inserts.
struct Request {
    shard: ShardId,
    tasks: Vec<FullTask>,
    now_ms: i64,
}

/// Inserts `rows` tasks of a user with these labels as they stand after create, claim, start and
/// complete: SUCCEEDED, with payload and result, made by the state machine and
/// written by the writer of the verbs, with their counts, in one transaction, into the shard that
/// is open. They were never PENDING, so no claim has seen them; they have no request id and no row
/// in the change log.
///
/// # Errors
/// Those of [`Store::open_shard`] and of the database.
pub async fn fill_finished(
    store: &Store,
    task_type: &TypeName,
    user: &str,
    labels: &Labels,
    rows: usize,
) -> Result<ShardId, StoreError> {
    let of_type = store.ensure_type(task_type).await?;
    let shard = store.open_shard(task_type).await?;
    let now_ms = store.now_ms().await?;
    let first = finished(&of_type, &shard, (user, labels), now_ms)?;
    let tasks = {
        let mut keys = store.keys().lock().unwrap_or_else(PoisonError::into_inner);
        let with_key = |mut full: FullTask| {
            full.task.id.key = keys.next_key(now_ms);
            full
        };
        std::iter::repeat_n(first, rows).map(with_key).collect()
    };
    let request = Request { shard, tasks, now_ms };
    store.transact(&request, |store, tx, request| Box::pin(fill_once(store, tx, request))).await?;
    Ok(request.shard)
}

async fn fill_once(
    store: &Store,
    tx: &DatabaseTransaction,
    request: &Request,
) -> Result<(), StoreError> {
    let Request { shard, tasks, now_ms } = request;
    let mut ledger = Ledger::default();
    for full in tasks {
        ledger.count(&full.task, full.task.state, 1);
    }
    insert_tasks(store, tx, shard, &tasks.iter().collect::<Vec<_>>()).await?;
    ledger.write(store, tx, *now_ms).await
}

/// A life, without a database.
fn finished(
    of_type: &TaskType,
    shard: &ShardId,
    (user, labels): (&str, &Labels),
    now_ms: i64,
) -> Result<FullTask, StoreError> {
    let new = NewTask {
        labels: labels.clone(),
        payload: content(PAYLOAD_BYTES),
        ..NewTask::new(shard.task_type.clone(), user)
    };
    let id = TaskId { shard: shard.clone(), key: 0 };
    let mut full = new.into_task(of_type, id, now_ms);
    let fence = Fence { attempt: 1, session_id: SESSION_ID };
    let settle = Settle::complete(Some(content(RESULT_BYTES)));
    let life = [
        Event::Claim {
            worker_id: "ballast".to_owned(),
            session_id: SESSION_ID,
            handout_ttl_ms: LEASE_TTL_MS,
        },
        Event::Start { fence, lease_ttl_ms: LEASE_TTL_MS },
        Event::Settle { fence, settle, digest: 1, exit_code: None, usage: None },
    ];
    for event in life {
        let step = transition(&full.task, &event, now_ms)
            .map_err(|refusal| StoreError::Corrupt(refusal.to_string()))?;
        full.task = step.task;
        if let Some(ResultChange::Keep(result)) = step.result {
            full.body.result = Some(result);
        }
    }
    Ok(full)
}

fn content(bytes: usize) -> Content {
    Content { data: vec![b'x'; bytes].into(), content_type: "application/octet-stream".into() }
}
