//! Tasks that a running task makes.

use std::time::Duration;

use super::{attempt::AttemptHandle, stop::StopReason};
use crate::{
    Error, status,
    v1::{
        ChildTask, CreateChildTasksRequest, ListChildTasksRequest, ListChildTasksResponse,
        TaskSpec, Workflow,
    },
};

const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest page that a broker answers.
const PAGE: i32 = 64;

impl AttemptHandle {
    /// Makes tasks as children of this one, any number of them at once. The same `key` in the same
    /// run of the task gives the same tasks, also in another attempt, so it may be called again
    /// after a crash. Waits as long as no broker can be reached.
    ///
    /// End the attempt with [`HandlerError::wait_for_children`](super::HandlerError) to give the
    /// slot back until they are done, or go on.
    ///
    /// Errors: the lease is lost, the tasks are wrong, the key was used for others. Not cancel
    /// safe: they may have been made.
    pub async fn create_children(
        &self,
        key: &str,
        tasks: Vec<TaskSpec>,
    ) -> Result<Workflow, Error> {
        let request = CreateChildTasksRequest { key: key.into(), tasks, ..Default::default() };
        self.create_children_with(request).await
    }

    /// The same with everything that can be said: how many at once, or a whole workflow. Session
    /// and lease are filled in.
    pub async fn create_children_with(
        &self,
        request: CreateChildTasksRequest,
    ) -> Result<Workflow, Error> {
        let request = CreateChildTasksRequest { lease: self.leased.lease.clone(), ..request };
        let creating = self.link.in_trace(&self.traceparent).call_until_answered(
            CALL_TIMEOUT,
            |session_id| CreateChildTasksRequest { session_id, ..request.clone() },
            |mut broker, request| async move { broker.create_child_tasks(request).await },
        );
        let created = self.unless_lost(creating).await?;
        if !created.deduplicated {
            self.advance.made_children();
        }
        created.workflow.ok_or_else(|| status::incomplete("workflow").into())
    }

    /// What this task has made under a key in this run, with results, in order of node and index.
    ///
    /// Errors: the lease is lost, nothing was made under the key. Cancel safe.
    pub async fn children(&self, key: &str) -> Result<Vec<ChildTask>, Error> {
        let (mut children, mut page_token) = (Vec::new(), String::new());
        loop {
            let page = self.children_page(key, PAGE, &page_token).await?;
            children.extend(page.children);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(children);
            }
        }
    }

    /// One page of them, at most 64.
    ///
    /// Errors: as [`children`](Self::children). Cancel safe.
    pub async fn children_page(
        &self,
        key: &str,
        page_size: i32,
        page_token: &str,
    ) -> Result<ListChildTasksResponse, Error> {
        let listing = self.link.in_trace(&self.traceparent).call_until_answered(
            CALL_TIMEOUT,
            |session_id| ListChildTasksRequest {
                session_id,
                lease: self.leased.lease.clone(),
                key: key.into(),
                page_size,
                page_token: page_token.into(),
            },
            |mut broker, request| async move { broker.list_child_tasks(request).await },
        );
        self.unless_lost(listing).await
    }

    /// The answer to a call about this attempt, unless the lease is lost before.
    pub(super) async fn unless_lost<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            answer = call => answer.inspect_err(|error| {
                if super::attempt::is_lost(error) {
                    self.stop.raise(StopReason::LeaseLost);
                }
            }),
            _ = self.stop.raised(StopReason::LeaseLost) => Err(status::lease_lost().into()),
        }
    }
}
