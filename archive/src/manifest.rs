//! What an archive holds, in `manifest.json`.

use crate::{error::ArchiveError, shard::ShardName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the format that this crate writes; it reads this and older ones.
pub const FORMAT_VERSION: u32 = 1;

/// The contents of an archive that is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format_version: u32,
    /// Of the program that wrote it.
    pub asyncflow_version: String,
    pub task_type: String,
    pub shard: i32,
    /// The registry's version of the shard when it was written.
    pub shard_version: i64,
    /// When the shard was made: tells it from a shard of that name in another database.
    pub shard_create_time_ms: i64,
    /// When it was written, by the database's clock.
    pub create_time_ms: i64,
    pub rows: u64,
    pub rows_by_state: BTreeMap<String, u64>,
    /// Of the oldest and the newest task; `None` without rows.
    pub first_id: Option<String>,
    pub last_id: Option<String>,
    /// The earliest and the latest finish time of its tasks; `None` without rows.
    pub first_finish_time_ms: Option<i64>,
    pub last_finish_time_ms: Option<i64>,
    /// In the order of their tasks' ids.
    pub files: Vec<PartFile>,
}

/// One file of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartFile {
    /// Beside the manifest.
    pub name: String,
    pub rows: u64,
    /// As stored, compressed.
    pub bytes: u64,
    /// Of the stored bytes, in hexadecimal digits.
    pub sha256: String,
    pub first_id: String,
    pub last_id: String,
}

impl Manifest {
    /// Whose archive it is.
    ///
    /// # Errors
    /// [`ArchiveError::Options`] when it names no shard.
    pub fn shard_name(&self) -> Result<ShardName, ArchiveError> {
        ShardName::new(&self.task_type, self.shard)
    }

    /// All its parts together, compressed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Reads one and checks that it belongs where it was found.
    pub(crate) fn parse(
        bytes: &[u8],
        shard: &ShardName,
        location: &str,
    ) -> Result<Self, ArchiveError> {
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|error| ArchiveError::damaged(location, error.to_string()))?;
        if manifest.format_version > FORMAT_VERSION {
            let what = format!(
                "it has the format {}, and this program reads up to {FORMAT_VERSION}",
                manifest.format_version
            );
            return Err(ArchiveError::damaged(location, what));
        }
        if manifest.shard_name().ok().as_ref() != Some(shard) {
            return Err(ArchiveError::damaged(location, "it is of another shard"));
        }
        let is_plain = |file: &PartFile| !file.name.contains('/') && !file.name.starts_with('.');
        if !manifest.files.iter().all(is_plain) {
            return Err(ArchiveError::damaged(location, "it names files outside its folder"));
        }
        Ok(manifest)
    }
}
