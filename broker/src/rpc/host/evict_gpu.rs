//! EvictGpu: keeps tasks away from a GPU, and asks those on it to save and go.

use asyncflow_core::{access::Principal, id::TaskId, state::TaskState};
use asyncflow_proto::v1;
use asyncflow_store::Parts;

use super::{change_gpu, changed, find_gpu, get, gpu_of};
use crate::{
    broker::Broker,
    error::RpcError,
    orders::{Request, order_tasks},
};

pub async fn evict_gpu(
    broker: &Broker,
    caller: &Principal,
    request: v1::EvictGpuRequest,
) -> Result<v1::EvictGpuResponse, RpcError> {
    let v1::EvictGpuRequest { worker_id, uuid } = request;
    gpu_of(&worker_id, &uuid).none()?;
    let (row, report) = get(broker, &worker_id).await?;
    let gpu = find_gpu(&report, &worker_id, &uuid)?;
    // First this: otherwise another task comes where one has gone.
    let cordon = |before| v1::GpuOrder { cordoned: true, ..before };
    change_gpu(broker, &worker_id, &uuid, cordon).await?;

    let on_it = report.running.iter().filter(|one| one.gpus.contains(&uuid));
    let ids = gpu.task_ids.iter().chain(on_it.map(|one| &one.task_id));
    let mut ids: Vec<TaskId> = ids.filter_map(|id| id.parse().ok()).collect();
    ids.sort_by_key(|id| (id.task_type().to_string(), id.key));
    ids.dedup();
    let found = broker.store.get_many(&ids, Parts::NONE).await?;
    let host = row.worker.host();
    let asked: Vec<_> = found
        .into_iter()
        .flatten()
        .map(|full| full.task)
        .filter(|task| task.state == TaskState::Running)
        .filter(|task| task.holder.session_id == row.worker.session_id)
        .map(|task| {
            let request = Request {
                reason: v1::FailureReason::HandedOver,
                message: format!("evicted from GPU {} of {host} by {}", gpu.index, caller.user),
                ..Request::default()
            };
            (task, request)
        })
        .collect();
    order_tasks(&broker.store, &asked).await?;
    Ok(v1::EvictGpuResponse {
        host: Some(changed(broker, &worker_id).await?),
        task_ids: asked.into_iter().map(|(task, _)| task.id.to_string()).collect(),
    })
}
