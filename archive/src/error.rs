//! What can be wrong with an archive.

/// Why an archive was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The settings cannot be used.
    #[error("the archive {0}")]
    Options(String),
    /// The store refused or could not be reached.
    #[error("cannot {verb} {location}: {source}")]
    Store {
        /// `read`, `write`, `list` or `delete`.
        verb: &'static str,
        /// The URL of the object or folder.
        location: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// What is there is not what was written.
    #[error("{location} is damaged: {what}")]
    Damaged {
        /// The URL of the object.
        location: String,
        /// How it shows.
        what: String,
    },
    /// The archive that is there is not this shard's, or was written meanwhile.
    #[error("the archive at {location} is kept as it is: {why}; move it away if it is not needed")]
    Kept {
        /// The URL of its manifest.
        location: String,
        /// Why it is not replaced.
        why: String,
    },
    /// A line does not fit behind the one before it: a mistake of the caller.
    #[error("the task {id} does not belong behind {after} in an archive of {shard}")]
    Misplaced {
        /// Of the line.
        id: String,
        /// Of the line before it; empty if it is the first.
        after: String,
        /// Whose archive is written.
        shard: String,
    },
    /// A part of the work was lost with its thread.
    #[error("the archive's worker thread died: {0}")]
    Died(#[from] tokio::task::JoinError),
    /// Compression or JSON failed in memory.
    #[error("a line cannot be encoded: {0}")]
    Encode(#[from] std::io::Error),
}

impl ArchiveError {
    /// Whether the same call may go well later: the store was away or another one was faster.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        use object_store::Error as Cause;
        match self {
            Self::Store { source, .. } => !matches!(
                source,
                Cause::PermissionDenied { .. }
                    | Cause::Unauthenticated { .. }
                    | Cause::NotSupported { .. }
                    | Cause::NotImplemented { .. }
                    | Cause::UnknownConfigurationKey { .. }
                    | Cause::InvalidPath { .. }
            ),
            Self::Died(_) => true,
            _ => false,
        }
    }

    pub(crate) fn damaged(location: &str, what: impl Into<String>) -> Self {
        Self::Damaged { location: location.to_owned(), what: what.into() }
    }
}
