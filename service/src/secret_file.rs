//! Files that hold secrets: read only when nobody else on the host can read or change them.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Largest secret file that is read, in bytes.
const SIZE_MAX_BYTES: u64 = 1 << 20;

/// Why a secret file was not read. Never holds any of its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It could not be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could read or change it.
    #[error("{} has mode {mode:04o}; it must be 0600 or stricter (chmod 600 it)", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody who could loosen its mode.
    #[error(
        "{} belongs to uid {uid}; it must belong to this process's user or root",
        path.display()
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// It is a directory, a pipe, or far too large.
    #[error("{} is not an ordinary file of at most 1 MiB", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a secret of mode 0600 or stricter that belongs to this process's user or to root.
///
/// The checks are made on the opened file, so it cannot be swapped between check and read.
///
/// # Errors
/// [`SecretFileError`], which names the file and the rule and never the content.
pub fn read(path: &Path) -> Result<String, SecretFileError> {
    let io = |source| SecretFileError::Io { path: path.to_owned(), source };
    let kind = || SecretFileError::Kind { path: path.to_owned() };
    // The metadata is looked at before opening too: opening a pipe would block for ever.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(kind());
    }
    let file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() || meta.len() > SIZE_MAX_BYTES {
        return Err(kind());
    }
    let mode = meta.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Mode { path: path.to_owned(), mode });
    }
    let uid = meta.uid();
    if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
        return Err(SecretFileError::Owner { path: path.to_owned(), uid });
    }
    let mut text = String::new();
    file.take(SIZE_MAX_BYTES).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn only_the_owner_may_read_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "s3cret").unwrap();
        for (mode, fine) in [(0o644, false), (0o640, false), (0o602, false), (0o600, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match read(&path) {
                Ok(text) => assert!(fine && text == "s3cret", "{mode:o} was accepted"),
                Err(error) => {
                    assert!(!fine, "{error}");
                    assert!(matches!(error, SecretFileError::Mode { .. }), "{error}");
                    assert!(!error.to_string().contains("s3cret"));
                }
            }
        }
        assert!(matches!(read(dir.path()), Err(SecretFileError::Kind { .. })));
        assert!(matches!(read(&dir.path().join("none")), Err(SecretFileError::Io { .. })));
    }
}
