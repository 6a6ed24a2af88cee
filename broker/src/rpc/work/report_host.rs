//! ReportHost: how a worker's host is, and what is wanted of it.

use asyncflow_core::violation::Violations;
use asyncflow_proto::{time::duration, v1};

use crate::{
    broker::Broker,
    convert::{self, host_order},
    error::RpcError,
    orders,
};

/// The safety net of what is pushed, and how old what people see may be.
const REPORT_INTERVAL_MS: i64 = 5_000;

pub async fn report_host(
    broker: &Broker,
    request: v1::ReportHostRequest,
) -> Result<v1::ReportHostResponse, RpcError> {
    let mut violations = Violations::new();
    let report = convert::host::report(request.report, &mut violations);
    let report = violations.ok_or(report)?;
    let session = broker.sessions.get(&request.session_id).await?;
    if !broker.store.report_host(session.id, &convert::host::encode(&report)).await? {
        broker.sessions.forget(session.id);
        return Err(RpcError::UnknownSession);
    }
    let worker_id = &session.worker_id;
    let mut given = broker.store.list_orders(std::slice::from_ref(worker_id)).await?;
    let given = given.remove(worker_id).unwrap_or_default();
    let left = orders::prune(&broker.store, worker_id, given, &report).await?;
    let bytes_max = broker.config.limits.message_bytes_max;
    Ok(v1::ReportHostResponse {
        // The other half is for what else an answer has.
        orders: Some(host_order::within(host_order::to_proto(&left), bytes_max / 2)),
        report_interval: Some(duration(REPORT_INTERVAL_MS)),
    })
}
