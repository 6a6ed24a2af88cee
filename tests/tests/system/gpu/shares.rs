//! Twenty tasks of 10 GiB on one GPU of 24 GiB: two at a time, and never more.

use asyncflow_proto::v1::Resources;
use asyncflow_tests::{Backend, Cluster};

use super::scene::{all_succeed, create_many, on, shape};

async fn two_at_a_time(backend: Backend) {
    let cluster = Cluster::start(backend, shape(1)).await;
    let client = cluster.client(0);
    let file = cluster.scratch().join("marks");
    let script = format!("echo begin >> {0}; sleep 0.2; echo end >> {0}", file.display());
    let share = Resources { gpu_memory_bytes: 10 << 30, ..Resources::default() };
    let ids = create_many(&client, 20, on(share, &script)).await;
    all_succeed(&cluster, &ids).await;
    let marks = std::fs::read_to_string(&file).unwrap();
    let (mut now, mut most) = (0, 0);
    for line in marks.lines() {
        now += if line == "begin" { 1 } else { -1 };
        most = most.max(now);
    }
    assert_eq!((now, most, marks.lines().count()), (0, 2, 40));
}
on_each_database!(two_at_a_time: sqlite Sqlite);
