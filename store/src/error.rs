//! What can go wrong with the database, and what a caller may conclude from it.

use std::sync::Arc;

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, mysql::MySqlDatabaseError},
};

/// A cause that can be cloned, because every member of a batch is told it.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why the store could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is too slow, or refused again and again. When the outcome is
    /// unknown a COMMIT was under way: read back before trying again.
    #[error("the database is unavailable: {source}")]
    Unavailable { source: Cause, outcome_unknown: bool },
    /// Another transaction was in the way: deadlock, lock wait, busy. The store retries it itself.
    #[error("another transaction is in the way: {0}")]
    Contended(Cause),
    /// A unique key exists already. The store resolves it where it can happen.
    #[error("the row exists already: {0}")]
    Duplicate(Cause),
    /// A shard's table is gone; the registry has to be read again.
    #[error("a table is gone: {0}")]
    NoSuchTable(Cause),
    /// The task type has no shard that takes tasks.
    #[error("the task type has no open shard")]
    NoSuchShard,
    /// The row was changed by somebody else since it was read.
    #[error("the revision is {current}")]
    Conflict { current: i64 },
    /// The row that was to be changed does not exist.
    #[error("there is no such row")]
    NotFound,
    /// Somebody else leads, or the epoch is an older one.
    #[error("the leadership is lost")]
    NotLeader,
    /// A row holds something that no version of this program writes.
    #[error("the database holds something unreadable: {0}")]
    Corrupt(String),
    /// The options make no sense; nothing was opened.
    #[error("{0}")]
    Options(String),
    /// The database refused a statement for another reason.
    #[error("the database refused: {0}")]
    Refused(Cause),
}

impl StoreError {
    /// Whether the same call may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Contended(_) | Self::NoSuchTable(_))
    }

    /// Whether the change may have been made although the call failed.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::Unavailable { outcome_unknown: true, .. })
    }

    pub(crate) fn unavailable(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unavailable { source: Arc::new(cause), outcome_unknown: false }
    }

    /// The same error, seen at COMMIT: a lost connection then says nothing about the outcome.
    pub(crate) fn at_commit(self) -> Self {
        match self {
            Self::Unavailable { source, .. } => Self::Unavailable { source, outcome_unknown: true },
            other => other,
        }
    }

    /// Contention that did not end counts as an outage for whoever asked.
    pub(crate) fn exhausted(self) -> Self {
        match self {
            Self::Contended(source) | Self::Duplicate(source) | Self::NoSuchTable(source) => {
                Self::Unavailable { source, outcome_unknown: false }
            }
            other => other,
        }
    }

    /// One row of a batch may have caused it, so that the others deserve another try without it.
    pub(crate) fn may_be_one_row(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Corrupt(_))
    }
}

/// The call took longer than `StoreOptions::call_timeout`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no answer within the time limit")]
pub(crate) struct TimedOut;

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        let runtime = match &error {
            DbErr::ConnectionAcquire(_) => return Self::unavailable(error),
            DbErr::Conn(runtime) | DbErr::Exec(runtime) | DbErr::Query(runtime) => runtime,
            DbErr::Type(text) | DbErr::Json(text) => return Self::Corrupt(text.clone()),
            _ => return Self::Refused(Arc::new(error)),
        };
        let RuntimeErr::SqlxError(cause) = runtime else {
            return Self::unavailable(error);
        };
        match &**cause {
            sqlx::Error::Database(database) => by_code(database.as_ref(), Arc::new(error.clone())),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::unavailable(error),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::Corrupt(error.to_string())
            }
            _ => Self::Refused(Arc::new(error)),
        }
    }
}

/// sea-orm knows unique violations only; the rest is told apart by the vendors' numbers.
fn by_code(database: &dyn sqlx::error::DatabaseError, cause: Cause) -> StoreError {
    if database.is_unique_violation() {
        return StoreError::Duplicate(cause);
    }
    if let Some(mysql) = database.try_downcast_ref::<MySqlDatabaseError>() {
        return match mysql.number() {
            // Deadlock, lock wait, record has changed since last read, interrupted statement.
            1213 | 1205 | 1020 | 3024 | 1969 => StoreError::Contended(cause),
            1146 | 1412 => StoreError::NoSuchTable(cause),
            // Too many connections, shutdown, killed, disk full, no room for a table to grow, read
            // only, prepared limit.
            1040 | 1053 | 1927 | 1021 | 1114 | 1290 | 1461 | 1203 | 1226 => unavailable(cause),
            _ => StoreError::Refused(cause),
        };
    }
    let code = database.code().unwrap_or_default();
    match &*code {
        // PostgreSQL: serialization, deadlock, lock not available, tuple concurrently updated.
        "40001" | "40P01" | "55P03" => StoreError::Contended(cause),
        "42P01" => StoreError::NoSuchTable(cause),
        _ if code.len() == 5 && ["08", "53", "57", "25"].iter().any(|c| code.starts_with(c)) => {
            unavailable(cause)
        }
        _ if code.len() == 5 => StoreError::Refused(cause),
        _ => by_sqlite_code(&code, database.message(), cause),
    }
}

/// SQLite gives extended result codes; the low byte is the primary one.
fn by_sqlite_code(code: &str, message: &str, cause: Cause) -> StoreError {
    match code.parse::<i32>().unwrap_or_default() & 0xff {
        // BUSY, LOCKED.
        5 | 6 => StoreError::Contended(cause),
        // READONLY, IOERR, FULL, CANTOPEN.
        8 | 10 | 13 | 14 => unavailable(cause),
        1 if message.starts_with("no such table") => StoreError::NoSuchTable(cause),
        _ => StoreError::Refused(cause),
    }
}

fn unavailable(source: Cause) -> StoreError {
    StoreError::Unavailable { source, outcome_unknown: false }
}
