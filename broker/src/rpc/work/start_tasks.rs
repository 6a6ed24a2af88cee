//! StartTasks: the worker runs them now; the hand-out becomes a lease.

use asyncflow_core::{event::Event, limits::ACQUIRE_TASKS_MAX, violation::Violations};
use asyncflow_proto::v1;

use super::verdicts;
use crate::{broker::Broker, convert, error::RpcError};

pub async fn start_tasks(
    broker: &Broker,
    request: v1::StartTasksRequest,
) -> Result<v1::StartTasksResponse, RpcError> {
    let mut violations = Violations::new();
    let count_max = ACQUIRE_TASKS_MAX.unsigned_abs() as usize;
    let leases = convert::work::leases(&request.leases, "leases", count_max, &mut violations);
    violations.none()?;
    let session = broker.sessions.get(&request.session_id).await?;
    let lease_ttl_ms = broker.config.lease.ttl_ms;
    let start = |_, fence| Event::Start { fence, lease_ttl_ms };
    let leases = verdicts(broker, &session, leases, start).await?;
    Ok(v1::StartTasksResponse { leases })
}
