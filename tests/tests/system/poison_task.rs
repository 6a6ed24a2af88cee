//! A task that kills its worker again and again, and the shim that would outlive it, ends as
//! poison; the others are unharmed.

use std::time::Duration;

use asyncflow_proto::v1::{AttemptOutcome, FailureReason, TaskState};
use asyncflow_tests::{Backend, Cluster, PATIENCE, Shape, Stopwatch, command, sh, until};

/// They come all the while, but do not add up to a load.
const BYSTANDERS_MAX: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_after_the_cap_and_harms_no_other() {
    let mut cluster =
        Cluster::start(Backend::MariaDb, Shape { workers: 2, ..Shape::default() }).await;
    let client = cluster.client(0);
    let script = r#"sleep 0.2
        read -r _ _ _ worker _ < "/proc/$PPID/stat"
        kill -KILL "$worker" "$PPID"
        sleep 300"#;
    let poison = client.create(sh(script)).await.unwrap();
    let mut bystanders = Vec::new();
    let begin = Stopwatch::start();
    // Whoever looks after workers starts them again.
    let failed = loop {
        if bystanders.len() < BYSTANDERS_MAX {
            bystanders.push(client.create(command(["true"])).await.unwrap().id);
        }
        for worker in &mut cluster.workers {
            if !worker.process().is_alive() {
                worker.restart();
            }
        }
        let task = until("the poison is looked at", || async { client.get(&poison.id).await.ok() });
        let task = task.await;
        if task.state() == TaskState::Failed {
            break task;
        }
        assert!(begin.elapsed() < PATIENCE, "{task:?} {}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(failed.failure.as_ref().unwrap().reason(), FailureReason::Poison, "{failed:?}");
    assert_eq!(failed.failures, 0);
    let attempts = client.attempts(&poison.id).await.unwrap();
    assert_eq!(attempts.len() as i32, failed.crashes);
    assert!(attempts.iter().all(|attempt| attempt.outcome() == AttemptOutcome::Lost));
    for worker in &mut cluster.workers {
        if !worker.process().is_alive() {
            worker.restart();
        }
    }
    for id in bystanders {
        let task = client.wait(&id, None).await.unwrap();
        assert_eq!((task.state(), task.failures), (TaskState::Succeeded, 0), "{:?}", task.failure);
    }
}
