//! A SQLite file for tests.

use std::path::Path;

use tempfile::TempDir;

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

    /// The directory of the file and of what SQLite keeps beside it.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// The URL of the file.
    pub fn url(&self) -> String {
        format!("sqlite://{}/asyncflow.db?mode=rwc", self.dir.path().display())
    }
}

impl Default for SqliteFile {
    fn default() -> Self {
        Self::new()
    }
}
