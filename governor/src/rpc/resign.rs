//! Gives up the lead.

use super::Service;
use crate::status;
use asyncflow_proto::v1::ResignResponse;
use tonic::Status;

pub(super) async fn resign(service: &Service) -> Result<ResignResponse, Status> {
    let resigned = service.lead.resign().await;
    resigned.map_err(|error| status::resign(&error, service.lead.leader_seen()))?;
    Ok(ResignResponse {})
}
