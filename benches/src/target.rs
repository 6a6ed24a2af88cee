//! What is measured: a database with full durability, and a broker on it as a process of its own.

use crate::{DatabaseKind, clock::Stopwatch, error::BenchError};
use asyncflow_proto::v1::{
    broker_service_client::BrokerServiceClient, worker_service_client::WorkerServiceClient,
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

/// Dropping it ends the broker, then the database.
pub struct Target {
    broker: Supervised,
    address: String,
    database_url: String,
    _database: Database,
}

enum Database {
    File(#[expect(dead_code, reason = "held so that the file stays")] SqliteFile),
    Server(#[expect(dead_code, reason = "held so that the server runs")] Server),
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
        let port = free_port();
        let settings = [
            ("DATABASE__URL", database_url.clone()),
            ("LISTEN__ADDRESS", format!("127.0.0.1:{port}")),
            ("METRICS__ADDRESS", String::new()),
            ("AUTO_CREATE_TASK_TYPES", "true".to_owned()),
            ("LOG__FILTER", "warn".to_owned()),
        ];
        let variables = settings.map(|(key, value)| (format!("ASYNCFLOW_BROKER__{key}"), value));
        let program = broker.map_or_else(beside_this_program, |path| Ok(path.to_owned()))?;
        let dir = tempfile::tempdir()?.keep();
        let broker = Supervised::start(&dir, &[&program], &variables);
        let address = format!("http://127.0.0.1:{port}");
        let target = Self { broker, address, database_url, _database: database };
        target.until_it_answers().await?;
        Ok(target)
    }

    /// The broker's process.
    pub fn broker_pid(&self) -> u32 {
        self.broker.pid()
    }

    /// For measurements of the store alone.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// A connection of its own.
    pub async fn channel(&self) -> Result<Channel, BenchError> {
        let endpoint = Endpoint::from_shared(self.address.clone())?.tcp_nodelay(true);
        Ok(endpoint.connect().await?)
    }

    /// A client on a connection of its own.
    pub async fn owner(&self) -> Result<BrokerServiceClient<Channel>, BenchError> {
        Ok(BrokerServiceClient::new(self.channel().await?).max_decoding_message_size(64 << 20))
    }

    /// A worker's client on a connection of its own.
    pub async fn worker(&self) -> Result<WorkerServiceClient<Channel>, BenchError> {
        Ok(WorkerServiceClient::new(self.channel().await?).max_decoding_message_size(64 << 20))
    }

    async fn until_it_answers(&self) -> Result<(), BenchError> {
        let waiting = Stopwatch::start();
        loop {
            match self.channel().await {
                Ok(_) => return Ok(()),
                Err(error) if waiting.elapsed() > START_PATIENCE || !self.broker.is_alive() => {
                    let log = self.broker.log_tail();
                    return Err(BenchError::Other(format!("{error}; the broker's log: {log}")));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

async fn served(server: Server) -> (String, Database) {
    (fresh_database(&server).await, Database::Server(server))
}

fn beside_this_program() -> Result<PathBuf, BenchError> {
    let path = std::env::current_exe()?.with_file_name("asyncflow-broker");
    if path.is_file() {
        return Ok(path);
    }
    let hint = "build it with the same profile: cargo build -p asyncflow-broker";
    Err(BenchError::Other(format!("{} is missing; {hint}", path.display())))
}
