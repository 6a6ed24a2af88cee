//! StreamCommands: pushes cancels to the worker at once, and that its host has other orders.
//!
//! The wake-up says only that there is something; what it is stands in the tasks. A worker that
//! misses it hears the same by its next heartbeat, or its next report.

use std::{collections::HashSet, sync::Arc};

use asyncflow_core::{filter::Filter, id::TaskId, state::TaskState};
use asyncflow_proto::v1::{self, stream_commands_response::Command};
use asyncflow_store::{
    Parts, Store, StoreError,
    wake::{commands_topic, host_topic},
};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    broker::Broker, convert, error::RpcError, lookups::Lookups, rpc::BoxStream, session::Session,
};

/// CANCELLING tasks per page of the look.
const PAGE: u32 = 500;
/// Commands that a slow worker may leave lying.
const BUFFER: usize = 64;

pub async fn stream_commands(
    broker: &Broker,
    request: v1::StreamCommandsRequest,
) -> Result<BoxStream<v1::StreamCommandsResponse>, RpcError> {
    let session = broker.sessions.get(&request.session_id).await?;
    let (sender, receiver) = mpsc::channel(BUFFER);
    let mut rung = broker.store.wake().subscribe(&commands_topic(session.id));
    let mut orders = broker.store.wake().subscribe(&host_topic(&session.worker_id));
    let (store, draining) = (broker.store.clone(), broker.draining.clone());
    let lookups = broker.lookups.clone();
    broker.spawn(async move {
        let mut sent = HashSet::new();
        loop {
            let looked = tokio::select! {
                looked = cancelling(&store, &lookups, &session) => looked,
                () = sender.closed() => return,
                () = draining.cancelled() => return,
            };
            let cancels = match looked {
                Ok(cancels) => cancels,
                Err(error) => {
                    let _ = sender.send(Err(RpcError::Store(error).into())).await;
                    return;
                }
            };
            sent.retain(|lease| cancels.contains(lease));
            for lease in cancels {
                if !sent.insert(lease.clone()) {
                    continue;
                }
                let cancel = Command::Cancel(convert::work::lease_to_proto(&lease.0, lease.1));
                let command = v1::StreamCommandsResponse { command: Some(cancel) };
                if sender.send(Ok(command)).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = rung.rung() => {}
                () = orders.rung() => {
                    let changed = Command::OrdersChanged(v1::HostOrdersChanged {});
                    let command = v1::StreamCommandsResponse { command: Some(changed) };
                    if sender.send(Ok(command)).await.is_err() {
                        return;
                    }
                }
                () = sender.closed() => return,
                () = draining.cancelled() => return,
            }
        }
    });
    Ok(ReceiverStream::new(receiver).boxed())
}

/// The attempts of a session that are to be stopped. Few tasks are CANCELLING at any time.
async fn cancelling(
    store: &Store,
    lookups: &Lookups,
    session: &Arc<Session>,
) -> Result<HashSet<(TaskId, i32)>, StoreError> {
    let filter = Filter { states: vec![TaskState::Cancelling], ..Filter::default() };
    let mut found = HashSet::new();
    let mut after = None;
    loop {
        let page = store.list(&filter, after.as_ref(), PAGE, Parts::NONE);
        let page = lookups.take_turn(page).await?;
        let own = page.tasks.into_iter().map(|full| full.task);
        let own = own.filter(|task| task.holder.session_id == session.id);
        found.extend(own.map(|task| (task.id, task.attempt)));
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}
