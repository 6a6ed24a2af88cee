//! HostService: one delegating line per method. The story of each verb is in its own file.

use std::sync::Arc;

use asyncflow_core::access::{Principal, Verb};
use asyncflow_proto::v1::{self, host_service_server::HostService};
use tonic::{Request, Response, Status, async_trait};

use super::{admit, host};
use crate::{broker::Broker, error::RpcError};

/// What hosts have and do, and why tasks wait for them.
pub struct HostApi(pub Arc<Broker>);

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(result: Result<T, RpcError>) -> Answer<T> {
    Ok(Response::new(result?))
}

fn read<T>(request: Request<T>) -> Result<T, Status> {
    Ok(admit(request, Verb::ReadOperations)?.1)
}

fn change<T>(request: Request<T>) -> Result<(Principal, T), Status> {
    admit(request, Verb::ChangeHosts)
}

#[async_trait]
impl HostService for HostApi {
    async fn list_hosts(
        &self,
        request: Request<v1::ListHostsRequest>,
    ) -> Answer<v1::ListHostsResponse> {
        answer(host::list_hosts::list_hosts(&self.0, read(request)?).await)
    }

    async fn update_host(
        &self,
        request: Request<v1::UpdateHostRequest>,
    ) -> Answer<v1::UpdateHostResponse> {
        answer(host::update_host::update_host(&self.0, change(request)?.1).await)
    }

    async fn update_gpu(
        &self,
        request: Request<v1::UpdateGpuRequest>,
    ) -> Answer<v1::UpdateGpuResponse> {
        answer(host::update_gpu::update_gpu(&self.0, change(request)?.1).await)
    }

    async fn update_gpu_process(
        &self,
        request: Request<v1::UpdateGpuProcessRequest>,
    ) -> Answer<v1::UpdateGpuProcessResponse> {
        answer(host::update_gpu_process::update_gpu_process(&self.0, change(request)?.1).await)
    }

    async fn evict_gpu(
        &self,
        request: Request<v1::EvictGpuRequest>,
    ) -> Answer<v1::EvictGpuResponse> {
        let (caller, request) = change(request)?;
        answer(host::evict_gpu::evict_gpu(&self.0, &caller, request).await)
    }

    async fn hand_over_task(
        &self,
        request: Request<v1::HandOverTaskRequest>,
    ) -> Answer<v1::HandOverTaskResponse> {
        let (caller, request) = admit(request, Verb::ChangeTasks)?;
        answer(host::hand_over_task::hand_over_task(&self.0, &caller, request).await)
    }

    async fn explain_task(
        &self,
        request: Request<v1::ExplainTaskRequest>,
    ) -> Answer<v1::ExplainTaskResponse> {
        let (_, request) = admit(request, Verb::ReadTasks)?;
        answer(host::explain_task::explain_task(&self.0, request).await)
    }

    async fn list_usage(
        &self,
        request: Request<v1::ListUsageRequest>,
    ) -> Answer<v1::ListUsageResponse> {
        answer(host::list_usage::list_usage(&self.0, read(request)?).await)
    }
}
