//! A fake `WorkerService` in memory: it leases tasks from a list, remembers what workers say, and
//! can be told to fail. It has none of a broker's rules but the fence.

mod children;
mod placing;
mod state;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use asyncflow_proto::time::duration;
use asyncflow_sdk::v1::{
    worker_service_server::{WorkerService, WorkerServiceServer},
    *,
};
use tokio::sync::{mpsc, watch};

use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

pub use state::State;

pub const LEASE_TTL_MS: i64 = 1_500;
const HEARTBEAT_MS: i64 = 100;
/// Unless a test says otherwise.
const REPORT_MS: i64 = 1_000;
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub enum Settled {
    Completed(CompleteTaskRequest),
    Failed(FailTaskRequest),
    Released(ReleaseTaskRequest),
}

/// The stream's number, because the enum has no order.
pub type StreamNumber = i32;

#[derive(Clone)]
pub struct FakeBroker {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

impl FakeBroker {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = State { context_bytes_max: 8_192, ..State::default() };
        let fake = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(Mutex::new(state)),
            changed: watch::Sender::new(0),
        };
        let server = tonic::transport::Server::builder()
            .add_service(WorkerServiceServer::new(fake.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        fake
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.changed.send_modify(|version| *version += 1);
        changed
    }

    /// Waits until `found` gives something.
    pub async fn until<T>(&self, what: &str, found: impl Fn(&State) -> Option<T>) -> T {
        let mut changes = self.changed.subscribe();
        let searching = async {
            loop {
                changes.borrow_and_update();
                if let Some(value) = found(&self.state()) {
                    return value;
                }
                changes.changed().await.unwrap();
            }
        };
        let searched = tokio::time::timeout(PATIENCE, searching).await;
        searched.unwrap_or_else(|_| panic!("{what} did not happen: {:?}", self.state().history))
    }

    pub async fn settled(&self, task_id: &str) -> Settled {
        self.until(&format!("the end of {task_id}"), |state| state.settled.get(task_id).cloned())
            .await
    }

    /// What arrived of a stream (1 stdout, 2 stderr, 3 system).
    pub fn log(&self, task_id: &str, stream: StreamNumber) -> String {
        let state = self.state();
        let log = state.logs.get(&(task_id.to_owned(), stream)).cloned().unwrap_or_default();
        String::from_utf8(log).unwrap()
    }

    pub fn add(&self, task: Task) {
        self.change(|state| state.queue.push_back(task));
    }

    pub fn cancel(&self, task_id: &str) {
        let lease = self.change(|state| {
            state.cancelled.insert(task_id.to_owned());
            Lease { task_id: task_id.to_owned(), attempt: state.leases[task_id] }
        });
        let command = Some(stream_commands_response::Command::Cancel(lease));
        for sender in &self.state().commands {
            let _ = sender.try_send(Ok(StreamCommandsResponse { command: command.clone() }));
        }
    }

    fn check(&self, session_id: &str) -> Result<(), Status> {
        let state = self.state();
        if state.is_down {
            return Err(Status::unavailable("down"));
        }
        if !state.sessions.contains(session_id) {
            return Err(refusal(Code::FailedPrecondition, "UNKNOWN_SESSION"));
        }
        Ok(())
    }

    fn check_lease(&self, session_id: &str, lease: &Option<Lease>) -> Result<String, Status> {
        self.check(session_id)?;
        let lease = lease.as_ref().unwrap();
        if self.state().leases.get(&lease.task_id) != Some(&lease.attempt) {
            return Err(refusal(Code::Aborted, "LEASE_LOST"));
        }
        Ok(lease.task_id.clone())
    }

    fn statuses(&self, leases: Vec<Lease>) -> Vec<LeaseStatus> {
        let state = self.state();
        let status = |lease: Lease| {
            let verdict = match state.leases.get(&lease.task_id) {
                Some(attempt) if *attempt != lease.attempt => LeaseVerdict::Lost,
                None => LeaseVerdict::Lost,
                Some(_) if state.cancelled.contains(&lease.task_id) => LeaseVerdict::Cancel,
                Some(_) => LeaseVerdict::Ok,
            };
            LeaseStatus { lease: Some(lease), verdict: verdict.into() }
        };
        leases.into_iter().map(status).collect()
    }

    fn note_trace<T>(&self, call: &'static str, request: &Request<T>) {
        let header = request.metadata().get("traceparent").unwrap().to_str().unwrap();
        let trace_id = header.split('-').nth(1).unwrap().to_owned();
        self.change(|state| state.traces.insert((call, trace_id)));
    }

    fn settle(&self, session_id: &str, lease: &Option<Lease>, how: Settled) -> Result<(), Status> {
        let task_id = self.check_lease(session_id, lease)?;
        if self.state().takes_no_outcome {
            return Err(Status::unavailable("not now"));
        }
        self.change(|state| {
            state.leases.remove(&task_id);
            state.history.push(how.clone());
            state.settled.insert(task_id, how);
        });
        Ok(())
    }
}

fn refusal(code: Code, reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(
        reason,
        "asyncflow",
        [("fake", "yes")].map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    Status::with_error_details(code, reason.to_lowercase(), details)
}

/// A task with a command.
pub fn command_task(id: &str, program: &str, args: &[&str]) -> Task {
    Task {
        id: id.to_owned(),
        task_type: "command".to_owned(),
        command: Some(Command {
            program: program.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ..Command::default()
        }),
        ..Task::default()
    }
}

/// A task for a handler.
pub fn handler_task(id: &str, task_type: &str, payload: &'static [u8]) -> Task {
    Task {
        id: id.to_owned(),
        task_type: task_type.to_owned(),
        payload: Some(Content { data: payload.into(), ..Content::default() }),
        ..Task::default()
    }
}

#[tonic::async_trait]
impl WorkerService for FakeBroker {
    async fn register_worker(
        &self,
        request: Request<RegisterWorkerRequest>,
    ) -> Result<Response<RegisterWorkerResponse>, Status> {
        let request = request.into_inner();
        if self.state().is_down {
            return Err(Status::unavailable("down"));
        }
        let answer = self.change(|state| {
            let session_id = format!("session-{}", state.registrations.len() + 1);
            state.sessions = [session_id.clone()].into();
            let ours = |lease: &&Lease| state.leases.get(&lease.task_id) == Some(&lease.attempt);
            let adopted = request.adopted.iter().filter(ours).cloned().collect();
            state.registrations.push(request);
            RegisterWorkerResponse {
                session_id,
                heartbeat_interval: Some(duration(HEARTBEAT_MS)),
                lease_ttl: Some(duration(LEASE_TTL_MS)),
                handout_ttl: Some(duration(HEARTBEAT_MS)),
                adopted,
            }
        });
        Ok(Response::new(answer))
    }

    async fn acquire_tasks(
        &self,
        request: Request<AcquireTasksRequest>,
    ) -> Result<Response<AcquireTasksResponse>, Status> {
        let request = request.into_inner();
        self.check(&request.session_id)?;
        self.change(|state| state.acquires.push(request.clone()));
        let mut changes = self.changed.subscribe();
        loop {
            changes.borrow_and_update();
            self.check(&request.session_id)?;
            let tasks = self.take(&request);
            if !tasks.is_empty() {
                let lost = {
                    let mut state = self.state();
                    let lost = state.acquire_answers_lost > 0;
                    state.acquire_answers_lost -= usize::from(lost);
                    lost
                };
                if lost {
                    return Err(Status::unavailable("the answer got lost"));
                }
                return Ok(Response::new(AcquireTasksResponse { tasks }));
            }
            changes.changed().await.unwrap();
        }
    }

    async fn start_tasks(
        &self,
        request: Request<StartTasksRequest>,
    ) -> Result<Response<StartTasksResponse>, Status> {
        let request = request.into_inner();
        self.check(&request.session_id)?;
        let is_lost = self.change(|state| {
            state.started.extend(request.leases.iter().map(|lease| lease.task_id.clone()));
            state.start_answers_are_lost
        });
        if is_lost {
            return Err(Status::unavailable("the answer got lost"));
        }
        Ok(Response::new(StartTasksResponse { leases: self.statuses(request.leases) }))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        let request = request.into_inner();
        self.check(&request.session_id)?;
        self.change(|state| {
            state.heartbeats += 1;
            state.is_draining = request.draining;
        });
        Ok(Response::new(HeartbeatResponse { leases: self.statuses(request.leases) }))
    }

    type StreamCommandsStream = ReceiverStream<Result<StreamCommandsResponse, Status>>;

    async fn stream_commands(
        &self,
        request: Request<StreamCommandsRequest>,
    ) -> Result<Response<Self::StreamCommandsStream>, Status> {
        self.check(&request.into_inner().session_id)?;
        let (sender, receiver) = mpsc::channel(16);
        self.change(|state| state.commands.push(sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn save_context(
        &self,
        request: Request<SaveContextRequest>,
    ) -> Result<Response<SaveContextResponse>, Status> {
        self.note_trace("save", &request);
        let request = request.into_inner();
        self.check_lease(&request.session_id, &request.lease)?;
        let size = request.context.as_ref().map_or(0, |context| context.data.len());
        if size > self.state().context_bytes_max {
            return Err(Status::invalid_argument("the context is too large"));
        }
        let context_version = self.change(|state| {
            if state.saves_max.is_some_and(|max| state.contexts.len() >= max) {
                state.saves_refused += 1;
                return Err(Status::unavailable("no more saves"));
            }
            state.contexts.push(request);
            Ok(state.contexts.len() as i64)
        })?;
        Ok(Response::new(SaveContextResponse { context_version }))
    }

    async fn report_progress(
        &self,
        request: Request<ReportProgressRequest>,
    ) -> Result<Response<ReportProgressResponse>, Status> {
        let request = request.into_inner();
        self.check(&request.session_id)?;
        let mut leases = Vec::new();
        for report in request.reports {
            let lease = report.lease.unwrap();
            let news = report.progress.unwrap();
            self.change(|state| {
                let kept = state.progress.entry(lease.task_id.clone()).or_default();
                kept.percent = news.percent.or(kept.percent);
                kept.metrics.extend(news.metrics);
                if !news.message.is_empty() {
                    kept.message = news.message;
                }
            });
            leases.push(lease);
        }
        Ok(Response::new(ReportProgressResponse { leases: self.statuses(leases) }))
    }

    async fn complete_task(
        &self,
        request: Request<CompleteTaskRequest>,
    ) -> Result<Response<CompleteTaskResponse>, Status> {
        self.note_trace("complete", &request);
        let call = request.into_inner();
        self.settle(&call.session_id, &call.lease, Settled::Completed(call.clone()))?;
        Ok(Response::new(CompleteTaskResponse { state: TaskState::Succeeded.into() }))
    }

    async fn fail_task(
        &self,
        request: Request<FailTaskRequest>,
    ) -> Result<Response<FailTaskResponse>, Status> {
        let call = request.into_inner();
        self.settle(&call.session_id, &call.lease, Settled::Failed(call.clone()))?;
        let state = if call.permanent { TaskState::Failed } else { TaskState::Scheduled };
        Ok(Response::new(FailTaskResponse { state: state.into() }))
    }

    async fn release_task(
        &self,
        request: Request<ReleaseTaskRequest>,
    ) -> Result<Response<ReleaseTaskResponse>, Status> {
        let call = request.into_inner();
        self.settle(&call.session_id, &call.lease, Settled::Released(call.clone()))?;
        Ok(Response::new(ReleaseTaskResponse { state: TaskState::Pending.into() }))
    }

    async fn create_child_tasks(
        &self,
        request: Request<CreateChildTasksRequest>,
    ) -> Result<Response<CreateChildTasksResponse>, Status> {
        let request = request.into_inner();
        let workflow = Some(Workflow { id: "wf-1".to_owned(), ..Workflow::default() });
        self.state().children.push(request);
        Ok(Response::new(CreateChildTasksResponse { workflow, deduplicated: false }))
    }

    async fn list_child_tasks(
        &self,
        request: Request<ListChildTasksRequest>,
    ) -> Result<Response<ListChildTasksResponse>, Status> {
        Ok(Response::new(children::page(&self.state().children, &request.into_inner())))
    }

    async fn settle_tasks(
        &self,
        request: Request<SettleTasksRequest>,
    ) -> Result<Response<SettleTasksResponse>, Status> {
        if self.state().is_older {
            return Err(Status::unimplemented("what is that?"));
        }
        let SettleTasksRequest { session_id, outcomes } = request.into_inner();
        self.check(&session_id)?;
        self.change(|state| state.settle_calls.push(outcomes.len()));
        let results = outcomes.into_iter().map(|outcome| {
            let (lease, settled, state) = match outcome.outcome.unwrap() {
                task_outcome::Outcome::Complete(call) => {
                    (call.lease.clone(), Settled::Completed(call), TaskState::Succeeded)
                }
                task_outcome::Outcome::Fail(call) => {
                    let state =
                        if call.permanent { TaskState::Failed } else { TaskState::Scheduled };
                    (call.lease.clone(), Settled::Failed(call), state)
                }
                task_outcome::Outcome::Release(call) => {
                    (call.lease.clone(), Settled::Released(call), TaskState::Pending)
                }
            };
            match self.settle(&session_id, &lease, settled) {
                Ok(()) => TaskSettled { state: state.into(), error: None },
                Err(status) => TaskSettled {
                    state: 0,
                    error: Some(TaskError {
                        code: status.code().into(),
                        message: status.message().to_owned(),
                        status: status.details().to_vec(),
                    }),
                },
            }
        });
        Ok(Response::new(SettleTasksResponse { results: results.collect() }))
    }

    async fn report_host(
        &self,
        request: Request<ReportHostRequest>,
    ) -> Result<Response<ReportHostResponse>, Status> {
        let request = request.into_inner();
        self.check(&request.session_id)?;
        let orders = self.change(|state| {
            state.reports.extend(request.report);
            Some(state.orders.clone())
        });
        let report_ms = self.state().report_ms.unwrap_or(REPORT_MS);
        let report_interval = Some(duration(report_ms));
        Ok(Response::new(ReportHostResponse { orders, report_interval }))
    }

    async fn push_task_logs(
        &self,
        request: Request<PushTaskLogsRequest>,
    ) -> Result<Response<PushTaskLogsResponse>, Status> {
        self.note_trace("logs", &request);
        let request = request.into_inner();
        self.check(&request.session_id)?;
        self.change(|state| {
            for chunk in request.chunks {
                state.keep_log(chunk);
            }
        });
        Ok(Response::new(PushTaskLogsResponse {}))
    }

    async fn deregister_worker(
        &self,
        request: Request<DeregisterWorkerRequest>,
    ) -> Result<Response<DeregisterWorkerResponse>, Status> {
        self.check(&request.into_inner().session_id)?;
        self.change(|state| state.deregistered = true);
        Ok(Response::new(DeregisterWorkerResponse {}))
    }
}
