//! GovernorService: one delegating line per call, the calls in files of their names.

mod archive_shard;
mod drop_shard;
mod get_leader;
mod get_status;
mod list_shards;
mod resign;
mod roll_shard;
mod run_duty;
mod show_shard;

use crate::{archive::Archiver, lead::Lead, schedule::Roster, status};
use asyncflow_core::{id::TypeName, task_type::TaskType};
use asyncflow_proto::v1::{
    ArchiveShardRequest, ArchiveShardResponse, DropShardRequest, DropShardResponse,
    GetLeaderRequest, GetLeaderResponse, GetStatusRequest, GetStatusResponse, ListShardsRequest,
    ListShardsResponse, ResignRequest, ResignResponse, RollShardRequest, RollShardResponse,
    RunDutyRequest, RunDutyResponse, governor_service_server::GovernorService,
};
use asyncflow_service::auth::{Identity, Kind};
use asyncflow_store::{LeaderFence, Store};
use tonic::{Request, Response, Status};

/// What the calls work with.
pub(crate) struct Service {
    pub governor_id: String,
    pub start_time_ms: i64,
    pub store: Store,
    pub lead: Lead,
    pub roster: Roster,
    pub archiver: Archiver,
}

impl Service {
    /// The right to change something, if this governor leads.
    fn fence(&self) -> Result<LeaderFence, Status> {
        let term = self.lead.term();
        term.map(|term| term.fence).ok_or_else(|| status::not_leader(self.lead.leader_seen()))
    }

    /// A task type that has to be there.
    async fn task_type(&self, name: &TypeName) -> Result<TaskType, Status> {
        let found = self.store.get_type(name).await.map_err(|error| status::store(&error))?;
        found.ok_or_else(|| status::unknown_task_type(name))
    }
}

/// Changing how the governor works is for operators, looking at it for everybody with a token.
fn require_admin<T>(request: &Request<T>) -> Result<(), Status> {
    Identity::of(request.extensions()).map_or(Ok(()), |caller| caller.require(Kind::Admin))
}

#[tonic::async_trait]
impl GovernorService for Service {
    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        Ok(Response::new(get_status::get_status(self).await))
    }

    async fn list_shards(
        &self,
        request: Request<ListShardsRequest>,
    ) -> Result<Response<ListShardsResponse>, Status> {
        list_shards::list_shards(self, request.into_inner()).await.map(Response::new)
    }

    async fn get_leader(
        &self,
        _: Request<GetLeaderRequest>,
    ) -> Result<Response<GetLeaderResponse>, Status> {
        get_leader::get_leader(self).await.map(Response::new)
    }

    async fn run_duty(
        &self,
        request: Request<RunDutyRequest>,
    ) -> Result<Response<RunDutyResponse>, Status> {
        require_admin(&request)?;
        run_duty::run_duty(self, request.into_inner()).await.map(Response::new)
    }

    async fn resign(
        &self,
        request: Request<ResignRequest>,
    ) -> Result<Response<ResignResponse>, Status> {
        require_admin(&request)?;
        resign::resign(self).await.map(Response::new)
    }

    async fn roll_shard(
        &self,
        request: Request<RollShardRequest>,
    ) -> Result<Response<RollShardResponse>, Status> {
        require_admin(&request)?;
        roll_shard::roll_shard(self, request.into_inner()).await.map(Response::new)
    }

    async fn drop_shard(
        &self,
        request: Request<DropShardRequest>,
    ) -> Result<Response<DropShardResponse>, Status> {
        require_admin(&request)?;
        drop_shard::drop_shard(self, request.into_inner()).await.map(Response::new)
    }

    async fn archive_shard(
        &self,
        request: Request<ArchiveShardRequest>,
    ) -> Result<Response<ArchiveShardResponse>, Status> {
        require_admin(&request)?;
        archive_shard::archive_shard(self, request.into_inner()).await.map(Response::new)
    }
}
