//! The three databases, each with a database of its own for every test.

use asyncflow_store::testing::{SqliteFile, fresh_database, mariadb, postgres};

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    MariaDb,
    Postgres,
}

/// A database for one test.
pub struct Database {
    url: String,
    /// Removed with this.
    _file: Option<SqliteFile>,
}

impl Database {
    /// An empty database; starts the server when this process has none yet.
    pub async fn fresh(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => {
                let file = SqliteFile::new();
                Self { url: file.url(), _file: Some(file) }
            }
            Backend::MariaDb => Self { url: fresh_database(mariadb()).await, _file: None },
            Backend::Postgres => Self { url: fresh_database(postgres()).await, _file: None },
        }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }
}
