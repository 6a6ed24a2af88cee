//! UpdateGpu: cordons a GPU, or says that one with a fault may be used again.

use asyncflow_core::validate::at::At;
use asyncflow_proto::{time::timestamp, v1};

use super::{change_gpu, changed, find_gpu, get, gpu_of, orders};
use crate::{broker::Broker, convert::host_order, error::RpcError};

pub async fn update_gpu(
    broker: &Broker,
    request: v1::UpdateGpuRequest,
) -> Result<v1::UpdateGpuResponse, RpcError> {
    let v1::UpdateGpuRequest { worker_id, uuid, cordoned } = request;
    let mut violations = gpu_of(&worker_id, &uuid);
    if cordoned.is_none() {
        violations.add(At::REQUEST.field("cordoned"), "must be given: there is nothing else");
    }
    violations.none()?;
    let (_, report) = get(broker, &worker_id).await?;
    let before = host_order::gpu(&orders(broker, &worker_id).await?, &uuid);
    if before.is_none() {
        // One that was cordoned and is not to be seen any more can be given free.
        find_gpu(&report, &worker_id, &uuid)?;
    }
    let cordoned = cordoned == Some(true);
    let now = timestamp(broker.store.now_ms().await?);
    change_gpu(broker, &worker_id, &uuid, |before| v1::GpuOrder {
        cordoned,
        forgive_time: if cordoned { before.forgive_time } else { Some(now) },
        ..before
    })
    .await?;
    Ok(v1::UpdateGpuResponse { host: Some(changed(broker, &worker_id).await?) })
}
