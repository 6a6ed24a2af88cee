//! Deletes tasks with everything that belongs to them: by hand, and by retention.

use std::collections::BTreeMap;

use asyncflow_core::{
    id::{ShardId, TaskId, TypeName},
    state::TaskState,
    task::Task,
    transition::Refusal,
};
use sea_orm::DatabaseTransaction;

use super::{
    ApplyError,
    guard::Guard,
    row::{self, Parts},
    write::{Batch, delete_by_key},
};
use crate::{
    Store,
    backend::{for_update_skip, now_sql},
    condition,
    error::StoreError,
    leader::{LeaderFence, check_fence},
    ledger::Ledger,
    shard::Place,
    sql::Sql,
    twin,
    wake::CHANGES,
    workflow::{Left, still_live},
};

struct Retention<'a> {
    shards: Vec<ShardId>,
    before_ms: i64,
    limit: u32,
    fence: Option<&'a LeaderFence>,
}

impl Store {
    /// Deletes a task that nobody runs, with its attempts, labels and logs; returns it as it was.
    ///
    /// # Errors
    /// `Refused` while it is leased, or a live workflow may need it; `NotFound`, `Expired`;
    /// those of the database.
    pub async fn delete(&self, id: &TaskId) -> Result<Task, ApplyError> {
        match self.place(&id.shard).await? {
            Place::Unknown => return Err(ApplyError::NotFound),
            Place::Gone { archive } => return Err(ApplyError::Expired { archive }),
            Place::Here => {}
        }
        let answer = self
            .transact(id, |store, tx, id| {
                let ids = std::slice::from_ref(id);
                Box::pin(delete_within(store, tx, ids, Guard::None))
            })
            .await
            .map_err(StoreError::exhausted)?
            .pop();
        let task = answer.unwrap_or(Err(ApplyError::NotFound))?;
        self.announce([&task]);
        if task.ties.twinned {
            self.leave(vec![Left::Twins { original: task.id.clone() }]).await;
        }
        Ok(task)
    }

    /// Deletes terminal tasks of a type that ended before `before_ms`, oldest first in each shard,
    /// at most `limit`; returns how many. With a fence, only while that leader leads.
    /// Drained shards are left alone: they are dropped as a whole.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn delete_terminal_before(
        &self,
        task_type: &TypeName,
        before_ms: i64,
        limit: u32,
        fence: Option<&LeaderFence>,
    ) -> Result<u64, StoreError> {
        let shards = self.active_shards(task_type).await?;
        let work = Retention { shards, before_ms, limit, fence };
        let deleted = self
            .transact(&work, |store, tx, work| Box::pin(retain_once(store, tx, work)))
            .await
            .map_err(StoreError::exhausted)?;
        if deleted > 0 {
            self.wake().ring([CHANGES]);
        }
        Ok(deleted)
    }

    /// Forgets the request ids of creates before `before_ms`, at most `limit`; returns how many.
    /// With a fence, only while that leader leads.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn purge_dedup(
        &self,
        before_ms: i64,
        limit: u32,
        fence: Option<&LeaderFence>,
    ) -> Result<u64, StoreError> {
        self.purge_by_time("request_dedup", "create_time_ms", before_ms, limit, fence).await
    }

    /// Deletes the oldest rows of a table whose `time` is before `before_ms`, about `limit` of
    /// them: all rows of the last millisecond go together. PostgreSQL has no DELETE … LIMIT and
    /// MariaDB no IN (SELECT … LIMIT), so the border is read first.
    pub(crate) async fn purge_by_time(
        &self,
        table: &str,
        time: &str,
        before_ms: i64,
        limit: u32,
        fence: Option<&LeaderFence>,
    ) -> Result<u64, StoreError> {
        let mut sql = self.sql(&format!("SELECT {time} FROM {table} WHERE {time} < "));
        sql.bind(before_ms).push(&format!(" ORDER BY {time} LIMIT ")).bind(i64::from(limit));
        let rows = sql.all(self.reader()).await?;
        let Some(last) = rows.last() else { return Ok(0) };
        let border_ms: i64 = last.try_get_by_index(0)?;
        let mut sql = self.sql(&format!("DELETE FROM {table} WHERE {time} <= "));
        sql.bind(border_ms);
        self.run_led(sql, fence).await
    }

    /// Runs one statement; with a fence, only while that leader leads.
    pub(crate) async fn run_led(
        &self,
        sql: Sql,
        fence: Option<&LeaderFence>,
    ) -> Result<u64, StoreError> {
        self.transact(&(sql, fence), |store, tx, (sql, fence)| {
            Box::pin(async move {
                if let Some(fence) = fence {
                    check_fence(store, tx, fence).await?;
                }
                sql.clone().run(tx).await
            })
        })
        .await
    }
}

/// Deletes tasks within the transaction of something larger, those that a guard holds of and that
/// nothing refuses; the answers, the tasks as they were, are in the order of `ids`.
pub(crate) async fn delete_within(
    store: &Store,
    tx: &DatabaseTransaction,
    ids: &[TaskId],
    guard: Guard,
) -> Result<Vec<Result<Task, ApplyError>>, StoreError> {
    let mut by_shard: BTreeMap<&ShardId, Vec<usize>> = BTreeMap::new();
    for (at, id) in ids.iter().enumerate() {
        by_shard.entry(&id.shard).or_default().push(at);
    }
    let mut answers = vec![Err(ApplyError::NotFound); ids.len()];
    let mut read = Vec::new();
    for (shard, members) in by_shard {
        let keys = members.iter().map(|&at| ids[at].key).collect();
        let (batch, now_ms) = Batch::read(store, tx, shard, keys, true).await?;
        for &at in &members {
            let Some(task) = batch.task(ids[at].key) else { continue };
            answers[at] = match refusal(task) {
                _ if !guard.holds(task, now_ms) => Err(ApplyError::MovedOn(task.clone().into())),
                Some(refusal) => Err(ApplyError::Refused(refusal, task.clone().into())),
                None => Ok(task.clone()),
            };
        }
        read.push((shard, members, now_ms));
    }
    // Others end parts of a workflow and then lock it: who has one locked must wait for no task.
    keep_needed(store, tx, &mut answers).await?;
    for (shard, members, now_ms) in read {
        let going = members.iter().filter_map(|&at| answers[at].as_ref().ok().cloned());
        delete_rows(store, tx, shard, &going.collect::<Vec<_>>(), now_ms).await?;
    }
    Ok(answers)
}

/// Refuses to delete what a workflow that has not ended may need the results of.
async fn keep_needed(
    store: &Store,
    tx: &DatabaseTransaction,
    answers: &mut [Result<Task, ApplyError>],
) -> Result<(), StoreError> {
    let members = answers.iter().filter_map(|answer| answer.as_ref().ok()?.member);
    let live = still_live(store, tx, members.map(|member| member.workflow).collect()).await?;
    for answer in answers {
        let Ok(task) = &*answer else { continue };
        let workflow = task.member.and_then(|member| live.get(&member.workflow));
        if let Some(workflow) = workflow {
            let refusal = Refusal::OfLiveWorkflow(*workflow);
            *answer = Err(ApplyError::Refused(refusal, task.clone().into()));
        }
    }
    Ok(())
}

/// Why a task cannot be deleted, whatever others are like. A workflow would wait for ever for a
/// part that is gone.
fn refusal(task: &Task) -> Option<Refusal> {
    if task.state.is_leased() {
        return Some(Refusal::IllegalState { state: task.state, verb: "deleted" });
    }
    // So would a task that waits for its end, and nobody would stop what it has made.
    if (task.ties.awaited || task.ties.children) && !task.state.is_terminal() {
        let verb = "deleted while others have to do with it; cancel it first";
        return Some(Refusal::IllegalState { state: task.state, verb });
    }
    let member = task.member.filter(|_| !task.state.is_terminal())?;
    Some(Refusal::OfWorkflow(member.workflow, "deleted"))
}

async fn retain_once(
    store: &Store,
    tx: &DatabaseTransaction,
    work: &Retention<'_>,
) -> Result<u64, StoreError> {
    if let Some(fence) = work.fence {
        check_fence(store, tx, fence).await?;
    }
    let mut deleted = 0;
    let (now, columns) = (now_sql(store.backend()), row::columns("", Parts::NONE));
    for shard in &work.shards {
        for state in [TaskState::Succeeded, TaskState::Failed, TaskState::Cancelled] {
            let (table, code) = (shard.task_table(), state.code());
            let mut sql = store.sql(&format!(
                "SELECT {now}, {columns} FROM {table} WHERE state = {code} AND order_time < "
            ));
            let left = u64::from(work.limit).saturating_sub(deleted);
            if left == 0 {
                return Ok(deleted);
            }
            sql.bind(work.before_ms).push(" ORDER BY order_time, id LIMIT ");
            sql.bind(i64::try_from(left).unwrap_or(i64::MAX));
            sql.push(for_update_skip(store.backend()));
            let mut tasks = Vec::new();
            let mut now_ms = 0;
            for found in sql.all(tx).await? {
                now_ms = found.try_get_by_index(0)?;
                tasks.push(row::read_task(&found, 1, shard, Parts::NONE)?.task);
            }
            delete_rows(store, tx, shard, &tasks, now_ms).await?;
            deleted += tasks.len() as u64;
        }
    }
    Ok(deleted)
}

async fn delete_rows(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
    tasks: &[Task],
    now_ms: i64,
) -> Result<(), StoreError> {
    if tasks.is_empty() {
        return Ok(());
    }
    let mut ledger = Ledger::default();
    tasks.iter().for_each(|task| ledger.deleted(task));
    let keys: Vec<i64> = tasks.iter().map(|task| task.id.key).collect();
    delete_by_key(store, tx, &shard.task_table(), "id", &keys).await?;
    delete_by_key(store, tx, &shard.attempt_table(), "task_key", &keys).await?;
    delete_by_key(store, tx, &shard.label_table(), "task_key", &keys).await?;
    let may_wait =
        |task: &&Task| matches!(task.state, TaskState::Cancelled) || !task.state.is_terminal();
    let waiting = tasks.iter().filter(may_wait).map(|task| &task.id);
    condition::forget(store, tx, &waiting.collect::<Vec<_>>()).await?;
    let signalled = tasks.iter().filter(|task| task.ties.signalled);
    let signalled: Vec<String> = signalled.map(|task| task.id.to_string()).collect();
    condition::forget_signals(store, tx, &signalled).await?;
    twin::forget(store, tx, tasks).await?;
    let ids: Vec<String> = tasks.iter().map(|task| task.id.to_string()).collect();
    for chunk in ids.chunks(256) {
        let mut sql = store.sql("DELETE FROM task_log_chunks WHERE ");
        sql.is_in("task_id", chunk).run(tx).await?;
    }
    ledger.write(store, tx, now_ms).await
}
