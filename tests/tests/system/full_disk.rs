//! The database's disk is full: what finds no room is refused as in an outage, and never as a
//! defect. When there is room again, and the server is, everything goes on by itself, and nothing
//! that was acknowledged is lost.

use asyncflow_proto::v1::{CountTasksRequest, CreateTaskRequest, TaskState};
use asyncflow_sdk::{Client, Error};
use asyncflow_store::testing::{Dice, SmallDisk, switch_log};
use asyncflow_tests::{Backend, Cluster, Shape, command, until};

const DISK_MIB: u32 = 192;
/// What is left on the disk while it is being filled.
const ROOM_BYTES: u64 = 2 << 20;
/// So many calls have to be refused, at least.
const REFUSALS: usize = 20;
/// An argument may be 32 KiB long.
const BALLAST_BYTES: usize = 30 << 10;

/// Creates, each under a request id of its own.
struct Creates {
    ballast: String,
    acknowledged: Vec<String>,
    refused: Vec<CreateTaskRequest>,
}

impl Creates {
    fn new() -> Self {
        // What can be compressed is.
        let mut dice = Dice::of(1);
        let letters = (0..BALLAST_BYTES).map(|_| char::from(b'a' + dice.roll(26) as u8));
        Self { ballast: letters.collect(), acknowledged: Vec::new(), refused: Vec::new() }
    }

    async fn one_more(&mut self, client: &Client) {
        let number = self.acknowledged.len() + self.refused.len();
        let request = CreateTaskRequest {
            task: Some(command(["true", &self.ballast, &self.ballast])),
            request_id: format!("request-{number}"),
            ..CreateTaskRequest::default()
        };
        match client.create_with(request.clone()).await {
            Ok(created) => self.acknowledged.push(created.task.unwrap().id),
            Err(error) => {
                is_an_outage(&error);
                self.refused.push(request);
            }
        }
    }

    /// Repeats what was refused; returns how many tasks there have to be.
    async fn repeat(&mut self, client: &Client) -> usize {
        for request in self.refused.drain(..) {
            let created = client.create_with(request).await.unwrap();
            self.acknowledged.push(created.task.unwrap().id);
        }
        self.acknowledged.len()
    }
}

fn is_an_outage(error: &Error) {
    assert_eq!(error.code(), tonic::Code::Unavailable, "{error}");
    assert!(error.retry_delay().is_some(), "{error}");
}

/// A full disk of data is an error for PostgreSQL, one for its log the end.
async fn until_it_has_died(cluster: &Cluster) {
    let store = cluster.store().await;
    until("the server has died", || async {
        let _ = switch_log(&store).await;
        cluster.server_has_died().then_some(())
    })
    .await;
    store.close().await;
}

/// Frees the disk. If the server still lives it serves again; if not, or then, it is started anew.
async fn make_room(cluster: &mut Cluster, disk: &SmallDisk, request: &CreateTaskRequest) {
    disk.free();
    let client = cluster.client_without_retries(0);
    if !cluster.server_has_died() {
        until("it serves again", || async { client.create_with(request.clone()).await.ok() }).await;
        cluster.server().process().kill();
    }
    cluster.server().restart();
}

async fn nothing_acknowledged_is_lost(backend: Backend) {
    let Some(disk) = SmallDisk::mount(DISK_MIB) else { return };
    let mut cluster = Cluster::start_on_the_disk(backend, Shape::SMALL, &disk).await;
    let (client, impatient) = (cluster.client(0), cluster.client_without_retries(0));
    let has_server = backend != Backend::Sqlite;
    let mut creates = Creates::new();
    creates.one_more(&impatient).await;
    let first = creates.acknowledged[0].clone();
    disk.fill_but(ROOM_BYTES);
    while creates.refused.len() < REFUSALS && !(has_server && cluster.server_has_died()) {
        creates.one_more(&impatient).await;
        match impatient.get(&first).await {
            Ok(_) => {}
            Err(error) if has_server => is_an_outage(&error),
            Err(error) => panic!("nobody can read: {error} {}", cluster.logs()),
        }
    }
    let (fit, refused) = (creates.acknowledged.len(), creates.refused.len());
    println!("{backend:?}: {fit} creates fit, {refused} do not");
    if backend == Backend::Postgres {
        until_it_has_died(&cluster).await;
        creates.one_more(&impatient).await;
    }
    if has_server {
        make_room(&mut cluster, &disk, &creates.refused[0]).await;
    } else {
        disk.free();
    }

    let total = creates.repeat(&client).await;
    for id in &creates.acknowledged {
        let task = client.wait(id, None).await.unwrap();
        assert_eq!(task.state(), TaskState::Succeeded, "{task:?} {}", cluster.logs());
    }
    let counted = client.count(CountTasksRequest::default()).await.unwrap().total;
    assert_eq!(counted, i64::try_from(total).unwrap(), "each request made one task");
    for (name, log) in cluster.whole_logs() {
        assert!(!log.contains("the store failed"), "{name} took it for a defect: {log}");
    }
}
on_each_database!(nothing_acknowledged_is_lost);
