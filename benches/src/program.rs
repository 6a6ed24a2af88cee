//! A program of ours as a process of its own.

use crate::{clock::Stopwatch, error::BenchError};
use asyncflow_sdk::ChannelOptions;
use asyncflow_store::testing::{Supervised, free_port};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tonic::transport::{Channel, Endpoint};

const START_PATIENCE: Duration = Duration::from_secs(30);

/// Dropping it ends the process.
pub struct Program {
    process: Supervised,
    address: String,
}

impl Program {
    /// Starts `path`, or the program of this name beside us, and returns when it answers.
    pub async fn start(
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

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// How it is reached.
    pub fn options(&self) -> ChannelOptions {
        ChannelOptions::new(self.address.clone())
    }

    /// A connection of its own.
    pub async fn channel(&self) -> Result<Channel, BenchError> {
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

fn beside_this_program(name: &str) -> Result<PathBuf, BenchError> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    let hint = format!("build it with the same profile: cargo build -p {name}");
    Err(BenchError::Other(format!("{} is missing; {hint}", path.display())))
}
