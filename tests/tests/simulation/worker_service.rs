//! What workers call.

use std::{collections::BTreeSet, pin::Pin, time::Duration};

use asyncflow_core::{
    event::{Event, Fence},
    state::TaskState,
    task::Progress,
    transition::Refusal,
};
use asyncflow_proto::time::duration;
use asyncflow_sdk::v1::{
    stream_commands_response::Command, task_outcome::Outcome, worker_service_server::WorkerService,
    *,
};
use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    answer,
    broker::{Broker, Refused, ending, fence},
    status,
    times::{HANDOUT_MS, HEARTBEAT_MS, LEASE_MS},
};

const LOOK_FOR_COMMANDS: Duration = Duration::from_millis(200);

type Answer<T> = Result<Response<T>, Status>;

fn span(ms: i64) -> Option<prost_types::Duration> {
    Some(duration(ms))
}

impl Broker {
    /// Those of the former session that the new one goes on with.
    async fn adopt(
        &self,
        former: Option<i64>,
        session_id: i64,
        asked: Vec<Lease>,
    ) -> Result<Vec<Lease>, Status> {
        let mut kept = Vec::new();
        for lease in asked {
            let Ok(id) = lease.task_id.parse() else { continue };
            let attempt = lease.attempt;
            if let Some(former) = former {
                let fence = Fence { attempt, session_id: former };
                let event = Event::Adopt { fence, session_id, lease_ttl_ms: LEASE_MS };
                if let Err(Refused::Away) = self.apply(&id, event, Some(fence)).await {
                    return Err(Refused::Away.into());
                }
            }
            let fence = Fence { attempt, session_id };
            let event = Event::Heartbeat { fence, lease_ttl_ms: LEASE_MS };
            match self.apply(&id, event, Some(fence)).await {
                Ok(_) => kept.push(lease),
                Err(Refused::Away) => return Err(Refused::Away.into()),
                Err(_) => {}
            }
        }
        Ok(kept)
    }

    async fn save(&self, request: SaveContextRequest) -> Result<i64, Status> {
        let session = self.session(&request.session_id).await?;
        let (id, fence) = fence(&session, request.lease.as_ref())?;
        let context = request.context.map(answer::content_of);
        let event = Event::SaveContext {
            fence,
            stage: request.stage.clone(),
            context: context.clone(),
            expected_version: request.expected_version,
        };
        let refused = match self.apply(&id, event, Some(fence)).await {
            Ok(task) => return Ok(task.context_version),
            Err(refused) => refused,
        };
        if let Refused::ByRule(Refusal::ContextVersion { current }, task) = &refused {
            // Its first answer may have been lost.
            let row = self.database.read(&id).ok_or(Refused::NotFound)?;
            let is_next = request.expected_version.map(|version| version + 1) == Some(*current);
            let is_same = context.is_none_or(|context| context == row.body.context)
                && request.stage.is_none_or(|stage| stage == task.stage);
            if is_next && is_same {
                return Ok(*current);
            }
        }
        Err(refused.into())
    }

    async fn cancels(self, session_id: i64, sender: mpsc::Sender<CommandsItem>) {
        let mut sent = BTreeSet::new();
        while !sender.is_closed() && self.statement().await.is_ok() {
            for task in self.database.held(session_id) {
                let lease = (task.id.to_string(), task.attempt);
                if task.state != TaskState::Cancelling || !sent.insert(lease.clone()) {
                    continue;
                }
                let lease = Lease { task_id: lease.0, attempt: lease.1 };
                let command = Some(Command::Cancel(lease));
                let _ = sender.send(Ok(StreamCommandsResponse { command })).await;
            }
            tokio::time::sleep(LOOK_FOR_COMMANDS).await;
        }
    }

    async fn ended(&self, session_id: &str, outcome: Outcome) -> Result<i32, Status> {
        let session = self.session(session_id).await?;
        let (lease, settle) = ending(outcome);
        Ok(answer::state(&self.settle(&session, lease.as_ref(), settle).await?))
    }
}

type CommandsItem = Result<StreamCommandsResponse, Status>;

#[tonic::async_trait]
impl WorkerService for Broker {
    async fn register_worker(
        &self,
        request: Request<RegisterWorkerRequest>,
    ) -> Answer<RegisterWorkerResponse> {
        let request = request.into_inner();
        self.statement().await?;
        let worker = self.database.register(&request.worker_id, &request.incarnation);
        self.statement().await?;
        let former = worker.former_session_id;
        let adopted = self.adopt(former, worker.session_id, request.adopted).await?;
        if let Some(former) = former {
            let kept = adopted
                .iter()
                .filter_map(|lease| Some((lease.task_id.parse().ok()?, lease.attempt)));
            self.give_back(former, &kept.collect::<Vec<_>>(), false).await?;
        }
        Ok(Response::new(RegisterWorkerResponse {
            session_id: worker.session_id.to_string(),
            heartbeat_interval: span(HEARTBEAT_MS),
            lease_ttl: span(LEASE_MS),
            handout_ttl: span(HANDOUT_MS),
            adopted,
        }))
    }

    async fn acquire_tasks(
        &self,
        request: Request<AcquireTasksRequest>,
    ) -> Answer<AcquireTasksResponse> {
        let request = request.into_inner();
        let session = self.session(&request.session_id).await?;
        let tasks = self.acquire(&session, &request).await?;
        Ok(Response::new(AcquireTasksResponse { tasks }))
    }

    async fn start_tasks(&self, request: Request<StartTasksRequest>) -> Answer<StartTasksResponse> {
        let request = request.into_inner();
        let session = self.session(&request.session_id).await?;
        let start = |_, fence| Event::Start { fence, lease_ttl_ms: LEASE_MS };
        let leases = self.verdicts(&session, request.leases, start).await?;
        Ok(Response::new(StartTasksResponse { leases }))
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Answer<HeartbeatResponse> {
        let request = request.into_inner();
        let session = self.session(&request.session_id).await?;
        self.database.touch(&session.worker_id);
        let renew = |_, fence| Event::Heartbeat { fence, lease_ttl_ms: LEASE_MS };
        let leases = self.verdicts(&session, request.leases, renew).await?;
        Ok(Response::new(HeartbeatResponse { leases }))
    }

    type StreamCommandsStream = Pin<Box<dyn Stream<Item = CommandsItem> + Send>>;

    async fn stream_commands(
        &self,
        request: Request<StreamCommandsRequest>,
    ) -> Answer<Self::StreamCommandsStream> {
        let session = self.session(&request.into_inner().session_id).await?;
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(self.clone().cancels(session.id, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn save_context(
        &self,
        request: Request<SaveContextRequest>,
    ) -> Answer<SaveContextResponse> {
        let context_version = self.save(request.into_inner()).await?;
        Ok(Response::new(SaveContextResponse { context_version }))
    }

    async fn report_progress(
        &self,
        request: Request<ReportProgressRequest>,
    ) -> Answer<ReportProgressResponse> {
        let request = request.into_inner();
        let session = self.session(&request.session_id).await?;
        let said: Vec<_> = request.reports.iter().map(|report| report.progress.clone()).collect();
        let leases = request.reports.into_iter().filter_map(|report| report.lease).collect();
        let report = |index: usize, fence| {
            let said = said.get(index).cloned().flatten().unwrap_or_default();
            let (percent, message, metrics) = (said.percent, said.message, said.metrics);
            Event::Report { fence, progress: Progress { percent, message, metrics } }
        };
        let leases = self.verdicts(&session, leases, report).await?;
        Ok(Response::new(ReportProgressResponse { leases }))
    }

    async fn complete_task(
        &self,
        request: Request<CompleteTaskRequest>,
    ) -> Answer<CompleteTaskResponse> {
        let call = request.into_inner();
        let state = self.ended(&call.session_id.clone(), Outcome::Complete(call)).await?;
        Ok(Response::new(CompleteTaskResponse { state }))
    }

    async fn fail_task(&self, request: Request<FailTaskRequest>) -> Answer<FailTaskResponse> {
        let call = request.into_inner();
        let state = self.ended(&call.session_id.clone(), Outcome::Fail(call)).await?;
        Ok(Response::new(FailTaskResponse { state }))
    }

    async fn release_task(
        &self,
        request: Request<ReleaseTaskRequest>,
    ) -> Answer<ReleaseTaskResponse> {
        let call = request.into_inner();
        let state = self.ended(&call.session_id.clone(), Outcome::Release(call)).await?;
        Ok(Response::new(ReleaseTaskResponse { state }))
    }

    async fn settle_tasks(
        &self,
        request: Request<SettleTasksRequest>,
    ) -> Answer<SettleTasksResponse> {
        let request = request.into_inner();
        let session = self.session(&request.session_id).await?;
        let mut results = Vec::new();
        for outcome in request.outcomes.into_iter().filter_map(|outcome| outcome.outcome) {
            let (lease, settle) = ending(outcome);
            results.push(match self.settle(&session, lease.as_ref(), settle).await {
                Ok(task) => TaskSettled { state: answer::state(&task), error: None },
                Err(status) => TaskSettled { error: Some(error_of(&status)), state: 0 },
            });
        }
        Ok(Response::new(SettleTasksResponse { results }))
    }

    async fn create_child_tasks(
        &self,
        _: Request<CreateChildTasksRequest>,
    ) -> Answer<CreateChildTasksResponse> {
        Err(status::unknown_call())
    }

    async fn list_child_tasks(
        &self,
        _: Request<ListChildTasksRequest>,
    ) -> Answer<ListChildTasksResponse> {
        Err(status::unknown_call())
    }

    async fn report_host(&self, _: Request<ReportHostRequest>) -> Answer<ReportHostResponse> {
        Err(status::unknown_call())
    }

    async fn push_task_logs(
        &self,
        request: Request<PushTaskLogsRequest>,
    ) -> Answer<PushTaskLogsResponse> {
        self.session(&request.into_inner().session_id).await?;
        Ok(Response::new(PushTaskLogsResponse {}))
    }

    async fn deregister_worker(
        &self,
        request: Request<DeregisterWorkerRequest>,
    ) -> Answer<DeregisterWorkerResponse> {
        let session = self.session(&request.into_inner().session_id).await?;
        self.give_back(session.id, &[], true).await?;
        self.database.end_session(&session.worker_id);
        self.statement().await?;
        Ok(Response::new(DeregisterWorkerResponse {}))
    }
}

fn error_of(status: &Status) -> TaskError {
    let (code, message) = (i32::from(status.code()), status.message().to_owned());
    TaskError { code, message, status: status.details().to_vec() }
}
