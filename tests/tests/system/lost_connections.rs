//! Connections to the database are lost while its server lives: in the middle of a COMMIT, and all
//! at once.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use asyncflow_core::id::TypeName;
use asyncflow_proto::v1::{CountTasksRequest, CreateTaskRequest};
use asyncflow_sdk::{Client, is_terminal};
use asyncflow_store::{CompareLimits, Compared, Store};
use asyncflow_tests::{
    Backend, Cluster, PATIENCE, Shape,
    checker::{Fault, History, Kind, Least, Log, Verdict, read_records, verdict},
    command,
    evidence::{Notebook, processes, tables, transactions},
    mixed_load::program,
    proxy::{CutAfter, Direction, Flow, Proxy},
    until,
};
use futures::future::join_all;

const COMMITS: i64 = 10;
const CUTS: usize = 10;
/// So much has changed between two cuts, at least.
const CHANGES: i64 = 10;
/// They share the database, behind one proxy.
const BROKERS: usize = 2;
const WRITERS: usize = 4;
const PAUSE_MS: u64 = 10;

fn create(request_id: String) -> CreateTaskRequest {
    let task = Some(command(["true"]));
    CreateTaskRequest { task, request_id, ..CreateTaskRequest::default() }
}

async fn total(client: &Client) -> i64 {
    client.count(CountTasksRequest::default()).await.unwrap().total
}

async fn until_cut(link: &Proxy, times: u64) {
    let cut = tokio::time::timeout(PATIENCE, link.until_cut(times)).await;
    assert!(cut.is_ok(), "cut {times} has not come");
}

/// The server has committed and says so, and nobody hears it: the broker looks, and finds the task.
async fn an_unheard_commit_is_looked_up(backend: Backend) {
    let shape = Shape { workers: 0, governors: 0, ..Shape::SMALL };
    let (cluster, link) = Cluster::start_behind_a_proxy(backend, shape).await;
    let client = cluster.client_without_retries(0);
    for (number, cuts) in (1..=COMMITS).zip(1..) {
        let request = create(format!("unheard-{number}"));
        link.lose_answer(&[request.request_id.as_bytes(), b"COMMIT"]);
        let created = client.create_with(request.clone()).await.unwrap();
        until_cut(&link, cuts).await;
        assert!(!created.deduplicated);
        let again = client.create_with(request).await.unwrap();
        assert!(again.deduplicated);
        assert_eq!(again.task.unwrap().id, created.task.unwrap().id);
        assert_eq!(total(&client).await, number);
    }
}
on_each_database!(an_unheard_commit_is_looked_up: mariadb MariaDb, postgres Postgres);

/// The server hears the beginning of a COMMIT and no more: there is no task, the caller is told
/// that nobody knows, and there is one when it asks again.
async fn a_torn_commit_is_repeated(backend: Backend) {
    let shape = Shape { workers: 0, governors: 0, ..Shape::SMALL };
    let (cluster, link) = Cluster::start_behind_a_proxy(backend, shape).await;
    let client = cluster.client_without_retries(0);
    let mut refused = 0;
    for (number, cuts) in (1..=COMMITS).zip(1..) {
        let request = create(format!("torn-{number}"));
        link.cut_after(Direction::Up, CutAfter::Pattern(b"COMMI".to_vec()));
        // Now and then it is not the COMMIT of this create.
        if let Err(error) = client.create_with(request.clone()).await {
            assert_eq!(error.code(), tonic::Code::Unavailable, "{error}");
            assert!(error.retry_delay().is_some(), "{error}");
            refused += 1;
        }
        until_cut(&link, cuts).await;
        until("it is made", || async { client.create_with(request.clone()).await.ok() }).await;
        assert_eq!(total(&client).await, number);
    }
    assert!(refused > 0, "no COMMIT of a create was torn");
}
on_each_database!(a_torn_commit_is_repeated: mariadb MariaDb, postgres Postgres);

/// The server has committed, its answer never comes, and the connection stays open: the call ends
/// all the same, as one of which nobody knows, and the repetition finds the task.
async fn a_commit_is_not_waited_for_without_end(backend: Backend) {
    let shape = Shape { workers: 0, governors: 0, ..Shape::SMALL };
    let (cluster, link) = Cluster::start_behind_a_proxy(backend, shape).await;
    let client = cluster.client_without_retries(0);
    // A type is made by the first task of it.
    client.create(command(["true"])).await.unwrap();
    let store = cluster.store().await;
    let stop = cluster.brokers[0].faults().stop_at("insert.written");
    let request = create("unanswered".to_owned());
    let creating = tokio::spawn({
        let (client, request) = (client.clone(), request.clone());
        async move { client.create_with(request).await }
    });
    stop.reached().await;
    link.set(Direction::Down, Flow::Swallow);
    stop.go_on();
    let ids = async || tables(&store).await.0.into_iter().map(|row| row.id).collect::<Vec<_>>();
    until("it is committed", || async { (ids().await.len() == 2).then_some(()) }).await;
    let told = tokio::time::timeout(PATIENCE, creating).await;
    let told = told.expect("the call ends").unwrap();
    let error = told.expect_err("nobody can have heard of it");
    assert!(error.is_outcome_unknown(), "{error}");

    link.heal();
    let again = until("it is found", || async { client.create_with(request.clone()).await.ok() });
    let again = again.await;
    assert!(again.deduplicated);
    assert!(ids().await.contains(&again.task.unwrap().id));
    assert_eq!(total(&client).await, 2);
    store.close().await;
}
on_each_database!(a_commit_is_not_waited_for_without_end: mariadb MariaDb, postgres Postgres);

/// Creates one task after the other, each until it knows of it, and waits for its end.
#[derive(Clone)]
struct Writer {
    number: usize,
    client: Client,
    notebook: Notebook,
    records: PathBuf,
    is_over: Arc<AtomicBool>,
}

impl Writer {
    async fn work(self) {
        for n in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let id = self.create(&format!("r-{}-{n}", self.number)).await;
            until("it has ended", || self.has_ended(&id)).await;
        }
    }

    async fn create(&self, request_id: &str) -> String {
        let request = CreateTaskRequest {
            task: Some(program::task(request_id, &self.records, PAUSE_MS, false)),
            request_id: request_id.to_owned(),
            ..CreateTaskRequest::default()
        };
        let create = || async {
            let call = async { Ok(self.client.create_with(request.clone()).await?.task) };
            let kind = Kind::Create { request_id: request_id.to_owned() };
            self.notebook.note(self.number, kind, call).await.ok().flatten()
        };
        until("it is created", create).await.id
    }

    async fn has_ended(&self, id: &str) -> Option<()> {
        let call = async { self.client.get(id).await.map(Some) };
        let kind = Kind::Read { task: id.to_owned() };
        let task = self.notebook.note(self.number, kind, call).await.ok().flatten();
        task.is_some_and(|task| is_terminal(task.state())).then_some(())
    }
}

/// Cuts whatever is connected, again and again, and each time when enough has changed since.
async fn cut_all(link: &Proxy, store: &Store) -> Vec<Fault> {
    let mut faults = Vec::new();
    for cut in 1..=CUTS {
        let before = store.last_change_seq().await.unwrap();
        until("something has changed", || async {
            (store.last_change_seq().await.unwrap() >= before + CHANGES).then_some(())
        })
        .await;
        let now_ms = store.now_ms().await.unwrap();
        link.reset();
        // Nobody is to lose a task by it.
        let (what, workers) = (format!("cut {cut}"), Vec::new());
        faults.push(Fault { what, workers, from_ms: now_ms, to_ms: now_ms });
    }
    faults
}

async fn counts_are_right(store: &Store) {
    let task_type = TypeName::new("command").unwrap();
    for shard in store.active_shards(&task_type).await.unwrap() {
        let limits = CompareLimits { page_rows: 1_000, snapshot_max: Duration::from_secs(60) };
        let compared = store.compare_counts(&shard, limits).await.unwrap();
        let Compared::Whole(comparison) = compared else { panic!("{compared:?}") };
        assert_eq!(comparison.drifts, []);
    }
}

async fn nothing_is_half_done(backend: Backend) {
    let shape = Shape { brokers: BROKERS, workers: BROKERS, ..Shape::SMALL };
    let (cluster, link) = Cluster::start_behind_a_proxy(backend, shape).await;
    let (store, notebook) = (cluster.store().await, Notebook::default());
    let records = cluster.scratch().join("records");
    std::fs::write(&records, "").unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let writers = (0..WRITERS).map(|number| {
        let (client, notebook) =
            (cluster.client_without_retries(number % BROKERS), notebook.clone());
        let (records, is_over) = (records.clone(), Arc::clone(&is_over));
        tokio::spawn(Writer { number, client, notebook, records, is_over }.work())
    });
    let writers: Vec<_> = writers.collect();
    let faults = cut_all(&link, &store).await;
    is_over.store(true, Ordering::Relaxed);
    join_all(writers).await.into_iter().for_each(|ended| ended.unwrap());

    counts_are_right(&store).await;
    let (rows, attempts) = tables(&store).await;
    let open_transactions = transactions(&store).await;
    store.close().await;
    let history = History {
        calls: notebook.calls(),
        attempts,
        records: read_records(&std::fs::read_to_string(&records).unwrap()).unwrap(),
        logs: cluster
            .whole_logs()
            .into_iter()
            .map(|(process, text)| Log { process, text })
            .collect(),
        faults,
        left_over: processes(&rows),
        open_transactions,
        rows,
        secrets: vec![program::SECRET.to_owned()],
    };
    match verdict(&history, Least { operations: CUTS, faults: CUTS }) {
        Verdict::Passed(counts) => println!("{backend:?}: {counts}"),
        other => panic!("{other:#?} {}", cluster.logs()),
    }
}
on_each_database!(nothing_is_half_done: mariadb MariaDb, postgres Postgres);
