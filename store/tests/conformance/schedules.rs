//! Schedules: what is due is made, once, and what stands in the way of it.

use asyncflow_core::{
    id::ScheduleId,
    schedule::{
        FireCause, FireOutcome, ScheduleState,
        action::{Action, FlowAction, Run},
        spec::{Overlap, Timing},
    },
    state::TaskState,
    workflow::progress::WorkflowState,
};
use asyncflow_store::{
    CreateScheduleError, NewSchedule, ScheduleChange, ScheduleError, Store, StoreError,
};
use serde_json::json;

use super::{
    fixture::{apply, claim, complete, get, start, type_name},
    schedule_fixture::{MINUTE_MS, create, fire, fire_queued, minutely, noted, runs, schedule},
    workflow_fixture::{state, task, work, workflow},
};
use FireOutcome::{Failed, Fired, Missed, Queued, Skipped};

/// Claims the one task that waits, and completes it.
async fn complete_one(store: &Store) {
    let mut leased = claim(store, 7, 9).await.leased;
    assert_eq!(leased.len(), 1);
    let task = leased.remove(0).task.task;
    apply(store, &task.id, start(&task)).await.unwrap();
    apply(store, &task.id, complete(&task, 1)).await.unwrap();
}

pub async fn what_is_due_is_made_and_moved_on(store: Store) {
    let (id, first_ms) = create(&store, &minutely(Overlap::Allow)).await;
    assert_eq!(store.next_schedule_ms().await.unwrap(), Some(first_ms));
    assert!(fire(&store, first_ms - 1).await.is_empty(), "not due");
    let made = fire(&store, first_ms).await;
    assert_eq!(made.len(), 1);
    let task = get(&store, &made[0].id).await;
    assert_eq!((task.task.state, task.task.user.as_str()), (TaskState::Pending, "ann"));
    assert_eq!(task.body.payload.data, "payload");
    assert!(fire(&store, first_ms).await.is_empty(), "once");
    let standing = schedule(&store, id).await.standing;
    assert_eq!(standing.next_ms, Some(first_ms + MINUTE_MS));
    assert_eq!(standing.last_fire_ms, Some(first_ms));
    assert_eq!(standing.last_run, Some(Run::Task(made[0].id.clone())));
    assert_eq!((standing.fired, standing.failed), (1, 0));
    assert_eq!(noted(&store, id, first_ms).await, [(0, Fired)]);
    assert_eq!(store.purge_fires(i64::MAX, 10, None).await.unwrap(), 1);

    let once = Timing::Once { at_ms: first_ms };
    let mut new = minutely(Overlap::Allow);
    new.spec.timing = once;
    let (id, _) = create(&store, &new).await;
    assert_eq!(fire(&store, first_ms).await.len(), 1);
    let standing = schedule(&store, id).await.standing;
    assert_eq!((standing.state, standing.next_ms), (ScheduleState::Finished, None));

    // Put off by jitter.
    let mut new = minutely(Overlap::Allow);
    (new.spec.timing, new.spec.jitter_ms) = (Timing::Once { at_ms: first_ms }, 50 * MINUTE_MS);
    let (id, _) = create(&store, &new).await;
    let due_ms = new.spec.due_ms(id, first_ms);
    store.pause_schedule(ScheduleId(id.0)).await.unwrap();
    store.resume_schedule(ScheduleId(id.0)).await.unwrap();
    let one = |made: Vec<asyncflow_core::task::Task>| made.len();
    let minutely_ones = fire(&store, due_ms - 1).await;
    assert_eq!(one(fire(&store, due_ms).await), 1, "beside {}", minutely_ones.len());
    assert_eq!(schedule(&store, id).await.standing.last_fire_ms, Some(first_ms));
}

pub async fn after_an_outage_the_window_is_made_up_for(store: Store) {
    let mut new = minutely(Overlap::Allow);
    new.spec.catch_up_ms = 5 * MINUTE_MS;
    let (id, first_ms) = create(&store, &new).await;
    // A day without a governor.
    let now_ms = first_ms + 24 * 60 * MINUTE_MS;
    assert_eq!(fire(&store, now_ms).await.len(), 6);
    let noted = noted(&store, id, now_ms).await;
    let made_up = (-5..=0).map(|minute| (minute, Fired));
    let expected: Vec<_> = [(-24 * 60, Missed)].into_iter().chain(made_up).collect();
    assert_eq!(noted, expected);
    let fires = store.list_fires(id, 10).await.unwrap();
    let said = fires.last().unwrap().message.clone().unwrap();
    assert!(said.contains("catch-up window"), "{said}");
    let standing = schedule(&store, id).await.standing;
    assert_eq!((standing.next_ms, standing.missed), (Some(now_ms + MINUTE_MS), 1));
}

pub async fn a_clock_that_jumps_fires_nothing_twice(store: Store) {
    let (id, first_ms) = create(&store, &minutely(Overlap::Allow)).await;
    let ahead_ms = first_ms + 30 * MINUTE_MS;
    assert_eq!(fire(&store, ahead_ms).await.len(), 31, "within the window");
    for back in [0, 1, 15, 30] {
        assert!(fire(&store, first_ms + back * MINUTE_MS).await.is_empty(), "{back}");
    }
    assert_eq!(fire(&store, ahead_ms + MINUTE_MS).await.len(), 1);
    let mut fired: Vec<i64> =
        store.list_fires(id, 100).await.unwrap().iter().map(|fire| fire.fire_ms).collect();
    fired.reverse();
    let expected: Vec<i64> = (0..32).map(|minute| first_ms + minute * MINUTE_MS).collect();
    assert_eq!(fired, expected);
    assert_eq!(runs(&store, id).await.len(), 32);
}

pub async fn a_run_that_lives_has_its_times_skipped(store: Store) {
    let (id, first_ms) = create(&store, &minutely(Overlap::Skip)).await;
    assert_eq!(fire(&store, first_ms).await.len(), 1);
    assert!(fire(&store, first_ms + MINUTE_MS).await.is_empty());
    complete_one(&store).await;
    assert_eq!(fire(&store, first_ms + 2 * MINUTE_MS).await.len(), 1);
    assert_eq!(noted(&store, id, first_ms).await, [(0, Fired), (1, Skipped), (2, Fired)]);
    // A run that was deleted is over.
    let last = runs(&store, id).await.remove(0);
    store.delete(&last).await.unwrap();
    assert_eq!(fire(&store, first_ms + 3 * MINUTE_MS).await.len(), 1);
    let standing = schedule(&store, id).await.standing;
    assert_eq!((standing.fired, standing.skipped), (3, 1));
}

pub async fn one_time_waits_for_the_end_of_the_run(store: Store) {
    let (id, first_ms) = create(&store, &minutely(Overlap::QueueOne)).await;
    assert_eq!(fire(&store, first_ms).await.len(), 1);
    let now_ms = first_ms + 2 * MINUTE_MS;
    assert!(fire(&store, now_ms).await.is_empty());
    assert_eq!(schedule(&store, id).await.standing.queued_ms, Some(first_ms + MINUTE_MS));
    assert!(fire_queued(&store, now_ms).await.is_empty(), "the run lives");
    assert_eq!(noted(&store, id, first_ms).await, [(0, Fired), (1, Queued), (2, Skipped)]);
    complete_one(&store).await;
    assert_eq!(fire_queued(&store, now_ms + 5).await.len(), 1);
    assert!(fire_queued(&store, now_ms + 5).await.is_empty());
    assert_eq!(noted(&store, id, first_ms).await, [(0, Fired), (1, Fired), (2, Skipped)]);
    let standing = schedule(&store, id).await.standing;
    assert_eq!((standing.queued_ms, standing.fired, standing.skipped), (None, 2, 1));
    // The one that was queued is now the one that is waited for; pausing forgets what waits.
    assert!(fire(&store, first_ms + 3 * MINUTE_MS).await.is_empty());
    store.pause_schedule(id).await.unwrap();
    complete_one(&store).await;
    assert!(fire_queued(&store, first_ms + 4 * MINUTE_MS).await.is_empty());
}

pub async fn a_running_one_is_cancelled_for_the_next(store: Store) {
    let (id, first_ms) = create(&store, &minutely(Overlap::CancelRunning)).await;
    let first = fire(&store, first_ms).await.remove(0);
    let second = fire(&store, first_ms + MINUTE_MS).await.remove(0);
    assert_eq!(get(&store, &first.id).await.task.state, TaskState::Cancelled);
    assert_eq!(get(&store, &second.id).await.task.state, TaskState::Pending);
    // Of several that are due at once the last fires.
    let third = fire(&store, first_ms + 4 * MINUTE_MS).await;
    assert_eq!(third.len(), 1);
    assert_eq!(get(&store, &second.id).await.task.state, TaskState::Cancelled);
    let expected = [(0, Fired), (1, Fired), (2, Skipped), (3, Skipped), (4, Fired)];
    assert_eq!(noted(&store, id, first_ms).await, expected);
}

/// A schedule of a workflow of two tasks.
fn of_workflow(overlap: Overlap) -> NewSchedule {
    let new = workflow(json!(1), vec![task("a", "add 1"), task("b", "add 2")]);
    let (name, labels, input, flow) = (new.name, new.labels, new.input, new.flow);
    let action = Action::Workflow(Box::new(FlowAction { name, labels, input, flow }));
    NewSchedule { action, ..minutely(overlap) }
}

pub async fn a_workflow_is_made_and_waited_for(store: Store) {
    let (id, first_ms) = create(&store, &of_workflow(Overlap::Skip)).await;
    assert_eq!(fire(&store, first_ms).await.len(), 2);
    let last = |standing: asyncflow_store::Standing| match standing.last_run {
        Some(Run::Workflow(id)) => id,
        other => panic!("{other:?}"),
    };
    let first = last(schedule(&store, id).await.standing);
    let made = store.find_workflow(first).await.unwrap().unwrap();
    assert_eq!((made.user.as_str(), made.progress.state), ("ann", WorkflowState::Running));
    assert!(fire(&store, first_ms + MINUTE_MS).await.is_empty(), "it runs");
    work(&store).await;
    assert_eq!(state(&store, first).await, WorkflowState::Succeeded);
    assert_eq!(fire(&store, first_ms + 2 * MINUTE_MS).await.len(), 2);
    assert_eq!(noted(&store, id, first_ms).await, [(0, Fired), (1, Skipped), (2, Fired)]);
    work(&store).await;

    let (id, first_ms) = create(&store, &of_workflow(Overlap::CancelRunning)).await;
    store.fire_due(first_ms, 500, None).await.unwrap();
    let first = last(schedule(&store, id).await.standing);
    fire(&store, first_ms + MINUTE_MS).await;
    assert_eq!(state(&store, first).await, WorkflowState::Cancelled);
    let second = last(schedule(&store, id).await.standing);
    assert_eq!(state(&store, second).await, WorkflowState::Running);
}

pub async fn what_cannot_be_made_is_said_and_the_schedule_stays(store: Store) {
    let mut new = minutely(Overlap::Skip);
    let Action::Task(task) = &mut new.action else { panic!("{new:?}") };
    task.task_type = type_name("nowhere");
    let (id, first_ms) = create(&store, &new).await;
    assert!(fire(&store, first_ms).await.is_empty());
    let standing = schedule(&store, id).await.standing;
    assert_eq!((standing.failed, standing.state), (1, ScheduleState::Active));
    assert!(standing.last_error.contains("no task type nowhere"), "{}", standing.last_error);
    // Too large for what the type allows now.
    store.ensure_type(&type_name("nowhere")).await.unwrap();
    let shrink = |task_type: &mut asyncflow_core::task_type::TaskType| {
        task_type.max_context_bytes = 1;
    };
    store.update_type(&type_name("nowhere"), None, shrink).await.unwrap();
    assert!(fire(&store, first_ms + MINUTE_MS).await.is_empty());
    let standing = schedule(&store, id).await.standing;
    assert!(standing.last_error.contains("bytes are too many"), "{}", standing.last_error);
    let grow = |task_type: &mut asyncflow_core::task_type::TaskType| {
        task_type.max_context_bytes = 1_000;
    };
    store.update_type(&type_name("nowhere"), None, grow).await.unwrap();
    assert_eq!(fire(&store, first_ms + 2 * MINUTE_MS).await.len(), 1);
    let standing = schedule(&store, id).await.standing;
    assert_eq!((standing.last_error.as_str(), standing.fired), ("", 1));
    assert_eq!(noted(&store, id, first_ms).await, [(0, Failed), (1, Failed), (2, Fired)]);
}

pub async fn a_run_by_hand_is_made_once_for_a_request(store: Store) {
    let (id, first_ms) = create(&store, &minutely(Overlap::Skip)).await;
    store.pause_schedule(id).await.unwrap();
    let ran = store.run_schedule(id, Some("r")).await.unwrap();
    let again = store.run_schedule(id, Some("r")).await.unwrap();
    assert_eq!((ran.deduplicated, again.deduplicated), (false, true));
    assert_eq!((ran.made.len(), again.made.len()), (1, 0));
    assert_eq!(ran.fire, again.fire);
    assert_eq!(ran.fire.cause, FireCause::Hand);
    let (one, two) = tokio::join!(store.run_schedule(id, None), store.run_schedule(id, None));
    assert_ne!(one.unwrap().fire.fire_ms, two.unwrap().fire.fire_ms);
    assert_eq!(runs(&store, id).await.len(), 3);
    // It is not what the policy looks at.
    store.resume_schedule(id).await.unwrap();
    assert_eq!(fire(&store, first_ms + MINUTE_MS).await.len(), 1);
    let none = store.run_schedule(ScheduleId(1), None).await;
    assert!(matches!(none, Err(ScheduleError::NotFound)), "{none:?}");
}

pub async fn the_past_is_filled_exactly_once(store: Store) {
    let (id, first_ms) = create(&store, &minutely(Overlap::Skip)).await;
    fire(&store, first_ms + 2 * MINUTE_MS).await;
    let times: Vec<i64> = (-700..=2).map(|minute| first_ms + minute * MINUTE_MS).collect();
    let filled = store.backfill_schedule(id, &times).await.unwrap();
    // One had fired; the two that were skipped are made now.
    assert_eq!((filled.fires.len(), filled.already, filled.made.len()), (702, 1, 702));
    assert!(filled.fires.iter().all(|fire| fire.cause == FireCause::Backfill));
    let again = store.backfill_schedule(id, &times).await.unwrap();
    assert_eq!((again.fires.len(), again.already, again.made.len()), (0, 703, 0));
    assert_eq!(runs(&store, id).await.len(), 703);
    assert_eq!(schedule(&store, id).await.standing.next_ms, Some(first_ms + 3 * MINUTE_MS));
}

pub async fn schedules_are_created_changed_paused_and_deleted(store: Store) {
    let named = NewSchedule { request_id: Some("r".into()), ..minutely(Overlap::Skip) };
    let (id, first_ms) = create(&store, &named).await;
    let again = store.create_schedule(&named).await.unwrap();
    assert_eq!((again.schedule.id, again.deduplicated), (id, true));
    let other = NewSchedule { source: b"other".to_vec(), ..named.clone() };
    let other = store.create_schedule(&other).await;
    assert!(matches!(other, Err(CreateScheduleError::RequestIdReused(used)) if used == id));

    let mut ids = vec![id];
    for _ in 0..4 {
        ids.push(create(&store, &minutely(Overlap::Skip)).await.0);
    }
    ids.reverse();
    let page = store.list_schedules(Some("ann"), None, 3).await.unwrap();
    let rest = store.list_schedules(None, Some(page[2].id), 3).await.unwrap();
    let listed: Vec<ScheduleId> = page.iter().chain(&rest).map(|listed| listed.id).collect();
    assert_eq!(listed, ids);
    assert!(store.list_schedules(Some("bob"), None, 3).await.unwrap().is_empty());

    let NewSchedule { name, spec, action, source, .. } = named;
    let mut change = ScheduleChange { name, spec, action, source };
    change.spec.overlap = Overlap::Allow;
    store.update_schedule(id, 1, &change).await.unwrap();
    let changed = schedule(&store, id).await;
    assert_eq!((changed.revision, changed.spec.overlap), (2, Overlap::Allow));
    assert_eq!(changed.standing.next_ms, Some(first_ms), "its times are the same");
    let stale = store.update_schedule(id, 1, &change).await;
    let is_conflict =
        |error| matches!(error, Err(ScheduleError::Store(StoreError::Conflict { current: 2 })));
    assert!(is_conflict(stale));
    change.spec.timing = Timing::Once { at_ms: first_ms + 9 * MINUTE_MS };
    store.update_schedule(id, 2, &change).await.unwrap();
    assert_eq!(schedule(&store, id).await.standing.next_ms, Some(first_ms + 9 * MINUTE_MS));

    store.pause_schedule(id).await.unwrap();
    let standing = schedule(&store, id).await.standing;
    assert_eq!((standing.state, standing.next_ms), (ScheduleState::Paused, None));
    fire(&store, first_ms + 20 * MINUTE_MS).await;
    assert!(runs(&store, id).await.is_empty(), "paused");
    store.resume_schedule(id).await.unwrap();
    assert_eq!(schedule(&store, id).await.standing.state, ScheduleState::Active);
    let stale = store.delete_schedule(id, Some(2)).await;
    assert!(matches!(stale, Err(ScheduleError::Store(StoreError::Conflict { current: 3 }))));
    store.delete_schedule(id, Some(3)).await.unwrap();
    assert!(store.get_schedule(id).await.unwrap().is_none());
    assert!(matches!(store.delete_schedule(id, None).await, Err(ScheduleError::NotFound)));
}
