//! Outcomes that no broker has confirmed, one file each, durable before the broker is called.
//!
//! `<task>.<attempt>.<complete|fail|release>` holds the encoded request. It is written under
//! another name, synced and renamed, so that a file with this name is whole; one that a disk has
//! damaged all the same is told by its checksum ([`entry`]), and not delivered.

pub mod entry;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use asyncflow_sdk::{
    v1::Lease,
    worker::{ResultJournal, SettleCall},
};

use entry::KINDS;

/// The journal of one data directory.
#[derive(Clone, Debug)]
pub struct FileJournal {
    dir: PathBuf,
    rejected: PathBuf,
}

impl FileJournal {
    /// Both directories must exist.
    pub fn new(dir: PathBuf, rejected: PathBuf) -> Self {
        Self { dir, rejected }
    }

    fn write(&self, call: &SettleCall) -> io::Result<()> {
        let at = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.dir.display()))
        };
        self.write_synced(call).map_err(at)
    }

    fn write_synced(&self, call: &SettleCall) -> io::Result<()> {
        let lease = call.lease().ok_or_else(|| io::Error::other("the outcome has no lease"))?;
        let (kind, bytes) = entry::encode(call);
        let path = self.dir.join(format!("{}.{kind}", stem(lease)));
        let unfinished = path.with_extension("unfinished");
        let mut file = File::create(&unfinished)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        File::open(&self.dir)?.sync_all()
    }

    fn paths_of(&self, lease: &Lease) -> impl Iterator<Item = PathBuf> {
        let stem = stem(lease);
        let dir = self.dir.clone();
        KINDS.into_iter().map(move |kind| dir.join(format!("{stem}.{kind}")))
    }

    fn forget(&self, lease: &Lease) {
        for path in self.paths_of(lease) {
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                // It is delivered again at the next start, which the broker answers as a replay.
                tracing::warn!(path = %path.display(), %error, "cannot remove");
            }
        }
    }

    fn reject(&self, lease: &Lease, why: &str) {
        for path in self.paths_of(lease).filter(|path| path.exists()) {
            let Some(name) = path.file_name() else { continue };
            let target = self.rejected.join(name);
            let mut reason = target.clone().into_os_string();
            reason.push(".why");
            let moved = fs::write(&reason, why).and_then(|()| fs::rename(&path, &target));
            if let Err(error) = moved {
                tracing::warn!(path = %path.display(), %error, "cannot move to rejected");
            }
        }
    }

    fn read_all(&self) -> io::Result<Vec<SettleCall>> {
        let mut calls = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            match read(&path) {
                Ok(Some(call)) => calls.push(call),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "journal entry is unreadable");
                }
            }
        }
        Ok(calls)
    }
}

fn stem(lease: &Lease) -> String {
    // Ids are made of [a-z0-9_-] by the broker; anything else must not become part of a path.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let id: String = lease.task_id.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    format!("{id}.{}", lease.attempt)
}

fn read(path: &Path) -> io::Result<Option<SettleCall>> {
    let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    match KINDS.contains(&kind) {
        true => entry::decode(kind, &fs::read(path)?).map(Some),
        false => Ok(None),
    }
}

impl FileJournal {
    async fn blocking<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> io::Result<T> {
        let journal = self.clone();
        tokio::task::spawn_blocking(move || run(&journal)).await.map_err(io::Error::other)
    }
}

#[async_trait]
impl ResultJournal for FileJournal {
    async fn record(&self, call: &SettleCall) -> io::Result<()> {
        let call = call.clone();
        self.blocking(move |journal| journal.write(&call)).await?
    }

    async fn confirmed(&self, lease: &Lease) {
        let lease = lease.clone();
        let _ = self.blocking(move |journal| journal.forget(&lease)).await;
    }

    async fn rejected(&self, lease: &Lease, why: &str) {
        let (lease, why) = (lease.clone(), why.to_owned());
        let _ = self.blocking(move |journal| journal.reject(&lease, &why)).await;
    }

    async fn pending(&self) -> Vec<SettleCall> {
        let read = self.blocking(FileJournal::read_all).await;
        read.and_then(|calls| calls).unwrap_or_else(|error| {
            tracing::error!(%error, "the journal cannot be read");
            Vec::new()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use asyncflow_sdk::v1::{
        CompleteTaskRequest, Content, FailTaskRequest, Failure, FailureReason, ReleaseTaskRequest,
    };

    use super::*;

    pub fn calls() -> Vec<SettleCall> {
        let lease = |task_id: &str| Some(Lease { task_id: task_id.to_owned(), attempt: 2 });
        let failure = Failure { reason: FailureReason::Drained.into(), message: "m".to_owned() };
        vec![
            SettleCall::Complete(CompleteTaskRequest {
                lease: lease("a-1-x"),
                result: Some(Content { data: "{\"loss\":0.1}".into(), ..Content::default() }),
                exit_code: Some(0),
                ..CompleteTaskRequest::default()
            }),
            SettleCall::Fail(FailTaskRequest {
                lease: lease("b-1-x"),
                failure: Some(failure.clone()),
                permanent: true,
                ..FailTaskRequest::default()
            }),
            SettleCall::Release(ReleaseTaskRequest {
                lease: lease("c-1-x"),
                failure: Some(failure),
                ..ReleaseTaskRequest::default()
            }),
        ]
    }

    #[tokio::test]
    async fn what_is_recorded_is_there_until_it_is_confirmed_or_rejected() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, rejected) = (dir.path().join("journal"), dir.path().join("rejected"));
        fs::create_dir(&kept).unwrap();
        fs::create_dir(&rejected).unwrap();
        let journal = FileJournal::new(kept.clone(), rejected.clone());
        for call in calls() {
            journal.record(&call).await.unwrap();
        }
        fs::write(kept.join("half.1.unfinished"), "torn").unwrap();
        fs::write(kept.join("bad.1.fail"), [0xff; 9]).unwrap();
        fs::write(kept.join("empty.1.complete"), "").unwrap();
        let whole = fs::read(kept.join("a-1-x.2.complete")).unwrap();
        fs::write(kept.join("cut.2.complete"), &whole[..whole.len() - 1]).unwrap();
        let again = FileJournal::new(kept.clone(), rejected.clone());
        let mut pending = again.pending().await;
        pending.sort_by_key(|call| call.lease().unwrap().task_id.clone());
        assert_eq!(pending, calls());

        again.confirmed(pending[0].lease().unwrap()).await;
        again.rejected(pending[1].lease().unwrap(), "LEASE_LOST").await;
        assert_eq!(again.pending().await, calls()[2..]);
        assert!(rejected.join("b-1-x.2.fail").exists());
        assert_eq!(fs::read_to_string(rejected.join("b-1-x.2.fail.why")).unwrap(), "LEASE_LOST");
    }

    #[tokio::test]
    async fn a_disk_that_refuses_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        let journal = FileJournal::new(gone.clone(), gone);
        assert!(journal.record(&calls()[0]).await.is_err());
    }
}
