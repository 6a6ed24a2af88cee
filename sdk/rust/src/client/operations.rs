//! Operations: one verb for all tasks that match a filter.

use std::time::Duration;

use futures::Stream;
use tonic::{Request, Response, Status};

use super::Client;
use crate::{
    Error,
    channel::AuthorizedChannel,
    status,
    v1::{
        BulkCancelTasksRequest, BulkCancelTasksResponse, BulkDeleteTasksRequest,
        BulkDeleteTasksResponse, BulkPurgeTasksRequest, BulkPurgeTasksResponse,
        BulkRetryTasksRequest, BulkRetryTasksResponse, CancelOperationRequest, GetOperationRequest,
        ListOperationsRequest, Operation, OperationState, WaitOperationRequest,
        WaitOperationResponse, operation_service_client::OperationServiceClient,
    },
};

pub(super) type Operations = OperationServiceClient<AuthorizedChannel>;

/// Ids that follow each other in time stand side by side in the index of a database.
fn identify(request_id: &mut String) {
    if request_id.is_empty() {
        *request_id = uuid::Uuid::now_v7().to_string();
    }
}

impl Client {
    async fn operate<Q, A, F>(
        &self,
        message: Q,
        send: impl Fn(Operations, Request<Q>) -> F,
    ) -> Result<A, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.call(message, |_, request| send(self.operations.clone(), request)).await
    }

    /// Begins to cancel all tasks that match, or only counts them (`validate_only`). An empty
    /// `request_id` is replaced by a random one, so that it is safe to be repeated inside.
    pub async fn bulk_cancel(
        &self,
        mut request: BulkCancelTasksRequest,
    ) -> Result<BulkCancelTasksResponse, Error> {
        identify(&mut request.request_id);
        self.operate(request, |mut client, request| async move {
            client.bulk_cancel_tasks(request).await
        })
        .await
    }

    /// Begins to retry all tasks that match, or only counts them; as [`Client::bulk_cancel`].
    pub async fn bulk_retry(
        &self,
        mut request: BulkRetryTasksRequest,
    ) -> Result<BulkRetryTasksResponse, Error> {
        identify(&mut request.request_id);
        self.operate(request, |mut client, request| async move {
            client.bulk_retry_tasks(request).await
        })
        .await
    }

    /// Begins to delete all tasks that match and do not run, or only counts them; as
    /// [`Client::bulk_cancel`].
    pub async fn bulk_delete(
        &self,
        mut request: BulkDeleteTasksRequest,
    ) -> Result<BulkDeleteTasksResponse, Error> {
        identify(&mut request.request_id);
        self.operate(request, |mut client, request| async move {
            client.bulk_delete_tasks(request).await
        })
        .await
    }

    /// Begins to delete all tasks that match and have ended, or only counts them; as
    /// [`Client::bulk_cancel`].
    pub async fn bulk_purge(
        &self,
        mut request: BulkPurgeTasksRequest,
    ) -> Result<BulkPurgeTasksResponse, Error> {
        identify(&mut request.request_id);
        self.operate(request, |mut client, request| async move {
            client.bulk_purge_tasks(request).await
        })
        .await
    }

    /// Gets an operation.
    pub async fn operation(&self, operation_id: &str) -> Result<Operation, Error> {
        let request = GetOperationRequest { operation_id: operation_id.to_owned() };
        let answer =
            self.operate(request, |mut client, request| async move {
                client.get_operation(request).await
            })
            .await?;
        operation_of(answer.operation)
    }

    /// All operations of a user, or of everybody if it is empty, newest first, page by page as they
    /// are asked for.
    pub fn operations(&self, user: &str) -> impl Stream<Item = Result<Operation, Error>> {
        let request = ListOperationsRequest { user: user.to_owned(), ..Default::default() };
        let client = self.operations.clone();
        self.paged(
            request,
            move |_, request| {
                let mut client = client.clone();
                async move { client.list_operations(request).await }
            },
            |page| (page.operations, page.next_page_token),
            |request| &mut request.page_token,
        )
    }

    /// Stops an operation; what it has changed stays changed.
    pub async fn cancel_operation(&self, operation_id: &str) -> Result<Operation, Error> {
        let request = CancelOperationRequest { operation_id: operation_id.to_owned() };
        let answer = self
            .operate(request, |mut client, request| async move {
                client.cancel_operation(request).await
            })
            .await?;
        operation_of(answer.operation)
    }

    /// Waits until the operation is over, or `timeout` is (`None` = as long as it takes), and gives
    /// it as it is then; look at its state.
    pub async fn wait_operation(
        &self,
        operation_id: &str,
        timeout: Option<Duration>,
    ) -> Result<Operation, Error> {
        let request = |round| WaitOperationRequest {
            operation_id: operation_id.to_owned(),
            timeout: Some(round),
        };
        let send = |_, request| {
            let mut client = self.operations.clone();
            async move { client.wait_operation(request).await }
        };
        let is_done = |answer: &WaitOperationResponse| answer.done;
        let answer = self.wait_in_rounds(timeout, request, send, is_done).await?;
        operation_of(answer.operation)
    }
}

/// Whether nothing more follows.
pub fn is_over(state: OperationState) -> bool {
    !matches!(state, OperationState::Running | OperationState::Unspecified)
}

fn operation_of(operation: Option<Operation>) -> Result<Operation, Error> {
    operation.ok_or_else(|| status::incomplete("operation").into())
}
