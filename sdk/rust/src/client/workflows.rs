//! Workflows: create, look, cancel.

use futures::Stream;

use super::Client;
use crate::{
    Error, status,
    v1::{
        CancelWorkflowRequest, Content, CreateWorkflowRequest, CreateWorkflowResponse,
        GetWorkflowRequest, GetWorkflowResponse, ListWorkflowItemsRequest, ListWorkflowsRequest,
        RetryWorkflowRequest, SignalWorkflowRequest, Workflow, WorkflowItem, WorkflowSpec,
    },
};

impl Client {
    /// Creates a workflow; safe to be repeated inside, because it carries a fresh request id.
    pub async fn create_workflow(&self, workflow: WorkflowSpec) -> Result<Workflow, Error> {
        let request = CreateWorkflowRequest { workflow: Some(workflow), ..Default::default() };
        workflow_of(self.create_workflow_with(request).await?.workflow)
    }

    /// Creates a workflow with a request id of the caller's, or only checks it (`validate_only`).
    /// An empty `request_id` is replaced by a random one.
    pub async fn create_workflow_with(
        &self,
        mut request: CreateWorkflowRequest,
    ) -> Result<CreateWorkflowResponse, Error> {
        if request.request_id.is_empty() {
            request.request_id = uuid::Uuid::now_v7().to_string();
        }
        self.call(
            request,
            |mut broker, request| async move { broker.create_workflow(request).await },
        )
        .await
    }

    /// Gets a workflow with its nodes.
    pub async fn workflow(&self, workflow_id: &str) -> Result<GetWorkflowResponse, Error> {
        let request = GetWorkflowRequest { workflow_id: workflow_id.to_owned() };
        self.call(request, |mut broker, request| async move { broker.get_workflow(request).await })
            .await
    }

    /// All workflows of a user, or of everybody if it is empty, newest first, page by page as they
    /// are asked for.
    pub fn workflows(&self, user: &str) -> impl Stream<Item = Result<Workflow, Error>> {
        self.list_workflows(ListWorkflowsRequest { user: user.to_owned(), ..Default::default() })
    }

    /// The same of whose token this is; of everybody where there are no tokens.
    pub fn own_workflows(&self) -> impl Stream<Item = Result<Workflow, Error>> {
        self.list_workflows(ListWorkflowsRequest { own: true, ..Default::default() })
    }

    fn list_workflows(
        &self,
        request: ListWorkflowsRequest,
    ) -> impl Stream<Item = Result<Workflow, Error>> {
        self.paged(
            request,
            |mut broker, request| async move { broker.list_workflows(request).await },
            |page| (page.workflows, page.next_page_token),
            |request| &mut request.page_token,
        )
    }

    /// The items of a workflow that were started, of one node, or of all if it is empty, page by
    /// page as they are asked for.
    pub fn workflow_items(
        &self,
        workflow_id: &str,
        node: &str,
    ) -> impl Stream<Item = Result<WorkflowItem, Error>> {
        let (workflow_id, node) = (workflow_id.to_owned(), node.to_owned());
        let request = ListWorkflowItemsRequest { workflow_id, node, ..Default::default() };
        self.paged(
            request,
            |mut broker, request| async move { broker.list_workflow_items(request).await },
            |page| (page.items, page.next_page_token),
            |request| &mut request.page_token,
        )
    }

    /// Takes up a workflow that failed or was cancelled.
    pub async fn retry_workflow(&self, workflow_id: &str) -> Result<Workflow, Error> {
        let request = RetryWorkflowRequest { workflow_id: workflow_id.to_owned() };
        let answer = self
            .call_once(request, |mut broker, request| async move {
                broker.retry_workflow(request).await
            })
            .await?;
        workflow_of(answer.workflow)
    }

    /// Says to all tasks of a workflow that something has happened which they wait for, or will.
    /// The first signal of a name counts.
    pub async fn signal_workflow(
        &self,
        workflow_id: &str,
        name: &str,
        content: Option<Content>,
    ) -> Result<Workflow, Error> {
        let (workflow_id, name) = (workflow_id.to_owned(), name.to_owned());
        let request = SignalWorkflowRequest { workflow_id, name, content };
        let answer =
            self.call(request, |mut broker, request| async move {
                broker.signal_workflow(request).await
            })
            .await?;
        workflow_of(answer.workflow)
    }

    /// Cancels a workflow.
    pub async fn cancel_workflow(&self, workflow_id: &str) -> Result<Workflow, Error> {
        let request = CancelWorkflowRequest { workflow_id: workflow_id.to_owned() };
        let answer =
            self.call(request, |mut broker, request| async move {
                broker.cancel_workflow(request).await
            })
            .await?;
        workflow_of(answer.workflow)
    }
}

pub(super) fn workflow_of(workflow: Option<Workflow>) -> Result<Workflow, Error> {
    workflow.ok_or_else(|| status::incomplete("workflow").into())
}
