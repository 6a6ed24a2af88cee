//! Reads archives.

use crate::{
    error::ArchiveError,
    line::Line,
    manifest::{Manifest, PartFile},
    open::{Archive, MANIFEST},
    part::PartDecoder,
    shard::ShardName,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use object_store::{Error as StoreError, ObjectStoreExt, path::Path};
use serde::Deserialize;
use std::collections::VecDeque;

/// Manifests that are read at once.
const READS_MAX: usize = 8;

impl Archive {
    /// The manifest of a shard's archive; `None` when there is no complete one.
    ///
    /// # Errors
    /// [`ArchiveError::Store`], [`ArchiveError::Damaged`].
    pub async fn manifest(&self, shard: &ShardName) -> Result<Option<Manifest>, ArchiveError> {
        let bytes = self.read_if_there(shard, MANIFEST).await?;
        let location = self.location(shard);
        bytes.map(|bytes| Manifest::parse(&bytes, shard, &location)).transpose()
    }

    /// The manifests of all complete archives, or of those of one type, by type and number; an
    /// error in the place of each that cannot be read.
    ///
    /// # Errors
    /// [`ArchiveError::Store`] when they cannot be listed.
    pub async fn manifests(
        &self,
        task_type: Option<&str>,
    ) -> Result<Vec<Result<Manifest, ArchiveError>>, ArchiveError> {
        let (root, _) = self.root();
        let types = match task_type {
            Some(task_type) => vec![root.clone().join(task_type)],
            None => self.folders(root).await?,
        };
        let mut shards: Vec<ShardName> = Vec::new();
        for task_type in types {
            let found = self.folders(&task_type).await?;
            let names = found.iter().filter_map(|path| path.filename()?.parse().ok());
            let at_home = |shard: &ShardName| task_type.filename() == Some(shard.task_type());
            shards.extend(names.filter(at_home));
        }
        shards.sort();
        let reads = stream::iter(shards)
            .map(|shard| async move { self.manifest(&shard).await })
            .buffered(READS_MAX);
        Ok(reads.filter_map(|manifest| async move { manifest.transpose() }).collect().await)
    }

    /// The lines of an archive in the order of their ids, as JSON.
    #[must_use]
    pub fn lines(&self, manifest: &Manifest) -> Lines {
        let archive = self.clone();
        let shard = manifest.shard_name().ok();
        Lines { archive, shard, files: manifest.files.iter().cloned().collect(), part: None }
    }

    /// The line of one task, as JSON; `None` if the archive does not hold it.
    ///
    /// # Errors
    /// [`ArchiveError::Store`], [`ArchiveError::Damaged`].
    pub async fn find(
        &self,
        manifest: &Manifest,
        id: &str,
    ) -> Result<Option<Vec<u8>>, ArchiveError> {
        let holds = |file: &&PartFile| *file.first_id <= *id && *id <= *file.last_id;
        let mut lines = self.lines(manifest);
        lines.files = manifest.files.iter().filter(holds).cloned().collect();
        while let Some(line) = lines.next().await? {
            if lines.id_of(&line)? == id {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    async fn folders(&self, under: &Path) -> Result<Vec<Path>, ArchiveError> {
        let listed = self.store.list_with_delimiter(Some(under)).await;
        let listed = listed.map_err(|source| {
            let location = format!("{} ({under})", self.root().1);
            ArchiveError::Store { verb: "list", location, source }
        })?;
        Ok(listed.common_prefixes)
    }

    /// The bytes of a part, which must be there.
    pub(crate) async fn read_part(
        &self,
        shard: &ShardName,
        file: &PartFile,
    ) -> Result<Bytes, ArchiveError> {
        let bytes = self.read_if_there(shard, &file.name).await?;
        bytes.ok_or_else(|| ArchiveError::damaged(&self.url_of(shard, &file.name), "it is missing"))
    }

    pub(crate) async fn read_if_there(
        &self,
        shard: &ShardName,
        file: &str,
    ) -> Result<Option<Bytes>, ArchiveError> {
        let path = self.folder(shard).join(file);
        let read = match self.store.get(&path).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(source) => {
                let location = self.url_of(shard, file);
                Err(ArchiveError::Store { verb: "read", location, source })
            }
        }
    }
}

/// The lines of an archive, one after the other. Holds one part in memory, compressed.
pub struct Lines {
    archive: Archive,
    /// `None` has no files either.
    shard: Option<ShardName>,
    files: VecDeque<PartFile>,
    part: Option<PartDecoder>,
}

#[derive(Deserialize)]
struct Head {
    id: String,
}

impl Lines {
    /// The next line, without its end; `None` behind the last one. Not cancel safe: a future that
    /// is dropped may lose a part.
    ///
    /// # Errors
    /// [`ArchiveError::Store`], [`ArchiveError::Damaged`].
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ArchiveError> {
        loop {
            if let Some(part) = &mut self.part {
                if let Some(line) = part.next()? {
                    return Ok(Some(line));
                }
                self.part = None;
            }
            let (Some(file), Some(shard)) = (self.files.pop_front(), &self.shard) else {
                return Ok(None);
            };
            let bytes = self.archive.read_part(shard, &file).await?;
            let location = self.archive.url_of(shard, &file.name);
            self.part = Some(PartDecoder::new(bytes, &file, location)?);
        }
    }

    /// The same, as what it says.
    pub(crate) async fn next_line(&mut self) -> Result<Option<Line>, ArchiveError> {
        let Some(text) = self.next().await? else { return Ok(None) };
        self.parsed(&text).map(Some)
    }

    /// The id of a line that was just read.
    pub(crate) fn id_of(&self, line: &[u8]) -> Result<String, ArchiveError> {
        self.parsed::<Head>(line).map(|head| head.id)
    }

    fn parsed<T: serde::de::DeserializeOwned>(&self, line: &[u8]) -> Result<T, ArchiveError> {
        let location = self.part.as_ref().map_or("", PartDecoder::location);
        serde_json::from_slice(line)
            .map_err(|error| ArchiveError::damaged(location, error.to_string()))
    }
}
