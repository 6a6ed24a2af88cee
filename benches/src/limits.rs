//! What the transport and the database alone do on this machine, in the same run.

use crate::{
    clock::Stopwatch,
    error::BenchError,
    load::{closed_loop, create::TASK_TYPE, tally::Tally},
    record::Records,
    span::Span,
    target::Target,
};
use asyncflow_core::{create::NewTask, id::TypeName, task::Content, task_type::TaskType};
use asyncflow_proto::v1::GetTaskRequest;
use asyncflow_store::{
    Create, Store, StoreOptions,
    testing::{insert_raw, make_raw},
};
use std::{sync::Arc, time::Duration};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const IN_FLIGHT: usize = 256;
const ROWS: usize = 500;
const INSERTERS: usize = 4;
const RAW_BYTES: usize = 200;

pub async fn measure(
    target: &Target,
    span: Duration,
    records: &mut Records,
) -> Result<(), BenchError> {
    echo(target, span, records).await?;
    miss(target, span, records).await?;
    raw(target, span, records).await?;
    insert(target, span, records).await
}

/// How much `step` does per second with these callers.
async fn rate<C, F>(
    callers: Vec<C>,
    span: Duration,
    step: impl Fn(C) -> F + Send + Clone + 'static,
) -> Result<f64, BenchError>
where
    C: Clone + Send + 'static,
    F: Future<Output = Result<u64, BenchError>> + Send,
{
    let tally = Tally::new(Stopwatch::start(), Span { from: Duration::ZERO, to: span });
    closed_loop::run(callers, &tally, step).await;
    Ok(tally.finish().without_errors()?.per_second())
}

/// gRPC without anything behind it.
async fn echo(target: &Target, span: Duration, records: &mut Records) -> Result<(), BenchError> {
    let mut probes = Vec::new();
    for _ in 0..IN_FLIGHT / 32 {
        let probe = HealthClient::new(target.channel().await?);
        probes.extend(std::iter::repeat_n(probe, 32));
    }
    let rate = rate(probes, span, |mut probe: HealthClient<_>| async move {
        probe.check(HealthCheckRequest::default()).await?;
        Ok(1)
    });
    let measure = format!("limit: health check, {IN_FLIGHT} in flight");
    records.add(&measure, "calls/s", rate.await?)
}

/// gRPC with one read of an index behind it.
async fn miss(target: &Target, span: Duration, records: &mut Records) -> Result<(), BenchError> {
    let owners = target.brokers().owners(IN_FLIGHT)?;
    let rate = rate(owners, span, |mut owner| async move {
        let task_id = format!("{TASK_TYPE}-1-0000000000000");
        let answer = owner.get_task(GetTaskRequest { task_id, ..Default::default() }).await;
        match answer {
            Err(status) if status.code() == Code::NotFound => Ok(1),
            Err(status) => Err(status.into()),
            Ok(_) => Err(BenchError::Other("a task that cannot be is there".to_owned())),
        }
    });
    let measure = format!("limit: GetTask of nothing, {IN_FLIGHT} in flight");
    records.add(&measure, "calls/s", rate.await?)
}

/// Rows with a payload, an index and nothing else.
async fn raw(target: &Target, span: Duration, records: &mut Records) -> Result<(), BenchError> {
    let store = Store::connect(&StoreOptions::new(target.database_url())).await?;
    make_raw(&store).await?;
    let rate = rate(vec![store.clone(); INSERTERS], span, |store| async move {
        insert_raw(&store, ROWS, RAW_BYTES).await?;
        Ok(ROWS as u64)
    });
    let rate = rate.await;
    store.close().await;
    let measure = format!("limit: plain inserts of {ROWS} rows, {INSERTERS} at once");
    records.add(&measure, "rows/s", rate?)
}

/// The same rows as a create writes, without gRPC and without waiting for others to join.
async fn insert(target: &Target, span: Duration, records: &mut Records) -> Result<(), BenchError> {
    let store = Store::connect(&StoreOptions::new(target.database_url())).await?;
    let name =
        TypeName::new("bench_insert").map_err(|error| BenchError::Other(error.to_string()))?;
    let task_type = Arc::new(store.ensure_type(&name).await?);
    let inserters = vec![(store.clone(), task_type); INSERTERS];
    let rate = rate(inserters, span, |(store, task_type)| async move {
        let rows = (0..ROWS).map(|_| row(&task_type)).collect();
        for inserted in store.insert(rows).await {
            inserted.map_err(|error| BenchError::Other(error.to_string()))?;
        }
        Ok(ROWS as u64)
    });
    let rate = rate.await;
    store.close().await;
    let measure = format!("limit: store inserts of {ROWS} rows, {INSERTERS} at once, no gRPC");
    records.add(&measure, "tasks/s", rate?)
}

/// A task as an owner makes it, with a request id.
pub fn row(task_type: &Arc<TaskType>) -> Create {
    let new = NewTask {
        payload: Content { data: vec![b'x'; 200].into(), content_type: String::new() },
        request_id: Some(uuid::Uuid::now_v7().to_string()),
        ..NewTask::new(task_type.name.clone(), "bench")
    };
    Create { new, task_type: Arc::clone(task_type) }
}
