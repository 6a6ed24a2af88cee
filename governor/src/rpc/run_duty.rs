//! Runs a duty now and shows it after that.

use super::{Service, get_status::duty_status};
use crate::status;
use asyncflow_proto::v1::{RunDutyRequest, RunDutyResponse};
use tonic::Status;

pub(super) async fn run_duty(
    service: &Service,
    request: RunDutyRequest,
) -> Result<RunDutyResponse, Status> {
    let Some(entry) = service.roster.find(&request.duty) else {
        let known: Vec<_> = service.roster.entries().map(|entry| entry.name).collect();
        return Err(status::unknown_duty(&known.join(", ")));
    };
    let run = entry.run_now().await;
    run.map_err(|error| status::run(&error, service.lead.leader_seen()))?;
    Ok(RunDutyResponse { duty: Some(duty_status(entry)) })
}
