//! The disk of a worker is full when its task ends, and no broker is there to be told: the end is
//! kept in memory and told from there. What it cannot begin it gives back, and says so.

use asyncflow_proto::v1::TaskState;
use asyncflow_store::testing::SmallDisk;
use asyncflow_tests::{Backend, Cluster, Shape, command, sh, until};
use futures::TryStreamExt;

const DISK_MIB: u32 = 8;

async fn the_end_is_told_from_memory(backend: Backend) {
    let Some(disk) = SmallDisk::mount(DISK_MIB) else { return };
    let shape = Shape { workers: 0, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let client = cluster.client(0);
    let here = cluster.scratch();
    let data = here.join("worker-0/data");
    std::fs::create_dir(here.join("worker-0")).unwrap();
    std::os::unix::fs::symlink(disk.path(), &data).unwrap();
    let worker = cluster.start_worker(0);
    cluster.workers.push(worker);
    let [saved, go] = ["saved", "go"].map(|name| here.join(name));
    let script = format!(
        r#"echo '{{"event":"result","data":"kept"}}' >> "$ASYNCFLOW_EVENTS"
        touch {}; while [ ! -e {} ]; do sleep 0.05; done"#,
        saved.display(),
        go.display()
    );
    let ends = client.create(sh(&script)).await.unwrap().id;
    until("the result is on the disk", || async { saved.exists().then_some(()) }).await;
    disk.fill_but(0);
    cluster.brokers[0].kill();
    std::fs::write(&go, "").unwrap();
    until("the worker cannot write the end down", || async {
        cluster.workers[0].log().contains("the journal cannot be written").then_some(())
    })
    .await;
    cluster.brokers[0].restart();
    let task = client.wait(&ends, None).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 1), "{}", cluster.logs());
    assert_eq!(task.result.unwrap().data, br#""kept""#[..]);

    let next = client.create(command(["true"])).await.unwrap().id;
    let why = until("it says that it takes no tasks", || async {
        let hosts: Vec<_> = client.hosts().try_collect().await.ok()?;
        let reports = hosts.into_iter().filter_map(|host| host.report);
        reports.map(|report| report.takes_nothing).find(|why| !why.is_empty())
    })
    .await;
    println!("{backend:?}: {why}");
    disk.free();
    let task = client.wait(&next, None).await.unwrap();
    let counts = (task.state(), task.failures, task.crashes);
    assert_eq!(counts, (TaskState::Succeeded, 0, 0), "{task:?} {}", cluster.logs());
}
on_each_database!(the_end_is_told_from_memory);
