//! The governor that leads is killed while schedules are due: another fires what it has not, each
//! fire time once.

use asyncflow_proto::{
    time::{duration, timestamp_ms},
    v1::{
        CountTasksRequest, ListFireTimesRequest, Schedule, ScheduleOverlap, ScheduleSpec,
        ScheduleState,
        schedule_spec::{Action, Timing},
    },
};
use asyncflow_sdk::Client;
use asyncflow_tests::{Backend, Cluster, Shape, sh, until};

const EVERY_MS: i64 = 1_000;
/// Schedules, each every second.
const SCHEDULES: usize = 3;

async fn get(client: &Client, id: &str) -> Schedule {
    client.schedule(id).await.unwrap().schedule.unwrap()
}

/// Waits until this schedule has fired so often.
async fn until_fired(client: &Client, id: &str, count: i64) {
    let fired = || async { (get(client, id).await.fired_count >= count).then_some(()) };
    until("it fires", fired).await;
}

async fn each_time_fires_once(backend: Backend) {
    let shape = Shape { governors: 2, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let client = cluster.client(0);
    let spec = ScheduleSpec {
        timing: Some(Timing::Interval(duration(EVERY_MS))),
        overlap: ScheduleOverlap::Allow.into(),
        action: Some(Action::Task(sh("true"))),
        ..Default::default()
    };
    let mut ids = Vec::new();
    for _ in 0..SCHEDULES {
        ids.push(client.create_schedule(spec.clone()).await.unwrap().id);
    }
    until_fired(&client, &ids[0], 2).await;
    let first = cluster.leader().await;
    cluster.governors[first].kill();
    let at_kill = get(&client, &ids[0]).await;
    // Fire times pass by while nobody leads, by the clock of the database.
    let last_ms = timestamp_ms(&at_kill.last_fire_time.unwrap()).unwrap();
    let passed = || async {
        let request =
            ListFireTimesRequest { schedule_id: ids[0].clone(), count: 1, ..Default::default() };
        let next = client.fire_times(request).await.unwrap().remove(0);
        (timestamp_ms(&next).unwrap() > last_ms + 3 * EVERY_MS).then_some(())
    };
    until("some fire times pass", passed).await;
    until_fired(&client, &ids[0], at_kill.fired_count + 5).await;
    assert_ne!(cluster.leader().await, first);
    cluster.governors[first].restart();

    let mut fired = 0;
    for id in &ids {
        let paused = client.pause_schedule(id).await.unwrap();
        assert_eq!(paused.state(), ScheduleState::Paused);
        let ms = |stamp: Option<_>| timestamp_ms(&stamp.unwrap()).unwrap();
        let span_ms = ms(paused.last_fire_time) - ms(paused.create_time);
        assert_eq!(paused.fired_count, span_ms / EVERY_MS, "{}", cluster.logs());
        assert_eq!((paused.missed_count, paused.failed_count), (0, 0));
        fired += paused.fired_count;
    }
    let counted = client.count(CountTasksRequest::default()).await.unwrap();
    assert_eq!(counted.total, fired, "{}", cluster.logs());
}
on_each_database!(each_time_fires_once);
