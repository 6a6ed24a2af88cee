//! Who leads: what the database says, whoever is asked.

use super::Service;
use crate::status;
use asyncflow_proto::{time::timestamp, v1::GetLeaderResponse};
use tonic::Status;

pub(super) async fn get_leader(service: &Service) -> Result<GetLeaderResponse, Status> {
    let leader = service.store.get_leader().await.map_err(|error| status::store(&error))?;
    // One whose lease has run out, or who resigned, does not lead.
    let leader = leader.filter(|leader| leader.expire_time_ms >= leader.now_ms);
    let Some(leader) = leader else { return Ok(GetLeaderResponse::default()) };
    Ok(GetLeaderResponse {
        governor_id: leader.holder,
        epoch: leader.epoch,
        expire_time: Some(timestamp(leader.expire_time_ms)),
    })
}
