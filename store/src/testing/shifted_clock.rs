//! A clock that goes wrong when a test wants it to.

use std::path::PathBuf;

use tempfile::TempDir;

/// The time of day of the processes that are started with its variables, which may jump while they
/// run; libfaketime sees to that. Their monotonic clocks go on as they did.
pub struct ShiftedClock {
    dir: TempDir,
    library: PathBuf,
}

impl ShiftedClock {
    /// It goes right.
    ///
    /// # Panics
    /// When the package `faketime` is not installed.
    pub fn new() -> Self {
        let dir = super::server::open_dir("clock");
        let clock = Self { dir, library: library() };
        clock.shift(0);
        clock
    }

    /// From now on it is so many seconds ahead, or behind when negative.
    ///
    /// # Panics
    /// When its file cannot be written.
    pub fn shift(&self, seconds: i64) {
        // A reader sees the old file or the new one, and no half of either.
        let new = self.dir.path().join("new");
        let written = std::fs::write(&new, format!("{seconds:+}\n"));
        let written = written.and_then(|()| std::fs::rename(&new, self.file()));
        assert!(written.is_ok(), "cannot write {}: {written:?}", self.file().display());
    }

    /// What a process needs in its environment.
    pub fn variables(&self) -> Vec<(String, String)> {
        let (library, file) = (self.library.display(), self.file());
        let variables = [
            ("LD_PRELOAD", library.to_string()),
            ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("shift")
    }
}

impl Default for ShiftedClock {
    fn default() -> Self {
        Self::new()
    }
}

/// The library for programs with threads, in the folder of whatever architecture this is.
fn library() -> PathBuf {
    let roots = ["/usr/lib", "/usr/local/lib"].map(PathBuf::from);
    let below = roots.iter().flat_map(std::fs::read_dir).flatten().flatten().map(|e| e.path());
    let folders: Vec<PathBuf> = below.chain(roots.iter().cloned()).collect();
    folders
        .iter()
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.is_file())
        .unwrap_or_else(|| panic!("libfaketime is missing: install the package faketime"))
}
