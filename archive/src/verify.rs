//! Reads an archive back and compares it with its manifest.

use crate::{
    error::ArchiveError,
    line::Line,
    manifest::{Manifest, PartFile},
    open::Archive,
    part::PartDecoder,
    shard::ShardName,
};
use bytes::Bytes;
use std::collections::BTreeMap;

/// What lines add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub rows: u64,
    pub rows_by_state: BTreeMap<String, u64>,
    pub first_id: Option<String>,
    pub last_id: Option<String>,
    pub first_finish_time_ms: Option<i64>,
    pub last_finish_time_ms: Option<i64>,
}

impl Sums {
    /// Adds a line; `false` if it does not stand behind the one before it.
    pub fn add(&mut self, line: &Line) -> bool {
        if self.last_id.as_ref().is_some_and(|last| *last >= line.id) {
            return false;
        }
        self.rows += 1;
        *self.rows_by_state.entry(line.state.clone()).or_default() += 1;
        self.first_id.get_or_insert_with(|| line.id.clone());
        self.last_id = Some(line.id.clone());
        if let Some(finish_ms) = line.finish_time_ms {
            let first = self.first_finish_time_ms.get_or_insert(finish_ms);
            *first = finish_ms.min(*first);
            let last = self.last_finish_time_ms.get_or_insert(finish_ms);
            *last = finish_ms.max(*last);
        }
        true
    }

    fn of(manifest: &Manifest) -> Self {
        Self {
            rows: manifest.rows,
            rows_by_state: manifest.rows_by_state.clone(),
            first_id: manifest.first_id.clone(),
            last_id: manifest.last_id.clone(),
            first_finish_time_ms: manifest.first_finish_time_ms,
            last_finish_time_ms: manifest.last_finish_time_ms,
        }
    }
}

impl Archive {
    /// Reads every part and finds in it what the manifest says: size, hash, every line, their
    /// order, their sums.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`], [`ArchiveError::Store`].
    pub async fn verify(&self, manifest: &Manifest) -> Result<(), ArchiveError> {
        let shard = manifest.shard_name()?;
        let mut sums = Sums::default();
        for file in &manifest.files {
            sums = self.verify_part(&shard, file, sums).await?;
        }
        if sums == Sums::of(manifest) {
            return Ok(());
        }
        let what = "its parts do not add up to what it says of them";
        Err(ArchiveError::damaged(&self.location(&shard), what))
    }

    /// Reads one part back and adds it to the sums of those before it.
    pub(crate) async fn verify_part(
        &self,
        shard: &ShardName,
        file: &PartFile,
        sums: Sums,
    ) -> Result<Sums, ArchiveError> {
        let bytes = self.read_part(shard, file).await?;
        let location = self.url_of(shard, &file.name);
        let (shard, file) = (shard.clone(), file.clone());
        tokio::task::spawn_blocking(move || check(bytes, &shard, &file, location, sums)).await?
    }
}

fn check(
    bytes: Bytes,
    shard: &ShardName,
    file: &PartFile,
    location: String,
    mut sums: Sums,
) -> Result<Sums, ArchiveError> {
    let mut part = PartDecoder::new(bytes, file, location)?;
    let (mut rows, mut first_id) = (0, None);
    while let Some(text) = part.next()? {
        let line: Line = serde_json::from_slice(&text)
            .map_err(|error| ArchiveError::damaged(part.location(), error.to_string()))?;
        if !shard.holds(&line.id) || !sums.add(&line) {
            let what = format!("the task {} does not belong where it stands", line.id);
            return Err(ArchiveError::damaged(part.location(), what));
        }
        rows += 1;
        first_id.get_or_insert(line.id);
    }
    let is_whole = rows == file.rows
        && first_id.as_ref() == Some(&file.first_id)
        && sums.last_id.as_ref() == Some(&file.last_id);
    if is_whole {
        Ok(sums)
    } else {
        Err(ArchiveError::damaged(part.location(), "it does not hold the tasks that it should"))
    }
}
