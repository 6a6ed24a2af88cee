//! kill -9 of a worker while all brokers are away, and a restart while they still are, for longer
//! than a lease: the new process goes on with what ran. What ends before a broker is back is told
//! then, what ends after it has its whole log, and nothing is run twice.

use std::path::{Path, PathBuf};

use asyncflow_proto::v1::{LogStream, StreamTaskLogsRequest, Task, TaskSpec, TaskState};
use asyncflow_sdk::Client;
use asyncflow_tests::{Backend, Cluster, LEASE, Shape, sh, until};
use futures::TryStreamExt;

/// Writes numbered lines until the file is there; how many is its result.
fn counts_until(go: &Path) -> TaskSpec {
    sh(&format!(
        r#"n=0; while [ ! -e {} ]; do echo "line $n"; n=$((n + 1)); sleep 0.02; done
        echo "{{\"event\":\"result\",\"data\":$n}}" >> "$ASYNCFLOW_EVENTS""#,
        go.display()
    ))
}

/// Waits for its end: in its first attempt, by the process that began it. What it returned.
async fn counted(client: &Client, id: &str) -> (Task, usize) {
    let task = client.wait(id, None).await.unwrap();
    let counts = (task.state(), task.attempt, task.failures, task.crashes);
    assert_eq!(counts, (TaskState::Succeeded, 1, 0, 0), "{task:?}");
    assert_eq!(client.attempts(id).await.unwrap().len(), 1);
    let result = String::from_utf8(task.result.clone().unwrap().data.to_vec()).unwrap();
    (task, result.parse().unwrap())
}

async fn stdout(client: &Client, id: &str) -> String {
    let request =
        StreamTaskLogsRequest { task_id: id.to_owned(), follow: true, ..Default::default() };
    let pieces: Vec<_> = client.logs(request).try_collect().await.unwrap();
    let pieces = pieces.iter().filter(|piece| piece.stream() == LogStream::Stdout);
    let bytes: Vec<u8> = pieces.flat_map(|piece| piece.data.iter().copied()).collect();
    String::from_utf8(bytes).unwrap()
}

async fn the_new_worker_goes_on(backend: Backend) {
    let mut cluster = Cluster::start(backend, Shape { brokers: 2, ..Shape::default() }).await;
    let client = cluster.client(0);
    let file = |name: &str| -> PathBuf { cluster.scratch().join(name) };
    let (go_early, go_late) = (file("go-early"), file("go-late"));
    let early = client.create(counts_until(&go_early)).await.unwrap().id;
    let late = client.create(counts_until(&go_late)).await.unwrap().id;
    let data = file("worker-0/data");
    for id in [&early, &late] {
        let log = data.join(format!("attempts/{id}.1/stdout.log"));
        until("it writes", || async {
            std::fs::read_to_string(&log).ok()?.contains("line 10\n").then_some(())
        })
        .await;
    }
    for broker in &mut cluster.brokers {
        broker.kill();
    }
    cluster.workers[0].kill();
    cluster.workers[0].restart();
    // Only who follows the program can tell that it ended well.
    std::fs::write(&go_early, "").unwrap();
    let entry = data.join(format!("journal/{early}.1.complete"));
    until("the end of the first is in the journal", || async { entry.exists().then_some(()) })
        .await;
    tokio::time::sleep(LEASE + LEASE / 2).await;
    for broker in &mut cluster.brokers {
        broker.restart();
    }
    cluster.until_broker_answers(0).await;
    counted(&client, &early).await;
    until("the journal is empty", || async { (!entry.exists()).then_some(()) }).await;

    let task = client.get(&late).await.unwrap();
    let counts = (task.state(), task.attempt, task.crashes);
    assert_eq!(counts, (TaskState::Running, 1, 0), "{}", cluster.logs());
    std::fs::write(&go_late, "").unwrap();
    let (_, lines) = counted(&client, &late).await;
    let expected: String = (0..lines).map(|n| format!("line {n}\n")).collect();
    assert_eq!(stdout(&client, &late).await, expected, "{}", cluster.logs());
    assert_eq!(std::fs::read_dir(data.join("rejected")).unwrap().count(), 0);
}
on_each_database!(the_new_worker_goes_on);
