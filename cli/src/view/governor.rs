//! What a governor says of itself: its duties, the leader.

use crate::{
    output::{Look, View},
    time,
};
use asyncflow_proto::v1::{DutyStatus, GetLeaderResponse, GetStatusResponse};
use prost_types::{Duration, Timestamp};
use serde::Serialize;

/// See the protocol's `GetStatusResponse`.
#[derive(Debug, Serialize)]
pub struct StatusView {
    governor_id: String,
    version: String,
    leading: bool,
    epoch: i64,
    duties: Vec<DutyView>,
    start_time: Option<String>,
    #[serde(skip)]
    started: Option<Timestamp>,
}

/// See the protocol's `DutyStatus`.
#[derive(Debug, Serialize)]
pub struct DutyView {
    name: String,
    description: String,
    interval: Option<String>,
    last_run_time: Option<String>,
    last_run_duration: Option<String>,
    lag: Option<String>,
    last_rows: i64,
    total_rows: i64,
    runs: i64,
    errors: i64,
    last_error: String,
    #[serde(skip)]
    every: Option<Duration>,
    #[serde(skip)]
    last_run: Option<Timestamp>,
}

/// See the protocol's `GetLeaderResponse`.
#[derive(Debug, Serialize)]
pub struct LeaderView {
    governor_id: String,
    epoch: i64,
    expire_time: Option<String>,
    #[serde(skip)]
    expires: Option<Timestamp>,
}

impl From<GetStatusResponse> for StatusView {
    fn from(status: GetStatusResponse) -> Self {
        Self {
            governor_id: status.governor_id,
            version: status.version,
            leading: status.leading,
            epoch: status.epoch,
            duties: status.duties.into_iter().map(Into::into).collect(),
            start_time: time::rfc3339(status.start_time.as_ref()),
            started: status.start_time,
        }
    }
}

impl From<DutyStatus> for DutyView {
    fn from(duty: DutyStatus) -> Self {
        Self {
            name: duty.name,
            description: duty.description,
            interval: time::span_text(duty.interval.as_ref()),
            last_run_time: time::rfc3339(duty.last_run_time.as_ref()),
            last_run_duration: time::span_text(duty.last_run_duration.as_ref()),
            lag: time::span_text(duty.lag.as_ref()),
            last_rows: duty.last_rows,
            total_rows: duty.total_rows,
            runs: duty.runs,
            errors: duty.errors,
            last_error: duty.last_error,
            every: duty.interval,
            last_run: duty.last_run_time,
        }
    }
}

impl From<GetLeaderResponse> for LeaderView {
    fn from(leader: GetLeaderResponse) -> Self {
        Self {
            governor_id: leader.governor_id,
            epoch: leader.epoch,
            expire_time: time::rfc3339(leader.expire_time.as_ref()),
            expires: leader.expire_time,
        }
    }
}

impl StatusView {
    pub fn duties(&self) -> &[DutyView] {
        &self.duties
    }
}

impl View for StatusView {
    const COLUMNS: &'static [&'static str] =
        &["GOVERNOR", "VERSION", "LEADING", "EPOCH", "STARTED"];

    fn id(&self) -> String {
        self.governor_id.clone()
    }

    fn row(&self, look: Look) -> Vec<String> {
        vec![
            self.governor_id.clone(),
            self.version.clone(),
            if self.leading { "yes" } else { "no" }.to_owned(),
            self.epoch.to_string(),
            time::relative(self.started.as_ref(), look.now_ms),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let names = ["governor", "version", "leading", "epoch", "started"];
        names.into_iter().zip(self.row(look)).collect()
    }
}

impl View for DutyView {
    const COLUMNS: &'static [&'static str] = &[
        "DUTY",
        "EVERY",
        "LAST RUN",
        "TOOK",
        "LAG",
        "ROWS",
        "TOTAL",
        "RUNS",
        "ERRORS",
        "LAST ERROR",
    ];

    fn id(&self) -> String {
        self.name.clone()
    }

    fn row(&self, look: Look) -> Vec<String> {
        vec![
            self.name.clone(),
            self.every.as_ref().map(time::span_for_people).unwrap_or_default(),
            time::relative(self.last_run.as_ref(), look.now_ms),
            self.last_run_duration.as_deref().map(time::text_for_people).unwrap_or_default(),
            self.lag.as_deref().map(time::text_for_people).unwrap_or_default(),
            self.last_rows.to_string(),
            self.total_rows.to_string(),
            self.runs.to_string(),
            self.errors.to_string(),
            self.last_error.clone(),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let names = ["duty", "every", "last run", "took", "lag", "rows", "total rows", "runs"];
        let names = names.into_iter().chain(["errors", "last error"]);
        let mut details: Vec<_> = names.zip(self.row(look)).collect();
        details.insert(1, ("for", self.description.clone()));
        details
    }
}

impl View for LeaderView {
    const COLUMNS: &'static [&'static str] = &["LEADER", "EPOCH", "LEASE ENDS"];

    fn id(&self) -> String {
        self.governor_id.clone()
    }

    fn row(&self, look: Look) -> Vec<String> {
        let leader = if self.governor_id.is_empty() { "(nobody leads)" } else { &self.governor_id };
        let expires = time::relative(self.expires.as_ref(), look.now_ms);
        vec![leader.to_owned(), self.epoch.to_string(), expires]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        ["leader", "epoch", "lease ends"].into_iter().zip(self.row(look)).collect()
    }
}
