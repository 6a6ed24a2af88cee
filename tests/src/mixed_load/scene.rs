//! The stage: a cluster whose clients and workers reach the brokers through proxies.

use std::{path::PathBuf, time::Duration};

use crate::{
    Backend, Cluster, Program, Shape,
    checker::{Fault, History, Log, read_records},
    evidence::{Notebook, processes, tables, transactions},
    proxy::Proxy,
    until, within,
};
use asyncflow_proto::v1::{CountTasksRequest, TaskState};
use asyncflow_sdk::{Client, ClientOptions};
use asyncflow_store::Store;

use super::{
    clients::Clients,
    program::SECRET,
    spent::{Process, Spent},
};

const SHAPE: Shape = Shape {
    brokers: 2,
    workers: 0,
    governors: 2,
    slots: 6,
    redis: true,
    own_server: true,
    ..Shape::SMALL
};
pub const WORKERS: usize = 2;
const CLIENTS: usize = 3;
/// So long a client waits for an answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// From the last fault on: leases that run out, two looks, back-offs and what is still to be run.
const PROGRESS_WITHIN: Duration = Duration::from_secs(60);
const CLEAN_WITHIN: Duration = Duration::from_secs(10);

pub struct Scene {
    // Dropped in this order: who is connected before what it is connected by.
    pub cluster: Cluster,
    /// From each worker to each broker.
    pub links: Vec<Vec<Proxy>>,
    /// From clients to each broker.
    pub doors: Vec<Proxy>,
    pub faults: Vec<Fault>,
    pub backend: Backend,
    store: Store,
    notebook: Notebook,
    records: PathBuf,
}

impl Scene {
    pub async fn start(backend: Backend, seed: u64) -> Self {
        println!("{backend:?}, seed {seed}");
        let mut cluster = Cluster::start(backend, SHAPE).await;
        let proxies = |cluster: &Cluster| {
            let to = |n| Proxy::start(&cluster.broker_address(n));
            (0..SHAPE.brokers).map(to).collect::<Vec<_>>()
        };
        let links: Vec<Vec<Proxy>> = (0..WORKERS).map(|_| proxies(&cluster)).collect();
        for (n, links) in links.iter().enumerate() {
            let worker = cluster.start_worker_by(n, links.iter().map(Proxy::address));
            cluster.workers.push(worker);
        }
        cluster.until_workers_registered(WORKERS).await;
        let (doors, store) = (proxies(&cluster), cluster.store().await);
        let records = cluster.scratch().join("records");
        std::fs::write(&records, "").unwrap();
        let (faults, notebook) = (Vec::new(), Notebook::default());
        Self { cluster, links, doors, faults, backend, store, notebook, records }
    }

    /// Sends the clients to work.
    pub fn send_clients(&self, seed: u64) -> Clients {
        let brokers: Vec<Client> = self.doors.iter().map(client).collect();
        Clients::send(CLIENTS, &brokers, &self.notebook, &self.records, seed)
    }

    /// What the first broker, governor and worker hold now.
    pub fn spent(&self, after: Duration) -> Spent {
        let cluster = &self.cluster;
        let first = [&cluster.brokers[0], &cluster.governors[0], &cluster.workers[0]];
        let held = |one: &Program| Process::of(one.name(), one.process().pid());
        Spent { after, processes: first.into_iter().filter_map(held).collect() }
    }

    /// The database's time, as soon as it answers.
    pub async fn now_ms(&self) -> i64 {
        until("the database answers", || async { self.store.look_at_clock().await.ok() }).await
    }

    async fn has_ended(&self) -> Option<()> {
        use TaskState::{Blocked, Cancelling, Paused, Pending, Running, Scheduled};
        let live = [Pending, Scheduled, Blocked, Paused, Running, Cancelling];
        let states = live.map(Into::into).to_vec();
        let request = CountTasksRequest { states, ..CountTasksRequest::default() };
        (self.cluster.client(0).count(request).await.ok()?.total == 0).then_some(())
    }

    /// Gives what there is enough time to come to its end, and gathers the evidence. What has not
    /// ended by then is the checker's.
    pub async fn over(self) -> History {
        let _ = within(PROGRESS_WITHIN, || self.has_ended()).await;
        let (rows, attempts) = tables(&self.store).await;
        let clean = || async {
            let left = processes(&rows).len() + transactions(&self.store).await.len();
            (left == 0).then_some(())
        };
        let _ = within(CLEAN_WITHIN, clean).await;
        let written = std::fs::read_to_string(&self.records).unwrap();
        let logs = self.cluster.whole_logs().into_iter();
        let left_over = processes(&rows);
        let open_transactions = transactions(&self.store).await;
        self.store.close().await;
        History {
            calls: self.notebook.calls(),
            rows,
            attempts,
            records: read_records(&written).unwrap(),
            logs: logs.map(|(process, text)| Log { process, text }).collect(),
            faults: self.faults,
            left_over,
            open_transactions,
            secrets: vec![SECRET.to_owned()],
        }
    }
}

fn client(door: &Proxy) -> Client {
    let options = ClientOptions {
        address: format!("http://{}", door.address()),
        call_timeout: CALL_TIMEOUT,
        retries_max: 0,
        ..ClientOptions::default()
    };
    Client::connect(options).unwrap()
}
