//! Whether the file that SQLite has open is still what its path names. Who removes it, or puts
//! another one there, takes nothing away from who has it open: that one goes on writing into a file
//! that nobody will find.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::error::StoreError;

/// A path, and the file that it named when it was opened.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    file: (u64, u64),
}

#[derive(Debug, thiserror::Error)]
#[error(
    "{} is not the file any more that was opened: it was removed, moved or replaced, and what is \
     written now would be lost. Put it back, or start anew with what is there",
    .0.display()
)]
struct Gone(PathBuf);

impl Place {
    /// Of a file that was opened just now; `None` when there is none, as in memory.
    pub fn of(path: &Path) -> Option<Self> {
        let file = identity(&fs::metadata(path).ok()?);
        Some(Self { path: path.to_owned(), file })
    }

    /// Looks at the path: a microsecond, no longer than what SQLite does with it itself.
    ///
    /// # Errors
    /// `Unavailable` when it names another file, or none.
    pub fn check(&self) -> Result<(), StoreError> {
        match fs::metadata(&self.path) {
            Ok(found) if identity(&found) == self.file => Ok(()),
            Ok(_) | Err(_) => Err(StoreError::unavailable(Gone(self.path.clone()))),
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
