//! The database's clock jumps, back and forth: a schedule fires each of its times once, and whoever
//! works is left alone.

use asyncflow_proto::{
    time::timestamp_ms,
    v1::{
        GetScheduleResponse, ScheduleCron, ScheduleFire, ScheduleSpec, Task, TaskState,
        WorkflowNode, WorkflowSpec, WorkflowState,
        schedule_spec::{Action, Timing},
        workflow_node::Work,
    },
};
use asyncflow_sdk::Client;
use asyncflow_store::testing::ShiftedClock;
use asyncflow_tests::{Backend, Cluster, Shape, Stopwatch, command, runs_until, until};

/// 3 o'clock in Berlin on 15 January 2030, in seconds since 1970.
const THREE_S: i64 = 1_894_672_800;
const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

/// Sets the clock to this time.
fn set(clock: &ShiftedClock, time_s: i64) {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    clock.shift(time_s - i64::try_from(now).unwrap());
}

/// Waits until the broker goes by a clock that shows this time or a minute more.
async fn until_it_is(client: &Client, time_s: i64) {
    until("the broker goes by the new time", || async {
        let task = client.create(command(["true"])).await.ok()?;
        let now_s = timestamp_ms(&task.create_time.unwrap()).unwrap() / 1_000;
        (time_s..time_s + 60).contains(&now_s).then_some(())
    })
    .await;
}

/// A workflow at 3 o'clock; the id of the schedule.
async fn daily(client: &Client) -> String {
    let node = |name: &str, depends_on: &[&str]| WorkflowNode {
        name: name.to_owned(),
        depends_on: depends_on.iter().map(ToString::to_string).collect(),
        work: Some(Work::Task(command(["true"]))),
        ..Default::default()
    };
    let nodes = vec![node("first", &[]), node("second", &["first"])];
    let workflow = WorkflowSpec { name: "daily".to_owned(), nodes, ..Default::default() };
    let cron = ScheduleCron {
        expression: "0 3 * * *".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        ..Default::default()
    };
    let spec = ScheduleSpec {
        timing: Some(Timing::Cron(cron)),
        action: Some(Action::Workflow(workflow)),
        ..Default::default()
    };
    client.create_schedule(spec).await.unwrap().id
}

/// Waits until it has fired so often; what it says then.
async fn fired(client: &Client, id: &str, count: i64) -> GetScheduleResponse {
    until("it fires", || async {
        let found = client.schedule(id).await.unwrap();
        (found.schedule.as_ref().unwrap().fired_count >= count).then_some(found)
    })
    .await
}

/// Each of these times has fired once, the last one first, and its workflow succeeded.
async fn has_fired(client: &Client, id: &str, times_s: &[i64]) {
    let found = fired(client, id, times_s.len() as i64).await;
    let schedule = found.schedule.unwrap();
    let counts = (schedule.fired_count, schedule.missed_count, schedule.failed_count);
    assert_eq!(counts, (times_s.len() as i64, 0, 0), "{:?}", found.fires);
    let at = |fire: &ScheduleFire| timestamp_ms(&fire.fire_time.unwrap()).unwrap() / 1_000;
    assert_eq!(found.fires.iter().map(at).collect::<Vec<_>>(), times_s);
    for fire in &found.fires {
        let workflow = client.wait_workflow(&fire.workflow_id, None).await.unwrap();
        assert_eq!(workflow.state(), WorkflowState::Succeeded, "{workflow:?}");
    }
}

async fn until_attempt(client: &Client, id: &str, attempt: i32) -> Task {
    until("the attempt runs", || async {
        let task = client.get(id).await.unwrap();
        (task.attempt == attempt && task.start_time.is_some()).then_some(task)
    })
    .await
}

async fn each_time_fires_once(backend: Backend) {
    let clock = ShiftedClock::new();
    set(&clock, THREE_S - HOUR_S / 2);
    let shape = Shape { workers: 2, ..Shape::default() };
    let mut cluster = Cluster::start_by_the_clock(backend, shape, &clock).await;
    let client = cluster.client(0);
    let go = cluster.scratch().join("go");
    let worker = client.create(runs_until(&go)).await.unwrap().id;
    let holder = until_attempt(&client, &worker, 1).await.worker_id;
    let first = daily(&client).await;
    set(&clock, THREE_S - 1);
    has_fired(&client, &first, &[THREE_S]).await;

    // Back: it is one o'clock again. A worker that dies then is found out as fast as ever, whatever
    // lease it had by the clock before.
    let holder: usize = holder.strip_prefix("worker-").unwrap().parse().unwrap();
    cluster.workers[holder].kill();
    let killed = Stopwatch::start();
    set(&clock, THREE_S - 2 * HOUR_S);
    until_attempt(&client, &worker, 2).await;
    killed.tell("another worker runs it");
    // The broker may go by what it heard of the clock for five seconds.
    until_it_is(&client, THREE_S - 2 * HOUR_S).await;
    // Three o'clock comes a second time, and only for a schedule that has not seen the first.
    let second = daily(&client).await;
    set(&clock, THREE_S - 1);
    has_fired(&client, &second, &[THREE_S]).await;
    has_fired(&client, &first, &[THREE_S]).await;

    // Forth, over a night. The lease of the task is a day old, by that clock.
    set(&clock, THREE_S + DAY_S + 60);
    for id in [&first, &second] {
        has_fired(&client, id, &[THREE_S + DAY_S, THREE_S]).await;
    }
    until_it_is(&client, THREE_S + DAY_S + 60).await;
    std::fs::write(&go, "").unwrap();
    let task = client.wait(&worker, None).await.unwrap();
    let counts = (task.state(), task.attempt, task.crashes);
    assert_eq!(counts, (TaskState::Succeeded, 2, 1), "{}", cluster.logs());
    cluster.workers[holder].restart();
}
on_each_database!(each_time_fires_once);
