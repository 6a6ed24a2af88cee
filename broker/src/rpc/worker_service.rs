//! WorkerService: one delegating line per method. The story of each verb is in its own file.

use std::sync::Arc;

use asyncflow_core::access::Verb;
use asyncflow_proto::v1::{self, worker_service_server::WorkerService};
use tonic::{Request, Response, Status, async_trait};

use super::{BoxStream, admit, work};
use crate::{broker::Broker, error::RpcError};

/// What worker processes call.
pub struct WorkerApi(pub Arc<Broker>);

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(result: Result<T, RpcError>) -> Answer<T> {
    Ok(Response::new(result?))
}

fn worker<T>(request: Request<T>) -> Result<T, Status> {
    Ok(admit(request, Verb::Work)?.1)
}

#[async_trait]
impl WorkerService for WorkerApi {
    type StreamCommandsStream = BoxStream<v1::StreamCommandsResponse>;

    async fn register_worker(
        &self,
        request: Request<v1::RegisterWorkerRequest>,
    ) -> Answer<v1::RegisterWorkerResponse> {
        let (caller, request) = admit(request, Verb::Work)?;
        answer(work::register_worker::register_worker(&self.0, &caller, request).await)
    }

    async fn acquire_tasks(
        &self,
        request: Request<v1::AcquireTasksRequest>,
    ) -> Answer<v1::AcquireTasksResponse> {
        answer(work::acquire_tasks::acquire_tasks(&self.0, worker(request)?).await)
    }

    async fn start_tasks(
        &self,
        request: Request<v1::StartTasksRequest>,
    ) -> Answer<v1::StartTasksResponse> {
        answer(work::start_tasks::start_tasks(&self.0, worker(request)?).await)
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Answer<v1::HeartbeatResponse> {
        answer(work::heartbeat::heartbeat(&self.0, worker(request)?).await)
    }

    async fn stream_commands(
        &self,
        request: Request<v1::StreamCommandsRequest>,
    ) -> Answer<Self::StreamCommandsStream> {
        answer(work::stream_commands::stream_commands(&self.0, worker(request)?).await)
    }

    async fn save_context(
        &self,
        request: Request<v1::SaveContextRequest>,
    ) -> Answer<v1::SaveContextResponse> {
        answer(work::save_context::save_context(&self.0, worker(request)?).await)
    }

    async fn report_progress(
        &self,
        request: Request<v1::ReportProgressRequest>,
    ) -> Answer<v1::ReportProgressResponse> {
        answer(work::report_progress::report_progress(&self.0, worker(request)?).await)
    }

    async fn complete_task(
        &self,
        request: Request<v1::CompleteTaskRequest>,
    ) -> Answer<v1::CompleteTaskResponse> {
        answer(work::complete_task::complete_task(&self.0, worker(request)?).await)
    }

    async fn fail_task(
        &self,
        request: Request<v1::FailTaskRequest>,
    ) -> Answer<v1::FailTaskResponse> {
        answer(work::fail_task::fail_task(&self.0, worker(request)?).await)
    }

    async fn release_task(
        &self,
        request: Request<v1::ReleaseTaskRequest>,
    ) -> Answer<v1::ReleaseTaskResponse> {
        answer(work::release_task::release_task(&self.0, worker(request)?).await)
    }

    async fn settle_tasks(
        &self,
        request: Request<v1::SettleTasksRequest>,
    ) -> Answer<v1::SettleTasksResponse> {
        answer(work::settle_tasks::settle_tasks(&self.0, worker(request)?).await)
    }

    async fn create_child_tasks(
        &self,
        request: Request<v1::CreateChildTasksRequest>,
    ) -> Answer<v1::CreateChildTasksResponse> {
        answer(work::create_child_tasks::create_child_tasks(&self.0, worker(request)?).await)
    }

    async fn list_child_tasks(
        &self,
        request: Request<v1::ListChildTasksRequest>,
    ) -> Answer<v1::ListChildTasksResponse> {
        answer(work::list_child_tasks::list_child_tasks(&self.0, worker(request)?).await)
    }

    async fn report_host(
        &self,
        request: Request<v1::ReportHostRequest>,
    ) -> Answer<v1::ReportHostResponse> {
        answer(work::report_host::report_host(&self.0, worker(request)?).await)
    }

    async fn push_task_logs(
        &self,
        request: Request<v1::PushTaskLogsRequest>,
    ) -> Answer<v1::PushTaskLogsResponse> {
        answer(work::push_task_logs::push_task_logs(&self.0, worker(request)?).await)
    }

    async fn deregister_worker(
        &self,
        request: Request<v1::DeregisterWorkerRequest>,
    ) -> Answer<v1::DeregisterWorkerResponse> {
        answer(work::deregister_worker::deregister_worker(&self.0, worker(request)?).await)
    }
}
