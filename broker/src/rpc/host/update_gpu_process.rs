//! UpdateGpuProcess: says how a process is to be taken that the worker did not start.

use asyncflow_core::{host::OrderName, validate::at::At};
use asyncflow_proto::{time::timestamp, v1};

use super::{changed, find_gpu, get, gpu_of};
use crate::{broker::Broker, convert::host_order, error::RpcError};

pub async fn update_gpu_process(
    broker: &Broker,
    request: v1::UpdateGpuProcessRequest,
) -> Result<v1::UpdateGpuProcessResponse, RpcError> {
    let v1::UpdateGpuProcessRequest { worker_id, uuid, pid, treatment } = request;
    let mut violations = gpu_of(&worker_id, &uuid);
    if v1::GpuProcessTreatment::try_from(treatment).is_err() {
        let at = At::REQUEST.field("treatment");
        violations.add(at, format!("{treatment} is not a known treatment"));
    }
    violations.none()?;
    let (_, report) = get(broker, &worker_id).await?;
    let gpu = find_gpu(&report, &worker_id, &uuid)?;
    if !gpu.processes.iter().any(|process| process.pid == pid) {
        return Err(RpcError::GpuProcessNotFound(worker_id, uuid, pid));
    }
    if treatment == i32::from(v1::GpuProcessTreatment::Unspecified) {
        let name = OrderName::Process { gpu: uuid, pid };
        broker.store.delete_orders(&worker_id, &[name]).await?;
    } else {
        let time = Some(timestamp(broker.store.now_ms().await?));
        let order = v1::GpuProcessOrder { uuid, pid, treatment, time };
        broker.store.put_orders(&[host_order::of_process(&worker_id, &order)]).await?;
    }
    Ok(v1::UpdateGpuProcessResponse { host: Some(changed(broker, &worker_id).await?) })
}
