//! A SQLite file for tests.

use std::{path::Path, time::Duration};

use sea_orm::{ConnectionTrait, Database};
use tempfile::TempDir;

use super::small_disk::SmallDisk;

/// No write of a process that runs takes longer.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// A database file in a directory of its own, removed when this is dropped.
pub struct SqliteFile {
    dir: TempDir,
}

impl SqliteFile {
    /// A file that does not exist yet.
    ///
    /// # Panics
    /// When no temporary directory can be made.
    pub fn new() -> Self {
        let dir = tempfile::tempdir();
        Self { dir: dir.unwrap_or_else(|error| panic!("no temporary directory: {error}")) }
    }

    /// The same on this disk.
    ///
    /// # Panics
    /// When no directory can be made there.
    pub fn new_on(disk: &SmallDisk) -> Self {
        let dir = tempfile::tempdir_in(disk.path());
        Self { dir: dir.unwrap_or_else(|error| panic!("no directory on the disk: {error}")) }
    }

    /// The directory of the file and of what SQLite keeps beside it.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// The URL of the file.
    pub fn url(&self) -> String {
        format!("sqlite://{}/asyncflow.db?mode=rwc", self.dir.path().display())
    }

    /// Whether somebody else can write: false when one who holds the lock of all writes does not
    /// give it back within [`LOCK_WAIT`].
    ///
    /// # Panics
    /// When the file cannot be opened.
    pub async fn takes_writes(&self) -> bool {
        let connection = Database::connect(self.url()).await;
        let connection = connection.unwrap_or_else(|error| panic!("{}: {error}", self.url()));
        let wait = format!("PRAGMA busy_timeout = {}", LOCK_WAIT.as_millis());
        let ready = connection.execute_unprepared(&wait).await;
        assert!(ready.is_ok(), "{ready:?}");
        let taken = connection.execute_unprepared("BEGIN IMMEDIATE; ROLLBACK").await.is_ok();
        drop(connection.close().await);
        taken
    }
}

impl Default for SqliteFile {
    fn default() -> Self {
        Self::new()
    }
}
