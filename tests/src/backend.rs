//! The three databases, each with a database of its own for every test.

use asyncflow_store::testing::{
    Durability, Server, ShiftedClock, SmallDisk, SqliteFile, fresh_database, mariadb, postgres,
    start_mariadb, start_mariadb_on, start_mariadb_with, start_postgres, start_postgres_on,
    start_postgres_with,
};

use crate::proxy::Proxy;

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
    file: Option<SqliteFile>,
    /// The server, where this test has one of its own.
    pub(crate) server: Option<Server>,
}

impl Database {
    /// An empty database; starts the server when this process has none yet.
    pub async fn fresh(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => {
                let file = SqliteFile::new();
                Self { url: file.url(), file: Some(file), server: None }
            }
            Backend::MariaDb => Self::on(mariadb()).await,
            Backend::Postgres => Self::on(postgres()).await,
        }
    }

    /// An empty database on a durable server of its own, which may be killed and stopped. SQLite
    /// has no server.
    pub async fn on_its_own_server(backend: Backend) -> Self {
        let server = match backend {
            Backend::Sqlite => return Self::fresh(backend).await,
            Backend::MariaDb => start_mariadb(Durability::Full),
            Backend::Postgres => start_postgres(Durability::Full),
        };
        let database = Self::on(&server).await;
        Self { server: Some(server), ..database }
    }

    /// An empty database that tells the time of this clock: that of its own server, or for SQLite
    /// that of whoever is started with the variables of the clock.
    pub async fn by_the_clock(backend: Backend, clock: &ShiftedClock) -> Self {
        let variables = clock.variables();
        let server = match backend {
            Backend::Sqlite => return Self::fresh(backend).await,
            Backend::MariaDb => start_mariadb_with(Durability::Process, variables),
            Backend::Postgres => start_postgres_with(Durability::Process, variables),
        };
        let database = Self::on(&server).await;
        Self { server: Some(server), ..database }
    }

    /// An empty database on this disk, with a durable server of its own.
    pub async fn on_the_disk(backend: Backend, disk: &SmallDisk) -> Self {
        let server = match backend {
            Backend::Sqlite => {
                let file = SqliteFile::new_on(disk);
                return Self { url: file.url(), file: Some(file), server: None };
            }
            Backend::MariaDb => start_mariadb_on(disk),
            Backend::Postgres => start_postgres_on(disk),
        };
        let database = Self::on(&server).await;
        Self { server: Some(server), ..database }
    }

    async fn on(server: &Server) -> Self {
        Self { url: fresh_database(server).await, file: None, server: None }
    }

    /// Whether it can be written to now. A server sees to that itself: it gives up what a client
    /// left lying.
    pub async fn takes_writes(&self) -> bool {
        match &self.file {
            Some(file) => file.takes_writes().await,
            None => true,
        }
    }

    /// Where it is through a proxy in front of its server.
    ///
    /// # Panics
    /// When it has none.
    pub fn behind_a_proxy(&self) -> (String, Proxy) {
        let address = self.url.split(['@', '/']).find(|part| part.contains("127.0.0.1:"));
        let address = address.unwrap_or_else(|| panic!("no server: {}", self.url));
        let proxy = Proxy::start(address);
        (self.url.replace(address, &proxy.address()), proxy)
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }
}
