//! Signals: something that a task waits for, said from outside. They are kept if they come early.

use asyncflow_core::{
    event::{Event, Tie},
    id::{TaskId, WorkflowId},
    limits::{SIGNALS_BYTES_MAX, SIGNALS_MAX},
    state::TaskState,
    task::{Content, Task},
};
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::{
    release::{Due, Released, release},
    rows::CHILDREN,
};
use crate::{
    Store,
    error::StoreError,
    ledger::Ledger,
    shard::{Place, is_there},
    task::Batch,
    workflow::{self, Followed, Workflow, WorkflowState, find_root},
};

/// Why a signal was not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignalError {
    #[error("there is no such task or workflow")]
    NotFound,
    /// The task's shard was dropped; where the manifest of its archive is, or empty.
    #[error("the task was removed by retention")]
    Expired { archive: String },
    #[error("a task in state {0} cannot be signalled")]
    TaskEnded(TaskState),
    #[error("a workflow in state {} cannot be signalled", .0.name())]
    WorkflowEnded(WorkflowState),
    /// There are so many already, or so large ones.
    #[error(
        "it has {SIGNALS_MAX} signals already, or would have more than {SIGNALS_BYTES_MAX} bytes \
         of them; only signals that are waited for are taken"
    )]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A signal as it is sent.
struct Signal<'a> {
    name: &'a str,
    content: &'a Content,
    user: &'a str,
    now_ms: i64,
}

type Answer<T> = Result<(T, Followed), SignalError>;

impl Store {
    /// Sends a signal to a task that has not ended. The first one of a name is kept, others of that
    /// name change nothing. Answers the task after it, and what else has become ready.
    ///
    /// # Errors
    /// [`SignalError`].
    pub async fn signal_task(
        &self,
        id: &TaskId,
        (name, content): (&str, &Content),
        user: &str,
    ) -> Result<(Task, Vec<Task>), SignalError> {
        match self.place(&id.shard).await? {
            Place::Unknown => return Err(SignalError::NotFound),
            Place::Gone { archive } => return Err(SignalError::Expired { archive }),
            Place::Here => {}
        }
        let signal = Signal { name, content, user, now_ms: self.now_ms().await? };
        let request = (id, signal);
        let answer = self
            .transact(&request, |store, tx, (id, signal)| Box::pin(to_task(store, tx, id, signal)))
            .await
            .map_err(StoreError::exhausted)?;
        self.after(answer).await
    }

    /// Sends a signal to all tasks of a workflow that wait for it now or will, also to those of the
    /// workflows within it. Answers the workflow, and what has become ready.
    ///
    /// # Errors
    /// [`SignalError`].
    pub async fn signal_workflow(
        &self,
        id: WorkflowId,
        (name, content): (&str, &Content),
        user: &str,
    ) -> Result<(Workflow, Vec<Task>), SignalError> {
        let root = find_root(self, self.reader(), id).await?.ok_or(SignalError::NotFound)?;
        let signal = Signal { name, content, user, now_ms: self.now_ms().await? };
        let request = (root, signal);
        let answer = self
            .transact(&request, |store, tx, (root, signal)| {
                Box::pin(to_workflow(store, tx, *root, signal))
            })
            .await
            .map_err(StoreError::exhausted)?;
        self.after(answer).await
    }

    async fn after<T>(&self, answer: Answer<T>) -> Result<(T, Vec<Task>), SignalError> {
        let (signalled, Followed { mut made, left }) = answer?;
        self.announce(&made);
        made.extend(self.leave(left).await);
        Ok((signalled, made))
    }

    /// The signals that have come for a task, or for the workflow that it is a part of: their names
    /// and contents. Those for the task itself hide those of the workflow.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn signals_of(&self, task: &Task) -> Result<Vec<(String, Content)>, StoreError> {
        if !task.ties.signalled {
            return Ok(Vec::new());
        }
        let mut signals = self.signals_to(&task.id.to_string()).await?;
        if let Some(member) = task.member
            && let Some(root) = find_root(self, self.reader(), member.workflow).await?
        {
            let of_root = self.signals_to(&root.to_string()).await?;
            let hidden: Vec<String> = signals.iter().map(|(name, _)| name.clone()).collect();
            signals.extend(of_root.into_iter().filter(|(name, _)| !hidden.contains(name)));
        }
        Ok(signals)
    }

    async fn signals_to(&self, target: &str) -> Result<Vec<(String, Content)>, StoreError> {
        let mut sql = self.sql("SELECT name, content, content_type FROM signals WHERE target = ");
        let rows = sql.bind(target).push(" ORDER BY name").all(self.reader()).await?;
        let read = |row: &sea_orm::QueryResult| {
            let data: Vec<u8> = row.try_get_by_index(1)?;
            let content = Content { data: data.into(), content_type: row.try_get_by_index(2)? };
            Ok((row.try_get_by_index(0)?, content))
        };
        rows.iter().map(read).collect()
    }

    /// What a task waits for, for people, at most `limit` things: ids of tasks, `signal NAME`,
    /// `children`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn waits_of(&self, id: &TaskId, limit: u32) -> Result<Vec<String>, StoreError> {
        let mut sql = self.sql("SELECT awaited, name FROM task_waits WHERE waiter = ");
        sql.bind(id.to_string()).push(" ORDER BY awaited, name LIMIT ").bind(i64::from(limit));
        let rows = sql.all(self.reader()).await?;
        let read = |row: &sea_orm::QueryResult| {
            let (awaited, name): (String, String) =
                (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            Ok(match name.as_str() {
                "" => awaited,
                CHILDREN => "children".to_owned(),
                name => format!("signal {name}"),
            })
        };
        rows.iter().map(read).collect()
    }
}

async fn to_task(
    store: &Store,
    tx: &DatabaseTransaction,
    id: &TaskId,
    signal: &Signal<'_>,
) -> Result<Answer<Task>, StoreError> {
    if !is_there(store, tx, &id.shard).await? {
        return Ok(Err(SignalError::NotFound));
    }
    let (mut batch, now_ms) = Batch::read(store, tx, &id.shard, vec![id.key], true).await?;
    let Some(task) = batch.task(id.key) else { return Ok(Err(SignalError::NotFound)) };
    let (task, target) = (task.clone(), id.to_string());
    if task.state.is_terminal() {
        return Ok(Err(SignalError::TaskEnded(task.state)));
    }
    match keep(store, tx, &target, signal).await? {
        Err(refusal) => return Ok(Err(refusal)),
        Ok(false) => return Ok(Ok((task, Followed::default()))),
        Ok(true) => {}
    }
    let mut ledger = Ledger::default();
    if !task.ties.signalled {
        let bound = batch.apply(id.key, &Event::Bind(Tie::Signalled), now_ms, &mut ledger);
        bound.map_err(|refusal| StoreError::Corrupt(format!("{id}: {refusal}")))?;
    }
    let task = batch.task(id.key).cloned().unwrap_or(task);
    batch.write(store, tx).await?;
    let due = Due::Signal { waiter: id.clone(), name: signal.name.to_owned() };
    let released = release(store, tx, vec![due], now_ms, &mut ledger).await?;
    let task = released.changed.first().cloned().unwrap_or(task);
    Ok(Ok((task, finish(store, tx, released, now_ms, ledger).await?)))
}

async fn to_workflow(
    store: &Store,
    tx: &DatabaseTransaction,
    root: WorkflowId,
    signal: &Signal<'_>,
) -> Result<Answer<Workflow>, StoreError> {
    let Some(workflow) = workflow::lock(store, tx, root).await? else {
        return Ok(Err(SignalError::NotFound));
    };
    if workflow.progress.state.is_terminal() {
        return Ok(Err(SignalError::WorkflowEnded(workflow.progress.state)));
    }
    match keep(store, tx, &root.to_string(), signal).await? {
        Err(refusal) => return Ok(Err(refusal)),
        Ok(false) => return Ok(Ok((workflow, Followed::default()))),
        Ok(true) => {}
    }
    let mut ledger = Ledger::default();
    let due = Due::WorkflowSignal { root, name: signal.name.to_owned() };
    let released = release(store, tx, vec![due], signal.now_ms, &mut ledger).await?;
    Ok(Ok((workflow, finish(store, tx, released, signal.now_ms, ledger).await?)))
}

async fn finish(
    store: &Store,
    tx: &DatabaseTransaction,
    released: Released,
    now_ms: i64,
    mut ledger: Ledger,
) -> Result<Followed, StoreError> {
    let followed = released.follow(store, tx, now_ms, &mut ledger).await?;
    ledger.write(store, tx, now_ms).await?;
    Ok(followed)
}

async fn is_awaited(
    store: &Store,
    tx: &DatabaseTransaction,
    target: &str,
    name: &str,
) -> Result<bool, StoreError> {
    let mut sql = store.sql("SELECT 1 FROM task_waits WHERE name = ");
    sql.bind(name).push(" AND (awaited = ").bind(target).push(" OR waiter = ").bind(target);
    Ok(sql.push(") LIMIT 1").one(tx).await?.is_some())
}

/// A sum, which is a number of its own type on each database.
fn sum(row: &sea_orm::QueryResult) -> Result<usize, StoreError> {
    let sum = row.try_get_by_index::<i64>(0).or_else(|_| {
        row.try_get_by_index::<sea_orm::prelude::Decimal>(0)
            .map(|sum| i64::try_from(sum).unwrap_or(i64::MAX))
    })?;
    Ok(usize::try_from(sum).unwrap_or(usize::MAX))
}

/// Keeps a signal; whether it is the first of its name. The target is locked.
async fn keep(
    store: &Store,
    tx: &DatabaseTransaction,
    target: &String,
    signal: &Signal<'_>,
) -> Result<Result<bool, SignalError>, StoreError> {
    let names = names(store, tx, &[target]).await?;
    if names.iter().any(|name| name == signal.name) {
        return Ok(Ok(false));
    }
    let mut sql =
        store.sql("SELECT COALESCE(SUM(LENGTH(content)), 0) FROM signals WHERE target = ");
    let row = sql.bind(target.as_str()).one(tx).await?;
    let bytes = row.map_or(Ok(0), |row| sum(&row))?;
    let is_full =
        names.len() >= SIGNALS_MAX || bytes + signal.content.data.len() > SIGNALS_BYTES_MAX;
    // One that is waited for always has room.
    if is_full && !is_awaited(store, tx, target, signal.name).await? {
        return Ok(Err(SignalError::TooMany));
    }
    let mut sql = store.sql(
        "INSERT INTO signals (target, name, user_name, create_time_ms, content, content_type) \
         VALUES ",
    );
    sql.tuple([
        target.as_str().into(),
        signal.name.into(),
        signal.user.into(),
        signal.now_ms.into(),
        signal.content.data.to_vec().into(),
        signal.content.content_type.as_str().into(),
    ]);
    sql.run(tx).await?;
    Ok(Ok(true))
}

/// The names of the signals that have come for any of these.
pub(super) async fn names(
    store: &Store,
    db: &impl ConnectionTrait,
    targets: &[&String],
) -> Result<Vec<String>, StoreError> {
    let targets: Vec<&str> = targets.iter().map(|target| target.as_str()).collect();
    let mut sql = store.sql("SELECT name FROM signals WHERE ");
    let rows = sql.is_in("target", &targets).all(db).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// Forgets the signals of what is deleted.
pub(crate) async fn forget_signals(
    store: &Store,
    tx: &DatabaseTransaction,
    targets: &[String],
) -> Result<(), StoreError> {
    for chunk in targets.chunks(256) {
        let mut sql = store.sql("DELETE FROM signals WHERE ");
        sql.is_in("target", chunk).run(tx).await?;
    }
    Ok(())
}
