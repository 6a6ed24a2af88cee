//! Workflows when somebody stops at a bad moment, and what the governor does for them.

use asyncflow_core::{
    state::TaskState, task::FullTask, validate::workflow::WorkInput,
    workflow::progress::WorkflowState,
};
use asyncflow_store::{ApplyError, Backend, ItemIs, NeglectedNode, Store};
use serde_json::json;

use super::{
    fault::{Stop, another, switch_off},
    fixture::{apply, claim, get, type_name},
    workflow_fixture::{
        after, create, end, fan, node, state, task, view, work, work_one, workflow,
    },
};

/// One broker has read the workflow when another one ends the other half of the members.
pub async fn two_who_end_the_last_members_count_both(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    for guard_is_off in [false, true] {
        if guard_is_off {
            // There the second would wait for the first in any case.
            if store.backend() == Backend::Sqlite {
                break;
            }
            switch_off(dir.path(), "workflow.locks");
        }
        let members = (0..4).map(|n| task("", &format!("add {n}"))).collect();
        let chord = WorkInput::Chord(fan(members), Box::new(task("", "sum")));
        create(&store, &workflow(json!(1), vec![node("all", chord)])).await;
        let tasks: Vec<FullTask> =
            claim(&store, 7, 4).await.leased.into_iter().map(|leased| leased.task).collect();
        let ends: Vec<_> = tasks.iter().map(|full| (full.task.id.clone(), end(full))).collect();
        let (one, two) = (another(&store, dir.path()).await, another(&store, dir.path()).await);
        let apply = |store: &Store, ends: &[_]| {
            let (store, ends) = (store.clone(), ends.to_vec());
            tokio::spawn(async move { store.apply(ends).await })
        };
        let stop = Stop::at(dir.path(), "workflow.read");
        let first = apply(&one, &ends[..2]);
        stop.reached().await;
        let second = if guard_is_off {
            let again = Stop::at(dir.path(), "workflow.read");
            let second = apply(&two, &ends[2..]);
            again.reached().await;
            second
        } else {
            // It waits for the lock, and comes to the point when nobody is held there any more.
            apply(&two, &ends[2..])
        };
        stop.release();
        let answers = [first.await.unwrap(), second.await.unwrap()].concat();
        let made: usize = answers.iter().map(|answer| answer.as_ref().unwrap().made.len()).sum();
        assert_eq!(made, usize::from(!guard_is_off), "without the lock: {guard_is_off}");
        work(&store).await;
        one.close().await;
        two.close().await;
    }
}

/// Somebody deletes a part of what is over while somebody else takes it up again.
pub async fn what_is_retried_meanwhile_keeps_its_parts(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    for guard_is_off in [false, true] {
        // There one would wait for the other in any case.
        if store.backend() == Backend::Sqlite {
            break;
        }
        let steps = vec![
            task("a", "add 1"),
            after(&["a"], task("b", "flaky")),
            after(&["a", "b"], task("c", "echo")),
        ];
        let id = create(&store, &workflow(json!(1), steps)).await;
        let first = work_one(&store).await.task.id;
        work(&store).await;
        assert_eq!(state(&store, id).await, WorkflowState::Failed);
        let stopped = another(&store, dir.path()).await;
        let stop = Stop::at(dir.path(), "workflow.read");
        let retried = tokio::spawn({
            let stopped = stopped.clone();
            async move { stopped.retry_workflow(id).await }
        });
        stop.reached().await;
        let unguarded = tempfile::tempdir().unwrap();
        if guard_is_off {
            switch_off(unguarded.path(), "workflow.locks");
        }
        let by = another(&store, unguarded.path()).await;
        let deleted = by.delete(&first).await;
        stop.release();
        retried.await.unwrap().unwrap();
        assert_eq!(deleted.is_ok(), guard_is_off, "{deleted:?}");
        if let Err(error) = deleted {
            assert!(matches!(error, ApplyError::Store(ref error) if error.is_retryable()));
            store.delete(&first).await.unwrap_err();
        }
        work(&store).await;
        let expected = [WorkflowState::Succeeded, WorkflowState::Failed];
        assert_eq!(state(&store, id).await, expected[usize::from(guard_is_off)]);
        by.close().await;
        stopped.close().await;
    }
}

/// The broker that gave up a part of a workflow dies before it has cancelled what runs of it.
pub async fn what_was_given_up_is_stopped_by_whoever_looks(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    switch_off(dir.path(), "workflow.carries_out");
    let dying = another(&store, dir.path()).await;
    let members = vec![task("", "fail"), task("", "echo"), task("", "echo")];
    let id =
        create(&store, &workflow(json!(1), vec![node("g", WorkInput::Group(fan(members)))])).await;
    let leased: Vec<FullTask> =
        claim(&store, 7, 2).await.leased.into_iter().map(|leased| leased.task).collect();
    let (bad, good) = if leased[0].task.name == "fail" { (0, 1) } else { (1, 0) };
    apply(&dying, &leased[bad].task.id, end(&leased[bad])).await.unwrap();
    let running = &leased[good].task.id;
    assert_eq!(get(&store, running).await.task.state, TaskState::Running, "it was not told");
    let neglected = store.neglected_nodes(10).await.unwrap();
    assert_eq!(neglected, [NeglectedNode { workflow: id, node: 0, is_stopping: true }]);
    store.tend(&neglected).await;
    assert_eq!(get(&store, running).await.task.state, TaskState::Cancelling);
    assert!(claim(&store, 7, 9).await.leased.is_empty(), "what waited is cancelled");
    apply(&store, running, end(&leased[good])).await.unwrap();
    assert_eq!(state(&store, id).await, WorkflowState::Failed);
    assert!(store.neglected_nodes(10).await.unwrap().is_empty());
    dying.close().await;
}

/// What nests multiplies: it is started by as many transactions as it takes, and by another process
/// when the one that began dies.
pub async fn what_is_too_much_for_one_transaction_is_started_by_others(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    switch_off(dir.path(), "workflow.carries_out");
    let dying = another(&store, dir.path()).await;
    let nest = |inner| WorkInput::Map {
        over: "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]".into(),
        each: fan(vec![inner]),
        reduce: None,
    };
    let deep = node("", nest(node("", nest(node("", nest(task("", "echo")))))));
    let group = WorkInput::Group(fan(vec![deep]));
    store.ensure_type(&type_name("work")).await.unwrap();
    let new = workflow(json!(1), vec![node("g", group)]);
    let begun = dying.create_workflow(&new).await.unwrap();
    let id = begun.workflow.id;
    assert!((100..1_000).contains(&begun.made.len()), "{} in one", begun.made.len());
    let mut looks = 0;
    while state(&store, id).await == WorkflowState::Running {
        looks += 1;
        assert!(looks < 1_000, "it comes to no end");
        work(&store).await;
        let neglected = store.neglected_nodes(10).await.unwrap();
        assert!(neglected.iter().all(|node| !node.is_stopping), "{neglected:?}");
        store.tend(&neglected).await;
    }
    assert_eq!(state(&store, id).await, WorkflowState::Succeeded);
    let succeeded = store.counts(&Default::default()).await.unwrap();
    assert_eq!(succeeded.iter().map(|count| count.tasks).sum::<i64>(), 12 * 12 * 12);
    dying.close().await;
}

pub async fn workflows_go_with_all_that_belongs_to_them(store: Store) {
    let chain = WorkInput::Chain(vec![task("", "echo"), task("", "echo")]);
    let map =
        WorkInput::Map { over: "input".into(), each: fan(vec![node("", chain)]), reduce: None };
    let over = create(&store, &workflow(json!([1, 2]), vec![node("m", map)])).await;
    work(&store).await;
    let live = create(&store, &workflow(json!(1), vec![task("a", "echo")])).await;
    let ended_ms = view(&store, over).await.workflow.finish_time_ms.unwrap();
    let items = store.list_workflow_items(over, None, None, 9).await.unwrap();
    let ItemIs::Workflow(child) = items[0].is else { panic!("{items:?}") };
    assert_eq!(store.purge_workflows(ended_ms, 10, None).await.unwrap(), 0, "not old enough");
    assert_eq!(store.purge_workflows(ended_ms + 1, 10, None).await.unwrap(), 1);
    for gone in [over, child] {
        assert!(store.get_workflow(gone).await.unwrap().is_none());
        assert!(store.list_workflow_items(gone, None, None, 9).await.unwrap().is_empty());
    }
    assert_eq!(store.purge_workflows(i64::MAX, 10, None).await.unwrap(), 0);
    assert_eq!(state(&store, live).await, WorkflowState::Running);
}
