//! A shard of a task type, and what became of it.

use super::{bytes_for_people, enum_name, pairs, task::state_name};
use crate::{
    output::{Look, View},
    time,
};
use asyncflow_proto::v1::{
    ArchiveShardResponse, DropShardResponse, Shard, ShardState, ShardStateCount,
};
use prost_types::Timestamp;
use serde::Serialize;

/// See the protocol's `Shard`.
#[derive(Debug, Serialize)]
pub struct ShardView {
    task_type: String,
    number: i32,
    state: String,
    rows: i64,
    live_rows: i64,
    counts: Vec<CountView>,
    size_bytes: i64,
    create_time: Option<String>,
    close_time: Option<String>,
    drain_time: Option<String>,
    archive: String,
    #[serde(skip)]
    created: Option<Timestamp>,
    #[serde(skip)]
    closed: Option<Timestamp>,
    #[serde(skip)]
    drained: Option<Timestamp>,
}

/// See the protocol's `ShardStateCount`.
#[derive(Debug, Serialize)]
struct CountView {
    state: String,
    rows: i64,
}

/// See the protocol's `DropShardResponse`.
#[derive(Debug, Serialize)]
pub struct DropView {
    shard: Option<ShardView>,
    rows: i64,
    retained_rows: i64,
    obstacle: String,
}

/// See the protocol's `ArchiveShardResponse`.
#[derive(Debug, Serialize)]
pub struct ArchiveView {
    shard: Option<ShardView>,
    rows: i64,
    bytes: i64,
}

impl From<Shard> for ShardView {
    fn from(shard: Shard) -> Self {
        let known = ShardState::try_from(shard.state)
            .map(|state| state.as_str_name())
            .map_err(|_| shard.state);
        Self {
            task_type: shard.task_type,
            number: shard.number,
            state: enum_name(known, "SHARD_STATE_"),
            rows: shard.rows,
            live_rows: shard.live_rows,
            counts: shard.counts.into_iter().map(Into::into).collect(),
            size_bytes: shard.size_bytes,
            create_time: time::rfc3339(shard.create_time.as_ref()),
            close_time: time::rfc3339(shard.close_time.as_ref()),
            drain_time: time::rfc3339(shard.drain_time.as_ref()),
            archive: shard.archive,
            created: shard.create_time,
            closed: shard.close_time,
            drained: shard.drain_time,
        }
    }
}

impl From<ShardStateCount> for CountView {
    fn from(count: ShardStateCount) -> Self {
        Self { state: state_name(count.state), rows: count.rows }
    }
}

impl From<DropShardResponse> for DropView {
    fn from(dropped: DropShardResponse) -> Self {
        Self {
            shard: dropped.shard.map(Into::into),
            rows: dropped.rows,
            retained_rows: dropped.retained_rows,
            obstacle: dropped.obstacle,
        }
    }
}

impl From<ArchiveShardResponse> for ArchiveView {
    fn from(archived: ArchiveShardResponse) -> Self {
        Self { shard: archived.shard.map(Into::into), rows: archived.rows, bytes: archived.bytes }
    }
}

impl View for ShardView {
    const COLUMNS: &'static [&'static str] = &[
        "TYPE", "SHARD", "STATE", "ROWS", "LIVE", "SIZE", "CREATED", "CLOSED", "DRAINED", "ARCHIVE",
    ];

    fn id(&self) -> String {
        format!("{}-{}", self.task_type, self.number)
    }

    fn row(&self, look: Look) -> Vec<String> {
        let relative = |time: &Option<Timestamp>| time::relative(time.as_ref(), look.now_ms);
        vec![
            self.task_type.clone(),
            self.number.to_string(),
            look.palette.state(&self.state),
            self.rows.to_string(),
            self.live_rows.to_string(),
            bytes_for_people(self.size_bytes),
            relative(&self.created),
            relative(&self.closed),
            relative(&self.drained),
            self.archive.clone(),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let names = ["type", "shard", "state", "rows", "live", "size", "created", "closed"];
        let names = names.into_iter().chain(["drained", "archive"]);
        let by_state = pairs(self.counts.iter().map(|count| (&count.state, count.rows)));
        names.zip(self.row(look)).chain([("rows by state", by_state)]).collect()
    }
}

impl View for DropView {
    const COLUMNS: &'static [&'static str] = &["SHARD", "ROWS", "RETAINED", "OBSTACLE"];

    fn id(&self) -> String {
        id_of(&self.shard)
    }

    fn row(&self, _: Look) -> Vec<String> {
        let (rows, retained_rows) = (self.rows.to_string(), self.retained_rows.to_string());
        vec![self.id(), rows, retained_rows, self.obstacle.clone()]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let state = self.shard.as_ref().map(|shard| look.palette.state(&shard.state));
        let names = ["shard", "rows", "rows still retained", "obstacle"];
        let state = [("state", state.unwrap_or_default())];
        names.into_iter().zip(self.row(look)).chain(state).collect()
    }
}

impl View for ArchiveView {
    const COLUMNS: &'static [&'static str] = &["SHARD", "ROWS", "SIZE", "ARCHIVE"];

    fn id(&self) -> String {
        id_of(&self.shard)
    }

    fn row(&self, _: Look) -> Vec<String> {
        let archive = self.shard.as_ref().map(|shard| shard.archive.clone());
        let size = bytes_for_people(self.bytes);
        vec![self.id(), self.rows.to_string(), size, archive.unwrap_or_default()]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        ["shard", "rows", "size", "archive"].into_iter().zip(self.row(look)).collect()
    }
}

fn id_of(shard: &Option<ShardView>) -> String {
    shard.as_ref().map(View::id).unwrap_or_default()
}
