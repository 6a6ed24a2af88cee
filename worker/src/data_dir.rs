//! The worker's directory: who uses it, what it is called, where things lie in it.
//!
//! ```text
//! data_dir/
//!   lock                     held while a worker runs
//!   worker_id, mark          made at the first start
//!   attempts/<task>.<n>/     one directory per attempt: logs, events, context, work/
//!   gpu_faults.json          what GPUs have done
//!   journal/, rejected/      outcomes to be delivered, and those that nobody will take
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use asyncflow_service::identity::hostname;
use uuid::Uuid;

/// Why the directory cannot be used; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be read or written.
    #[error(
        "data_dir {}: {source}; it has to be a directory that this user can write",
        path.display()
    )]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is kept in it is none of what a worker writes there.
    #[error(
        "{} is damaged: one word was written there. Remove it, and another one is made; end what \
         the former worker left running first, for it is not found without the old one",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Another process uses it.
    #[error(
        "data_dir {} is in use by another worker: stop that one, or give this one its own",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
}

/// The directory, locked as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    worker_id: String,
    mark: String,
    _lock: File,
}

impl DataDir {
    /// Makes what is missing and locks it. `worker_id` empty: the one that is kept in it.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn open(root: &Path, worker_id: &str) -> Result<Self, DataDirError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        for part in ["", "attempts", "journal", "rejected"] {
            let path = root.join(part);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(failed(&path))?;
        }
        let root = fs::canonicalize(root).map_err(failed(root))?;
        let lock_path = root.join("lock");
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path);
        let lock = opened.map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::InUse { path: root }),
            Err(TryLockError::Error(source)) => {
                return Err(DataDirError::Io { path: lock_path, source });
            }
        }
        let kept = |name: &str, make: &dyn Fn() -> String| {
            let path = root.join(name);
            kept(&path, make).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => DataDirError::Damaged { path: path.clone() },
                _ => failed(&path)(error),
            })
        };
        let random = || Uuid::new_v4().simple().to_string();
        let mark = kept("mark", &random)?;
        let worker_id = if worker_id.is_empty() {
            let name = || format!("{:.50}-{:.8}", hostname(), random());
            kept("worker_id", &name)?
        } else {
            worker_id.to_owned()
        };
        Ok(Self { worker_id, mark, _lock: lock, root })
    }

    /// Names the worker across restarts.
    pub fn worker_id(&self) -> &str {
        &self.worker_id
    }

    /// Marks the processes of all tasks that were ever started out of this directory.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Directories of attempts.
    pub fn attempts(&self) -> PathBuf {
        self.root.join("attempts")
    }

    /// Where running tasks call.
    pub fn socket(&self) -> PathBuf {
        self.root.join("attempt.sock")
    }

    /// Outcomes that no broker has confirmed.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Outcomes that no broker will ever take.
    pub fn rejected(&self) -> PathBuf {
        self.root.join("rejected")
    }
}

/// Reads a file of one word, or makes it. One that holds something else is `InvalidData`.
fn kept(path: &Path, make: &dyn Fn() -> String) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => {
            let word = text.trim();
            let is_one = !word.chars().any(|char| char.is_control() || char.is_whitespace());
            return is_one.then(|| word.to_owned()).ok_or(io::ErrorKind::InvalidData.into());
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(_) | Err(_) => {}
    }
    let text = make();
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::{DataDir, DataDirError};

    #[test]
    fn it_is_used_by_one_and_keeps_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path(), "").unwrap();
        let names = (first.worker_id().to_owned(), first.mark().to_owned());
        assert!(matches!(DataDir::open(dir.path(), ""), Err(DataDirError::InUse { .. })));
        drop(first);
        let second = DataDir::open(dir.path(), "").unwrap();
        assert_eq!((second.worker_id().to_owned(), second.mark().to_owned()), names);
        drop(second);
        assert_eq!(DataDir::open(dir.path(), "named").unwrap().worker_id(), "named");
    }

    #[test]
    fn a_name_that_is_damaged_is_not_used_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path(), "").unwrap());
        let mark = dir.path().join("mark");
        for damaged in [&b"\xff\xfe\x00"[..], b"two\0words", b"two words"] {
            std::fs::write(&mark, damaged).unwrap();
            let error = DataDir::open(dir.path(), "").unwrap_err().to_string();
            assert!(error.contains("mark is damaged") && error.contains("Remove"), "{error}");
            assert_eq!(std::fs::read(&mark).unwrap(), damaged);
        }
        std::fs::remove_file(&mark).unwrap();
        DataDir::open(dir.path(), "").unwrap();
    }

    #[test]
    fn a_file_in_its_place_is_an_error_that_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let error = DataDir::open(&path, "").unwrap_err().to_string();
        assert!(error.contains("has to be a directory"), "{error}");
    }
}
