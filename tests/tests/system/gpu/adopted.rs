//! kill -9 of a worker in mid-training, and a restart: the same process goes on, its GPU stays its
//! own, no line of its log is lost, and it has run once.

use asyncflow_proto::v1::{GpuState, StreamTaskLogsRequest, TaskState};
use asyncflow_tests::{Backend, Cluster, is_alive, until};
use futures::TryStreamExt;

use super::scene::{on_one_gpu, shape, until_gpu, until_lines, until_started, until_state};

async fn a_training_outlives_its_worker(backend: Backend) {
    let mut cluster = Cluster::start(backend, shape(1)).await;
    let client = cluster.client(0);
    let (pids, go) = (cluster.scratch().join("pids"), cluster.scratch().join("go"));
    let script = format!(
        "echo $$ >> {}; n=0; while [ ! -e {} ]; do n=$((n+1)); echo line $n; sleep 0.02; done; \
         echo last $n",
        pids.display(),
        go.display()
    );
    let training = client.create(on_one_gpu(&script)).await.unwrap();
    let pid = until_lines(&pids, 1).await.remove(0);
    until_gpu(&client, 0, 0, |gpu| gpu.task_ids.contains(&training.id)).await;

    cluster.workers[0].kill();
    assert!(is_alive(&pid));
    let next = client.create(on_one_gpu("true")).await.unwrap();
    cluster.workers[0].restart();
    until("the new worker has said who runs", || async {
        let workers = client.workers().await.unwrap();
        workers.first().is_some_and(|it| it.alive && it.running == 1).then_some(())
    })
    .await;
    let gpu = until_gpu(&client, 0, 0, |gpu| gpu.task_ids.contains(&training.id)).await;
    assert_eq!(gpu.state(), GpuState::Ready, "its own process is no stranger's: {gpu:?}");
    // A second look at everything, in which the next task would have got the GPU.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(client.get(&next.id).await.unwrap().state(), TaskState::Pending);
    assert!(is_alive(&pid));

    std::fs::write(&go, "").unwrap();
    let task = client.wait(&training.id, None).await.unwrap();
    assert_eq!(task.state(), TaskState::Succeeded, "{:?} {}", task.failure, cluster.logs());
    assert_eq!((task.attempt, task.crashes), (1, 0));
    assert_eq!(until_lines(&pids, 1).await, [pid.as_str()], "it ran once");
    until_started(&client, &next.id).await;
    until_state(&client, 0, 0, GpuState::Ready).await;

    let request = StreamTaskLogsRequest { task_id: training.id, ..Default::default() };
    let chunks: Vec<_> = client.logs(request).try_collect().await.unwrap();
    let log: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.data.to_vec()).collect();
    let log = String::from_utf8(log).unwrap();
    let numbers: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("line ")).collect();
    let last = log.lines().find_map(|line| line.strip_prefix("last ")).unwrap();
    let count: usize = last.parse().unwrap();
    let expected: Vec<String> = (1..=count).map(|n| n.to_string()).collect();
    assert_eq!(numbers, expected, "every line, once, in order");
}
on_each_database!(a_training_outlives_its_worker: sqlite Sqlite);
