//! Watching workflows, and waiting for their end, over breaks of the connection.

use std::time::Duration;

use futures::{Stream, stream};
use tonic::Streaming;

use super::{Client, Reconnects, workflows::workflow_of};
use crate::{
    Error,
    v1::{
        WaitWorkflowRequest, WaitWorkflowResponse, WatchWorkflowRequest, WatchWorkflowResponse,
        Workflow, WorkflowState,
    },
};

/// Whether nothing follows this state but a RetryWorkflow.
pub fn is_workflow_over(state: WorkflowState) -> bool {
    use WorkflowState::{Cancelled, Failed, Succeeded};
    matches!(state, Succeeded | Failed | Cancelled)
}

struct Watching {
    client: Client,
    request: WatchWorkflowRequest,
    open: Option<Streaming<WatchWorkflowResponse>>,
    last: Option<WatchWorkflowResponse>,
    reconnects: Reconnects,
}

impl Client {
    /// Streams a workflow with its nodes: as it is, then again when it has changed, until it is
    /// over. After a break the stream is opened again; what was told before the break is not told
    /// again. It ends with the workflow, or with an error that repeating does not help.
    pub fn watch_workflow(
        &self,
        workflow_id: &str,
    ) -> impl Stream<Item = Result<WatchWorkflowResponse, Error>> {
        let watching = Watching {
            client: self.clone(),
            request: WatchWorkflowRequest { workflow_id: workflow_id.to_owned() },
            open: None,
            last: None,
            reconnects: Reconnects::new(self),
        };
        stream::try_unfold(watching, |mut watching| async move {
            let answer = watching.next().await?;
            Ok(answer.map(|answer| (answer, watching)))
        })
    }

    /// Waits until the workflow is over, or `timeout` is (`None` = as long as it takes), and gives
    /// the workflow as it is then; look at its state. Dropping the future ends the waiting only.
    pub async fn wait_workflow(
        &self,
        workflow_id: &str,
        timeout: Option<Duration>,
    ) -> Result<Workflow, Error> {
        let request = |round| WaitWorkflowRequest {
            workflow_id: workflow_id.to_owned(),
            timeout: Some(round),
        };
        let answer = self
            .wait_in_rounds(
                timeout,
                request,
                |mut broker, request| async move { broker.wait_workflow(request).await },
                |answer: &WaitWorkflowResponse| answer.done,
            )
            .await?;
        workflow_of(answer.workflow)
    }
}

impl Watching {
    async fn next(&mut self) -> Result<Option<WatchWorkflowResponse>, Error> {
        loop {
            if self.is_over() {
                return Ok(None);
            }
            match self.message().await {
                Ok(Some(answer)) => {
                    self.reconnects.succeeded();
                    if self.last.as_ref() != Some(&answer) {
                        self.last = Some(answer.clone());
                        return Ok(Some(answer));
                    }
                }
                // A broker that ends may end its streams without a word.
                Ok(None) => {
                    self.open = None;
                    self.reconnects.failed(crate::status::stream_ended().into()).await?;
                }
                Err(error) => {
                    self.open = None;
                    self.reconnects.failed(error).await?;
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        let workflow = self.last.as_ref().and_then(|last| last.workflow.as_ref());
        workflow.is_some_and(|workflow| is_workflow_over(workflow.state()))
    }

    async fn message(&mut self) -> Result<Option<WatchWorkflowResponse>, Error> {
        let stream = match &mut self.open {
            Some(stream) => stream,
            closed => {
                let mut broker = self.client.broker.clone();
                let stream = broker.watch_workflow(self.request.clone()).await?.into_inner();
                closed.insert(stream)
            }
        };
        Ok(stream.message().await?)
    }
}
