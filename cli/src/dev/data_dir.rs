//! The directory of `asyncflow dev`: one process at a time, and never one of a newer version.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// Raised when a newer version of this program could not read what an older one left, or the other
/// way round. The tables have their own versions, kept by migrations.
const FORMAT: u32 = 1;

/// A directory that this process holds; the lock ends with the process, however it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: Lock,
}

#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// Closing alone would not end it: a child that is just being started has the file, too.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Why the directory cannot be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error(
        "the data directory {path} is in use by another process{holder}\n  \
         talk to that one, stop it, or take another directory by --data-dir"
    )]
    InUse { path: String, holder: String },
    #[error(
        "the data directory {path} was written by a newer version (format {found}, this one knows \
         {FORMAT})\n  use that version, or take another directory by --data-dir"
    )]
    Newer { path: String, found: String },
    #[error(
        "the data directory {path} cannot be written to: {source}\n  \
         give this user the right to write there, or take another directory by --data-dir"
    )]
    Unusable { path: String, source: io::Error },
    #[error(
        "the data directory {path} is no directory\n  \
         take another one by --data-dir, or move away what is there"
    )]
    NoDirectory { path: String },
    #[error(
        "the file `format` in the data directory {path} says {found:?} where a number is meant\n  \
         if asyncflow made the directory, write {FORMAT} into that file; else take another \
         directory by --data-dir"
    )]
    Unreadable { path: String, found: String },
    #[error("the data directory {path} cannot be used: its path has one of `?`, `#`, `%`")]
    Path { path: String },
}

impl DataDir {
    /// Makes the directory where it is missing, and locks it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let shown = path.display().to_string();
        let unusable = |source| DataDirError::Unusable { path: shown.clone(), source };
        if path.exists() && !path.is_dir() {
            return Err(DataDirError::NoDirectory { path: shown });
        }
        // What tasks carry is in there, and is nobody else's business.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let path = fs::canonicalize(path).map_err(unusable)?;
        let text = path.to_str().ok_or(DataDirError::Path { path: shown.clone() })?;
        if text.contains(['?', '#', '%']) {
            // They mean something else inside the address of a SQLite database.
            return Err(DataDirError::Path { path: shown });
        }
        let lock = lock(&path.join("dev.lock"), &shown)?;
        check_format(&path.join("format"), &shown)?;
        Ok(Self { path, _lock: lock })
    }

    pub fn database_file(&self) -> PathBuf {
        self.path.join("asyncflow.db")
    }

    pub fn database_url(&self) -> String {
        format!("sqlite://{}", self.database_file().display())
    }

    pub fn worker_dir(&self) -> PathBuf {
        self.path.join("worker")
    }

    pub fn ready_file(&self) -> PathBuf {
        self.path.join("dev.json")
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(file: &Path, shown: &str) -> Result<Lock, DataDirError> {
    let unusable = |source| DataDirError::Unusable { path: shown.to_owned(), source };
    let mut options = OpenOptions::new();
    let mut lock =
        options.read(true).write(true).create(true).truncate(false).open(file).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let holder = match lock.read_to_string(&mut pid) {
                Ok(_) if !pid.trim().is_empty() => format!(" (pid {})", pid.trim()),
                _ => String::new(),
            };
            return Err(DataDirError::InUse { path: shown.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(unusable(source)),
    }
    let write = |lock: &mut File| {
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())
    };
    let mut lock = Lock(lock);
    write(&mut lock.0).map_err(unusable)?;
    Ok(lock)
}

fn check_format(file: &Path, shown: &str) -> Result<(), DataDirError> {
    let unusable = |source| DataDirError::Unusable { path: shown.to_owned(), source };
    match fs::read_to_string(file) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(format) if format <= FORMAT => Ok(()),
            Ok(newer) => {
                Err(DataDirError::Newer { path: shown.to_owned(), found: newer.to_string() })
            }
            Err(_) => {
                let found = text.trim().chars().take(20).collect();
                Err(DataDirError::Unreadable { path: shown.to_owned(), found })
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::write(file, format!("{FORMAT}\n")).map_err(unusable)
        }
        Err(error) => Err(unusable(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_directory_is_held_by_one_and_free_again_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let held = DataDir::open(&path).unwrap();
        let second = DataDir::open(&path).unwrap_err();
        assert!(matches!(second, DataDirError::InUse { .. }));
        assert!(second.to_string().contains(&format!("pid {}", std::process::id())), "{second}");
        drop(held);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn it_is_free_after_it_though_a_child_still_has_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::open(dir.path()).unwrap();
        let inherited = held._lock.0.try_clone().unwrap();
        drop(held);
        DataDir::open(dir.path()).unwrap();
        drop(inherited);
    }

    #[test]
    fn a_newer_format_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path()).unwrap());
        for (found, part) in [("2", "newer"), ("99\n", "newer"), ("abc", "\"abc\""), ("", "\"\"")] {
            fs::write(dir.path().join("format"), found).unwrap();
            let text = DataDir::open(dir.path()).unwrap_err().to_string();
            assert!(text.contains(part) && text.contains("--data-dir"), "{text}");
            assert_eq!(fs::read_to_string(dir.path().join("format")).unwrap(), found);
        }
    }

    #[test]
    fn a_file_in_its_place_is_told_as_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = DataDir::open(file.path()).unwrap_err().to_string();
        let shown = file.path().display().to_string();
        assert!(text.contains("is no directory") && text.contains(&shown), "{text}");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told_with_its_path() {
        let error = DataDir::open(Path::new("/dev/null/x")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/dev/null/x") && text.contains("--data-dir"), "{text}");
    }
}
