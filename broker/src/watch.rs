//! One running watch: the snapshot, then the feed.

use std::collections::{BTreeSet, HashSet};

use asyncflow_core::{filter::Filter, id::TaskId, resume_token, state::TaskState, task::FullTask};
use asyncflow_proto::v1;
use asyncflow_store::{Change, ChangeRow, ChangeTail, Parts, Store, StoreError};
use std::time::Duration;
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{convert, error::RpcError, feed::Subscription};

/// Tasks per page of the snapshot.
const PAGE: u32 = 200;
/// Changes that are reported in one go, unless one transaction alone made more.
const CHANGES_MAX: usize = 1_000;
/// An idle watch says that it lives, and how far it has come.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// While it catches up and a transaction with an earlier number may still commit.
const CATCH_UP_INTERVAL: Duration = Duration::from_millis(100);

/// What is watched.
pub enum Subject {
    Named(BTreeSet<TaskId>),
    Matching(Box<Filter>),
}

/// A watch that runs in a task of its own until its reader leaves, lags too far, or has seen all.
pub struct Watch {
    pub store: Store,
    pub subject: Subject,
    pub feed: Subscription,
    pub until_done: bool,
    pub sender: mpsc::Sender<Result<v1::WatchTasksResponse, Status>>,
    pub draining: CancellationToken,
}

/// Refuses a token whose following changes are not kept any more.
///
/// # Errors
/// `ResumeTokenTooOld`, also for a token of a log that was lost; those of the store.
pub async fn check_token(store: &Store, seq: i64) -> Result<(), RpcError> {
    let first = store.first_change_seq().await?;
    let is_kept = match first {
        Some(first) => seq + 1 >= first && seq <= store.last_change_seq().await?,
        None => seq == 0,
    };
    if is_kept { Ok(()) } else { Err(RpcError::ResumeTokenTooOld) }
}

/// Why a watch ended.
enum End {
    /// It has nothing more to say, or nobody listens.
    Quiet,
    Error(RpcError),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Error(error.into())
    }
}

/// Says at the end of a stream why it ends. A reader who is slow comes to it when it has read what
/// is before it; while the broker drains it is not waited for.
pub async fn tell<T>(
    sender: &mpsc::Sender<Result<T, Status>>,
    error: RpcError,
    draining: &CancellationToken,
) {
    tokio::select! {
        biased;
        // When nobody listens any more nobody need be told.
        _ = sender.send(Err(error.into())) => {}
        () = draining.cancelled() => {}
    }
}

impl Watch {
    /// Runs from the snapshot, or from the place behind a resume token.
    pub async fn run(mut self, resume: Option<i64>) {
        let sender = self.sender.clone();
        let draining = self.draining.clone();
        let end = tokio::select! {
            end = self.follow(resume) => end,
            () = draining.cancelled() => Err(End::Error(RpcError::ShuttingDown)),
            () = sender.closed() => return,
        };
        drop(self);
        if let Err(End::Error(error)) = end {
            tell(&sender, error, &draining).await;
        }
    }

    async fn follow(&mut self, resume: Option<i64>) -> Result<(), End> {
        match resume {
            None => self.snapshot().await?,
            Some(seq) => self.catch_up(seq).await?,
        }
        loop {
            let rows = tokio::select! {
                row = self.feed.rows.recv() => vec![self.received(row)?],
                () = tokio::time::sleep(KEEP_ALIVE_INTERVAL) => Vec::new(),
            };
            let rows = self.with_waiting(rows)?;
            if rows.is_empty() {
                self.send(None, String::new()).await?;
            }
            self.report(&rows).await?;
        }
    }

    /// The tasks as they are: those that are named, or those that match and are not terminal.
    async fn snapshot(&mut self) -> Result<(), End> {
        match &self.subject {
            Subject::Named(ids) => {
                let ids = ids.iter().cloned().collect();
                self.named(ids).await?;
            }
            Subject::Matching(filter) => {
                let filter = unless_terminal(filter);
                self.matching(&filter).await?;
            }
        }
        // Also tells an empty watch from where it can go on.
        self.send(None, String::new()).await?;
        self.end_when_done()
    }

    /// Those that do not exist are said to be deleted, or who waits for them would wait for ever.
    async fn named(&mut self, ids: Vec<TaskId>) -> Result<(), End> {
        let tasks = self.store.get_many(&ids, Parts::LABELS).await?;
        for (id, task) in ids.into_iter().zip(tasks) {
            match task {
                Some(full) => self.send_task(full).await?,
                None => self.send_deleted(&id).await?,
            }
        }
        Ok(())
    }

    async fn matching(&mut self, filter: &Filter) -> Result<(), End> {
        let mut after = None;
        loop {
            let page = self.store.list(filter, after.as_ref(), PAGE, Parts::LABELS).await?;
            for full in page.tasks {
                self.send_task(full).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Everything between the token and where the feed was when we began to listen.
    async fn catch_up(&mut self, seq: i64) -> Result<(), End> {
        let until = self.feed.seq;
        let mut tail = ChangeTail::new(&self.store, seq);
        while tail.seq() < until {
            match tail.next().await? {
                Some(row) => {
                    self.feed.seq = row.seq;
                    self.report(&[row.into()]).await?;
                }
                None if tail.is_waiting() => tokio::time::sleep(CATCH_UP_INTERVAL).await,
                None => break,
            }
        }
        self.feed.seq = self.feed.seq.max(until);
        if let Subject::Named(ids) = &self.subject
            && self.until_done
        {
            // What was done before the token is in no change that follows it.
            let ids = ids.iter().cloned().collect();
            self.named(ids).await?;
        }
        self.end_when_done()
    }

    fn received(
        &self,
        row: Result<std::sync::Arc<ChangeRow>, RecvError>,
    ) -> Result<std::sync::Arc<ChangeRow>, End> {
        row.map_err(|error| match error {
            RecvError::Lagged(_) => End::Error(RpcError::SlowReader),
            RecvError::Closed => End::Error(RpcError::ShuttingDown),
        })
    }

    /// What has piled up meanwhile is reported in one go.
    fn with_waiting(
        &mut self,
        mut rows: Vec<std::sync::Arc<ChangeRow>>,
    ) -> Result<Vec<std::sync::Arc<ChangeRow>>, End> {
        use tokio::sync::broadcast::error::TryRecvError;
        let mut changes: usize = rows.iter().map(|row| row.changes.len()).sum();
        while !rows.is_empty() && changes < CHANGES_MAX {
            match self.feed.rows.try_recv() {
                Ok(row) => {
                    changes += row.changes.len();
                    rows.push(row);
                }
                Err(TryRecvError::Lagged(_)) => return Err(End::Error(RpcError::SlowReader)),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        Ok(rows)
    }

    /// Sends every task that the rows changed, once, as it is now.
    async fn report(&mut self, rows: &[std::sync::Arc<ChangeRow>]) -> Result<(), End> {
        let Some(last) = rows.last() else { return Ok(()) };
        let (mut changed, mut deleted, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for change in rows.iter().flat_map(|row| &row.changes) {
            let is_deleted = change.to.is_none();
            if self.subject.may_concern(change) && seen.insert((&change.task_id, is_deleted)) {
                let list = if is_deleted { &mut deleted } else { &mut changed };
                list.push(change.task_id.clone());
            }
        }
        let tasks = self.store.get_many(&changed, Parts::LABELS).await?;
        self.feed.seq = last.seq;
        for full in tasks.into_iter().flatten() {
            if self.subject.concerns(&full) {
                self.send_task(full).await?;
            }
        }
        for id in deleted {
            self.send_deleted(&id).await?;
        }
        self.end_when_done()
    }

    fn end_when_done(&self) -> Result<(), End> {
        let all_done = matches!(&self.subject, Subject::Named(ids) if ids.is_empty());
        if self.until_done && all_done { Err(End::Quiet) } else { Ok(()) }
    }

    async fn send_task(&mut self, full: FullTask) -> Result<(), End> {
        if self.until_done && full.task.state.is_terminal() {
            self.subject.forget(&full.task.id);
        }
        self.send(Some(convert::task::listed(full)), String::new()).await
    }

    async fn send_deleted(&mut self, id: &TaskId) -> Result<(), End> {
        self.subject.forget(id);
        self.send(None, id.to_string()).await
    }

    async fn send(&self, task: Option<v1::Task>, deleted_task_id: String) -> Result<(), End> {
        let resume_token = resume_token::encode(self.feed.seq);
        let answer = v1::WatchTasksResponse { task, deleted_task_id, resume_token };
        self.sender.send(Ok(answer)).await.map_err(|_| End::Quiet)
    }
}

impl Subject {
    /// Judged by the change alone: a task that leaves the states of the filter is still of
    /// interest.
    fn may_concern(&self, change: &Change) -> bool {
        match self {
            Self::Named(ids) => ids.contains(&change.task_id),
            Self::Matching(filter) => {
                let in_states = |state: Option<TaskState>| {
                    filter.states.is_empty()
                        || state.is_some_and(|state| filter.states.contains(&state))
                };
                filter.task_type.as_ref().is_none_or(|name| name == change.task_id.task_type())
                    && filter.user.as_ref().is_none_or(|user| *user == change.user)
                    && (in_states(change.from) || in_states(change.to))
            }
        }
    }

    /// Judged by the task: its labels match.
    fn concerns(&self, full: &FullTask) -> bool {
        match self {
            Self::Named(_) => true,
            Self::Matching(filter) => {
                let labels = &full.body.labels;
                filter.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            }
        }
    }

    fn forget(&mut self, id: &TaskId) {
        if let Self::Named(ids) = self {
            ids.remove(id);
        }
    }
}

/// A snapshot shows what still moves; a filter that names states is taken at its word.
fn unless_terminal(filter: &Filter) -> Filter {
    let mut filter = filter.clone();
    if filter.states.is_empty() {
        filter.states = TaskState::ALL.into_iter().filter(|state| !state.is_terminal()).collect();
    }
    filter
}
