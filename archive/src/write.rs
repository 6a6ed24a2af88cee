//! Writes an archive: parts, each read back, then the manifest.

use crate::{
    error::ArchiveError,
    line::Line,
    manifest::{FORMAT_VERSION, Manifest, PartFile},
    open::{Archive, MANIFEST},
    part::PartEncoder,
    read::Lines,
    shard::ShardName,
    verify::Sums,
};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{Error as StoreError, ObjectStoreExt, PutMode, PutOptions, path::Path};

/// Lines that are compressed at once, at most, and their bytes, but for the last line's.
const WAITING_MAX: usize = 1_000;
const WAITING_BYTES_MAX: usize = 8 * 1_024 * 1_024;

/// Where one part ends and the next one begins.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub part_rows_max: u64,
    /// Compressed; a part may be larger by one line.
    pub part_bytes_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { part_rows_max: 100_000, part_bytes_max: 32 * 1_024 * 1_024 }
    }
}

/// The shard that is archived.
#[derive(Clone, Debug)]
pub struct Source {
    pub shard: ShardName,
    /// The registry's version of it.
    pub version: i64,
    /// When it was made.
    pub create_time_ms: i64,
}

/// An archive that is being written. Dropping it leaves parts behind which belong to no manifest;
/// the next archive of the shard removes them.
pub struct Writer {
    archive: Archive,
    source: Source,
    bounds: Bounds,
    /// Tells the parts of this archive from those of every other one of the shard.
    generation: i64,
    /// Checked, and not in the part yet.
    waiting: Vec<Line>,
    waiting_bytes: usize,
    part: PartEncoder,
    files: Vec<PartFile>,
    written: Sums,
    verified: Sums,
    previous: Option<Previous>,
}

/// The archive that this one replaces. Its tasks that are not in the table any more are carried
/// over, so that what was archived once stays.
struct Previous {
    manifest: Manifest,
    lines: Lines,
    /// The first of its tasks that the new one has not passed.
    next: Option<Line>,
}

impl Archive {
    /// Begins an archive at `now_ms` of the database's clock.
    ///
    /// # Errors
    /// [`ArchiveError::Kept`] when there is one of another database's shard of that name;
    /// [`ArchiveError::Store`]; [`ArchiveError::Damaged`] when the one that is there is.
    pub async fn begin(
        &self,
        source: Source,
        bounds: Bounds,
        now_ms: i64,
    ) -> Result<Writer, ArchiveError> {
        let previous = match self.manifest(&source.shard).await? {
            Some(manifest) => Some(self.previous(&source, manifest).await?),
            None => None,
        };
        let older_ms = previous.as_ref().map_or(0, |previous| previous.manifest.create_time_ms);
        Ok(Writer {
            archive: self.clone(),
            source,
            bounds,
            generation: now_ms.max(older_ms + 1),
            waiting: Vec::new(),
            waiting_bytes: 0,
            part: PartEncoder::new()?,
            files: Vec::new(),
            written: Sums::default(),
            verified: Sums::default(),
            previous,
        })
    }

    async fn previous(
        &self,
        source: &Source,
        manifest: Manifest,
    ) -> Result<Previous, ArchiveError> {
        if manifest.shard_create_time_ms != source.create_time_ms {
            return Err(ArchiveError::Kept {
                location: self.location(&source.shard),
                why: "it is of a shard of the same name in another database".to_owned(),
            });
        }
        let mut lines = self.lines(&manifest);
        let next = lines.next_line().await?;
        Ok(Previous { manifest, lines, next })
    }
}

impl Previous {
    /// Takes its next task if it stands before `id`, or whatever it is if `id` is `None`; passes
    /// over the one with this very id.
    async fn take_before(&mut self, id: Option<&str>) -> Result<Option<Line>, ArchiveError> {
        let is_here = |line: &Line| id.is_none_or(|id| line.id.as_str() <= id);
        let Some(next) = self.next.take_if(|line| is_here(line)) else { return Ok(None) };
        self.next = self.lines.next_line().await?;
        Ok((Some(next.id.as_str()) != id).then_some(next))
    }
}

impl Writer {
    /// Adds tasks, in the order of their ids, behind those that were added before.
    ///
    /// Not cancel safe: a future that is dropped leaves a writer that must be dropped too.
    ///
    /// # Errors
    /// [`ArchiveError::Misplaced`]; [`ArchiveError::Store`]; [`ArchiveError::Damaged`] when a part
    /// did not come back as it was written, or the older archive's.
    pub async fn push(&mut self, lines: Vec<Line>) -> Result<(), ArchiveError> {
        for line in lines {
            while let Some(older) = self.carried_over(Some(&line.id)).await? {
                self.add(older).await?;
            }
            self.add(line).await?;
        }
        self.encode().await
    }

    /// The older archive's next task that stands before `id`, or behind all of the table's.
    async fn carried_over(&mut self, id: Option<&str>) -> Result<Option<Line>, ArchiveError> {
        match &mut self.previous {
            Some(previous) => previous.take_before(id).await,
            None => Ok(None),
        }
    }

    async fn add(&mut self, line: Line) -> Result<(), ArchiveError> {
        let after = self.written.last_id.clone().unwrap_or_default();
        if !self.source.shard.holds(&line.id) || !self.written.add(&line) {
            return Err(ArchiveError::Misplaced {
                id: line.id,
                after,
                shard: self.source.shard.to_string(),
            });
        }
        self.waiting_bytes += content_bytes(&line);
        self.waiting.push(line);
        if self.waiting.len() >= WAITING_MAX || self.waiting_bytes >= WAITING_BYTES_MAX {
            self.encode().await?;
        }
        Ok(())
    }

    /// Compresses the lines that wait, off the runtime, and ends the parts that are full.
    async fn encode(&mut self) -> Result<(), ArchiveError> {
        let mut rest = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        while !rest.is_empty() {
            let part = std::mem::replace(&mut self.part, PartEncoder::new()?);
            let bounds = self.bounds;
            let encode = move || encode(part, rest, bounds);
            (self.part, rest) = tokio::task::spawn_blocking(encode).await??;
            if is_full(&self.part, self.bounds) {
                self.end_part().await?;
            }
        }
        Ok(())
    }

    async fn end_part(&mut self) -> Result<(), ArchiveError> {
        let name = format!("part-{}-{:05}.jsonl.zst", self.generation, self.files.len() + 1);
        let part = std::mem::replace(&mut self.part, PartEncoder::new()?);
        let sealed = tokio::task::spawn_blocking(move || part.finish(name)).await?;
        let (file, bytes) = sealed?;
        self.put(&file.name, bytes, PutMode::Overwrite).await?;
        let sums = std::mem::take(&mut self.verified);
        self.verified = self.archive.verify_part(&self.source.shard, &file, sums).await?;
        self.files.push(file);
        Ok(())
    }

    /// Ends the last part and writes the manifest: from now on the archive is there.
    ///
    /// # Errors
    /// As [`Writer::push`]; [`ArchiveError::Kept`] when another archive of the shard was completed
    /// in the meantime.
    pub async fn finish(mut self) -> Result<Manifest, ArchiveError> {
        while let Some(older) = self.carried_over(None).await? {
            self.add(older).await?;
        }
        self.encode().await?;
        if self.part.rows > 0 {
            self.end_part().await?;
        }
        let location = self.archive.location(&self.source.shard);
        if self.verified != self.written {
            return Err(ArchiveError::damaged(
                &location,
                "what was read back is not what was sent",
            ));
        }
        let manifest = self.manifest();
        let below = self.put_manifest(&manifest, &location).await?;
        if let Err(error) = self.remove_parts(below).await {
            tracing::warn!(%error, "parts of an older archive are left");
        }
        Ok(manifest)
    }

    fn manifest(&self) -> Manifest {
        let written = self.written.clone();
        Manifest {
            format_version: FORMAT_VERSION,
            asyncflow_version: env!("CARGO_PKG_VERSION").to_owned(),
            task_type: self.source.shard.task_type().to_owned(),
            shard: self.source.shard.number(),
            shard_version: self.source.version,
            shard_create_time_ms: self.source.create_time_ms,
            create_time_ms: self.generation,
            rows: written.rows,
            rows_by_state: written.rows_by_state,
            first_id: written.first_id,
            last_id: written.last_id,
            first_finish_time_ms: written.first_finish_time_ms,
            last_finish_time_ms: written.last_finish_time_ms,
            files: self.files.clone(),
        }
    }

    /// Two governors may write at once, one of them without knowing that it does not lead any
    /// more; the manifest of the first one stays. Answers the generation below which nobody's parts
    /// are needed any more: what another one writes may yet come to be named by a manifest, where
    /// the store did not make sure that ours is the first.
    async fn put_manifest(&self, manifest: &Manifest, location: &str) -> Result<i64, ArchiveError> {
        let there = self.archive.manifest(&self.source.shard).await?;
        let replaced = self.previous.as_ref().map(|previous| &previous.manifest);
        let why = "another archive of the shard was completed in the meantime";
        let kept = || ArchiveError::Kept { location: location.to_owned(), why: why.to_owned() };
        if there.as_ref() != replaced {
            return Err(kept());
        }
        let mut text = serde_json::to_vec_pretty(manifest).map_err(std::io::Error::from)?;
        text.push(b'\n');
        let text = Bytes::from(text);
        if let Some(replaced) = &there {
            self.put(MANIFEST, text, PutMode::Overwrite).await?;
            return Ok(replaced.create_time_ms + 1);
        }
        match self.put(MANIFEST, text.clone(), PutMode::Create).await {
            Ok(()) => Ok(self.generation),
            // Some stores cannot write on a condition; the look above has to do there.
            Err(ArchiveError::Store {
                source: StoreError::NotImplemented { .. } | StoreError::NotSupported { .. },
                ..
            }) => self.put(MANIFEST, text, PutMode::Overwrite).await.map(|()| 0),
            // Also when the answer to the first try of the same call was lost.
            Err(ArchiveError::Store { source: StoreError::AlreadyExists { .. }, .. }) => {
                let there = self.archive.manifest(&self.source.shard).await?;
                if there.as_ref() == Some(manifest) { Ok(self.generation) } else { Err(kept()) }
            }
            Err(error) => Err(error),
        }
    }

    async fn put(&self, name: &str, bytes: Bytes, mode: PutMode) -> Result<(), ArchiveError> {
        let path = self.archive.folder(&self.source.shard).join(name);
        let options = PutOptions { mode, ..PutOptions::default() };
        let put =
            object_store::ObjectStore::put_opts(&*self.archive.store, &path, bytes.into(), options);
        put.await.map(|_| ()).map_err(|source| ArchiveError::Store {
            verb: "write",
            location: self.archive.url_of(&self.source.shard, name),
            source,
        })
    }

    /// Removes the parts of generations below `below`: of archives that were never completed and of
    /// the one that was replaced.
    async fn remove_parts(&self, below: i64) -> Result<(), ArchiveError> {
        let shard = &self.source.shard;
        let failed = |verb| {
            move |source| {
                let location = self.archive.url_of(shard, "");
                ArchiveError::Store { verb, location, source }
            }
        };
        let folder = self.archive.folder(shard);
        let listed: Vec<Path> = (self.archive.store.list(Some(&folder)))
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .map_err(failed("list"))?;
        let older = |path: &Path| {
            let generation = path.filename()?.strip_prefix("part-")?.split('-').next()?;
            Some(generation.parse::<i64>().ok()? < below)
        };
        for path in listed.into_iter().filter(|path| older(path) == Some(true)) {
            self.archive.store.delete(&path).await.map_err(failed("delete"))?;
        }
        Ok(())
    }
}

fn content_bytes(line: &Line) -> usize {
    let result = line.result.as_ref().map_or(0, |result| result.data.len());
    line.payload.data.len() + line.context.data.len() + result
}

fn is_full(part: &PartEncoder, bounds: Bounds) -> bool {
    part.rows >= bounds.part_rows_max || part.bytes() >= bounds.part_bytes_max
}

/// Encodes lines until the part is full; gives back those that it did not take.
fn encode(
    mut part: PartEncoder,
    lines: Vec<Line>,
    bounds: Bounds,
) -> std::io::Result<(PartEncoder, Vec<Line>)> {
    let mut lines = lines.into_iter();
    while !is_full(&part, bounds) {
        let Some(line) = lines.next() else { break };
        part.push(&line)?;
    }
    Ok((part, lines.collect()))
}
