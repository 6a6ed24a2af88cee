//! The archive of a shard.

use super::{bytes_for_people, unless_zero};
use crate::{
    output::{Look, View},
    time,
};
use asyncflow_archive::Manifest;
use asyncflow_proto::time::timestamp;
use prost_types::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// See the archive's manifest.
#[derive(Debug, Serialize)]
pub struct ArchiveView {
    task_type: String,
    shard: i32,
    rows: u64,
    rows_by_state: BTreeMap<String, u64>,
    bytes: u64,
    files: usize,
    first_id: Option<String>,
    last_id: Option<String>,
    first_finish_time: Option<String>,
    last_finish_time: Option<String>,
    create_time: Option<String>,
    asyncflow_version: String,
    #[serde(skip)]
    times: [Option<Timestamp>; 3],
}

impl From<Manifest> for ArchiveView {
    fn from(manifest: Manifest) -> Self {
        let times = [
            manifest.first_finish_time_ms,
            manifest.last_finish_time_ms,
            Some(manifest.create_time_ms),
        ]
        .map(|time_ms| time_ms.map(timestamp));
        let [first_finish_time, last_finish_time, create_time] =
            [0, 1, 2].map(|at| time::rfc3339(times[at].as_ref()));
        Self {
            bytes: manifest.bytes(),
            files: manifest.files.len(),
            task_type: manifest.task_type,
            shard: manifest.shard,
            rows: manifest.rows,
            rows_by_state: manifest.rows_by_state,
            first_id: manifest.first_id,
            last_id: manifest.last_id,
            first_finish_time,
            last_finish_time,
            create_time,
            asyncflow_version: manifest.asyncflow_version,
            times,
        }
    }
}

impl View for ArchiveView {
    const COLUMNS: &'static [&'static str] =
        &["SHARD", "ROWS", "SIZE", "FINISHED FROM", "UNTIL", "ARCHIVED"];

    fn id(&self) -> String {
        format!("{}-{}", self.task_type, self.shard)
    }

    fn row(&self, look: Look) -> Vec<String> {
        let [first, last, created] =
            [0, 1, 2].map(|at| time::relative(self.times[at].as_ref(), look.now_ms));
        let size = bytes_for_people(i64::try_from(self.bytes).unwrap_or(i64::MAX));
        vec![self.id(), self.rows.to_string(), size, first, last, created]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let row = self.row(look);
        let names = ["shard", "rows", "size", "finished from", "until", "archived"];
        let files = i64::try_from(self.files).unwrap_or(i64::MAX);
        names.into_iter().zip(row).chain([("files", unless_zero(files))]).collect()
    }
}
