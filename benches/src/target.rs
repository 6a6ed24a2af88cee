//! What is measured: a database with full durability, and a broker on it as a process of its own;
//! for those who want it a governor too.

use crate::{DatabaseKind, clock::Stopwatch, error::BenchError};
use asyncflow_proto::v1::{
    broker_service_client::BrokerServiceClient, governor_service_client::GovernorServiceClient,
    worker_service_client::WorkerServiceClient,
};
use asyncflow_store::testing::{
    Durability, Server, SqliteFile, Supervised, free_port, fresh_database, start_mariadb,
    start_postgres,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tonic::transport::{Channel, Endpoint};

const START_PATIENCE: Duration = Duration::from_secs(30);

/// Dropping it ends governor and broker, then the database.
pub struct Target {
    governor: Option<Program>,
    broker: Program,
    database_url: String,
    database: Database,
}

enum Database {
    File(SqliteFile),
    Server(Server),
}

impl Target {
    /// Starts database and broker, and returns when the broker answers.
    pub async fn start(kind: DatabaseKind, broker: Option<&Path>) -> Result<Self, BenchError> {
        let (database_url, database) = match kind {
            DatabaseKind::Sqlite => {
                let file = SqliteFile::new();
                (file.url(), Database::File(file))
            }
            DatabaseKind::Mariadb => served(start_mariadb(Durability::Full)).await,
            DatabaseKind::Postgres => served(start_postgres(Durability::Full)).await,
        };
        let settings = [("AUTO_CREATE_TASK_TYPES", "true")];
        let broker = Program::start("asyncflow-broker", broker, &database_url, &settings).await?;
        Ok(Self { governor: None, broker, database_url, database })
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
        let programs = [Some(&self.broker), self.governor.as_ref()].into_iter().flatten();
        programs.map(|program| program.process.log_tail()).collect::<Vec<_>>().join("\n")
    }

    /// The broker's process.
    pub fn broker_pid(&self) -> u32 {
        self.broker.process.pid()
    }

    /// For measurements of the store alone.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// A connection of its own.
    pub async fn channel(&self) -> Result<Channel, BenchError> {
        self.broker.channel().await
    }

    /// A client on a connection of its own.
    pub async fn owner(&self) -> Result<BrokerServiceClient<Channel>, BenchError> {
        Ok(BrokerServiceClient::new(self.channel().await?).max_decoding_message_size(64 << 20))
    }

    /// A worker's client on a connection of its own.
    pub async fn worker(&self) -> Result<WorkerServiceClient<Channel>, BenchError> {
        Ok(WorkerServiceClient::new(self.channel().await?).max_decoding_message_size(64 << 20))
    }
}

/// A program of ours as a process of its own.
struct Program {
    process: Supervised,
    address: String,
}

impl Program {
    /// Starts `path`, or the program of this name beside us, and returns when it answers.
    async fn start(
        name: &str,
        path: Option<&Path>,
        database_url: &str,
        settings: &[(&str, &str)],
    ) -> Result<Self, BenchError> {
        let listen = format!("127.0.0.1:{}", free_port());
        let common = [
            ("DATABASE__URL", database_url),
            ("LISTEN__ADDRESS", &listen),
            ("METRICS__ADDRESS", ""),
            ("LOG__FILTER", "warn"),
        ];
        let prefix = name.to_uppercase().replace('-', "_");
        let variables: Vec<_> = (common.iter().chain(settings))
            .map(|(key, value)| (format!("{prefix}__{key}"), (*value).to_owned()))
            .collect();
        let path = path.map_or_else(|| beside_this_program(name), |path| Ok(path.to_owned()))?;
        let dir = tempfile::tempdir()?.keep();
        let process = Supervised::start(&dir, &[&path], &variables);
        let program = Self { process, address: format!("http://{listen}") };
        program.until_it_answers(name).await?;
        Ok(program)
    }

    async fn channel(&self) -> Result<Channel, BenchError> {
        let endpoint = Endpoint::from_shared(self.address.clone())?.tcp_nodelay(true);
        Ok(endpoint.connect().await?)
    }

    async fn until_it_answers(&self, name: &str) -> Result<(), BenchError> {
        let waiting = Stopwatch::start();
        loop {
            match self.channel().await {
                Ok(_) => return Ok(()),
                Err(error) if waiting.elapsed() > START_PATIENCE || !self.process.is_alive() => {
                    let log = self.process.log_tail();
                    return Err(BenchError::Other(format!("{error}; the log of {name}: {log}")));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

async fn served(server: Server) -> (String, Database) {
    (fresh_database(&server).await, Database::Server(server))
}

fn beside_this_program(name: &str) -> Result<PathBuf, BenchError> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    let hint = format!("build it with the same profile: cargo build -p {name}");
    Err(BenchError::Other(format!("{} is missing; {hint}", path.display())))
}
