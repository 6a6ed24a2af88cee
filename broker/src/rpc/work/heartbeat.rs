//! Heartbeat: renews all leases of a session in one batch. It is the safety net of pushed commands.

use asyncflow_core::{event::Event, limits::HEARTBEAT_LEASES_MAX, violation::Violations};
use asyncflow_proto::v1;
use asyncflow_store::Touch;

use super::verdicts;
use crate::{broker::Broker, convert, error::RpcError};

pub async fn heartbeat(
    broker: &Broker,
    request: v1::HeartbeatRequest,
) -> Result<v1::HeartbeatResponse, RpcError> {
    let mut violations = Violations::new();
    let leases =
        convert::work::leases(&request.leases, "leases", HEARTBEAT_LEASES_MAX, &mut violations);
    violations.none()?;
    let session = broker.sessions.get(&request.session_id).await?;
    let touch = Touch {
        session_id: session.id,
        draining: request.draining,
        running: i32::try_from(leases.len()).unwrap_or(i32::MAX),
    };
    let lease_ttl_ms = broker.config.lease.ttl_ms;
    let renew = |_, fence| Event::Heartbeat { fence, lease_ttl_ms };
    let (touched, leases) =
        tokio::join!(broker.touches.touch(touch), verdicts(broker, &session, leases, renew));
    touched?;
    Ok(v1::HeartbeatResponse { leases: leases? })
}
