//! EvictGpu: keeps tasks away from a GPU, and asks those on it to save and go.

use asyncflow_core::{access::Principal, id::TaskId, state::TaskState};
use asyncflow_proto::v1;
use asyncflow_store::Parts;

use super::{changed, find_gpu, get, gpu_of, orders};
use crate::{
    broker::Broker,
    convert::host_order,
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
    let before = host_order::gpu(&orders(broker, &worker_id).await?, &uuid);
    let forgive_time = before.and_then(|order| order.forgive_time);
    // First this: otherwise another task comes where one has gone.
    let order = v1::GpuOrder { uuid: uuid.clone(), cordoned: true, forgive_time };
    broker.store.put_orders(&[host_order::of_gpu(&worker_id, &order)]).await?;

    let on_it = report.running.iter().filter(|one| one.gpus.contains(&uuid));
    let ids = gpu.task_ids.iter().chain(on_it.map(|one| &one.task_id));
    let mut ids: Vec<TaskId> = ids.filter_map(|id| id.parse().ok()).collect();
    ids.sort_by_key(|id| (id.task_type().to_string(), id.key));
    ids.dedup();
    let found = broker.store.get_many(&ids, Parts::NONE).await?;
    let asked: Vec<_> = found
        .into_iter()
        .flatten()
        .map(|full| full.task)
        .filter(|task| task.state == TaskState::Running)
        .filter(|task| task.holder.session_id == row.worker.session_id)
        .map(|task| {
            let request = Request {
                reason: v1::FailureReason::HandedOver,
                message: format!("{} needs its GPU {}", caller.user, gpu.index),
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
