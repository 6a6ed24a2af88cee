//! A host that was drained is out of use until somebody says otherwise, also when its worker is
//! started again.

use asyncflow_proto::v1::{Host, TaskState, UpdateHostRequest};
use asyncflow_sdk::Client;
use asyncflow_tests::{Backend, Cluster, sh, until};

use super::scene::shape;

async fn ordered(client: &Client, draining: bool) -> Host {
    let request = UpdateHostRequest {
        worker_id: "worker-0".to_owned(),
        cordoned: (!draining).then_some(false),
        draining: Some(draining),
        ..UpdateHostRequest::default()
    };
    client.update_host(request).await.unwrap()
}

async fn a_drained_host_stays_out_of_use(backend: Backend) {
    let mut cluster = Cluster::start(backend, shape(1)).await;
    let client = cluster.client(0);
    let done = client.create(sh("true")).await.unwrap();
    client.wait(&done.id, None).await.unwrap();
    ordered(&client, true).await;
    until("the worker has drained", || async {
        (!cluster.workers[0].process().is_alive()).then_some(())
    })
    .await;
    cluster.workers[0].restart();
    until("the next worker says that it takes nothing", || async {
        cluster.logs().contains("`asyncflow worker uncordon worker-0`").then_some(())
    })
    .await;
    let waiting = client.create(sh("true")).await.unwrap();
    let why = client.explain(&waiting.id).await.unwrap();
    assert!(why.summary.contains("is cordoned"), "{why:?}");
    assert!(cluster.workers[0].process().is_alive(), "{}", cluster.logs());
    assert!(!ordered(&client, false).await.orders.unwrap().cordoned);
    let task = client.wait(&waiting.id, None).await.unwrap();
    assert_eq!(task.state(), TaskState::Succeeded, "{}", cluster.logs());
}
on_each_database!(a_drained_host_stays_out_of_use: sqlite Sqlite);
