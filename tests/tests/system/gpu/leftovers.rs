//! A worker and the shim of its task are killed, and what the task has started holds on to its GPU:
//! the worker that comes back ends it before anybody gets that GPU.

use asyncflow_proto::v1::{OptionalRetryPolicy, TaskSpec, TaskState};
use asyncflow_tests::{Backend, Cluster, is_alive, until};

use super::scene::{on_one_gpu, shape, until_gpu, until_lines};

async fn are_ended_before_the_next_task_gets_the_gpu(backend: Backend) {
    let mut cluster = Cluster::start(backend, shape(1)).await;
    let client = cluster.client(0);
    let (pids, shim) = (cluster.scratch().join("pids"), cluster.scratch().join("shim"));
    // Whoever is on the GPU later looks whether one of them lives.
    let script = format!(
        r#"[ "$ASYNCFLOW_ATTEMPT" = 1 ] && [ ! -e {pids} ] && {{
            echo $PPID > {shim}
            setsid sh -c 'echo $$ >> {pids}; exec sleep 300' &
            echo $$ >> {pids}
            exec sleep 300
        }}
        for pid in $(cat {pids}); do
            [ -e /proc/$pid ] && ! grep -q ') Z ' /proc/$pid/stat && exit 9
        done
        exit 0"#,
        pids = pids.display(),
        shim = shim.display(),
    );
    let retry = OptionalRetryPolicy { max_retries: Some(0), ..Default::default() };
    let spec = || TaskSpec { retry: Some(retry), ..on_one_gpu(&script) };
    let first = client.create(spec()).await.unwrap();
    let pids = until_lines(&pids, 2).await;
    let shim = until_lines(&shim, 1).await.remove(0);
    cluster.gpus(0).process(0, pids[0].parse().unwrap(), 8_192);
    until_gpu(&client, 0, 0, |gpu| gpu.task_ids.contains(&first.id)).await;
    let second = client.create(spec()).await.unwrap();

    cluster.workers[0].kill();
    let killed = std::process::Command::new("kill").args(["-KILL", &shim]).status();
    assert!(killed.unwrap().success());
    assert!(pids.iter().all(|pid| is_alive(pid)), "they outlive worker and shim");
    cluster.workers[0].restart();
    until("they have been ended", || async {
        (!pids.iter().any(|pid| is_alive(pid))).then_some(())
    })
    .await;
    // The card still shows the memory that they held, so nobody gets it.
    for id in [&first.id, &second.id] {
        assert_ne!(client.get(id).await.unwrap().state(), TaskState::Succeeded);
    }
    cluster.gpus(0).leave(0);
    for (id, attempt) in [(&first.id, 2), (&second.id, 1)] {
        let task = client.wait(id, None).await.unwrap();
        let ended = (task.state(), task.attempt);
        assert_eq!(ended, (TaskState::Succeeded, attempt), "{task:?} {}", cluster.logs());
    }
}
on_each_database!(are_ended_before_the_next_task_gets_the_gpu: sqlite Sqlite);
