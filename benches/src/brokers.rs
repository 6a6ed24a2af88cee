//! How the brokers under measurement are called: over the channels of the SDK, with token and trace
//! as it sends them, but without its repetitions, which would hide what a broker refuses.

use crate::error::BenchError;
use asyncflow_proto::v1::{
    broker_service_client::BrokerServiceClient, worker_service_client::WorkerServiceClient,
};
use asyncflow_sdk::{AuthorizedChannel, ChannelOptions};
use std::time::Duration;
use tonic::Request;

/// A client of owners of tasks.
pub type Owner = BrokerServiceClient<AuthorizedChannel>;
/// A client of workers.
pub type WorkerCalls = WorkerServiceClient<AuthorizedChannel>;

const CONNECTIONS: usize = 8;
/// A broker takes a thousand at once from a connection.
const CONNECTION_CALLS_MAX: usize = 400;
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// As the SDK's.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// One or more brokers on one database.
#[derive(Clone, Debug)]
pub struct Brokers(Vec<ChannelOptions>);

impl Brokers {
    /// There must be one.
    pub fn new(options: Vec<ChannelOptions>) -> Self {
        Self(options)
    }

    /// The broker of caller `number`: they share the brokers in turn.
    pub fn options(&self, number: usize) -> ChannelOptions {
        self.0[number % self.0.len()].clone()
    }

    /// A client on a connection of its own.
    pub fn owner(&self, number: usize) -> Result<Owner, BenchError> {
        let channel = self.options(number).open()?;
        Ok(Owner::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// A worker's client on a connection of its own.
    pub fn worker(&self, number: usize) -> Result<WorkerCalls, BenchError> {
        let channel = self.options(number).open()?;
        Ok(WorkerCalls::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// `count` clients with one call at a time each, on a few connections.
    pub fn owners(&self, count: usize) -> Result<Vec<Owner>, BenchError> {
        on_few_connections(count, |number| self.owner(number))
    }

    /// The same for workers.
    pub fn workers(&self, count: usize) -> Result<Vec<WorkerCalls>, BenchError> {
        on_few_connections(count, |number| self.worker(number))
    }
}

/// The call with a deadline, as the SDK makes it.
pub fn in_time<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

fn on_few_connections<C: Clone>(
    count: usize,
    connect: impl Fn(usize) -> Result<C, BenchError>,
) -> Result<Vec<C>, BenchError> {
    let connections = count.min(CONNECTIONS).max(count.div_ceil(CONNECTION_CALLS_MAX));
    let clients = (0..connections).map(connect).collect::<Result<Vec<_>, _>>()?;
    Ok(clients.iter().cycle().take(count).cloned().collect())
}
