//! RegisterWorker: a new session for a new incarnation. What the former one held is adopted, or
//! goes back into the queue at once: nobody waits for its leases to run out.

use asyncflow_core::{
    access::Principal,
    event::{Event, Fence},
    id::TaskId,
    limits::HEARTBEAT_LEASES_MAX,
    validate::work,
    violation::Violations,
};
use asyncflow_proto::{time::duration, v1};
use asyncflow_store::{ApplyError, Departure, Registered};

use crate::{
    broker::Broker,
    convert::{self, work::Lease},
    error::RpcError,
    session,
};

pub async fn register_worker(
    broker: &Broker,
    caller: &Principal,
    mut request: v1::RegisterWorkerRequest,
) -> Result<v1::RegisterWorkerResponse, RpcError> {
    work::registration(&convert::work::registration_input(&request))?;
    let mut violations = Violations::new();
    let adopted = std::mem::take(&mut request.adopted);
    let asked = convert::work::leases(&adopted, "adopted", HEARTBEAT_LEASES_MAX, &mut violations);
    violations.none()?;

    let registration = convert::work::registration(request, caller.user.clone());
    let registered = broker.store.register_worker(&registration).await?;
    let kept = adopt(broker, registered, asked).await?;
    if let Some(former_session_id) = registered.former_session_id {
        broker.sessions.forget(former_session_id);
        let keep: Vec<(TaskId, i32)> =
            kept.iter().map(|lease| (lease.id.clone(), lease.attempt)).collect();
        let worker_id = &registration.worker_id;
        let answers = broker
            .store
            .release_session(worker_id, former_session_id, &keep, Departure::Restarted)
            .await?;
        broker.dispatch.note(answers.iter().flatten().map(|applied| &applied.task));
    }
    let lease = &broker.config.lease;
    let adopted = kept.iter().map(|l| convert::work::lease_to_proto(&l.id, l.attempt));
    Ok(v1::RegisterWorkerResponse {
        session_id: session::format(registered.session_id),
        heartbeat_interval: Some(duration(lease.heartbeat_interval_ms)),
        lease_ttl: Some(duration(lease.ttl_ms)),
        handout_ttl: Some(duration(lease.handout_ttl_ms)),
        adopted: adopted.collect(),
    })
}

/// Moves leases of the former incarnation to the new session, those that have not moved yet, and
/// renews them; answers those that are the new session's now.
///
/// # Errors
/// Those of the store: a lease is never called lost because the database was away.
async fn adopt(
    broker: &Broker,
    registered: Registered,
    asked: Vec<Lease>,
) -> Result<Vec<Lease>, RpcError> {
    let lease_ttl_ms = broker.config.lease.ttl_ms;
    let Registered { session_id, former_session_id } = registered;
    let moves = former_session_id.into_iter().flat_map(|former_session_id| {
        asked.iter().map(move |Lease { id, attempt }| {
            let fence = Fence { attempt: *attempt, session_id: former_session_id };
            (id.clone(), Event::Adopt { fence, session_id, lease_ttl_ms })
        })
    });
    let renewals = asked.iter().map(|Lease { id, attempt }| {
        let fence = Fence { attempt: *attempt, session_id };
        (id.clone(), Event::Heartbeat { fence, lease_ttl_ms })
    });
    let mut answers = broker.settle.apply(moves.chain(renewals).collect()).await?;
    let renewed = answers.split_off(answers.len() - asked.len());
    let mut kept = Vec::with_capacity(asked.len());
    for (lease, answer) in asked.into_iter().zip(renewed) {
        match answer {
            Ok(_) => kept.push(lease),
            Err(ApplyError::Store(error)) => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(kept)
}
