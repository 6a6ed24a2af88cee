//! `asyncflow hold`: prints what uses the GPU, keeps others away, and ends early when idle.

use std::process::{Command, Stdio};

use asyncflow_proto::v1::{GpuState, TaskState};
use asyncflow_tests::{Backend, Cluster, asyncflow, until};

use super::scene::{on_one_gpu, shape, until_state};

fn call(cluster: &Cluster, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(asyncflow())
        .args(args)
        .env("ASYNCFLOW_BROKER", format!("http://{}", cluster.broker_address(0)))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

async fn it_prints_the_environment_and_ends_when_idle(backend: Backend) {
    let cluster = Cluster::start(backend, shape(1)).await;
    let client = cluster.client(0);
    until_state(&client, 0, 0, GpuState::Ready).await;
    let gpus = cluster.gpus(0);
    gpus.busy(0, 80);
    let args = ["hold", "--gpus", "1", "--for", "5m", "--idle", "1s"];
    let (code, stdout, stderr) = call(&cluster, &args);
    assert_eq!(code, 0, "{stderr} {}", cluster.logs());
    assert_eq!(stdout, "export CUDA_DEVICE_ORDER=PCI_BUS_ID\nexport CUDA_VISIBLE_DEVICES=0\n");
    assert!(stderr.contains("host-0") && stderr.contains("task cancel hold-"), "{stderr}");

    // What people start there is no stranger's: the hold goes on.
    gpus.stranger(0, 4_000_111, "alice", 20 << 10);
    let other = client.create(on_one_gpu("true")).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let held = client.list(Default::default());
    let held: Vec<_> = futures::TryStreamExt::try_collect(held).await.unwrap();
    let hold = held.iter().find(|task| task.task_type == "hold").unwrap();
    assert_eq!(hold.state(), TaskState::Running, "{}", cluster.logs());
    assert_eq!(client.get(&other.id).await.unwrap().state(), TaskState::Pending);

    gpus.leave(0);
    gpus.busy(0, 0);
    let ended = until("the idle hold has ended", || async {
        let task = client.get(&hold.id).await.unwrap();
        (task.state() != TaskState::Running).then_some(task)
    })
    .await;
    assert_eq!(ended.state(), TaskState::Succeeded, "{:?} {}", ended.failure, cluster.logs());
    let other = client.wait(&other.id, None).await.unwrap();
    assert_eq!(other.state(), TaskState::Succeeded);
}
on_each_database!(it_prints_the_environment_and_ends_when_idle: sqlite Sqlite);
