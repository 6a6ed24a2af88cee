//! Many worker processes, each with a task, lose their broker for longer than a lease: when it is
//! back no heartbeat is refused, and each goes on with its task. There are 50 of them, or as many
//! as `ASYNCFLOW_TEST_WORKERS` says.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use asyncflow_proto::v1::{CreateTaskRequest, TaskState};
use asyncflow_store::testing::free_port;
use asyncflow_tests::{Backend, Cluster, LEASE, Program, Shape, sh, until, until_started};

const WORKERS: usize = 50;

fn workers() -> usize {
    std::env::var("ASYNCFLOW_TEST_WORKERS").map_or(WORKERS, |workers| workers.parse().unwrap())
}

/// How many heartbeats the broker's process has answered, and how many of them well, as soon as it
/// tells: it takes calls before that.
fn heartbeats(metrics: u16) -> Option<(u64, u64)> {
    let mut connection = TcpStream::connect(("127.0.0.1", metrics)).ok()?;
    let request = "GET /metrics HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n";
    connection.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    let counts = text.lines().filter(|line| {
        line.starts_with("asyncflow_grpc_calls_total{") && line.contains("/Heartbeat\"")
    });
    Some(counts.fold((0, 0), |(all, well), line| {
        let count: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        (all + count, well + if line.contains("code=\"Ok\"") { count } else { 0 })
    }))
}

/// How many workers have said so.
fn said(workers: &[Program], what: &str) -> usize {
    workers.iter().filter(|worker| worker.log().contains(what)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_goes_on_when_the_broker_is_back() {
    let (workers, metrics) = (workers(), free_port());
    let shape = Shape { workers, slots: 1, ..Shape::default() };
    let settings = vec![
        ("METRICS__ADDRESS", format!("127.0.0.1:{metrics}")),
        // Two busy cores have to hear all of them within one and a half of them.
        ("LEASE__HEARTBEAT_INTERVAL_MS", "2000".to_owned()),
    ];
    let mut cluster = Cluster::start_with_brokers(Backend::MariaDb, shape, settings).await;
    let client = cluster.client(0);
    // Who reads it waits until somebody has opened it for writing, and costs nothing meanwhile.
    let go = cluster.scratch().join("go");
    assert!(Command::new("mkfifo").arg(&go).status().unwrap().success());
    let request = || CreateTaskRequest {
        task: Some(sh(&format!("exec cat {}", go.display()))),
        ..CreateTaskRequest::default()
    };
    let created = client.create_batch((0..workers).map(|_| request()).collect()).await.unwrap();
    let ids: Vec<_> = created.into_iter().map(|answer| answer.task.unwrap().id).collect();
    for id in &ids {
        until_started(&client, id).await;
    }

    cluster.brokers[0].kill();
    tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
    until("all have noticed", || async {
        (said(&cluster.workers, "heartbeats fail") == workers).then_some(())
    })
    .await;
    cluster.brokers[0].restart();
    let back = until("all are back", || async {
        let back = said(&cluster.workers, "heartbeats get through again");
        (back == workers).then(|| heartbeats(metrics))?
    });
    let (all, well) = back.await;
    println!("{workers} workers are back, {well} of {all} heartbeats were taken");
    assert!(all >= workers as u64);
    assert_eq!(well, all, "{}", cluster.brokers[0].log_tail());

    let writer = std::fs::OpenOptions::new().write(true).open(&go).unwrap();
    drop(writer);
    for id in &ids {
        let task = client.wait(id, None).await.unwrap();
        let told = (task.state(), task.attempt, task.crashes);
        assert_eq!(told, (TaskState::Succeeded, 1, 0), "{task:?}");
    }
}
