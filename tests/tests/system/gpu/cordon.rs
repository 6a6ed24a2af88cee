//! A worker and a GPU that are cordoned get no tasks; what runs goes on; uncordoned, they get some.

use asyncflow_proto::v1::{GpuState, TaskState, UpdateHostRequest};
use asyncflow_sdk::Client;
use asyncflow_tests::{Backend, Cluster};

use super::scene::{on_one_gpu, shape, until_started, until_state};

async fn set_cordoned(client: &Client, cordoned: bool) {
    let request = UpdateHostRequest {
        worker_id: "worker-0".to_owned(),
        cordoned: Some(cordoned),
        ..UpdateHostRequest::default()
    };
    let host = client.update_host(request).await.unwrap();
    assert_eq!(host.orders.unwrap().cordoned, cordoned);
}

async fn a_cordoned_worker_gets_nothing_new(backend: Backend) {
    let cluster = Cluster::start(backend, shape(2)).await;
    let client = cluster.client(0);
    let running = client.create(on_one_gpu("sleep 300")).await.unwrap();
    until_started(&client, &running.id).await;
    set_cordoned(&client, true).await;
    let waiting = client.create(on_one_gpu("true")).await.unwrap();
    let plain = client.create(asyncflow_tests::sh("true")).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    for id in [&waiting.id, &plain.id] {
        assert_eq!(client.get(id).await.unwrap().state(), TaskState::Pending);
    }
    assert_eq!(client.get(&running.id).await.unwrap().state(), TaskState::Running);
    set_cordoned(&client, false).await;
    for id in [&waiting.id, &plain.id] {
        let task = client.wait(id, None).await.unwrap();
        assert_eq!(task.state(), TaskState::Succeeded, "{}", cluster.logs());
    }
}
on_each_database!(a_cordoned_worker_gets_nothing_new: sqlite Sqlite);

async fn a_cordoned_gpu_gets_nothing_new(backend: Backend) {
    let cluster = Cluster::start(backend, shape(2)).await;
    let client = cluster.client(0);
    until_state(&client, 0, 0, GpuState::Ready).await;
    let uuid = cluster.gpus(0).uuid(0);
    client.update_gpu("worker-0", &uuid, true).await.unwrap();
    until_state(&client, 0, 0, GpuState::Cordoned).await;
    let file = cluster.scratch().join("seen");
    let script = format!("echo \"$CUDA_VISIBLE_DEVICES\" >> {}", file.display());
    for _ in 0..3 {
        let created = client.create(on_one_gpu(&script)).await.unwrap();
        client.wait(&created.id, None).await.unwrap();
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "1\n1\n1\n");
    client.update_gpu("worker-0", &uuid, false).await.unwrap();
    until_state(&client, 0, 0, GpuState::Ready).await;
}
on_each_database!(a_cordoned_gpu_gets_nothing_new: sqlite Sqlite);
