//! WatchWorkflow: the workflow and its nodes as they are, and again when they have changed.
//!
//! ```text
//!  room at the reader ─▶ read the whole ─▶ send ─▶ over? the end
//!          ▲                                         │ no
//!          └── changed, and not too soon ◀───────────┘
//! ```
//!
//! It listens before it reads, so nothing falls between the two; and it reads when the reader has
//! room, so what is sent is young, and a slow reader costs one view and not a queue of them.

use std::time::Duration;

use asyncflow_core::id::WorkflowId;
use asyncflow_proto::v1;
use asyncflow_store::{ChangeRow, Store, WorkflowView};
use futures::StreamExt;
use tokio::sync::{
    broadcast::error::RecvError,
    mpsc::{self, error::SendError},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::workflow_id;
use crate::{
    broker::Broker, clock, convert, error::RpcError, feed::Subscription, rpc::BoxStream, watch,
};

/// Two views are so far apart, unless the second is the last, and further for each node: a view of
/// thousands of nodes is a megabyte.
const INTERVAL_MS: i64 = 200;
const NODES_PER_MS: i64 = 10;
/// Safety net: the row of a transaction that commits very late may be passed over by the feed.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

pub async fn watch_workflow(
    broker: &Broker,
    request: v1::WatchWorkflowRequest,
) -> Result<BoxStream<v1::WatchWorkflowResponse>, RpcError> {
    let id = workflow_id(&request.workflow_id)?;
    let feed = broker.feed.subscribe().await?;
    broker.store.find_workflow(id).await?.ok_or(RpcError::WorkflowNotFound(id))?;
    let (sender, receiver) = mpsc::channel(1);
    let watch = Watch { store: broker.store.clone(), id, feed, sender };
    broker.spawn(watch.run(broker.draining.clone()));
    Ok(ReceiverStream::new(receiver).boxed())
}

/// A watch that runs in a task of its own until its reader leaves or the workflow is over.
struct Watch {
    store: Store,
    id: WorkflowId,
    feed: Subscription,
    sender: mpsc::Sender<Result<v1::WatchWorkflowResponse, Status>>,
}

/// What a change of the log means to the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    None,
    Changed,
    Over,
}

impl Watch {
    async fn run(mut self, draining: CancellationToken) {
        let sender = self.sender.clone();
        let end = tokio::select! {
            end = self.follow() => end,
            () = draining.cancelled() => Err(RpcError::ShuttingDown),
            () = sender.closed() => return,
        };
        if let Err(error) = end {
            watch::tell(&sender, error, &draining).await;
        }
    }

    async fn follow(&mut self) -> Result<(), RpcError> {
        let mut sent = None;
        loop {
            let room = match self.sender.clone().reserve_owned().await {
                Ok(room) => room,
                Err(SendError(_)) => return Ok(()),
            };
            let view = self.store.get_workflow(self.id).await?;
            let view = view.ok_or(RpcError::WorkflowNotFound(self.id))?;
            let is_over = view.workflow.progress.state.is_terminal();
            let interval_ms = INTERVAL_MS + i64::from(view.workflow.nodes) / NODES_PER_MS;
            if sent != Some(view.workflow.revision) {
                sent = Some(view.workflow.revision);
                room.send(Ok(response(view)));
            }
            if is_over {
                return Ok(());
            }
            self.until_changed(interval_ms).await?;
        }
    }

    /// Returns at the first change when the interval is over, at once when the workflow is.
    async fn until_changed(&mut self, interval_ms: i64) -> Result<(), RpcError> {
        let pause = tokio::time::sleep_until(clock::in_ms(interval_ms));
        let look = tokio::time::sleep(LOOK_INTERVAL);
        tokio::pin!(pause, look);
        let mut is_changed = false;
        loop {
            tokio::select! {
                row = self.feed.rows.recv() => match news(self.id, row)? {
                    News::None => {}
                    News::Changed => is_changed = true,
                    News::Over => return Ok(()),
                },
                () = &mut pause, if is_changed => return Ok(()),
                () = &mut look => return Ok(()),
            }
        }
    }
}

fn news(
    id: WorkflowId,
    row: Result<std::sync::Arc<ChangeRow>, RecvError>,
) -> Result<News, RpcError> {
    let row = match row {
        Ok(row) => row,
        // What was missed may have been its end.
        Err(RecvError::Lagged(_)) => return Ok(News::Changed),
        Err(RecvError::Closed) => return Err(RpcError::ShuttingDown),
    };
    Ok(match row.workflows.iter().find(|change| change.id == id) {
        None => News::None,
        Some(change) if change.state.is_terminal() => News::Over,
        Some(_) => News::Changed,
    })
}

fn response(view: WorkflowView) -> v1::WatchWorkflowResponse {
    v1::WatchWorkflowResponse {
        nodes: convert::workflow::nodes(&view.nodes),
        workflow: Some(convert::workflow::to_proto(view.workflow)),
    }
}
