//! Group commit out: everything that happens to tasks, from workers and from owners.

use std::iter;

use asyncflow_core::{
    event::{Event, Settle as Ending},
    id::TaskId,
    task::Task,
    transition::Refusal,
};
use asyncflow_store::{Applied, ApplyError, Store};
use tokio_util::task::TaskTracker;

use crate::{
    batch::{Batch, BatchError, Bounds},
    config::LimitsConfig,
    dispatch::Dispatch,
    error::RpcError,
    ingest::{BATCH_BYTES_MAX, writers},
};

/// What an event weighs besides the content that it carries.
const EVENT_BYTES: usize = 256;

pub type ApplyResult = Result<Applied, ApplyError>;

/// Where events join the batch that is open now; clones share it.
#[derive(Clone)]
pub struct Settle {
    store: Store,
    batch: Batch<(TaskId, Event), ApplyResult>,
}

impl Settle {
    pub fn start(
        store: Store,
        dispatch: Dispatch,
        limits: &LimitsConfig,
        tracker: &TaskTracker,
    ) -> Self {
        let bounds = Bounds {
            name: "settle",
            writers: writers(&store),
            batch_rows_max: limits.batch_rows_max,
            batch_bytes_max: BATCH_BYTES_MAX,
            queue_rows_max: limits.queue_rows_max,
            queue_bytes_max: limits.queue_bytes_max,
        };
        let writing = store.clone();
        let commit = Box::new(move |events: Vec<(TaskId, Event)>| {
            let (store, dispatch) = (writing.clone(), dispatch.clone());
            Box::pin(async move {
                let answers = store.apply(events).await;
                let applied = answers.iter().flatten();
                dispatch.note(
                    applied.flat_map(|applied| iter::once(&applied.task).chain(&applied.made)),
                );
                answers
            }) as _
        });
        Self { store, batch: Batch::start(bounds, commit, tracker) }
    }

    /// Applies events in one transaction; the answers are in their order.
    ///
    /// # Errors
    /// When the queue is full or closed; nothing was written then.
    pub async fn apply(
        &self,
        mut events: Vec<(TaskId, Event)>,
    ) -> Result<Vec<ApplyResult>, BatchError> {
        // Before the others who join the batch could wait for it.
        self.store.judge(&mut events).await;
        let bytes = events.iter().map(|(_, event)| weigh(event)).sum();
        self.batch.submit(events, bytes).await
    }

    /// Applies one event. An event that had already happened answers the task as it is.
    ///
    /// # Errors
    /// Why it was not applied.
    pub async fn apply_one(&self, id: TaskId, event: Event) -> Result<Task, RpcError> {
        let answer = self.apply(vec![(id.clone(), event)]).await?.pop();
        settled(&id, answer.ok_or(BatchError::Closed)?)
    }

    pub fn close(&self) {
        self.batch.close();
    }
}

/// The task after an event; as it is, when the event had already happened.
pub fn settled(id: &TaskId, answer: ApplyResult) -> Result<Task, RpcError> {
    match answer {
        Ok(applied) => Ok(applied.task),
        Err(ApplyError::Refused(Refusal::AlreadyDone, task)) => Ok(*task),
        Err(error) => Err(refused(id, error)),
    }
}

/// Why an event was not applied, as the caller is told.
pub fn refused(id: &TaskId, error: ApplyError) -> RpcError {
    match error {
        ApplyError::NotFound => RpcError::TaskNotFound(id.clone()),
        ApplyError::Expired { archive } => RpcError::Expired { id: id.clone(), archive },
        ApplyError::Refused(refusal, _) => RpcError::Refused(refusal),
        // Only guards of the governor's verbs say so.
        ApplyError::MovedOn(task) => {
            RpcError::Refused(Refusal::LeaseLost { given: task.attempt, in_force: task.attempt })
        }
        ApplyError::Store(error) => RpcError::Store(error),
    }
}

fn weigh(event: &Event) -> usize {
    let content = match event {
        Event::SaveContext { context, .. } => context.as_ref(),
        Event::Settle { settle: Ending::Complete { result, .. }, .. } => result.as_ref(),
        Event::Settle { settle: Ending::Release { hand_over, .. }, .. } => {
            hand_over.context.as_ref()
        }
        _ => None,
    };
    EVENT_BYTES + content.map_or(0, |content| content.data.len())
}
