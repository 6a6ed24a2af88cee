//! How this governor is. Answered from memory, also while the database is away and on a standby.

use super::Service;
use crate::{clock::millis, schedule::Entry};
use asyncflow_proto::{
    time::{duration, timestamp},
    v1::{DutyStatus, GetStatusResponse},
};
use asyncflow_service::identity::VERSION;

pub(super) fn get_status(service: &Service) -> GetStatusResponse {
    GetStatusResponse {
        governor_id: service.governor_id.clone(),
        version: VERSION.to_owned(),
        leading: service.lead.term().is_some(),
        epoch: service.lead.epoch_seen(),
        duties: service.roster.entries().map(duty_status).collect(),
        start_time: Some(timestamp(service.start_time_ms)),
    }
}

/// A duty as it is shown.
pub(super) fn duty_status(entry: &Entry) -> DutyStatus {
    let stats = entry.stats();
    DutyStatus {
        name: entry.name.to_owned(),
        description: entry.description.to_owned(),
        interval: Some(duration(millis(entry.interval))),
        last_run_time: stats.last_run.map(|(end_ms, _)| timestamp(end_ms)),
        last_run_duration: stats.last_run.map(|(_, took_ms)| duration(took_ms)),
        last_rows: stats.last_rows,
        total_rows: stats.rows,
        runs: stats.runs,
        errors: stats.errors,
        last_error: stats.last_error.unwrap_or_default(),
        lag: None,
    }
}
