//! DeregisterWorker: the worker has drained. What it should still hold goes back at once, and its
//! session is unknown from then on.

use asyncflow_proto::v1;
use asyncflow_store::Departure;

use crate::{broker::Broker, error::RpcError};

pub async fn deregister_worker(
    broker: &Broker,
    request: v1::DeregisterWorkerRequest,
) -> Result<v1::DeregisterWorkerResponse, RpcError> {
    let session = broker.sessions.get(&request.session_id).await?;
    // First what it holds: when that fails the session is still there, and the call is repeated.
    let answers =
        broker.store.release_session(&session.worker_id, session.id, &[], Departure::Left).await?;
    broker.dispatch.note(answers.iter().flatten().map(|applied| &applied.task));
    broker.store.end_session(session.id).await?;
    broker.sessions.forget(session.id);
    Ok(v1::DeregisterWorkerResponse {})
}
