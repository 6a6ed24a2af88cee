//! Operations: each verb, what is chosen, counters, limits.

use asyncflow_core::{
    event::{Event, TaskPatch},
    filter,
    id::OperationId,
    operation::{NewOperation, OperationKind, OperationState},
    state::TaskState,
    workflow::progress::WorkflowState,
};
use asyncflow_store::{Advance, CreateOperationError, Store};
use serde_json::json;

use super::{
    fixture::{
        all_tasks, apply, claim, complete, fail, get, insert_all, new_task, start, type_name,
    },
    operation_fixture::{
        LEASE_MS, begin, carry_out, ended, find, finish, in_state, insert, new, of_user, states,
        take, tally,
    },
    workflow_fixture::{
        after, create as create_workflow, state as workflow_state, task, work, work_one, workflow,
    },
};

pub async fn waiting_tasks_are_cancelled_and_running_ones_told(store: Store) {
    insert(&store, 10).await;
    let running = claim(&store, 1, 2).await.leased;
    apply(&store, &running[0].task.task.id, start(&running[0].task.task)).await.unwrap();
    let done = &running[1].task.task;
    apply(&store, &done.id, start(done)).await.unwrap();
    apply(&store, &done.id, complete(done, 7)).await.unwrap();

    let operation = carry_out(&store, &new(OperationKind::Cancel, "task_type = work")).await;
    assert_eq!(operation.state, OperationState::Succeeded);
    assert_eq!(operation.tally, tally(9, 9, 0), "what has ended is not meant");
    assert!(operation.finish_time_ms.is_some() && operation.issues.is_empty(), "{operation:?}");
    assert_eq!(in_state(&store, TaskState::Cancelled).await, 8);
    assert_eq!(in_state(&store, TaskState::Cancelling).await, 1);
    let cancelled = get(&store, &running[0].task.task.id).await.task;
    assert_eq!(cancelled.failure.unwrap().message, "in bulk");
}

pub async fn what_did_not_succeed_is_retried_once(store: Store) {
    ended(&store, 2, 5).await;
    let operation = new(OperationKind::Retry, "user = ann");
    let id = begin(&store, &operation).await;
    let lease = take(&store, LEASE_MS).await;
    let advance = store.advance_operation(&lease, 3, LEASE_MS).await.unwrap();
    let Advance::On { ready } = advance else { panic!("{advance:?}") };
    assert!(ready.iter().all(|task| task.state == TaskState::Pending), "{ready:?}");
    assert!(!ready.is_empty());
    // One of those fails again while the operation goes on.
    let again = claim(&store, 1, 1).await.leased.remove(0).task.task;
    apply(&store, &again.id, start(&again)).await.unwrap();
    apply(&store, &again.id, fail(&again, 8)).await.unwrap();
    finish(&store, &lease, 3).await;
    let operation = find(&store, id).await;
    assert_eq!((operation.state, operation.tally.changed), (OperationState::Succeeded, 5));
    assert_eq!(in_state(&store, TaskState::Failed).await, 1);
    assert_eq!(in_state(&store, TaskState::Succeeded).await, 2);
    assert_eq!(get(&store, &again.id).await.task.run, 1);
}

pub async fn what_failed_since_it_began_is_not_retried_again(store: Store) {
    ended(&store, 0, 3).await;
    let id = begin(&store, &new(OperationKind::Retry, "user = ann")).await;
    // Somebody else is faster with one of them, which fails again.
    let failed = all_tasks(&store, &Default::default()).await.remove(1).task;
    apply(&store, &failed.id, Event::retry(false)).await.unwrap();
    let again = claim(&store, 1, 1).await.leased.remove(0).task.task;
    apply(&store, &again.id, start(&again)).await.unwrap();
    apply(&store, &again.id, fail(&again, 8)).await.unwrap();
    let lease = take(&store, LEASE_MS).await;
    finish(&store, &lease, 9).await;
    let operation = find(&store, id).await;
    assert_eq!(operation.tally, tally(3, 2, 1));
    assert_eq!(operation.issues[0].task_id, failed.id.to_string());
    assert_eq!(get(&store, &failed.id).await.task.run, 1);
}

pub async fn deletes_take_all_that_nobody_runs(store: Store) {
    ended(&store, 2, 2).await;
    insert(&store, 4).await;
    let running = claim(&store, 1, 1).await.leased.remove(0).task.task;
    let operation = carry_out(&store, &new(OperationKind::Delete, "task_type = work")).await;
    assert_eq!((operation.state, operation.tally), (OperationState::Succeeded, tally(8, 7, 1)));
    assert_eq!(operation.issues.len(), 1);
    assert_eq!(operation.issues[0].task_id, running.id.to_string());
    assert!(operation.issues[0].message.contains("RUNNING"), "{:?}", operation.issues);
    assert_eq!(states(&store).await, [TaskState::Running]);
}

pub async fn a_purge_leaves_what_is_live(store: Store) {
    ended(&store, 3, 3).await;
    insert(&store, 2).await;
    let failed = carry_out(&store, &new(OperationKind::Purge, "state = FAILED")).await;
    assert_eq!(failed.tally, tally(3, 3, 0));
    let rest = carry_out(&store, &new(OperationKind::Purge, "")).await;
    assert_eq!(rest.tally, tally(3, 3, 0));
    assert_eq!(states(&store).await, [TaskState::Pending; 2]);
}

pub async fn only_what_matches_and_was_there_is_changed(store: Store) {
    let mut tasks = Vec::new();
    for at in 0..12 {
        let mut new = of_user(if at % 2 == 0 { "ann" } else { "bob" }, "old");
        if at % 3 == 0 {
            new.labels = [("team".to_owned(), "sound".to_owned())].into();
        }
        tasks.push(new);
    }
    insert_all(&store, tasks).await;
    let operation = NewOperation {
        only_user: Some("ann".into()),
        ..new(OperationKind::Cancel, "labels.team = vision")
    };
    let id = begin(&store, &operation).await;
    // These come after it, in the same millisecond perhaps.
    insert_all(&store, (0..5).map(|_| of_user("ann", "new"))).await;
    let lease = take(&store, LEASE_MS).await;
    finish(&store, &lease, 2).await;
    assert_eq!(find(&store, id).await.tally, tally(4, 4, 0));
    for full in all_tasks(&store, &Default::default()).await {
        let is_meant = full.task.user == "ann"
            && full.task.name == "old"
            && full.body.labels["team"] == "vision";
        let expected = if is_meant { TaskState::Cancelled } else { TaskState::Pending };
        assert_eq!(full.task.state, expected, "{full:?}");
    }
}

/// Carries out the operation that was begun, in one page; this happens when its tasks are listed
/// and not changed yet.
async fn while_listed(store: &Store, happens: impl AsyncFnOnce()) {
    let dir = tempfile::tempdir().unwrap();
    let other = super::fault::another(store, dir.path()).await;
    let lease = take(&other, LEASE_MS).await;
    let stop = super::fault::Stop::at(dir.path(), "operation.listed");
    let page = {
        let other = other.clone();
        tokio::spawn(async move { other.advance_operation(&lease, 9, LEASE_MS).await })
    };
    stop.reached().await;
    happens().await;
    stop.release();
    assert!(matches!(page.await.unwrap().unwrap(), Advance::Over { .. }));
    other.close().await;
}

pub async fn a_task_that_left_the_chosen_states_is_left_alone(store: Store) {
    insert(&store, 2).await;
    let id = begin(&store, &new(OperationKind::Cancel, "state = PENDING")).await;
    let mut taken = None;
    while_listed(&store, async || {
        taken = Some(claim(&store, 1, 1).await.leased.remove(0).task.task.id);
    })
    .await;
    assert_eq!(find(&store, id).await.tally, tally(2, 1, 1));
    assert_eq!(get(&store, &taken.unwrap()).await.task.state, TaskState::Running);
}

pub async fn a_task_that_lost_the_chosen_labels_is_left_alone(store: Store) {
    for kind in [OperationKind::Cancel, OperationKind::Delete] {
        let task = insert(&store, 2).await.remove(0);
        let id = begin(&store, &new(kind, "labels.team = vision AND state = PENDING")).await;
        while_listed(&store, async || {
            let labels = Some([("team".to_owned(), "sound".to_owned())].into());
            let patch = TaskPatch { labels, ..TaskPatch::default() };
            apply(&store, &task.id, Event::Update(patch)).await.unwrap();
        })
        .await;
        let operation = find(&store, id).await;
        assert_eq!(operation.tally, tally(2, 1, 1), "{kind:?}");
        assert!(operation.issues[0].message.contains("moved on"), "{:?}", operation.issues);
        assert_eq!(get(&store, &task.id).await.task.state, TaskState::Pending);
        apply(&store, &task.id, Event::Cancel { message: String::new() }).await.unwrap();
    }
}

pub async fn a_user_has_a_few_unfinished_operations(store: Store) {
    let named = |name: &str| NewOperation {
        request_id: Some(name.to_owned()),
        ..new(OperationKind::Cancel, "user = ann")
    };
    let first = store.create_operation(&named("1"), 2).await.unwrap().operation.id;
    store.create_operation(&named("2"), 2).await.unwrap();
    let refused = store.create_operation(&named("3"), 2).await;
    assert!(matches!(refused, Err(CreateOperationError::TooMany(2))), "{refused:?}");
    let again = store.create_operation(&named("2"), 2).await.unwrap();
    assert!(again.deduplicated, "what was begun before is answered");
    let of_bob = NewOperation { user: "bob".into(), ..named("3") };
    store.create_operation(&of_bob, 2).await.unwrap();
    store.cancel_operation(first).await.unwrap();
    assert!(!store.create_operation(&named("3"), 2).await.unwrap().deduplicated);
}

pub async fn it_ends_when_it_has_changed_enough(store: Store) {
    insert(&store, 10).await;
    let some = NewOperation { changes_max: Some(7), ..new(OperationKind::Cancel, "user = ann") };
    let operation = carry_out(&store, &some).await;
    assert_eq!((operation.state, operation.tally), (OperationState::Succeeded, tally(7, 7, 0)));
    assert_eq!(in_state(&store, TaskState::Pending).await, 3);
}

pub async fn parts_of_live_workflows_are_skipped(store: Store) {
    let id = create_workflow(&store, &workflow(json!(1), vec![task("a", "echo")])).await;
    let part = claim(&store, 1, 1).await.leased.remove(0).task.task;
    apply(&store, &part.id, start(&part)).await.unwrap();
    apply(&store, &part.id, fail(&part, 7)).await.unwrap();
    assert_eq!(workflow_state(&store, id).await, WorkflowState::Failed);
    let retried = carry_out(&store, &new(OperationKind::Retry, "user = ann")).await;
    assert_eq!(retried.tally, tally(1, 0, 1));
    assert!(retried.issues[0].message.contains("wf-"), "{:?}", retried.issues);

    let live = create_workflow(&store, &workflow(json!(1), vec![task("a", "echo")])).await;
    let delete = new(OperationKind::Delete, "state = PENDING");
    assert_eq!(carry_out(&store, &delete).await.tally, tally(1, 0, 1));
    // A cancel ends the workflow as that of a single task does.
    assert_eq!(carry_out(&store, &new(OperationKind::Cancel, "")).await.tally.changed, 1);
    assert_ne!(workflow_state(&store, live).await, WorkflowState::Running);
}

pub async fn what_a_live_workflow_may_need_is_not_purged(store: Store) {
    let steps = || vec![task("a", "echo"), after(&["a"], task("b", "echo"))];
    let over = create_workflow(&store, &workflow(json!(1), steps())).await;
    work(&store).await;
    let live = create_workflow(&store, &workflow(json!(1), steps())).await;
    let needed = work_one(&store).await.task.id;
    let purged = carry_out(&store, &new(OperationKind::Purge, "user = ann")).await;
    assert_eq!((purged.state, purged.tally), (OperationState::Succeeded, tally(3, 2, 1)));
    assert_eq!(purged.issues[0].task_id, needed.to_string());
    assert!(purged.issues[0].message.contains(&live.to_string()), "{:?}", purged.issues);
    let deleted = carry_out(&store, &new(OperationKind::Delete, "state = SUCCEEDED")).await;
    assert_eq!(deleted.tally, tally(1, 0, 1));
    work(&store).await;
    for id in [over, live] {
        assert_eq!(workflow_state(&store, id).await, WorkflowState::Succeeded);
    }
    assert_eq!(carry_out(&store, &new(OperationKind::Purge, "")).await.tally, tally(2, 2, 0));
}

pub async fn matching_tasks_are_counted_before_anything_is_done(store: Store) {
    insert(&store, 5).await;
    ended(&store, 0, 0).await;
    claim(&store, 1, 2).await;
    insert_all(&store, (0..3).map(|_| of_user("bob", "his"))).await;
    for filter in ["user = ann", "labels.team = vision AND user = ann"] {
        let chosen = new(OperationKind::Cancel, filter).chosen().unwrap();
        let matching = store.matching(&chosen).await.unwrap();
        assert!(!matching.at_least);
        let expected = [(TaskState::Running, 2), (TaskState::Pending, 3)];
        assert_eq!(matching.by_state, expected.into(), "{filter}");
        assert_eq!(matching.total(), 5);
    }
    let none = filter::parse("task_type = other").unwrap();
    assert_eq!(store.matching(&none).await.unwrap().total(), 0);
}

pub async fn a_repeated_request_makes_one_operation(store: Store) {
    store.ensure_type(&type_name("work")).await.unwrap();
    let named = |filter: &str| NewOperation {
        request_id: Some("r".into()),
        ..new(OperationKind::Cancel, filter)
    };
    let first = store.create_operation(&named("user = ann"), 16).await.unwrap();
    let again = store.create_operation(&named("user = ann"), 16).await.unwrap();
    assert!(again.deduplicated && !first.deduplicated);
    assert_eq!(again.operation, first.operation);
    let other = store.create_operation(&named("user = bob"), 16).await;
    let Err(CreateOperationError::RequestIdReused(id)) = other else { panic!("{other:?}") };
    assert_eq!(id, first.operation.id);
    let of_bob = NewOperation { user: "bob".into(), ..named("user = bob") };
    let of_bob = store.create_operation(&of_bob, 16).await.unwrap();
    assert!(!of_bob.deduplicated, "another user's request id is another");
    let ids = |operations: Vec<asyncflow_store::Operation>| -> Vec<OperationId> {
        operations.into_iter().map(|operation| operation.id).collect()
    };
    let (one, two) = (first.operation.id, of_bob.operation.id);
    assert_eq!(ids(store.list_operations(None, None, 9).await.unwrap()), [two, one]);
    assert_eq!(ids(store.list_operations(None, Some(two), 9).await.unwrap()), [one]);
    assert_eq!(ids(store.list_operations(Some("bob"), None, 9).await.unwrap()), [two]);
}

pub async fn ended_operations_go_and_others_stay(store: Store) {
    store.ensure_type(&type_name("work")).await.unwrap();
    insert_all(&store, [new_task("one")]).await;
    let over = carry_out(&store, &new(OperationKind::Cancel, "user = ann")).await;
    let live = begin(&store, &new(OperationKind::Cancel, "user = bob")).await;
    let ended_ms = over.finish_time_ms.unwrap();
    assert_eq!(store.purge_operations(ended_ms, 10, None).await.unwrap(), 0, "not old enough");
    assert_eq!(store.purge_operations(i64::MAX, 10, None).await.unwrap(), 1);
    assert!(store.find_operation(over.id).await.unwrap().is_none());
    assert_eq!(find(&store, live).await.state, OperationState::Running);
}
