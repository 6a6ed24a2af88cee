//! What the checks of schedules share. They give the time at which it is looked as an argument.

use asyncflow_core::{
    id::{ScheduleId, TaskId},
    schedule::{
        FireOutcome,
        action::{Action, Run},
        spec::{Overlap, Spec, Timing},
    },
    task::Task,
};
use asyncflow_store::{NewSchedule, Schedule, Store};

use super::fixture::{new_task, type_name};

pub const MINUTE_MS: i64 = 60_000;

/// Every minute, a task of user `ann` and type `work`.
pub fn minutely(overlap: Overlap) -> NewSchedule {
    let timing = Timing::Cron {
        expression: "* * * * *".into(),
        with_seconds: false,
        zone: "Europe/Berlin".into(),
    };
    NewSchedule {
        user: "ann".into(),
        name: "minutely".into(),
        spec: Spec {
            timing,
            start_ms: None,
            end_ms: None,
            jitter_ms: 0,
            overlap,
            catch_up_ms: 60 * MINUTE_MS,
        },
        action: Action::Task(Box::new(new_task("tick"))),
        source: b"as it was written".to_vec(),
        request_id: None,
        create_time_ms: 0,
    }
}

/// The schedule, and its first fire time.
pub async fn create(store: &Store, new: &NewSchedule) -> (ScheduleId, i64) {
    store.ensure_type(&type_name("work")).await.unwrap();
    let new = NewSchedule { create_time_ms: store.now_ms().await.unwrap(), ..new.clone() };
    let created = store.create_schedule(&new).await.unwrap();
    assert!(!created.deduplicated);
    (created.schedule.id, created.schedule.standing.next_ms.unwrap())
}

/// Looks until nothing is due; the tasks that were made.
pub async fn fire(store: &Store, now_ms: i64) -> Vec<Task> {
    let mut made = Vec::new();
    loop {
        let fired = store.fire_due(now_ms, 500, None).await.unwrap();
        made.extend(fired.made);
        if !fired.more {
            return made;
        }
    }
}

/// The same for what waits.
pub async fn fire_queued(store: &Store, now_ms: i64) -> Vec<Task> {
    let (fired, next) = store.fire_queued(now_ms, Default::default(), 500, None).await.unwrap();
    assert_eq!(next, None);
    fired.made
}

pub async fn schedule(store: &Store, id: ScheduleId) -> Schedule {
    store.get_schedule(id).await.unwrap().unwrap()
}

/// What is noted, earliest first: minutes after `from_ms`, and the outcome.
pub async fn noted(store: &Store, id: ScheduleId, from_ms: i64) -> Vec<(i64, FireOutcome)> {
    let mut fires = store.list_fires(id, 1_000).await.unwrap();
    fires.reverse();
    fires.iter().map(|fire| ((fire.fire_ms - from_ms) / MINUTE_MS, fire.outcome)).collect()
}

/// The tasks that all its fire times have made.
pub async fn runs(store: &Store, id: ScheduleId) -> Vec<TaskId> {
    let fires = store.list_fires(id, 10_000).await.unwrap();
    let task = |run| match run {
        Run::Task(id) => id,
        Run::Workflow(id) => panic!("{id} is a workflow"),
    };
    fires.into_iter().filter_map(|fire| fire.run).map(task).collect()
}
