//! Processes that somebody started by hand: a large one keeps tasks away from its GPU and only from
//! that, a small one costs its memory, and after one has ended its GPU is left alone for a while.

use std::collections::BTreeSet;

use asyncflow_proto::v1::{GpuState, Resources, TaskState};
use asyncflow_tests::{Backend, Cluster, Shape};

use super::scene::{
    all_succeed, create_many, hosts, on, on_one_gpu, shape, until_lines, until_started, until_state,
};

async fn a_large_one_keeps_tasks_away(backend: Backend) {
    let settings = &[("GPU__COOL_DOWN_MS", "2000")];
    let cluster = Cluster::start(backend, Shape { settings, ..shape(4) }).await;
    let client = cluster.client(0);
    let gpus = cluster.gpus(0);
    gpus.stranger(1, 4_000_242, "bob", 20 << 10);
    let gpu = until_state(&client, 0, 1, GpuState::Foreign).await;
    let process = &gpu.processes[0];
    assert_eq!((process.pid, process.user.as_str()), (4_000_242, "bob"));
    assert!(process.blocks && process.since.is_some());
    assert!(!gpu.reason.is_empty());

    let file = cluster.scratch().join("seen");
    let script = format!("echo \"$CUDA_VISIBLE_DEVICES\" >> {}; sleep 0.3", file.display());
    let ids = create_many(&client, 12, on_one_gpu(&script)).await;
    all_succeed(&cluster, &ids).await;
    let seen: BTreeSet<String> = until_lines(&file, 12).await.into_iter().collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["0", "2", "3"]);

    gpus.leave(1);
    let gpu = until_state(&client, 0, 1, GpuState::CoolingDown).await;
    assert!(gpu.until.is_some(), "it is told until when: {gpu:?}");
    until_state(&client, 0, 1, GpuState::Ready).await;
    // All four at once: the fourth task can only be there.
    for id in create_many(&client, 4, on_one_gpu("sleep 300")).await {
        until_started(&client, &id).await;
    }
}
on_each_database!(a_large_one_keeps_tasks_away: sqlite Sqlite);

/// 642 MiB of an idle process are too few to keep others away, and are still not given away twice.
async fn a_small_one_costs_its_memory(backend: Backend) {
    let cluster = Cluster::start(backend, shape(1)).await;
    let client = cluster.client(0);
    cluster.gpus(0).stranger(0, 4_000_642, "bob", 642);
    super::scene::until_gpu(&client, 0, 0, |gpu| !gpu.processes.is_empty()).await;
    assert_eq!(hosts(&client).await[0].report.as_ref().unwrap().gpus[0].state(), GpuState::Ready);
    let share = |gib: i64| Resources { gpu_memory_bytes: gib << 30, ..Resources::default() };
    let whole = client.create(on(share(24), "true")).await.unwrap();
    let most = client.create(on(share(23), "true")).await.unwrap();
    let most = client.wait(&most.id, None).await.unwrap();
    assert_eq!(most.state(), TaskState::Succeeded, "{}", cluster.logs());
    // It is older, and would have been first if there were room for it.
    let whole = client.get(&whole.id).await.unwrap();
    assert_eq!((whole.state(), whole.attempt), (TaskState::Pending, 0));
}
on_each_database!(a_small_one_costs_its_memory: sqlite Sqlite);
