//! StreamCreateTasks: as CreateTask, for as many as come. A few messages are in hand at a time, and
//! the next one is read when the oldest of them is answered: that is the flow control.

use std::{sync::Arc, time::Duration};

use asyncflow_core::{
    access::Principal,
    limits::BATCH_TASKS_MAX,
    validate::{at::At, number},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::{Create, Inserted};
use futures::{Stream, StreamExt};
use tonic::Status;

use super::create_task::checked;
use crate::{
    batch::BatchError, broker::Broker, dependent::create_all, error::RpcError, rpc::BoxStream,
    status::task_error,
};

/// Messages of a stream that are in hand at a time.
const IN_HAND: usize = 8;
/// How long a stream waits when too many rows wait already.
const PAUSE: Duration = Duration::from_millis(5);

pub fn stream_create_tasks(
    broker: &Arc<Broker>,
    caller: Principal,
    trace_id: String,
    requests: impl Stream<Item = Result<v1::StreamCreateTasksRequest, Status>> + Send + 'static,
) -> BoxStream<v1::StreamCreateTasksResponse> {
    let by = Arc::new(By { broker: Arc::clone(broker), caller, trace_id });
    let draining = broker.draining.clone().cancelled_owned();
    let answers = requests.take_until(draining).map(move |request| {
        let by = Arc::clone(&by);
        async move { Ok(by.create(request?).await?) }
    });
    let drained = broker.draining.clone();
    let ending = futures::stream::once(async move {
        drained.is_cancelled().then(|| Err(Status::from(RpcError::ShuttingDown)))
    });
    answers.buffered(IN_HAND).chain(ending.filter_map(|ending| async { ending })).boxed()
}

/// On whose behalf the tasks are created.
struct By {
    broker: Arc<Broker>,
    caller: Principal,
    trace_id: String,
}

impl By {
    async fn create(
        &self,
        message: v1::StreamCreateTasksRequest,
    ) -> Result<v1::StreamCreateTasksResponse, RpcError> {
        let mut violations = Violations::new();
        let (count, at) = (message.requests.len(), At::REQUEST.field("requests"));
        number::item_count(count, 1..=BATCH_TASKS_MAX, at, &mut violations);
        violations.none()?;
        let now_ms = self.broker.store.now_ms().await?;
        let (mut results, mut creates) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for request in message.requests {
            results.push(self.check(request, now_ms).await.map(|create| creates.push(create)));
        }
        let mut inserted = self.insert(creates).await?.into_iter();
        let mut next = |()| inserted.next().unwrap_or_else(|| Err(BatchError::Broken.into()));
        let answers = results.into_iter().map(|result| answer(result.and_then(&mut next)));
        let answers = answers.collect();
        Ok(v1::StreamCreateTasksResponse { results: answers })
    }

    async fn check(&self, request: v1::CreateTaskRequest, now_ms: i64) -> Result<Create, RpcError> {
        if request.validate_only {
            return Err(RpcError::field("validate_only", "must not be set in a stream"));
        }
        checked(&self.broker, &self.caller, &self.trace_id, request, now_ms).await
    }

    async fn insert(
        &self,
        creates: Vec<Create>,
    ) -> Result<Vec<Result<Inserted, RpcError>>, RpcError> {
        loop {
            match create_all(&self.broker, creates.clone()).await {
                Err(BatchError::Full) => tokio::time::sleep(PAUSE).await,
                answers => return Ok(answers?),
            }
        }
    }
}

fn answer(result: Result<Inserted, RpcError>) -> v1::CreateTaskResult {
    match result {
        Ok(Inserted { task, deduplicated, .. }) => {
            v1::CreateTaskResult { task_id: task.id.to_string(), deduplicated, error: None }
        }
        Err(error) => v1::CreateTaskResult { error: Some(task_error(error)), ..Default::default() },
    }
}
