//! Tasks that a running task makes: a workflow that belongs to it.

use std::sync::atomic::{AtomicU32, Ordering};

use asyncflow_core::{
    digest,
    event::{Event, Fence},
    id::{TaskId, WorkflowId},
    state::TaskState,
    task::Task,
    workflow::{definition::NewWorkflow, progress::WorkflowState},
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult};

use super::{
    birth::Birth,
    create::CreatedWorkflow,
    follow::{Followed, bear},
    row::{self, OF_TASK, Workflow},
};
use crate::{
    ApplyError, Parts, Store,
    condition::{Due, Released, release},
    error::StoreError,
    ledger::Ledger,
    shard::{Place, is_there},
    task::Batch,
};

/// Workflows per look.
const LOOK_MAX: i64 = 100;

/// Why a task was not given tasks of its own.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CreateChildrenError {
    /// It is not the caller's any more, or cannot have any.
    #[error(transparent)]
    Parent(#[from] ApplyError),
    /// The key was used for other content.
    #[error("the key was already used for workflow {0}")]
    KeyReused(WorkflowId),
}

enum Outcome {
    Created(Box<Workflow>, Followed),
    Known { workflow: Box<Workflow>, same: bool },
    Refused(ApplyError),
}

struct Request<'a> {
    parent: &'a TaskId,
    fence: Fence,
    key: &'a str,
    new: &'a NewWorkflow,
    now_ms: i64,
    runs: AtomicU32,
}

impl Store {
    /// Makes tasks for a task that runs, under its lease, in one transaction. The same key in the
    /// same run of the task gives the same tasks, also in another attempt. The user, name and trace
    /// are those of the task.
    ///
    /// Cancel safe, but the outcome is then unknown: repeat it with the same key.
    ///
    /// # Errors
    /// [`CreateChildrenError`].
    pub async fn create_children(
        &self,
        parent: &TaskId,
        fence: Fence,
        key: &str,
        new: &NewWorkflow,
    ) -> Result<CreatedWorkflow, CreateChildrenError> {
        match self.place(&parent.shard).await.map_err(ApplyError::from)? {
            Place::Unknown => return Err(ApplyError::NotFound.into()),
            Place::Gone { archive } => return Err(ApplyError::Expired { archive }.into()),
            Place::Here => {}
        }
        // A transaction cannot make tables.
        for task_type in new.flow.task_types().into_keys() {
            self.open_shard(task_type).await.map_err(ApplyError::from)?;
        }
        let now_ms = self.now_ms().await.map_err(ApplyError::from)?;
        let request = Request { parent, fence, key, new, now_ms, runs: AtomicU32::new(0) };
        let outcome = self
            .transact(&request, |store, tx, request| Box::pin(create_once(store, tx, request)))
            .await
            .map_err(|error| ApplyError::from(error.exhausted()))?;
        match outcome {
            Outcome::Refused(error) => Err(error.into()),
            Outcome::Known { workflow, same: true } => {
                Ok(CreatedWorkflow { workflow: *workflow, deduplicated: true, made: Vec::new() })
            }
            Outcome::Known { workflow, .. } => Err(CreateChildrenError::KeyReused(workflow.id)),
            Outcome::Created(workflow, Followed { mut made, left }) => {
                self.announce(&made);
                made.extend(self.leave(left).await);
                Ok(CreatedWorkflow { workflow: *workflow, deduplicated: false, made })
            }
        }
    }

    /// The workflows that a task has made, newest first, at most `limit`, from the one before
    /// `before`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list_children(
        &self,
        parent: &TaskId,
        before: Option<WorkflowId>,
        limit: u32,
    ) -> Result<Vec<Workflow>, StoreError> {
        row::of_task(self, parent, before, limit).await
    }

    /// The workflow that a task has made under a key in its present run.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find_children(
        &self,
        parent: &Task,
        key: &str,
    ) -> Result<Option<Workflow>, StoreError> {
        let request_id = request_id(&parent.id, parent.run, key);
        let found = row::by_request(self, self.reader(), &parent.user, &request_id).await?;
        Ok(found.map(|(workflow, _)| workflow))
    }

    /// Cancels what a task has made in this run and what has not ended yet, unless it was taken up
    /// again: nobody waits for it any more.
    pub(super) async fn stop_children(
        &self,
        parent: &TaskId,
        run: i32,
    ) -> Result<Followed, StoreError> {
        let (mut all, mut before) = (Followed::default(), None);
        loop {
            let found = self.get_many(std::slice::from_ref(parent), Parts::NONE).await?;
            let is_orphan = |task: &Task| {
                let over = task.state.is_terminal() || task.state == TaskState::Cancelling;
                task.run == run && over
            };
            if !found.into_iter().flatten().any(|full| is_orphan(&full.task)) {
                return Ok(all);
            }
            let live = live_children(self, self.reader(), parent, before).await?;
            let Some(last) = live.last() else { return Ok(all) };
            before = Some(last.id);
            // Those that are being cancelled stay live for a while.
            let news = live.iter().filter(|child| !child.is_stopping);
            let news: Vec<(WorkflowId, u32)> = news.map(|child| (child.id, child.nodes)).collect();
            let followed = self.cancel_workflows(&news).await?;
            all.made.extend(followed.made);
            all.left.extend(followed.left);
        }
    }
}

/// A key of a task's own children as a request id; none that a client gives begins so.
fn request_id(parent: &TaskId, run: i32, key: &str) -> String {
    format!("\u{1}{parent}/{run}/{key}")
}

async fn create_once(
    store: &Store,
    tx: &DatabaseTransaction,
    request: &Request<'_>,
) -> Result<Outcome, StoreError> {
    let Request { parent, fence, key, new, now_ms, runs } = request;
    if !is_there(store, tx, &parent.shard).await? {
        return Ok(Outcome::Refused(ApplyError::NotFound));
    }
    let (mut batch, _) = Batch::read(store, tx, &parent.shard, vec![parent.key], true).await?;
    let Some(task) = batch.task(parent.key).cloned() else {
        return Ok(Outcome::Refused(ApplyError::NotFound));
    };
    let digest = digest::new_workflow(new);
    let request_id = request_id(parent, task.run, key);
    // Only a task that has made some can repeat a key.
    if (task.ties.children || runs.fetch_add(1, Ordering::Relaxed) > 0)
        && let Some((workflow, first)) = row::by_request(store, tx, &task.user, &request_id).await?
    {
        let workflow = Box::new(workflow);
        return Ok(Outcome::Known { workflow, same: first == digest });
    }
    let mut ledger = Ledger::default();
    let event = Event::MakeChildren { fence: *fence };
    if let Err(refusal) = batch.apply(parent.key, &event, *now_ms, &mut ledger) {
        return Ok(Outcome::Refused(ApplyError::Refused(refusal, Box::new(task))));
    }
    batch.write(store, tx).await?;
    let id = WorkflowId(store.next_key(*now_ms));
    let (user, trace_id, name) = (task.user, task.trace_id, task.name);
    let new = NewWorkflow { user, trace_id, name, request_id: Some(request_id), ..(*new).clone() };
    let mut birth = Birth::of(&new, id, digest, *now_ms);
    birth.workflow.parent_task = Some((*parent).clone());
    let followed = bear(store, tx, birth, *now_ms, &mut ledger).await?;
    ledger.write(store, tx, *now_ms).await?;
    let workflow = row::lock(store, tx, id).await?;
    let workflow = workflow.ok_or_else(|| StoreError::Corrupt(format!("{id} is gone")))?;
    Ok(Outcome::Created(Box::new(workflow), followed))
}

/// A workflow that a task has made and that is not over.
struct LiveChild {
    id: WorkflowId,
    nodes: u32,
    is_stopping: bool,
}

/// Some of those that a task has made, youngest first, from the one before `before`.
async fn live_children(
    store: &Store,
    db: &impl ConnectionTrait,
    parent: &TaskId,
    before: Option<WorkflowId>,
) -> Result<Vec<LiveChild>, StoreError> {
    let mut sql = store.sql("SELECT id, nodes, state FROM workflows WHERE parent_task = ");
    sql.bind(parent.to_string()).push(" AND finish_time_ms = 0 AND id < ");
    sql.bind(before.map_or(i64::MAX, |before| before.0)).push(" ORDER BY id DESC LIMIT ");
    let rows = sql.bind(LOOK_MAX).all(db).await?;
    let read = |row: &QueryResult| {
        let nodes: i32 = row.try_get_by_index(1)?;
        let state = WorkflowState::from_code(row.try_get_by_index(2)?);
        Ok(LiveChild {
            id: WorkflowId(row.try_get_by_index(0)?),
            nodes: nodes.unsigned_abs(),
            is_stopping: state.is_some_and(WorkflowState::is_stopping),
        })
    };
    rows.iter().map(read).collect()
}

/// Whether something that a task has made is not over.
pub(crate) async fn has_live_children(
    store: &Store,
    tx: &DatabaseTransaction,
    parent: &TaskId,
) -> Result<bool, StoreError> {
    Ok(!live_children(store, tx, parent, None).await?.is_empty())
}

/// Whether something that a task has made has ended since then.
pub(crate) async fn has_ended_children(
    store: &Store,
    tx: &DatabaseTransaction,
    parent: &TaskId,
    since_ms: i64,
) -> Result<bool, StoreError> {
    let mut sql = store.sql("SELECT id FROM workflows WHERE parent_task = ");
    sql.bind(parent.to_string()).push(" AND finish_time_ms >= ").bind(since_ms).push(" LIMIT 1");
    Ok(sql.one(tx).await?.is_some())
}

/// A workflow that a task has made is over: the task goes on if it waits for that and all others
/// are over too. Its row is locked before they are looked at, so that the last of two that end at
/// once sees the other.
pub(super) async fn children_ended(
    store: &Store,
    tx: &DatabaseTransaction,
    parent: TaskId,
    now_ms: i64,
    ledger: &mut Ledger,
) -> Result<Released, StoreError> {
    if !is_there(store, tx, &parent.shard).await? {
        return Ok(Released::default());
    }
    Batch::read(store, tx, &parent.shard, vec![parent.key], true).await?;
    if has_live_children(store, tx, &parent).await? {
        return Ok(Released::default());
    }
    release(store, tx, vec![Due::Children(parent)], now_ms, ledger).await
}

impl Store {
    /// Cancels what tasks have made that have failed or were cancelled since, where nobody else did
    /// so: at most `limit` of the workflows behind `after` are looked at. Answers where to go on,
    /// if there may be more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn tend_children(
        &self,
        after: Option<WorkflowId>,
        limit: u32,
    ) -> Result<Option<WorkflowId>, StoreError> {
        let mut sql = self.sql("SELECT id, parent_task FROM workflows WHERE finish_time_ms = 0");
        sql.push(" AND parent_key = ").bind(OF_TASK);
        sql.push(" AND id > ").bind(after.map_or(0, |after| after.0));
        sql.push(" ORDER BY id LIMIT ").bind(i64::from(limit));
        let rows = sql.all(self.reader()).await?;
        let mut parents = Vec::new();
        for row in &rows {
            parents.extend(row.try_get_by_index::<String>(1)?.parse::<TaskId>());
        }
        parents.dedup();
        let found = self.get_many(&parents, Parts::NONE).await?.into_iter().flatten();
        for task in found.map(|full| full.task).filter(|task| is_given_up(task.state)) {
            let followed = self.stop_children(&task.id, task.run).await?;
            self.carry_out(followed.left).await;
        }
        let last = rows.last().filter(|_| rows.len() == limit as usize);
        last.map(|row| Ok(WorkflowId(row.try_get_by_index(0)?))).transpose()
    }
}

/// Whether a task in this state has no use for what it has made.
pub(crate) const fn is_given_up(state: asyncflow_core::state::TaskState) -> bool {
    use asyncflow_core::state::TaskState::{Cancelled, Cancelling, Failed};
    matches!(state, Failed | Cancelled | Cancelling)
}
