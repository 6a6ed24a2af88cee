//! Hosts and their GPUs: who uses what, why a task waits, and what is to be done.

use futures::Stream;
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use super::{Client, MESSAGE_BYTES_MAX};
use crate::{
    Error,
    channel::AuthorizedChannel,
    status,
    v1::{
        EvictGpuRequest, EvictGpuResponse, ExplainTaskRequest, ExplainTaskResponse,
        GpuProcessTreatment, HandOverTaskRequest, Host, ListHostsRequest, ListUsageRequest, Task,
        UpdateGpuProcessRequest, UpdateGpuRequest, UpdateHostRequest, UserUsage,
        host_service_client::HostServiceClient,
    },
};

pub(super) type Hosts = HostServiceClient<AuthorizedChannel>;

pub(super) fn open(channel: AuthorizedChannel) -> Hosts {
    HostServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Client {
    async fn ask_host<Q, A, F>(
        &self,
        message: Q,
        send: impl Fn(Hosts, Request<Q>) -> F,
    ) -> Result<A, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.call(message, |_, request| send(self.hosts.clone(), request)).await
    }

    /// All hosts by worker id, page by page as they are asked for, with what they last reported.
    pub fn hosts(&self) -> impl Stream<Item = Result<Host, Error>> {
        let client = self.hosts.clone();
        self.paged(
            ListHostsRequest::default(),
            move |_, request| {
                let mut client = client.clone();
                async move { client.list_hosts(request).await }
            },
            |page| (page.hosts, page.next_page_token),
            |request| &mut request.page_token,
        )
    }

    /// Cordons, drains or detaches a host. Errors: NOT_FOUND; PERMISSION_DENIED.
    pub async fn update_host(&self, request: UpdateHostRequest) -> Result<Host, Error> {
        let answer = self
            .ask_host(request, |mut hosts, request| async move { hosts.update_host(request).await })
            .await?;
        host_of(answer.host)
    }

    /// Cordons a GPU, or says that it may be used again, which forgets its faults. Errors:
    /// NOT_FOUND; PERMISSION_DENIED.
    pub async fn update_gpu(
        &self,
        worker_id: &str,
        uuid: &str,
        cordoned: bool,
    ) -> Result<Host, Error> {
        let request = UpdateGpuRequest {
            worker_id: worker_id.to_owned(),
            uuid: uuid.to_owned(),
            cordoned: Some(cordoned),
        };
        let answer = self
            .ask_host(request, |mut hosts, request| async move { hosts.update_gpu(request).await })
            .await?;
        host_of(answer.host)
    }

    /// Says how a process on a GPU is to be taken that the worker did not start. Errors: NOT_FOUND;
    /// PERMISSION_DENIED.
    pub async fn update_gpu_process(
        &self,
        worker_id: &str,
        uuid: &str,
        pid: i32,
        treatment: GpuProcessTreatment,
    ) -> Result<Host, Error> {
        let request = UpdateGpuProcessRequest {
            worker_id: worker_id.to_owned(),
            uuid: uuid.to_owned(),
            pid,
            treatment: treatment.into(),
        };
        let answer = self
            .ask_host(request, |mut hosts, request| async move {
                hosts.update_gpu_process(request).await
            })
            .await?;
        host_of(answer.host)
    }

    /// Cordons a GPU and asks its tasks to save and go elsewhere; tells which. Errors: NOT_FOUND;
    /// PERMISSION_DENIED.
    pub async fn evict_gpu(&self, worker_id: &str, uuid: &str) -> Result<EvictGpuResponse, Error> {
        let request = EvictGpuRequest { worker_id: worker_id.to_owned(), uuid: uuid.to_owned() };
        self.ask_host(request, |mut hosts, request| async move { hosts.evict_gpu(request).await })
            .await
    }

    /// Asks a running task to save and stop, so that another host goes on with it. Errors:
    /// FAILED_PRECONDITION (it does not run); NOT_FOUND; PERMISSION_DENIED.
    pub async fn hand_over(&self, request: HandOverTaskRequest) -> Result<Task, Error> {
        let answer = self
            .call_once(request, |_, request| {
                let mut hosts = self.hosts.clone();
                async move { hosts.hand_over_task(request).await }
            })
            .await?;
        answer.task.ok_or_else(|| status::incomplete("task").into())
    }

    /// Says why a task is where it is. Errors: NOT_FOUND.
    pub async fn explain(&self, task_id: &str) -> Result<ExplainTaskResponse, Error> {
        let request = ExplainTaskRequest { task_id: task_id.to_owned() };
        self.ask_host(
            request,
            |mut hosts, request| async move { hosts.explain_task(request).await },
        )
        .await
    }

    /// What users have used since `start` (`None` = in the last 30 days), those who used the most
    /// first; only one user, or all if it is empty.
    pub async fn usage(
        &self,
        start: Option<Timestamp>,
        user: &str,
    ) -> Result<Vec<UserUsage>, Error> {
        let request = ListUsageRequest { start_time: start, user: user.to_owned() };
        let answer = self
            .ask_host(request, |mut hosts, request| async move { hosts.list_usage(request).await })
            .await?;
        Ok(answer.users)
    }
}

fn host_of(host: Option<Host>) -> Result<Host, Error> {
    host.ok_or_else(|| status::incomplete("host").into())
}
