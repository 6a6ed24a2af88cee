//! kill -9 of the broker at the moment in which a schedule fires: when that is decided, before the
//! COMMIT, and behind it, when it is to hand out what was made. Each fire time makes one task, and
//! each of them is run.

use asyncflow_proto::{
    time::{duration, timestamp_ms},
    v1::{
        CountTasksRequest, Schedule, ScheduleOverlap, ScheduleSpec, TaskState,
        schedule_spec::{Action, Timing},
    },
};
use asyncflow_sdk::Client;
use asyncflow_tests::{Backend, Cluster, Shape, sh, until};

const EVERY_MS: i64 = 1_000;

async fn get(client: &Client, id: &str) -> Schedule {
    client.schedule(id).await.unwrap().schedule.unwrap()
}

/// Waits until it has fired once more; how often it has then.
async fn fires_again(client: &Client, id: &str) -> i64 {
    let before = get(client, id).await.fired_count;
    until("it fires", || async {
        let fired = get(client, id).await.fired_count;
        (fired > before).then_some(fired)
    })
    .await
}

async fn each_time_makes_one_task(backend: Backend) {
    let mut cluster = Cluster::start(backend, Shape::default()).await;
    let client = cluster.client(0);
    let runs = cluster.scratch().join("runs");
    let spec = ScheduleSpec {
        timing: Some(Timing::Interval(duration(EVERY_MS))),
        overlap: ScheduleOverlap::Allow.into(),
        action: Some(Action::Task(sh(&format!("echo $ASYNCFLOW_TASK_ID >> {}", runs.display())))),
        ..Default::default()
    };
    let id = client.create_schedule(spec).await.unwrap().id;
    for point in ["schedule.planned", "schedule.fired"] {
        let stop = cluster.governors[0].faults().stop_at(point);
        stop.reached().await;
        cluster.brokers[0].kill();
        stop.go_on();
        cluster.brokers[0].restart();
        fires_again(&client, &id).await;
    }
    fires_again(&client, &id).await;
    cluster.brokers[0].kill();
    cluster.brokers[0].restart();
    fires_again(&client, &id).await;

    let paused = client.pause_schedule(&id).await.unwrap();
    let ms = |stamp: Option<_>| timestamp_ms(&stamp.unwrap()).unwrap();
    let span_ms = ms(paused.last_fire_time) - ms(paused.create_time);
    let counts = (paused.fired_count, paused.missed_count, paused.failed_count);
    assert_eq!(counts, (span_ms / EVERY_MS, 0, 0), "{}", cluster.logs());
    let counted = until("everything has ended", || async {
        let counted = client.count(CountTasksRequest::default()).await.unwrap();
        let ended = |state| state == TaskState::Succeeded || state == TaskState::Failed;
        counted.counts.iter().all(|count| ended(count.state())).then_some(counted)
    })
    .await;
    assert_eq!((counted.total, counted.counts.len()), (paused.fired_count, 1), "{counted:?}");
    assert_eq!(counted.counts[0].state(), TaskState::Succeeded);
    let runs = std::fs::read_to_string(&runs).unwrap();
    let tasks: std::collections::BTreeSet<&str> = runs.lines().collect();
    assert_eq!(tasks.len() as i64, paused.fired_count, "{runs}");
    assert_eq!(tasks.len(), runs.lines().count(), "none was run twice: {runs}");
}
on_each_database!(each_time_makes_one_task);
