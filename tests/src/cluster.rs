//! Brokers, workers and governors as processes over one database.

use std::{path::PathBuf, time::Duration};

use asyncflow_proto::v1::{ListWorkersRequest, broker_service_client::BrokerServiceClient};
use asyncflow_sdk::{Client, ClientOptions};
use asyncflow_store::{
    Store, StoreOptions,
    testing::{Server, ShiftedClock, SmallDisk, free_port, start_redis},
};
use tempfile::TempDir;

use crate::{
    Backend, Cards, Database, FakeGpus, Governor, Program,
    program::asyncflow_or_older,
    proxy::Proxy,
    tasks::{until, within},
};

/// How many of what.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub brokers: usize,
    pub workers: usize,
    pub governors: usize,
    /// Tasks that a worker runs at once.
    pub slots: usize,
    pub redis: bool,
    /// A database server of its own, which may be killed and stopped.
    pub own_server: bool,
    /// GPUs of each worker, from a file of its own; they are looked at five times a second.
    pub cards: Option<Cards>,
    /// Settings of all workers beside the harness's, by their variables without prefix, e.g.
    /// `("GPU__COOL_DOWN_MS", "500")`.
    pub settings: &'static [(&'static str, &'static str)],
}

impl Shape {
    /// One of each, four slots, no Redis, no GPUs.
    pub const SMALL: Self = Self {
        brokers: 1,
        workers: 1,
        governors: 1,
        slots: 4,
        redis: false,
        own_server: false,
        cards: None,
        settings: &[],
    };
}

impl Default for Shape {
    /// [`Shape::SMALL`].
    fn default() -> Self {
        Self::SMALL
    }
}

/// A deployment for one test; everything ends and is removed when it is dropped.
pub struct Cluster {
    // Fields are dropped in this order: workers first, the database last.
    pub workers: Vec<Program>,
    pub brokers: Vec<Program>,
    pub governors: Vec<Program>,
    pub redis: Option<Server>,
    database: Database,
    /// What processes have in their environment besides their settings, by how their names begin.
    variables: Vec<(&'static str, Vec<(String, String)>)>,
    broker_ports: Vec<u16>,
    governor_ports: Vec<u16>,
    shape: Shape,
    dir: TempDir,
}

impl Cluster {
    /// Starts everything and returns when brokers answer, workers are registered and one governor
    /// leads.
    ///
    /// # Panics
    /// When something does not come up in time.
    pub async fn start(backend: Backend, shape: Shape) -> Self {
        let database = if shape.own_server {
            Database::on_its_own_server(backend).await
        } else {
            Database::fresh(backend).await
        };
        Self::start_over(database, shape, Vec::new()).await
    }

    /// The same over a database that tells the time of this clock, alone.
    ///
    /// # Panics
    /// When something does not come up in time.
    pub async fn start_by_the_clock(backend: Backend, shape: Shape, clock: &ShiftedClock) -> Self {
        let database = Database::by_the_clock(backend, clock).await;
        // Whoever opens a file of SQLite is the database.
        let of_all = ["broker", "governor"].map(|program| (program, clock.variables()));
        let variables = if database.server.is_none() { of_all.to_vec() } else { Vec::new() };
        Self::start_over(database, shape, variables).await
    }

    /// The same as [`Self::start`], with programs that go by clocks of their own: those whose names
    /// begin so, such as `broker-1`. With SQLite brokers and governors are the database.
    ///
    /// # Panics
    /// When something does not come up in time.
    pub async fn start_with_clocks(
        backend: Backend,
        shape: Shape,
        clocks: &[(&'static str, &ShiftedClock)],
    ) -> Self {
        let variables = clocks.iter().map(|(program, clock)| (*program, clock.variables()));
        Self::start_over(Database::fresh(backend).await, shape, variables.collect()).await
    }

    /// The same with these settings of all brokers, by their variables without prefix.
    ///
    /// # Panics
    /// When something does not come up in time.
    pub async fn start_with_brokers(
        backend: Backend,
        shape: Shape,
        settings: Vec<(&str, String)>,
    ) -> Self {
        let variables = vec![("broker", prefixed("ASYNCFLOW_BROKER__", settings))];
        Self::start_over(Database::fresh(backend).await, shape, variables).await
    }

    /// The same over a database on this disk, with a server of its own. Drop the disk afterwards.
    ///
    /// # Panics
    /// When something does not come up in time.
    pub async fn start_on_the_disk(backend: Backend, shape: Shape, disk: &SmallDisk) -> Self {
        let database = Database::on_the_disk(backend, disk).await;
        Self::start_over(database, shape, Vec::new()).await
    }

    /// The same over a database that brokers and governors reach only through a proxy.
    ///
    /// # Panics
    /// When something does not come up in time, or the database has no server.
    pub async fn start_behind_a_proxy(backend: Backend, shape: Shape) -> (Self, Proxy) {
        let database = Database::fresh(backend).await;
        let (url, link) = database.behind_a_proxy();
        let names = ["ASYNCFLOW_BROKER__DATABASE__URL", "ASYNCFLOW_GOVERNOR__DATABASE__URL"];
        let variables = names.map(|name| (name.to_owned(), url.clone())).to_vec();
        // Every program's name begins so.
        let variables = vec![("", variables)];
        (Self::start_over(database, shape, variables).await, link)
    }

    async fn start_over(
        database: Database,
        shape: Shape,
        variables: Vec<(&'static str, Vec<(String, String)>)>,
    ) -> Self {
        let dir = tempfile::tempdir();
        let dir = dir.unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        let mut cluster = Self {
            workers: Vec::new(),
            brokers: Vec::new(),
            governors: Vec::new(),
            redis: shape.redis.then(start_redis),
            database,
            variables,
            broker_ports: (0..shape.brokers).map(|_| free_port()).collect(),
            governor_ports: (0..shape.governors).map(|_| free_port()).collect(),
            shape,
            dir,
        };
        for n in 0..shape.brokers {
            cluster.brokers.push(cluster.start_broker(n));
        }
        cluster.until_brokers_answer().await;
        for n in 0..shape.governors {
            cluster.governors.push(cluster.start_governor(n));
        }
        for n in 0..shape.workers {
            if let Some(cards) = shape.cards {
                cluster.gpus(n).create(&format!("host-{n}"), cards);
            }
            let worker = cluster.start_worker(n);
            cluster.workers.push(worker);
        }
        cluster.until_workers_registered(shape.workers).await;
        if shape.governors > 0 {
            cluster.leader().await;
        }
        cluster
    }

    /// A client of broker `n` that retries what may be retried.
    ///
    /// # Panics
    /// Never: the address is well formed.
    pub fn client(&self, n: usize) -> Client {
        self.client_that_retries(n, 30)
    }

    /// A client of broker `n` that is told of every failure.
    ///
    /// # Panics
    /// Never: the address is well formed.
    pub fn client_without_retries(&self, n: usize) -> Client {
        self.client_that_retries(n, 0)
    }

    fn client_that_retries(&self, n: usize, retries_max: usize) -> Client {
        let address = format!("http://{}", self.broker_address(n));
        let options = ClientOptions { address, retries_max, ..ClientOptions::default() };
        Client::connect(options).unwrap_or_else(|error| panic!("no client: {error}"))
    }

    /// Governor `n`.
    pub async fn governor(&self, n: usize) -> Governor {
        until("the governor is there", || Governor::connect(self.governor_address(n))).await
    }

    fn governor_address(&self, n: usize) -> String {
        format!("http://127.0.0.1:{}", self.governor_ports[n])
    }

    /// The database as a process of its own sees it.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub async fn store(&self) -> Store {
        let store = Store::connect(&StoreOptions::new(self.database.url())).await;
        store.unwrap_or_else(|error| panic!("no database: {error}"))
    }

    /// From now on brokers and governors do without these guards.
    pub fn switch_off(&self, guards: &[&str]) {
        for program in self.brokers.iter().chain(&self.governors) {
            guards.iter().for_each(|guard| program.faults().switch_off(guard));
        }
    }

    /// The address of broker `n`, e.g. `127.0.0.1:12345`.
    pub fn broker_address(&self, n: usize) -> String {
        format!("127.0.0.1:{}", self.broker_ports[n])
    }

    /// The database's server, to be killed or stopped.
    ///
    /// # Panics
    /// When the test did not ask for one of its own.
    pub fn server(&mut self) -> &mut Server {
        let server = self.database.server.as_mut();
        server.unwrap_or_else(|| panic!("the server is shared, or there is none"))
    }

    /// Whether the database's server has ended.
    ///
    /// # Panics
    /// When the test did not ask for one of its own.
    pub fn server_has_died(&self) -> bool {
        let server = self.database.server.as_ref();
        let server = server.unwrap_or_else(|| panic!("the server is shared, or there is none"));
        !server.process().is_alive()
    }

    /// Where the database is.
    pub fn database_url(&self) -> &str {
        self.database.url()
    }

    /// A directory of the test's own.
    pub fn scratch(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// The number of the governor that leads, as soon as one does.
    ///
    /// # Panics
    /// When none leads in time.
    pub async fn leader(&self) -> usize {
        until("a governor leads", || async {
            for n in 0..self.governor_ports.len() {
                let Some(governor) = Governor::connect(self.governor_address(n)).await else {
                    continue;
                };
                if governor.leads().await {
                    return Some(n);
                }
            }
            None
        })
        .await
    }

    /// Stops governor `n` as it stands (SIGSTOP), but not while it writes to SQLite: there is one
    /// lock for all writes, and who stops with it in his hands keeps everybody else from leading.
    ///
    /// # Panics
    /// When it does not stop in time.
    pub async fn freeze_governor(&self, n: usize) {
        let process = self.governors[n].process();
        until("the governor has stopped outside of a write", || async {
            process.signal("STOP");
            until("the signal has arrived", || async { process.is_stopped().then_some(()) }).await;
            if self.database.takes_writes().await {
                return Some(());
            }
            process.signal("CONT");
            None
        })
        .await;
    }

    async fn until_brokers_answer(&self) {
        for n in 0..self.broker_ports.len() {
            self.until_broker_answers(n).await;
        }
    }

    /// Returns when broker `n` answers.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn until_broker_answers(&self, n: usize) {
        let address = format!("http://{}", self.broker_address(n));
        let answer = within(PATIENCE, || async {
            let mut broker = BrokerServiceClient::connect(address.clone()).await.ok()?;
            broker.list_workers(ListWorkersRequest::default()).await.ok()
        });
        let log = || self.brokers[n].log_tail();
        assert!(answer.await.is_some(), "broker {n} does not answer\n{}", log());
    }

    /// Returns when so many workers are registered and alive.
    ///
    /// # Panics
    /// When they are not in time.
    pub async fn until_workers_registered(&self, count: usize) {
        let client = self.client(0);
        until("workers are registered", || async {
            let workers = client.workers().await.unwrap_or_default();
            (workers.iter().filter(|worker| worker.alive).count() >= count).then_some(())
        })
        .await;
    }

    fn redis_url(&self) -> String {
        self.redis.as_ref().map(Server::admin_url).unwrap_or_default()
    }

    fn start_broker(&self, n: usize) -> Program {
        let mut variables = vec![
            ("LISTEN__ADDRESS", self.broker_address(n)),
            ("DATABASE__URL", self.database.url().to_owned()),
            ("REDIS__URL", self.redis_url()),
            ("AUTO_CREATE_TASK_TYPES", "true".to_owned()),
            ("LEASE__TTL_MS", LEASE.as_millis().to_string()),
            ("LEASE__HEARTBEAT_INTERVAL_MS", "1000".to_owned()),
            ("LEASE__HANDOUT_TTL_MS", LEASE.as_millis().to_string()),
            ("METRICS__ADDRESS", String::new()),
        ];
        if self.redis.is_some() {
            variables.push(("DISPATCH__LOCK", "redis".to_owned()));
        }
        self.start_program("broker", n, prefixed("ASYNCFLOW_BROKER__", variables))
    }

    fn start_governor(&self, n: usize) -> Program {
        let variables = vec![
            ("LISTEN__ADDRESS", format!("127.0.0.1:{}", self.governor_ports[n])),
            ("DATABASE__URL", self.database.url().to_owned()),
            ("REDIS__URL", self.redis_url()),
            ("LEADER__TTL_MS", "2000".to_owned()),
            ("LEASE__HEARTBEAT_INTERVAL_MS", "1000".to_owned()),
            ("DUTIES__REAP_INTERVAL_MS", "200".to_owned()),
            ("DUTIES__SPECULATE_INTERVAL_MS", "200".to_owned()),
            ("DUTIES__ROLL_INTERVAL_MS", "200".to_owned()),
            ("DUTIES__DRAIN_INTERVAL_MS", "200".to_owned()),
            ("DUTIES__DROP_INTERVAL_MS", "200".to_owned()),
            ("METRICS__ADDRESS", String::new()),
        ];
        self.start_program("governor", n, prefixed("ASYNCFLOW_GOVERNOR__", variables))
    }

    fn start_program(&self, role: &str, n: usize, mut variables: Vec<(String, String)>) -> Program {
        let name = format!("{role}-{n}");
        let own = self.variables.iter().filter(|(begin, _)| name.starts_with(begin));
        variables.extend(own.flat_map(|(_, variables)| variables.clone()));
        Program::start(&asyncflow_or_older(n), role, variables, self.dir.path().join(name))
    }

    /// Worker `n`, which knows all brokers.
    pub fn start_worker(&self, n: usize) -> Program {
        let brokers: Vec<usize> = (0..self.broker_ports.len()).collect();
        self.start_worker_at(n, &brokers)
    }

    /// The same that knows only these.
    pub fn start_worker_at(&self, n: usize, brokers: &[usize]) -> Program {
        self.start_worker_by(n, brokers.iter().map(|k| self.broker_address(*k)))
    }

    /// The same that reaches brokers at these addresses, e.g. `127.0.0.1:12345`.
    pub fn start_worker_by(&self, n: usize, addresses: impl Iterator<Item = String>) -> Program {
        let dir = self.dir.path().join(format!("worker-{n}"));
        let brokers: Vec<String> = addresses.map(|address| format!("http://{address}")).collect();
        let mut variables = vec![
            ("WORKER_ID", format!("worker-{n}")),
            ("HOST", format!("host-{n}")),
            ("BROKER__ADDRESSES", format!("{brokers:?}")),
            ("SLOTS", self.shape.slots.to_string()),
            ("DATA_DIR", dir.join("data").display().to_string()),
            ("STOP_GRACE_MS", "1000".to_owned()),
            ("LOG__FILTER", "info,asyncflow_sdk=debug".to_owned()),
            ("METRICS__ADDRESS", String::new()),
        ];
        if self.shape.cards.is_some() {
            let file = self.gpus(n).path().display().to_string();
            variables.extend([
                ("GPU__PROVIDER", "fake".to_owned()),
                ("GPU__FAKE_FILE", file),
                ("GPU__SAMPLE_INTERVAL_MS", "200".to_owned()),
            ]);
        }
        // The test's word counts.
        let more = self.shape.settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        variables.retain(|(name, _)| self.shape.settings.iter().all(|(more, _)| more != name));
        variables.extend(more);
        self.start_program("worker", n, prefixed("ASYNCFLOW_WORKER__", variables))
    }

    /// The GPUs of worker `n`, to be changed while it runs.
    pub fn gpus(&self, n: usize) -> FakeGpus {
        FakeGpus::of(self.dir.path().join(format!("gpus-{n}.json")))
    }

    /// All that every process has written, also before it was started again: names and logs.
    pub fn whole_logs(&self) -> Vec<(String, String)> {
        let programs = self.brokers.iter().chain(&self.workers).chain(&self.governors);
        programs.map(|program| (program.name(), program.log())).collect()
    }

    /// What every process wrote, for the message of a failed test.
    pub fn logs(&self) -> String {
        let programs = self.brokers.iter().chain(&self.workers).chain(&self.governors);
        programs.map(Program::log_tail).collect::<Vec<_>>().join("\n")
    }
}

fn prefixed(prefix: &str, variables: Vec<(&str, String)>) -> Vec<(String, String)> {
    variables.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)).collect()
}

/// How long a lease holds without a heartbeat, which come a second apart. Short, so that tests need
/// not wait long; not shorter, so that nobody is taken for dead who only had no CPU for a moment.
pub const LEASE: Duration = Duration::from_secs(5);

/// Longer than anything takes, also on a machine that is busy with much else.
pub const PATIENCE: Duration = Duration::from_secs(180);
