//! Hosts that are to get no more tasks: cordoned, or draining.
//!
//! Their workers hear it and ask no more; this is for those that have not heard yet. A broker that
//! did not give the order itself may know it a few seconds later, with the session.

use std::sync::Arc;

use asyncflow_store::{Assigned, wake::host_topic};
use tokio::time::Instant;

use crate::{broker::Broker, dispatch::Wish, error::RpcError, session::Session};

/// Waits for tasks as [`crate::dispatch::Dispatch::acquire`] does, and answers none as soon as the
/// host is to get no more. A call that `listens` hears that while it waits.
///
/// Cancel safe, as that is.
///
/// # Errors
/// Those of the session and of the dispatch.
pub async fn acquire_unless_closed(
    broker: &Broker,
    session: &Arc<Session>,
    wish: Wish,
    deadline: Instant,
    listens: bool,
) -> Result<Vec<Assigned>, RpcError> {
    if !listens && !session.is_closed {
        return Ok(broker.dispatch.acquire(wish, deadline).await?);
    }
    let mut orders = broker.store.wake().subscribe(&host_topic(&session.worker_id));
    // It may have been given free through another broker before this one listened.
    let session = match session.is_closed {
        true => {
            broker.sessions.forget(session.id);
            broker.sessions.by_id(session.id).await?
        }
        false => Arc::clone(session),
    };
    if session.is_closed {
        broker.dispatch.forget_host(&session.worker_id);
        // Otherwise it would ask again at once, and again.
        tokio::select! {
            () = orders.rung() => {}
            () = tokio::time::sleep_until(deadline) => {}
            () = broker.draining.cancelled() => {}
        }
        broker.sessions.forget(session.id);
        return Ok(Vec::new());
    }
    let acquiring = broker.dispatch.acquire(wish, deadline);
    tokio::pin!(acquiring);
    loop {
        tokio::select! {
            biased;
            tasks = &mut acquiring => return Ok(tasks?),
            () = orders.rung() => {
                broker.sessions.forget(session.id);
                if broker.sessions.by_id(session.id).await?.is_closed {
                    broker.dispatch.forget_host(&session.worker_id);
                    // What was claimed for it in the last moment goes back.
                    return Ok(Vec::new());
                }
            }
        }
    }
}
