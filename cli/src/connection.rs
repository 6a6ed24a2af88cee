//! How the client commands reach broker and governor.

use crate::error::CliError;
use asyncflow_proto::v1::{
    CreateTaskRequest, CreateTaskResponse, governor_service_client::GovernorServiceClient,
};
use asyncflow_sdk::{AuthorizedChannel, ChannelOptions, Client, ClientOptions, Error};
use std::{env, ffi::OsString, path::PathBuf, time::Duration};
use tonic::{Response, Status};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often in a row what waits for an end tries to reach the broker: ten minutes.
const PATIENT_RETRIES: usize = 125;
/// It says so when it has not reached it so often in a row: within a second.
const TOLD_AFTER: usize = 3;

/// Flags of every command that talks to a server.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct Credentials {
    /// File that holds the token; the token itself may be in ASYNCFLOW_TOKEN
    #[arg(long, env = "ASYNCFLOW_TOKEN_FILE", value_name = "FILE", global = true)]
    token_file: Option<OsString>,
    /// PEM file of the authority that signed the server's certificate (for https)
    #[arg(long, env = "ASYNCFLOW_CA_FILE", value_name = "FILE", global = true)]
    ca_file: Option<OsString>,
}

impl Credentials {
    /// `ASYNCFLOW_TOKEN` wins over the file. There is no flag for the token itself, because other
    /// users of the machine could read it from the list of processes.
    fn token(&self) -> Result<Option<String>, CliError> {
        if let Ok(token) = env::var("ASYNCFLOW_TOKEN")
            && !token.is_empty()
        {
            return Ok(Some(token));
        }
        let Some(path) = given(self.token_file.as_ref()) else { return Ok(None) };
        let text = std::fs::read_to_string(&path).map_err(|error| CliError::file(&path, &error))?;
        Ok(Some(text.trim().to_owned()))
    }
}

/// An empty variable is as good as none: `ASYNCFLOW_CA_FILE= asyncflow …` takes it away.
fn given(path: Option<&OsString>) -> Option<PathBuf> {
    path.filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Where the broker is.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct BrokerAddress {
    /// The broker's address
    #[arg(
        long,
        env = "ASYNCFLOW_BROKER",
        value_name = "URL",
        default_value = "http://127.0.0.1:7070",
        global = true
    )]
    broker: String,
    /// How often a call is repeated while the broker is away. What follows a task or waits for an
    /// end goes on for ten minutes once it has begun, unless this is 0
    #[arg(long, value_name = "N", default_value_t = 2, global = true)]
    connect_retries: usize,
    #[command(flatten)]
    credentials: Credentials,
}

impl BrokerAddress {
    /// A client; it connects at its first call.
    pub fn open(&self) -> Result<Broker, CliError> {
        let options = ClientOptions {
            address: self.broker.clone(),
            token: self.credentials.token()?,
            ca_file: given(self.credentials.ca_file.as_ref()),
            connect_timeout: CONNECT_TIMEOUT,
            retries_max: self.connect_retries,
            ..ClientOptions::default()
        };
        let client = Client::connect(options).map_err(|error| self.explain(error))?;
        Ok(Broker { client, address: self.clone() })
    }

    fn explain(&self, error: Error) -> CliError {
        CliError::Call { error, server: "broker", address: self.broker.clone() }
    }
}

/// A client that knows where it is connected to, for messages.
#[derive(Clone)]
pub struct Broker {
    pub client: Client,
    address: BrokerAddress,
}

impl Broker {
    /// Turns a call's error into one for people.
    pub fn explain(&self, error: Error) -> CliError {
        self.address.explain(error)
    }

    /// The same for what waits until something has ended. The broker may be away for minutes then,
    /// as when it is started anew; `say` hears of it once each time.
    pub fn patient(&self, say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let retries_max = match self.address.connect_retries {
            0 => 0,
            retries => retries.max(PATIENT_RETRIES),
        };
        let address = self.address.broker.clone();
        let told = move |error: &Error, failures| {
            if failures == TOLD_AFTER {
                say(&format!("waiting for the broker at {address}: {error}"));
            }
        };
        Self { client: self.client.persistent(retries_max, told), address: self.address.clone() }
    }

    /// Creates a task. Where no answer came, the error says so, and how to find out.
    pub async fn create(
        &self,
        mut request: CreateTaskRequest,
    ) -> Result<CreateTaskResponse, CliError> {
        if request.request_id.is_empty() {
            request.request_id = uuid::Uuid::now_v7().to_string();
        }
        let (request_id, is_kept) = (request.request_id.clone(), !request.validate_only);
        self.client.create_with(request).await.map_err(|error| {
            let is_unknown = is_kept && error.is_outcome_unknown();
            let error = self.explain(error);
            if is_unknown { CliError::Unconfirmed(Box::new(error), request_id) } else { error }
        })
    }
}

/// Where the governor is.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct GovernorAddress {
    /// The governor's address
    #[arg(
        long,
        env = "ASYNCFLOW_GOVERNOR",
        value_name = "URL",
        default_value = "http://127.0.0.1:7080"
    )]
    governor: String,
    #[command(flatten)]
    credentials: Credentials,
}

impl GovernorAddress {
    /// A client; it connects at its first call.
    pub fn open(self) -> Result<Governor, CliError> {
        let options = ChannelOptions {
            address: self.governor.clone(),
            token: self.credentials.token()?,
            ca_file: given(self.credentials.ca_file.as_ref()),
            connect_timeout: CONNECT_TIMEOUT,
        };
        let channel = options.open().map_err(|error| self.explain(error))?;
        Ok(Governor { client: GovernorServiceClient::new(channel), address: self })
    }

    fn explain(&self, error: impl Into<Error>) -> CliError {
        CliError::Call { error: error.into(), server: "governor", address: self.governor.clone() }
    }
}

type GovernorClient = GovernorServiceClient<AuthorizedChannel>;

/// A client that knows where it is connected to, for messages.
pub struct Governor {
    client: GovernorClient,
    address: GovernorAddress,
}

impl Governor {
    /// Makes one call; its error is one for people.
    pub async fn call<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut GovernorClient) -> Result<Response<T>, Status>,
    ) -> Result<T, CliError> {
        let answer = call(&mut self.client).await;
        answer.map(Response::into_inner).map_err(|status| self.address.explain(status))
    }
}

/// What a well-behaved governor's answer always holds.
pub fn required<T>(part: Option<T>, name: &str) -> Result<T, CliError> {
    part.ok_or_else(|| CliError::Failed(format!("the governor's answer holds no {name}")))
}
