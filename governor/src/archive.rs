//! Writes drained shards to the archive, before their tables are dropped.
//!
//! ```text
//!   store.shard_rows ─ page ─▶ line::of ─▶ Writer::push ─▶ parts, each read back ─▶ manifest
//!                                                        registry ◀─ set_archive ◀─┘
//! ```
//!
//! Everything can be repeated: an archive without a manifest is written anew, one with a manifest
//! that still fits is kept, and the registry learns of it only while the shard is as it was.

mod line;

use crate::config::ArchiveConfig;
use asyncflow_archive::{
    Archive, ArchiveError, Bounds, Manifest, Options, ShardName, Source, Writer,
};
use asyncflow_core::{
    id::ShardId,
    shard::{Shard, ShardState},
};
use asyncflow_store::{LeaderFence, ShardPage, ShardRow, Store, StoreError};

/// One page is read while the one before it is compressed, so there are two of them in memory.
const PAGE: ShardPage = ShardPage { rows_max: 500, bytes_max: 8 * 1_024 * 1_024 };

/// Why a shard was not archived.
#[derive(Debug, thiserror::Error)]
pub enum ArchivingError {
    /// `archive.url` is empty.
    #[error("archive.url is not set")]
    NoArchive,
    /// The registry does not know it.
    #[error("there is no shard {}-{}", .0.task_type, .0.number)]
    NoSuchShard(ShardId),
    /// Something in it is not terminal, or was not when it was last looked at.
    #[error("the shard {}-{} is not drained", .0.task_type, .0.number)]
    NotDrained(ShardId),
    /// The archive cannot be used, or keeps what is there.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// `Conflict`: the shard changed its state while it was written; archive it again when it is
    /// drained again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where this governor archives, if it does. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Archiver {
    options: Option<Options>,
    bounds: Bounds,
    page: ShardPage,
}

impl Archiver {
    /// As the settings say.
    #[must_use]
    pub fn new(config: &ArchiveConfig) -> Self {
        let options = (!config.url.is_empty()).then(|| config.options());
        Self { options, bounds: Bounds::default(), page: PAGE }
    }

    /// Whether `archive.url` is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.options.is_some()
    }

    /// Writes a drained shard to the archive and notes it in the registry. Then the shard may be
    /// dropped with `archived_rows` = the manifest's rows.
    ///
    /// A future that is dropped leaves files that the next call replaces, and nothing else.
    ///
    /// # Errors
    /// [`ArchivingError`].
    pub async fn archive(
        &self,
        store: &Store,
        id: &ShardId,
        fence: &LeaderFence,
    ) -> Result<Manifest, ArchivingError> {
        let options = self.options.clone().ok_or(ArchivingError::NoArchive)?;
        let shard = find(store, id).await?;
        let archive = tokio::task::spawn_blocking(move || Archive::create(&options)).await;
        let archive = archive.map_err(ArchiveError::from)??;
        let manifest = self.write(store, &archive, &shard).await?;
        let location = archive.location(&manifest.shard_name()?);
        store.set_archive(id, shard.version, &location, fence).await?;
        Ok(manifest)
    }

    /// The archive of a drained shard: the one that is there if it fits, or a new one.
    async fn write(
        &self,
        store: &Store,
        archive: &Archive,
        shard: &Shard,
    ) -> Result<Manifest, ArchivingError> {
        let name = ShardName::new(shard.id.task_type.as_str(), shard.id.number)?;
        if let Some(manifest) = archive.manifest(&name).await?
            && fits(&manifest, shard, rows(store, &shard.id).await?)
        {
            archive.verify(&manifest).await?;
            return Ok(manifest);
        }
        let source =
            Source { shard: name, version: shard.version, create_time_ms: shard.create_time_ms };
        let mut writer = archive.begin(source, self.bounds, store.now_ms().await?).await?;
        let mut page = store.shard_rows(&shard.id, None, self.page).await?;
        while let Some(last) = page.last().map(|row| row.full.task.id.key) {
            let next = async { Ok(store.shard_rows(&shard.id, Some(last), self.page).await?) };
            (page, ()) = tokio::try_join!(next, push(&mut writer, shard, page))?;
        }
        Ok(writer.finish().await?)
    }
}

async fn push(
    writer: &mut Writer,
    shard: &Shard,
    page: Vec<ShardRow>,
) -> Result<(), ArchivingError> {
    if page.iter().any(|row| !row.full.task.state.is_terminal()) {
        return Err(ArchivingError::NotDrained(shard.id.clone()));
    }
    Ok(writer.push(page.into_iter().map(line::of).collect()).await?)
}

/// Whether an archive holds the shard as it is. While it stays drained nothing is added to it.
fn fits(manifest: &Manifest, shard: &Shard, rows: i64) -> bool {
    manifest.shard_version == shard.version
        && manifest.shard_create_time_ms == shard.create_time_ms
        && i64::try_from(manifest.rows) == Ok(rows)
}

async fn find(store: &Store, id: &ShardId) -> Result<Shard, ArchivingError> {
    let shards = store.list_shards(Some(&id.task_type)).await?;
    let found = shards.into_iter().find(|shard| shard.id == *id);
    let shard = found.ok_or_else(|| ArchivingError::NoSuchShard(id.clone()))?;
    if shard.state == ShardState::Drained {
        Ok(shard)
    } else {
        Err(ArchivingError::NotDrained(id.clone()))
    }
}

/// Rows of a shard by the counts that are kept with every change.
async fn rows(store: &Store, id: &ShardId) -> Result<i64, StoreError> {
    let counts = store.shard_counts(Some(&id.task_type)).await?;
    Ok(counts.iter().filter(|count| count.shard == *id).map(|count| count.tasks).sum())
}
