//! What is measured: a database with full durability, and brokers on it as processes of their own;
//! for those who want it Redis and a governor too.

use crate::{
    DatabaseKind,
    brokers::{Brokers, Owner},
    error::BenchError,
    program::Program,
};
use asyncflow_proto::v1::governor_service_client::GovernorServiceClient;
use asyncflow_store::testing::{
    Durability, Server, SqliteFile, fresh_database, start_mariadb, start_postgres, start_redis,
};
use std::path::{Path, PathBuf};
use tonic::transport::Channel;

/// Dropping it ends governor and brokers, then the servers.
pub struct Target {
    governor: Option<Program>,
    programs: Vec<Program>,
    brokers: Brokers,
    database_url: String,
    database: Database,
    /// Held so that it ends after those who use it.
    _redis: Option<Server>,
}

enum Database {
    File(SqliteFile),
    Server(Server),
}

/// What is started.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    pub kind: DatabaseKind,
    pub brokers: usize,
    pub redis: bool,
    /// The broker's program; else the one beside this program.
    pub program: Option<&'a Path>,
}

impl<'a> Plan<'a> {
    /// One broker and no Redis.
    pub fn one_broker(kind: DatabaseKind, program: Option<&'a Path>) -> Self {
        Self { kind, brokers: 1, redis: false, program }
    }

    /// Several brokers thin out their claims by the lock that they share.
    fn lock(self) -> &'static str {
        match (self.redis, self.brokers) {
            (true, _) => "redis",
            (false, 2..) => "database",
            (false, _) => "memory",
        }
    }
}

impl Target {
    /// Starts servers and brokers, and returns when the brokers answer.
    pub async fn start(plan: Plan<'_>) -> Result<Self, BenchError> {
        let redis = plan.redis.then(start_redis);
        let (database_url, database) = match plan.kind {
            DatabaseKind::Sqlite if plan.brokers > 1 => {
                let text = "SQLite is for one broker; several share a MariaDB or a PostgreSQL";
                return Err(BenchError::Other(text.to_owned()));
            }
            DatabaseKind::Sqlite => {
                let file = SqliteFile::new();
                (file.url(), Database::File(file))
            }
            DatabaseKind::Mariadb => served(start_mariadb(Durability::Full)).await,
            DatabaseKind::Postgres => served(start_postgres(Durability::Full)).await,
        };
        let redis_url = redis.as_ref().map(Server::admin_url).unwrap_or_default();
        let settings = [
            ("AUTO_CREATE_TASK_TYPES", "true"),
            ("DISPATCH__LOCK", plan.lock()),
            ("REDIS__URL", &redis_url),
        ];
        let mut programs = Vec::new();
        for _ in 0..plan.brokers.max(1) {
            let broker = Program::start("asyncflow-broker", plan.program, &database_url, &settings);
            programs.push(broker.await?);
        }
        let brokers = Brokers::new(programs.iter().map(Program::options).collect());
        Ok(Self { governor: None, programs, brokers, database_url, database, _redis: redis })
    }

    /// Starts a governor with its default settings, and returns when it answers.
    pub async fn start_governor(&mut self) -> Result<(), BenchError> {
        let governor = Program::start("asyncflow-governor", None, &self.database_url, &[]).await?;
        self.governor = Some(governor);
        Ok(())
    }

    /// The governor's client on a connection of its own.
    pub async fn governor(&self) -> Result<GovernorServiceClient<Channel>, BenchError> {
        let governor = self.governor.as_ref();
        let governor =
            governor.ok_or_else(|| BenchError::Other("no governor was started".to_owned()))?;
        Ok(GovernorServiceClient::new(governor.channel().await?))
    }

    /// The folder of the tables' files, without logs that every database keeps beside them.
    pub fn table_folder(&self) -> PathBuf {
        match &self.database {
            Database::File(file) => file.folder().to_owned(),
            Database::Server(server) => {
                // MariaDB has a folder for each database, PostgreSQL one for all.
                let name = self.database_url.rsplit('/').next().unwrap_or_default();
                let folders = [name, "base"].map(|folder| server.data_folder().join(folder));
                let found = folders.iter().find(|folder| folder.is_dir());
                found.unwrap_or(&folders[0]).clone()
            }
        }
    }

    /// What the processes wrote last, for people who look for the reason of a failure.
    pub fn log_tails(&self) -> String {
        let programs = self.programs.iter().chain(&self.governor);
        programs.map(Program::log_tail).collect::<Vec<_>>().join("\n")
    }

    /// The brokers' processes.
    pub fn broker_pids(&self) -> Vec<u32> {
        self.programs.iter().map(Program::pid).collect()
    }

    /// The database server's process; SQLite has none.
    pub fn database_pid(&self) -> Option<u32> {
        match &self.database {
            Database::File(_) => None,
            Database::Server(server) => Some(server.process().pid()),
        }
    }

    /// For measurements of the store alone.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    pub fn brokers(&self) -> &Brokers {
        &self.brokers
    }

    /// A connection of its own to the first broker.
    pub async fn channel(&self) -> Result<Channel, BenchError> {
        self.programs[0].channel().await
    }

    /// A client of the first broker on a connection of its own.
    pub fn owner(&self) -> Result<Owner, BenchError> {
        self.brokers.owner(0)
    }
}

async fn served(server: Server) -> (String, Database) {
    (fresh_database(&server).await, Database::Server(server))
}
