//! DeregisterWorker: the worker has drained; what it should still hold goes back at once.

use asyncflow_proto::v1;
use asyncflow_store::Touch;

use crate::{broker::Broker, error::RpcError};

pub async fn deregister_worker(
    broker: &Broker,
    request: v1::DeregisterWorkerRequest,
) -> Result<v1::DeregisterWorkerResponse, RpcError> {
    let session = broker.sessions.get(&request.session_id).await?;
    let answers = broker.store.release_session(&session.worker_id, session.id, &[]).await?;
    broker.dispatch.note(answers.iter().flatten().map(|applied| &applied.task));
    let touch = Touch { session_id: session.id, draining: true, running: 0 };
    broker.touches.touch(touch).await?;
    broker.sessions.forget(session.id);
    Ok(v1::DeregisterWorkerResponse {})
}
