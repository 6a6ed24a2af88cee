//! Starts a broker on a database file of its own and calls it.

use std::{
    fs, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration,
};

use asyncflow_broker::{Args, BrokerConfig, BrokerError, config};
use asyncflow_proto::v1::{
    self, broker_service_client::BrokerServiceClient, host_service_client::HostServiceClient,
    operation_service_client::OperationServiceClient,
    schedule_service_client::ScheduleServiceClient, worker_service_client::WorkerServiceClient,
};
use asyncflow_store::Store;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt;

/// A running broker. Dropping it leaves the rest to the runtime's end; `stop` ends it in order.
pub struct TestBroker {
    pub broker: BrokerServiceClient<Channel>,
    pub operations: OperationServiceClient<Channel>,
    pub worker: WorkerServiceClient<Channel>,
    pub schedules: ScheduleServiceClient<Channel>,
    pub hosts: HostServiceClient<Channel>,
    pub store: Store,
    pub address: SocketAddr,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), BrokerError>>,
    url: String,
    /// With the database, where that is a file.
    folder: Option<Arc<TempDir>>,
}

/// The defaults, with short times and automatic types, and then `settings`.
pub fn test_config(url: &str, settings: &[(&str, &str)]) -> BrokerConfig {
    let mut all = vec![
        ("database.url", url),
        ("listen.address", "127.0.0.1:0"),
        ("metrics.address", ""),
        ("auto_create_task_types", "true"),
        ("drain_time_ms", "5000"),
    ];
    all.extend_from_slice(settings);
    let settings = all.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    config::load(&Args { config: None, settings: settings.collect() }.sources().env([])).unwrap()
}

impl TestBroker {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let url = format!("sqlite://{}/test.db", folder.path().display());
        Self::on(url, Some(folder), settings).await
    }

    /// Another broker on the same database.
    pub async fn beside(&self, settings: &[(&str, &str)]) -> Self {
        Self::on(self.url.clone(), self.folder.clone(), settings).await
    }

    /// On a database of a server.
    pub async fn at(url: String) -> Self {
        Self::on(url, None, &[]).await
    }

    async fn on(url: String, folder: Option<Arc<TempDir>>, settings: &[(&str, &str)]) -> Self {
        let config = test_config(&url, settings);
        let store = Store::connect(&config.store_options()).await.unwrap();
        store.migrate().await.unwrap();
        let listener = TcpListener::bind(config.listen.address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let running = asyncflow_broker::run(config, store.clone(), listener, shutdown.clone());
        let running = tokio::spawn(running);
        let channel =
            Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self {
            broker: BrokerServiceClient::new(channel.clone()),
            operations: OperationServiceClient::new(channel.clone()),
            schedules: ScheduleServiceClient::new(channel.clone()),
            hosts: HostServiceClient::new(channel.clone()),
            worker: WorkerServiceClient::new(channel),
            store,
            address,
            shutdown,
            running,
            url,
            folder,
        }
    }

    /// Begins to drain.
    pub fn drain(&self) {
        self.shutdown.cancel();
    }

    /// Drains and waits for the clean end.
    pub async fn stop(self) {
        let Self {
            broker,
            operations,
            worker,
            schedules,
            hosts,
            store,
            shutdown,
            running,
            url: _,
            folder: _,
            address: _,
        } = self;
        shutdown.cancel();
        drop((broker, operations, worker, schedules, hosts));
        let ended = tokio::time::timeout(Duration::from_secs(10), running).await;
        ended.expect("the broker ends").unwrap().unwrap();
        store.close().await;
    }

    pub async fn create(&mut self, task_type: &str) -> v1::Task {
        let task = v1::TaskSpec { task_type: task_type.into(), ..Default::default() };
        self.create_spec(task).await
    }

    pub async fn create_spec(&mut self, task: v1::TaskSpec) -> v1::Task {
        let request = v1::CreateTaskRequest { task: Some(task), ..Default::default() };
        self.broker.create_task(request).await.unwrap().into_inner().task.unwrap()
    }

    pub async fn get(&mut self, task_id: &str) -> v1::Task {
        let request = v1::GetTaskRequest { task_id: task_id.into(), view: 0 };
        self.broker.get_task(request).await.unwrap().into_inner().task.unwrap()
    }

    pub async fn cancel(&mut self, task_id: &str) -> Result<v1::Task, Status> {
        let request = v1::CancelTaskRequest { task_id: task_id.into(), reason: "why not".into() };
        Ok(self.broker.cancel_task(request).await?.into_inner().task.unwrap())
    }

    pub async fn register(&mut self, worker_id: &str, incarnation: &str) -> String {
        let request = registration(worker_id, incarnation);
        self.worker.register_worker(request).await.unwrap().into_inner().session_id
    }

    pub async fn acquire(&mut self, request: v1::AcquireTasksRequest) -> Vec<v1::LeasedTask> {
        self.worker.acquire_tasks(request).await.unwrap().into_inner().tasks
    }

    /// Acquires one task that must be there, and starts it.
    pub async fn start_one(&mut self, session_id: &str, acquire_id: &str) -> v1::LeasedTask {
        let mut tasks = self.acquire(acquire(session_id, acquire_id, 1)).await;
        assert_eq!(tasks.len(), 1);
        let leased = tasks.pop().unwrap();
        let verdicts = self.start_lease(session_id, leased.lease.clone().unwrap()).await;
        assert_eq!(verdicts, [v1::LeaseVerdict::Ok]);
        leased
    }

    pub async fn start_lease(
        &mut self,
        session_id: &str,
        lease: v1::Lease,
    ) -> Vec<v1::LeaseVerdict> {
        let request = v1::StartTasksRequest { session_id: session_id.into(), leases: vec![lease] };
        let response = self.worker.start_tasks(request).await.unwrap().into_inner();
        response.leases.iter().map(v1::LeaseStatus::verdict).collect()
    }
}

/// A message of somebody with a token.
pub fn by<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// Writes a file of tokens for [`TestBroker::with`], a line `name:kind:token` each; its path.
pub fn tokens_file(folder: &Path, lines: &[(&str, &str, &str)]) -> String {
    let file = folder.join("tokens");
    let lines = lines.iter().map(|(name, kind, token)| format!("{name}:{kind}:{token}\n"));
    fs::write(&file, lines.collect::<String>()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file.display().to_string()
}

pub fn registration(worker_id: &str, incarnation: &str) -> v1::RegisterWorkerRequest {
    v1::RegisterWorkerRequest {
        worker_id: worker_id.into(),
        incarnation: incarnation.into(),
        host: "host".into(),
        task_types: vec!["*".into()],
        slots: 4,
        version: "0".into(),
        ..Default::default()
    }
}

/// Waits up to ten seconds for at most `max_tasks`.
pub fn acquire(session_id: &str, acquire_id: &str, max_tasks: i32) -> v1::AcquireTasksRequest {
    v1::AcquireTasksRequest {
        session_id: session_id.into(),
        acquire_id: acquire_id.into(),
        max_tasks,
        task_types: vec![],
        wait: Some(asyncflow_proto::time::duration(10_000)),
        start: false,
        offer: None,
    }
}

pub fn complete(session_id: &str, leased: &v1::LeasedTask) -> v1::CompleteTaskRequest {
    v1::CompleteTaskRequest {
        session_id: session_id.into(),
        lease: leased.lease.clone(),
        result: Some(v1::Content { data: "42".into(), content_type: "text/plain".into() }),
        exit_code: Some(0),
        usage: None,
    }
}

/// A refusal as the tests compare it: code, reason, fields.
pub fn refusal(status: &Status) -> (Code, String, Vec<String>) {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone());
    let fields = violations.unwrap_or_default().into_iter().map(|violation| violation.field);
    (status.code(), reason, fields.collect())
}
