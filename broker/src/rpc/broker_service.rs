//! BrokerService: one delegating line per method. The story of each verb is in its own file.

use std::sync::Arc;

use asyncflow_core::access::{Principal, Verb};
use asyncflow_proto::v1::{self, broker_service_server::BrokerService};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{BoxStream, admit, task, task_type, trace_id, worker, workflow};
use crate::{broker::Broker, error::RpcError};

/// What owners of tasks call.
pub struct BrokerApi(pub Arc<Broker>);

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(result: Result<T, RpcError>) -> Answer<T> {
    Ok(Response::new(result?))
}

fn read<T>(request: Request<T>) -> Result<(Principal, T), Status> {
    admit(request, Verb::ReadTasks)
}

fn write<T>(request: Request<T>) -> Result<(Principal, T), Status> {
    admit(request, Verb::ChangeTasks)
}

fn configure<T>(request: Request<T>) -> Result<(Principal, T), Status> {
    admit(request, Verb::ChangeTaskTypes)
}

#[async_trait]
impl BrokerService for BrokerApi {
    type StreamCreateTasksStream = BoxStream<v1::StreamCreateTasksResponse>;
    type WatchTasksStream = BoxStream<v1::WatchTasksResponse>;
    type StreamTaskLogsStream = BoxStream<v1::StreamTaskLogsResponse>;
    type WatchWorkflowStream = BoxStream<v1::WatchWorkflowResponse>;

    async fn create_task(
        &self,
        request: Request<v1::CreateTaskRequest>,
    ) -> Answer<v1::CreateTaskResponse> {
        let trace_id = trace_id(&request);
        let (caller, request) = write(request)?;
        answer(task::create_task::create_task(&self.0, &caller, &trace_id, request).await)
    }

    async fn batch_create_tasks(
        &self,
        request: Request<v1::BatchCreateTasksRequest>,
    ) -> Answer<v1::BatchCreateTasksResponse> {
        let trace_id = trace_id(&request);
        let (caller, request) = write(request)?;
        let verb = task::batch_create_tasks::batch_create_tasks;
        answer(verb(&self.0, &caller, &trace_id, request).await)
    }

    async fn stream_create_tasks(
        &self,
        request: Request<Streaming<v1::StreamCreateTasksRequest>>,
    ) -> Answer<Self::StreamCreateTasksStream> {
        let trace_id = trace_id(&request);
        let (caller, requests) = write(request)?;
        let verb = task::stream_create_tasks::stream_create_tasks;
        answer(Ok(verb(&self.0, caller, trace_id, requests)))
    }

    async fn get_task(&self, request: Request<v1::GetTaskRequest>) -> Answer<v1::GetTaskResponse> {
        let (_, request) = read(request)?;
        answer(task::get_task::get_task(&self.0, request).await)
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Answer<v1::ListTasksResponse> {
        let (caller, request) = read(request)?;
        answer(task::list_tasks::list_tasks(&self.0, &caller, request).await)
    }

    async fn count_tasks(
        &self,
        request: Request<v1::CountTasksRequest>,
    ) -> Answer<v1::CountTasksResponse> {
        let (_, request) = read(request)?;
        answer(task::count_tasks::count_tasks(&self.0, request).await)
    }

    async fn update_task(
        &self,
        request: Request<v1::UpdateTaskRequest>,
    ) -> Answer<v1::UpdateTaskResponse> {
        let (caller, request) = write(request)?;
        answer(task::update_task::update_task(&self.0, &caller, request).await)
    }

    async fn cancel_task(
        &self,
        request: Request<v1::CancelTaskRequest>,
    ) -> Answer<v1::CancelTaskResponse> {
        let (caller, request) = write(request)?;
        answer(task::cancel_task::cancel_task(&self.0, &caller, request).await)
    }

    async fn retry_task(
        &self,
        request: Request<v1::RetryTaskRequest>,
    ) -> Answer<v1::RetryTaskResponse> {
        let (caller, request) = write(request)?;
        answer(task::retry_task::retry_task(&self.0, &caller, request).await)
    }

    async fn pause_task(
        &self,
        request: Request<v1::PauseTaskRequest>,
    ) -> Answer<v1::PauseTaskResponse> {
        let (caller, request) = write(request)?;
        answer(task::pause_task::pause_task(&self.0, &caller, request).await)
    }

    async fn resume_task(
        &self,
        request: Request<v1::ResumeTaskRequest>,
    ) -> Answer<v1::ResumeTaskResponse> {
        let (caller, request) = write(request)?;
        answer(task::resume_task::resume_task(&self.0, &caller, request).await)
    }

    async fn delete_task(
        &self,
        request: Request<v1::DeleteTaskRequest>,
    ) -> Answer<v1::DeleteTaskResponse> {
        let (caller, request) = write(request)?;
        answer(task::delete_task::delete_task(&self.0, &caller, request).await)
    }

    async fn wait_task(
        &self,
        request: Request<v1::WaitTaskRequest>,
    ) -> Answer<v1::WaitTaskResponse> {
        let (_, request) = read(request)?;
        answer(task::wait_task::wait_task(&self.0, request).await)
    }

    async fn watch_tasks(
        &self,
        request: Request<v1::WatchTasksRequest>,
    ) -> Answer<Self::WatchTasksStream> {
        let (_, request) = read(request)?;
        answer(task::watch_tasks::watch_tasks(&self.0, request).await)
    }

    async fn list_attempts(
        &self,
        request: Request<v1::ListAttemptsRequest>,
    ) -> Answer<v1::ListAttemptsResponse> {
        let (_, request) = read(request)?;
        answer(task::list_attempts::list_attempts(&self.0, request).await)
    }

    async fn stream_task_logs(
        &self,
        request: Request<v1::StreamTaskLogsRequest>,
    ) -> Answer<Self::StreamTaskLogsStream> {
        let (_, request) = read(request)?;
        answer(task::stream_task_logs::stream_task_logs(&self.0, request).await)
    }

    async fn create_task_type(
        &self,
        request: Request<v1::CreateTaskTypeRequest>,
    ) -> Answer<v1::CreateTaskTypeResponse> {
        let (_, request) = configure(request)?;
        answer(task_type::create_task_type::create_task_type(&self.0, request).await)
    }

    async fn get_task_type(
        &self,
        request: Request<v1::GetTaskTypeRequest>,
    ) -> Answer<v1::GetTaskTypeResponse> {
        let (_, request) = admit(request, Verb::ReadTaskTypes)?;
        answer(task_type::get_task_type::get_task_type(&self.0, request).await)
    }

    async fn list_task_types(
        &self,
        request: Request<v1::ListTaskTypesRequest>,
    ) -> Answer<v1::ListTaskTypesResponse> {
        let (_, request) = admit(request, Verb::ReadTaskTypes)?;
        answer(task_type::list_task_types::list_task_types(&self.0, request).await)
    }

    async fn update_task_type(
        &self,
        request: Request<v1::UpdateTaskTypeRequest>,
    ) -> Answer<v1::UpdateTaskTypeResponse> {
        let (_, request) = configure(request)?;
        answer(task_type::update_task_type::update_task_type(&self.0, request).await)
    }

    async fn create_workflow(
        &self,
        request: Request<v1::CreateWorkflowRequest>,
    ) -> Answer<v1::CreateWorkflowResponse> {
        let trace_id = trace_id(&request);
        let (caller, request) = write(request)?;
        let verb = workflow::create_workflow::create_workflow;
        answer(verb(&self.0, &caller, &trace_id, request).await)
    }

    async fn get_workflow(
        &self,
        request: Request<v1::GetWorkflowRequest>,
    ) -> Answer<v1::GetWorkflowResponse> {
        let (_, request) = read(request)?;
        answer(workflow::get_workflow::get_workflow(&self.0, request).await)
    }

    async fn list_workflows(
        &self,
        request: Request<v1::ListWorkflowsRequest>,
    ) -> Answer<v1::ListWorkflowsResponse> {
        let (caller, request) = read(request)?;
        answer(workflow::list_workflows::list_workflows(&self.0, &caller, request).await)
    }

    async fn list_workflow_items(
        &self,
        request: Request<v1::ListWorkflowItemsRequest>,
    ) -> Answer<v1::ListWorkflowItemsResponse> {
        let (_, request) = read(request)?;
        answer(workflow::list_workflow_items::list_workflow_items(&self.0, request).await)
    }

    async fn cancel_workflow(
        &self,
        request: Request<v1::CancelWorkflowRequest>,
    ) -> Answer<v1::CancelWorkflowResponse> {
        let (caller, request) = write(request)?;
        answer(workflow::cancel_workflow::cancel_workflow(&self.0, &caller, request).await)
    }

    async fn retry_workflow(
        &self,
        request: Request<v1::RetryWorkflowRequest>,
    ) -> Answer<v1::RetryWorkflowResponse> {
        let (caller, request) = write(request)?;
        answer(workflow::retry_workflow::retry_workflow(&self.0, &caller, request).await)
    }

    async fn signal_task(
        &self,
        request: Request<v1::SignalTaskRequest>,
    ) -> Answer<v1::SignalTaskResponse> {
        let (caller, request) = admit(request, Verb::ChangeTasks)?;
        answer(task::signal_task::signal_task(&self.0, &caller, request).await)
    }

    async fn signal_workflow(
        &self,
        request: Request<v1::SignalWorkflowRequest>,
    ) -> Answer<v1::SignalWorkflowResponse> {
        let (caller, request) = admit(request, Verb::ChangeTasks)?;
        answer(workflow::signal_workflow::signal_workflow(&self.0, &caller, request).await)
    }

    async fn wait_workflow(
        &self,
        request: Request<v1::WaitWorkflowRequest>,
    ) -> Answer<v1::WaitWorkflowResponse> {
        let (_, request) = read(request)?;
        answer(workflow::wait_workflow::wait_workflow(&self.0, request).await)
    }

    async fn watch_workflow(
        &self,
        request: Request<v1::WatchWorkflowRequest>,
    ) -> Answer<Self::WatchWorkflowStream> {
        let (_, request) = read(request)?;
        answer(workflow::watch_workflow::watch_workflow(&self.0, request).await)
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Answer<v1::ListWorkersResponse> {
        let (_, request) = admit(request, Verb::ReadOperations)?;
        answer(worker::list_workers::list_workers(&self.0, request).await)
    }
}
