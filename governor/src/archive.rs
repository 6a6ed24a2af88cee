//! Writes drained shards to the archive, before their tables are dropped.
//!
//! ```text
//!   store.shard_rows ─ page ─▶ line::of ─▶ Writer::push ─▶ parts, each read back ─▶ manifest
//!                                                        registry ◀─ set_archive ◀─┘
//! ```
//!
//! Everything can be repeated: an archive without a manifest is written anew, one with a manifest
//! that still fits is kept, and the registry learns of it only while the shard is as it was. Tasks
//! that were deleted by hand since they were archived stay in the archive.

mod line;

use crate::config::ArchiveConfig;
use asyncflow_archive::{
    Archive, ArchiveError, Bounds, Manifest, Options, ShardName, Source, Writer,
};
use asyncflow_core::{
    id::{ShardId, TaskId},
    shard::{Shard, ShardState},
};
use asyncflow_store::{Archived, LeaderFence, ShardPage, ShardRow, Store, StoreError};

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
    /// dropped with `archived` = [`archived`] of the manifest.
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
            && fits(&manifest, shard, store.newest_key(&shard.id).await?)
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

/// How far a shard was archived, for the terms of its drop.
#[must_use]
pub fn archived(manifest: &Manifest) -> Archived {
    let last: Option<TaskId> = manifest.last_id.as_ref().and_then(|id| id.parse().ok());
    Archived { version: manifest.shard_version, last_key: last.map(|id| id.key) }
}

/// Whether an archive holds all that is in the shard: while it stays drained nothing in it changes,
/// and what a late broker adds has a higher key.
fn fits(manifest: &Manifest, shard: &Shard, newest_key: Option<i64>) -> bool {
    let Archived { version, last_key } = archived(manifest);
    version == shard.version
        && manifest.shard_create_time_ms == shard.create_time_ms
        && newest_key <= last_key
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::testing::{Bed, LONG_MS};
    use asyncflow_archive::Line;
    use asyncflow_core::{
        event::{Event, RetryHint, Settle},
        id::TypeName,
        reason::FailureReason,
        task::Content,
    };
    use asyncflow_store::{DropOutcome, DropTerms, GetError, Parts};
    use tempfile::TempDir;

    /// A governor that archives into a directory of its own.
    struct Place {
        dir: TempDir,
        archiver: Archiver,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let url = format!("file://{}", dir.path().display());
            let mut archiver = Archiver::new(&ArchiveConfig { url, ..ArchiveConfig::default() });
            archiver.page = ShardPage { rows_max: 2, bytes_max: 1 << 20 };
            archiver.bounds = Bounds { part_rows_max: 3, ..Bounds::default() };
            Self { dir, archiver }
        }

        fn open(&self) -> Archive {
            Archive::open(self.archiver.options.as_ref().unwrap()).unwrap()
        }

        async fn lines(&self, manifest: &Manifest) -> Vec<Line> {
            let (archive, mut lines) = (self.open(), Vec::new());
            archive.verify(manifest).await.unwrap();
            let mut read = archive.lines(manifest);
            while let Some(line) = read.next().await.unwrap() {
                lines.push(serde_json::from_slice(&line).unwrap());
            }
            lines
        }
    }

    /// A shard with `tasks` tasks that ended, drained; the first of them failed.
    async fn drained(bed: &Bed, fence: &LeaderFence, tasks: usize) -> (ShardId, Vec<TaskId>) {
        let mut ids = Vec::new();
        for at in 0..tasks {
            let id = bed.new_task("train", None).await;
            if at == 0 {
                let lease = bed.start(&id, LONG_MS).await;
                let context = Content { data: vec![0xff, 0xfe, 0].into(), ..Content::default() };
                let context = Some(context);
                let (stage, expected_version) = (Some("one".to_owned()), None);
                let save = Event::SaveContext { fence: lease, stage, context, expected_version };
                bed.apply(&id, save).await;
                let (reason, message) = (FailureReason::TimedOut, "slow".to_owned());
                let settle = Settle::Fail { reason, message, hint: RetryHint::Never };
                let end = Event::Settle {
                    fence: lease,
                    settle,
                    digest: 1,
                    exit_code: Some(-9),
                    usage: None,
                };
                bed.apply(&id, end).await;
            } else {
                bed.complete_with(&id, Some("42")).await;
            }
            ids.push(id);
        }
        let name = TypeName::new("train").unwrap();
        bed.store.ensure_type(&name).await.unwrap();
        let shard = bed.store.open_shard(&name).await.unwrap();
        bed.store.roll_shard(&name, Some(fence)).await.unwrap();
        let drained = bed.store.drain_shards(Some(&name), fence).await.unwrap();
        assert_eq!(drained.drained, std::slice::from_ref(&shard));
        (shard, ids)
    }

    async fn location(bed: &Bed, shard: &ShardId) -> String {
        let shards = bed.store.list_shards(Some(&shard.task_type)).await.unwrap();
        shards.into_iter().find(|known| known.id == *shard).unwrap().archive
    }

    #[tokio::test]
    async fn a_shard_is_archived_whole_noted_and_may_then_be_dropped() {
        for bed in Bed::everywhere().await {
            let (lead, place) = (bed.lead("g1").await, Place::new());
            let (shard, ids) = drained(&bed, &lead, 7).await;
            let manifest = place.archiver.archive(&bed.store, &shard, &lead).await.unwrap();
            assert_eq!(manifest.files.iter().map(|f| f.rows).collect::<Vec<_>>(), [3, 3, 1]);
            assert_eq!(
                manifest.rows_by_state,
                [("FAILED".into(), 1), ("SUCCEEDED".into(), 6)].into()
            );

            let lines = place.lines(&manifest).await;
            assert_eq!(
                lines.iter().map(|line| line.id.clone()).collect::<Vec<_>>(),
                ids.iter().map(ToString::to_string).collect::<Vec<_>>()
            );
            let failed = &lines[0];
            assert_eq!(failed.context.data, [0xff, 0xfe, 0].as_slice());
            assert_eq!(failed.failure.as_ref().unwrap().reason, "TIMED_OUT");
            assert_eq!(failed.attempts[0].outcome, "FAILED");
            assert_eq!(failed.attempts[0].exit_code, Some(-9));
            assert_eq!((failed.stage.as_str(), failed.attempts[0].stage.as_str()), ("one", "one"));
            assert_eq!(lines[1].result.as_ref().unwrap().data, "42");

            let noted = location(&bed, &shard).await;
            let expected = format!("{}/train/train-1/manifest.json", place.dir.path().display());
            assert_eq!(noted, format!("file://{expected}"));
            assert!(std::fs::exists(expected).unwrap());
            let rows = i64::try_from(manifest.rows).unwrap();
            let terms =
                DropTerms { before_ms: i64::MAX, archived: Some(super::archived(&manifest)) };
            let dropped = bed.store.drop_shard(&shard, terms, &lead).await.unwrap();
            assert_eq!(dropped, DropOutcome::Dropped { rows });
            let gone = bed.store.get(&ids[0], Parts::NONE).await;
            assert!(matches!(gone, Err(GetError::Expired { archive }) if archive == noted));
        }
    }

    #[tokio::test]
    async fn it_is_not_written_twice_and_is_written_again_after_a_retry() {
        let bed = Bed::sqlite().await;
        let (lead, place) = (bed.lead("g1").await, Place::new());
        let (shard, ids) = drained(&bed, &lead, 4).await;
        let archive = || place.archiver.archive(&bed.store, &shard, &lead);
        // Killed between manifest and registry: the next one finds it and notes it.
        let manifest = {
            let known = find(&bed.store, &shard).await.unwrap();
            let open = Archive::create(place.archiver.options.as_ref().unwrap()).unwrap();
            place.archiver.write(&bed.store, &open, &known).await.unwrap()
        };
        assert_eq!(location(&bed, &shard).await, "");
        assert_eq!(archive().await.unwrap(), manifest);
        assert!(!location(&bed, &shard).await.is_empty());

        // Damage is not taken for an archive.
        let part = place.dir.path().join("train/train-1").join(&manifest.files[0].name);
        let whole = std::fs::read(&part).unwrap();
        std::fs::write(&part, "x").unwrap();
        let damaged = archive().await;
        assert!(matches!(damaged, Err(ArchivingError::Archive(ArchiveError::Damaged { .. }))));
        std::fs::write(&part, whole).unwrap();

        bed.apply(&ids[2], Event::retry(false)).await;
        let name = Some(&shard.task_type);
        bed.store.drain_shards(name, &lead).await.unwrap();
        assert!(matches!(archive().await, Err(ArchivingError::NotDrained(_))));
        bed.complete_with(&ids[2], Some("43")).await;
        bed.store.drain_shards(name, &lead).await.unwrap();
        let again = archive().await.unwrap();
        assert!(again.shard_version > manifest.shard_version);
        let lines = place.lines(&again).await;
        assert_eq!(lines[2].result.as_ref().unwrap().data, "43");
        assert_eq!((lines.len(), lines[2].attempts.len()), (4, 2));
    }

    #[tokio::test]
    async fn a_task_that_was_deleted_stays_in_the_archive_and_keeps_no_shard() {
        for bed in Bed::everywhere().await {
            let (lead, place) = (bed.lead("g1").await, Place::new());
            let (shard, ids) = drained(&bed, &lead, 4).await;
            let archive = || place.archiver.archive(&bed.store, &shard, &lead);
            let first = archive().await.unwrap();
            bed.store.delete(&ids[1]).await.unwrap();
            assert_eq!(archive().await.unwrap(), first);

            bed.apply(&ids[2], Event::retry(false)).await;
            bed.complete_with(&ids[2], Some("43")).await;
            bed.store.delete(&ids[3]).await.unwrap();
            bed.store.drain_shards(Some(&shard.task_type), &lead).await.unwrap();
            let again = archive().await.unwrap();
            assert!(again.shard_version > first.shard_version);
            let lines = place.lines(&again).await;
            let kept: Vec<_> = lines.iter().map(|line| line.id.clone()).collect();
            assert_eq!(kept, ids.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(lines[2].result.as_ref().unwrap().data, "43");
            let terms = |manifest| {
                let archived = Some(super::archived(manifest));
                DropTerms { before_ms: i64::MAX, archived }
            };
            let dropped = bed.store.drop_shard(&shard, terms(&first), &lead).await.unwrap();
            assert_eq!(dropped, DropOutcome::Kept { live: false });
            let dropped = bed.store.drop_shard(&shard, terms(&again), &lead).await.unwrap();
            assert_eq!(dropped, DropOutcome::Dropped { rows: 2 });
        }
    }

    #[tokio::test]
    async fn what_cannot_be_archived_is_told() {
        let bed = Bed::sqlite().await;
        let (lead, place) = (bed.lead("g1").await, Place::new());
        let open = bed.new_task("train", None).await.shard;
        let refused = place.archiver.archive(&bed.store, &open, &lead).await;
        assert!(matches!(refused, Err(ArchivingError::NotDrained(_))), "{refused:?}");
        let unknown = ShardId { number: 9, ..open.clone() };
        let refused = place.archiver.archive(&bed.store, &unknown, &lead).await;
        assert!(matches!(refused, Err(ArchivingError::NoSuchShard(_))), "{refused:?}");
        let none = Archiver::new(&ArchiveConfig::default());
        let refused = none.archive(&bed.store, &open, &lead).await;
        assert!(matches!(refused, Err(ArchivingError::NoArchive)), "{refused:?}");

        let other = Bed::sqlite().await;
        let lead = other.lead("g1").await;
        let (empty, _) = drained(&other, &lead, 0).await;
        let manifest = place.archiver.archive(&other.store, &empty, &lead).await.unwrap();
        assert_eq!((manifest.rows, manifest.files.len()), (0, 0));
        let (old, new) = (lead, other.lead("g2").await);
        let fenced = place.archiver.archive(&other.store, &empty, &old).await;
        assert!(matches!(fenced, Err(ArchivingError::Store(StoreError::NotLeader))), "{fenced:?}");
        place.archiver.archive(&other.store, &empty, &new).await.unwrap();
    }
}
