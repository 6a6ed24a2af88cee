//! OperationService: one delegating line per method. The story of each verb is in its own file.

use std::sync::Arc;

use asyncflow_core::access::{Principal, Verb};
use asyncflow_proto::v1::{self, operation_service_server::OperationService};
use tonic::{Request, Response, Status, async_trait};

use super::{admit, operation};
use crate::{broker::Broker, error::RpcError};

/// What changes many tasks at once.
pub struct OperationApi(pub Arc<Broker>);

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(result: Result<T, RpcError>) -> Answer<T> {
    Ok(Response::new(result?))
}

fn read<T>(request: Request<T>) -> Result<T, Status> {
    Ok(admit(request, Verb::ReadTasks)?.1)
}

fn write<T>(request: Request<T>) -> Result<(Principal, T), Status> {
    admit(request, Verb::ChangeTasks)
}

#[async_trait]
impl OperationService for OperationApi {
    async fn bulk_cancel_tasks(
        &self,
        request: Request<v1::BulkCancelTasksRequest>,
    ) -> Answer<v1::BulkCancelTasksResponse> {
        let (caller, request) = write(request)?;
        answer(operation::bulk_cancel_tasks::bulk_cancel_tasks(&self.0, &caller, request).await)
    }

    async fn bulk_retry_tasks(
        &self,
        request: Request<v1::BulkRetryTasksRequest>,
    ) -> Answer<v1::BulkRetryTasksResponse> {
        let (caller, request) = write(request)?;
        answer(operation::bulk_retry_tasks::bulk_retry_tasks(&self.0, &caller, request).await)
    }

    async fn bulk_delete_tasks(
        &self,
        request: Request<v1::BulkDeleteTasksRequest>,
    ) -> Answer<v1::BulkDeleteTasksResponse> {
        let (caller, request) = write(request)?;
        answer(operation::bulk_delete_tasks::bulk_delete_tasks(&self.0, &caller, request).await)
    }

    async fn bulk_purge_tasks(
        &self,
        request: Request<v1::BulkPurgeTasksRequest>,
    ) -> Answer<v1::BulkPurgeTasksResponse> {
        let (caller, request) = write(request)?;
        answer(operation::bulk_purge_tasks::bulk_purge_tasks(&self.0, &caller, request).await)
    }

    async fn get_operation(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Answer<v1::GetOperationResponse> {
        answer(operation::get_operation::get_operation(&self.0, read(request)?).await)
    }

    async fn list_operations(
        &self,
        request: Request<v1::ListOperationsRequest>,
    ) -> Answer<v1::ListOperationsResponse> {
        answer(operation::list_operations::list_operations(&self.0, read(request)?).await)
    }

    async fn cancel_operation(
        &self,
        request: Request<v1::CancelOperationRequest>,
    ) -> Answer<v1::CancelOperationResponse> {
        let (caller, request) = write(request)?;
        answer(operation::cancel_operation::cancel_operation(&self.0, &caller, request).await)
    }

    async fn wait_operation(
        &self,
        request: Request<v1::WaitOperationRequest>,
    ) -> Answer<v1::WaitOperationResponse> {
        answer(operation::wait_operation::wait_operation(&self.0, read(request)?).await)
    }
}
