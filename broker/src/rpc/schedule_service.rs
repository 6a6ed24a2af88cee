//! ScheduleService: one delegating line per method. The story of each verb is in its own file.

use std::sync::Arc;

use asyncflow_core::access::{Principal, Verb};
use asyncflow_proto::v1::{self, schedule_service_server::ScheduleService};
use tonic::{Request, Response, Status, async_trait};

use super::{admit, schedule};
use crate::{broker::Broker, error::RpcError};

/// What owners of schedules call.
pub struct ScheduleApi(pub Arc<Broker>);

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

#[async_trait]
impl ScheduleService for ScheduleApi {
    async fn create_schedule(
        &self,
        request: Request<v1::CreateScheduleRequest>,
    ) -> Answer<v1::CreateScheduleResponse> {
        let (caller, request) = write(request)?;
        answer(schedule::create_schedule::create_schedule(&self.0, &caller, request).await)
    }

    async fn get_schedule(
        &self,
        request: Request<v1::GetScheduleRequest>,
    ) -> Answer<v1::GetScheduleResponse> {
        let (_, request) = read(request)?;
        answer(schedule::get_schedule::get_schedule(&self.0, request).await)
    }

    async fn list_schedules(
        &self,
        request: Request<v1::ListSchedulesRequest>,
    ) -> Answer<v1::ListSchedulesResponse> {
        let (_, request) = read(request)?;
        answer(schedule::list_schedules::list_schedules(&self.0, request).await)
    }

    async fn update_schedule(
        &self,
        request: Request<v1::UpdateScheduleRequest>,
    ) -> Answer<v1::UpdateScheduleResponse> {
        let (caller, request) = write(request)?;
        answer(schedule::update_schedule::update_schedule(&self.0, &caller, request).await)
    }

    async fn delete_schedule(
        &self,
        request: Request<v1::DeleteScheduleRequest>,
    ) -> Answer<v1::DeleteScheduleResponse> {
        let (caller, request) = write(request)?;
        answer(schedule::delete_schedule::delete_schedule(&self.0, &caller, request).await)
    }

    async fn pause_schedule(
        &self,
        request: Request<v1::PauseScheduleRequest>,
    ) -> Answer<v1::PauseScheduleResponse> {
        let (caller, request) = write(request)?;
        answer(schedule::pause_schedule::pause_schedule(&self.0, &caller, request).await)
    }

    async fn resume_schedule(
        &self,
        request: Request<v1::ResumeScheduleRequest>,
    ) -> Answer<v1::ResumeScheduleResponse> {
        let (caller, request) = write(request)?;
        answer(schedule::resume_schedule::resume_schedule(&self.0, &caller, request).await)
    }

    async fn run_schedule(
        &self,
        request: Request<v1::RunScheduleRequest>,
    ) -> Answer<v1::RunScheduleResponse> {
        let (caller, request) = write(request)?;
        answer(schedule::run_schedule::run_schedule(&self.0, &caller, request).await)
    }

    async fn backfill_schedule(
        &self,
        request: Request<v1::BackfillScheduleRequest>,
    ) -> Answer<v1::BackfillScheduleResponse> {
        let (caller, request) = write(request)?;
        answer(schedule::backfill_schedule::backfill_schedule(&self.0, &caller, request).await)
    }

    async fn list_fire_times(
        &self,
        request: Request<v1::ListFireTimesRequest>,
    ) -> Answer<v1::ListFireTimesResponse> {
        let (caller, request) = read(request)?;
        answer(schedule::list_fire_times::list_fire_times(&self.0, &caller, request).await)
    }
}
