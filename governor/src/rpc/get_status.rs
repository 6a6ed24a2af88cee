//! How this governor is. Answered from memory, also while the database is away; what duties did
//! under another leader is added when the database answers.

use super::Service;
use crate::{clock::millis, schedule::Entry};
use asyncflow_proto::{
    time::{duration, timestamp},
    v1::{DutyStatus, GetStatusResponse},
};
use asyncflow_service::identity::VERSION;
use asyncflow_store::DutyRuns;
use std::time::Duration;

/// Longer than this nobody waits for what is not in memory.
const RECORDED_TIME_MAX: Duration = Duration::from_secs(1);

pub(super) async fn get_status(service: &Service) -> GetStatusResponse {
    let recorded = tokio::time::timeout(RECORDED_TIME_MAX, service.store.list_duties()).await;
    let recorded = recorded.ok().and_then(Result::ok).unwrap_or_default();
    let duty = |entry: &Entry| {
        let recorded = recorded.iter().find(|runs| runs.name == entry.name);
        latest(entry, recorded)
    };
    GetStatusResponse {
        governor_id: service.governor_id.clone(),
        version: VERSION.to_owned(),
        leading: service.lead.term().is_some(),
        epoch: service.lead.epoch_seen(),
        duties: service.roster.entries().map(duty).collect(),
        start_time: Some(timestamp(service.start_time_ms)),
    }
}

/// A duty as this governor knows it.
pub(super) fn duty_status(entry: &Entry) -> DutyStatus {
    let stats = entry.stats();
    DutyStatus {
        name: entry.name.to_owned(),
        description: entry.description.to_owned(),
        interval: Some(duration(millis(entry.interval))),
        last_run_time: stats.last_run.map(|run| timestamp(run.end_ms)),
        last_run_duration: stats.last_run.map(|run| duration(millis(run.took))),
        last_rows: stats.last_rows,
        total_rows: stats.rows,
        runs: stats.runs,
        errors: stats.errors,
        last_error: stats.last_error.unwrap_or_default(),
        lag: stats.last_run.map(|run| duration(millis(run.lag))),
    }
}

/// What a duty last did: here, or under another leader when that was later.
fn latest(entry: &Entry, recorded: Option<&DutyRuns>) -> DutyStatus {
    let here = duty_status(entry);
    let here_ms = entry.stats().last_run.map(|run| run.end_ms);
    match recorded.filter(|runs| here_ms < Some(runs.last_end_ms)) {
        Some(runs) => DutyStatus {
            last_run_time: Some(timestamp(runs.last_end_ms)),
            last_run_duration: Some(duration(runs.last_end_ms - runs.last_start_ms)),
            last_rows: 0,
            last_error: runs.last_error.clone().unwrap_or_default(),
            lag: None,
            ..here
        },
        None => here,
    }
}
