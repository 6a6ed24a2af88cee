//! What these scenarios do again and again.

use asyncflow_proto::v1::{
    CreateTaskRequest, Gpu, GpuState, Host, Resources, Task, TaskSpec, TaskState,
};
use asyncflow_sdk::Client;
use asyncflow_tests::{Cards, Cluster, Shape, sh, until};
use futures::{TryStreamExt, future::join_all};

/// A worker with so many GPUs of 24 GiB.
pub fn shape(gpus: usize) -> Shape {
    Shape { cards: Some(Cards { count: gpus, memory_gib: 24 }), slots: 32, ..Shape::default() }
}

/// A task that runs this script on a GPU of its own.
pub fn on_one_gpu(script: &str) -> TaskSpec {
    on(Resources { gpus: 1, ..Resources::default() }, script)
}

/// A task with these needs.
pub fn on(resources: Resources, script: &str) -> TaskSpec {
    TaskSpec { resources: Some(resources), ..sh(script) }
}

/// Creates as many tasks like this one, at once; their ids.
pub async fn create_many(client: &Client, count: usize, spec: TaskSpec) -> Vec<String> {
    let request = CreateTaskRequest { task: Some(spec), ..CreateTaskRequest::default() };
    let created = client.create_batch(vec![request; count]).await.unwrap();
    created.into_iter().map(|created| created.task.unwrap().id).collect()
}

/// Waits until all have ended; all must have succeeded.
pub async fn all_succeed(cluster: &Cluster, ids: &[String]) -> Vec<Task> {
    let client = cluster.client(0);
    let ended = join_all(ids.iter().map(|id| client.wait(id, None))).await;
    let ended: Vec<Task> = ended.into_iter().map(Result::unwrap).collect();
    for task in &ended {
        assert_eq!(task.state(), TaskState::Succeeded, "{:?} {}", task.failure, cluster.logs());
    }
    ended
}

/// What the workers told last, in the order of their ids.
pub async fn hosts(client: &Client) -> Vec<Host> {
    client.hosts().try_collect().await.unwrap()
}

/// Waits until GPU `n` of worker `worker` is as it should be.
pub async fn until_gpu(client: &Client, worker: usize, n: usize, is: impl Fn(&Gpu) -> bool) -> Gpu {
    until(&format!("GPU {n} of worker {worker} is as expected"), || async {
        let hosts = hosts(client).await;
        let gpu = hosts.get(worker)?.report.as_ref()?.gpus.get(n)?;
        is(gpu).then(|| gpu.clone())
    })
    .await
}

/// Waits until GPU `n` of worker `worker` is told to be in this state.
pub async fn until_state(client: &Client, worker: usize, n: usize, state: GpuState) -> Gpu {
    until_gpu(client, worker, n, |gpu| gpu.state() == state).await
}

/// Waits until the task has started.
pub async fn until_started(client: &Client, id: &str) -> Task {
    until("the task has started", || async {
        let task = client.get(id).await.unwrap();
        task.start_time.is_some().then_some(task)
    })
    .await
}

/// Waits until `count` lines stand in the file.
pub async fn until_lines(path: &std::path::Path, count: usize) -> Vec<String> {
    until(&format!("{count} lines stand in {}", path.display()), || async {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        (text.lines().count() >= count).then(|| text.lines().map(str::to_owned).collect())
    })
    .await
}

/// The number of a worker or host, `worker-3` → 3.
pub fn number(name: &str) -> usize {
    name.rsplit_once('-').unwrap().1.parse().unwrap()
}
