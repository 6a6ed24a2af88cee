//! The program itself: what it refuses to run on, and what its metrics tell.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use asyncflow_proto::{
    time,
    v1::{
        self, broker_service_client::BrokerServiceClient,
        worker_service_client::WorkerServiceClient,
    },
};
use asyncflow_store::testing::{free_port, fresh_database, mariadb};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::harness::{acquire, registration};

const PROGRAM: &str = env!("CARGO_BIN_EXE_asyncflow-broker");
const GAP: &str = "innodb_flush_log_at_trx_commit is 2";

fn on_a_forgetful_server(url: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["--set", &format!("database.url={url}"), "--set", "metrics.address="]);
    command.args(["--set", "listen.address=127.0.0.1:0"]).stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn a_server_that_may_lose_tasks_is_named_and_refused_where_that_is_wanted() {
    let url = fresh_database(mariadb()).await;
    let strict = ["--set", "database.strict_durability=true"];
    let output = on_a_forgetful_server(&url).args(strict).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(GAP) && text.contains("strict_durability"), "{text}");

    let mut child = Running(on_a_forgetful_server(&url).spawn().unwrap());
    let log = BufReader::new(child.0.stderr.take().unwrap());
    // It goes on after the warning: its next line, if any, is no error.
    let named = log.lines().map(Result::unwrap).find(|line| line.contains(GAP));
    assert!(named.is_some_and(|line| line.contains("WARN")));
    assert_eq!(child.0.try_wait().unwrap(), None);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_what_to_look_at_and_without_its_password() {
    for scheme in ["mysql", "postgres"] {
        let at = format!("127.0.0.1:{}/tasks", free_port());
        let url = format!("{scheme}://root:hunter2@{at}");
        let output = on_a_forgetful_server(&url).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8_lossy(&output.stderr);
        let shown = format!("{scheme}://root:***@{at}");
        assert!(text.contains(&shown) && text.contains("is the server running"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

/// Ends with its test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `/metrics` says of one counter.
fn counter(port: u16, name: &str) -> u64 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

/// A broker on a database file of its own that looks for nothing by itself, and its clients.
struct Metered {
    broker: BrokerServiceClient<Channel>,
    worker: WorkerServiceClient<Channel>,
    metrics_port: u16,
    _running: Running,
    _folder: TempDir,
}

impl Metered {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, metrics_port) = (free_port(), free_port());
        let settings = [
            format!("database.url=sqlite://{}/test.db", folder.path().display()),
            format!("listen.address=127.0.0.1:{port}"),
            format!("metrics.address=127.0.0.1:{metrics_port}"),
            "auto_create_task_types=true".to_owned(),
            "dispatch.poll_interval_ms=60000".to_owned(),
        ];
        let arguments = settings.iter().flat_map(|setting| ["--set", setting]);
        let mut running = Running(Command::new(PROGRAM).args(arguments).spawn().unwrap());
        let address = Channel::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
        let channel = loop {
            match address.connect().await {
                Ok(channel) => break channel,
                Err(_) => assert_eq!(running.0.try_wait().unwrap(), None),
            }
        };
        let broker = BrokerServiceClient::new(channel.clone());
        let worker = WorkerServiceClient::new(channel);
        Self { broker, worker, metrics_port, _running: running, _folder: folder }
    }

    async fn register(&mut self, worker_id: &str) -> String {
        let request = registration(worker_id, "a");
        self.worker.register_worker(request).await.unwrap().into_inner().session_id
    }

    async fn create(&mut self, task: v1::TaskSpec) {
        let request = v1::CreateTaskRequest { task: Some(task), ..Default::default() };
        self.broker.create_task(request).await.unwrap();
    }
}

/// Each lane that has nothing would otherwise make a claim of its own whenever a worker begins to
/// wait, one after the other, before one that has something gets its turn.
#[tokio::test]
async fn types_without_tasks_are_not_asked_again_and_again() {
    let mut t = Metered::start().await;
    let session = t.register("w1").await;
    for number in 0..20 {
        let task_type = format!("type_{number}");
        t.create(v1::TaskSpec { task_type, ..Default::default() }).await;
    }
    let mut taken = 0;
    for number in 0..50 {
        let wait = Some(time::duration(if taken < 20 { 10_000 } else { 10 }));
        let request = v1::AcquireTasksRequest { wait, ..acquire(&session, &number.to_string(), 1) };
        taken += t.worker.acquire_tasks(request).await.unwrap().into_inner().tasks.len();
    }
    assert_eq!(taken, 20);
    let claims = counter(t.metrics_port, "asyncflow_claims_total");
    assert!((20..200).contains(&claims), "{claims} claims for 20 tasks");
}

/// A claim begins to read while the one before it is written. What appears ahead of both must not
/// make the second one read what the first one writes.
#[tokio::test]
async fn claims_of_one_broker_are_not_in_each_others_way() {
    const TASKS: usize = 400;
    let mut t = Metered::start().await;
    let mut acquirers = tokio::task::JoinSet::new();
    let taken = Arc::new(AtomicUsize::new(0));
    for name in ["w1", "w2", "w3", "w4"] {
        let (session, mut worker) = (t.register(name).await, t.worker.clone());
        let taken = Arc::clone(&taken);
        acquirers.spawn(async move {
            for number in 0.. {
                if taken.load(Ordering::Relaxed) >= TASKS {
                    return;
                }
                let wait = Some(time::duration(50));
                let request =
                    v1::AcquireTasksRequest { wait, ..acquire(&session, &number.to_string(), 3) };
                let tasks = worker.acquire_tasks(request).await.unwrap().into_inner().tasks;
                taken.fetch_add(tasks.len(), Ordering::Relaxed);
            }
        });
    }
    // Every other task is ahead of all that were made within the last seconds.
    for number in 0..TASKS {
        let priority = Some(if number % 2 == 0 { 0 } else { number as i32 });
        t.create(v1::TaskSpec { task_type: "work".into(), priority, ..Default::default() }).await;
    }
    acquirers.join_all().await;
    assert_eq!(taken.load(Ordering::Relaxed), TASKS);
    assert_eq!(counter(t.metrics_port, "asyncflow_store_retries_total"), 0);
}
