//! Tasks that a running task makes.

use asyncflow_core::{
    event::Event,
    id::TaskId,
    reason::FailureReason,
    state::TaskState,
    task::{Failure, FullTask, Task},
    transition::Refusal,
    validate::workflow::WorkInput,
    workflow::{
        callbacks,
        definition::NewWorkflow,
        progress::{NodeState, WorkflowState},
    },
};
use asyncflow_store::{ApplyError, CreateChildrenError, Store};
use serde_json::json;

use super::{
    condition::{wait, wait_or_fail},
    fault::{another, switch_off},
    fixture::{apply, claim, complete, fence, get, new_task, running, start, type_name},
    workflow_fixture::{create, end, fan, node, states, task, view, work, workflow},
};

fn group(does: &[&str]) -> NewWorkflow {
    let members = does.iter().map(|does| task("", does)).collect();
    workflow(json!(2), vec![node("children", WorkInput::Group(fan(members)))])
}

async fn state(store: &Store, id: &TaskId) -> TaskState {
    get(store, id).await.task.state
}

async fn make(store: &Store, parent: &Task, key: &str, new: &NewWorkflow) -> Vec<Task> {
    store.create_children(&parent.id, fence(parent), key, new).await.unwrap().made
}

pub async fn a_task_goes_on_when_its_children_are_done(store: Store) {
    store.ensure_type(&type_name("work")).await.unwrap();
    let parent = running(&store, 7).await.task;
    let new = group(&["add 1", "multiply 5"]);
    let made = store.create_children(&parent.id, fence(&parent), "two", &new).await.unwrap();
    assert_eq!((made.deduplicated, made.made.len()), (false, 2));
    let again = store.create_children(&parent.id, fence(&parent), "two", &new).await.unwrap();
    assert_eq!((again.deduplicated, again.workflow.id), (true, made.workflow.id));
    let other = store.create_children(&parent.id, fence(&parent), "two", &group(&["fail"])).await;
    assert!(matches!(other, Err(CreateChildrenError::KeyReused(_))), "{other:?}");
    let mut stale = fence(&parent);
    stale.attempt += 1;
    let refused = store.create_children(&parent.id, stale, "more", &new).await;
    let is_lost =
        |error: &ApplyError| matches!(error, ApplyError::Refused(Refusal::LeaseLost { .. }, _));
    assert!(matches!(&refused, Err(CreateChildrenError::Parent(e)) if is_lost(e)), "{refused:?}");

    let blocked = apply(&store, &parent.id, wait(&parent, true, &[])).await.unwrap().task;
    assert_eq!(blocked.state, TaskState::Blocked);
    let children: Vec<FullTask> =
        claim(&store, 8, 9).await.leased.into_iter().map(|leased| leased.task).collect();
    assert_eq!(children.len(), 2);
    assert!(children.iter().all(|child| child.task.user == "ann"));
    apply(&store, &children[0].task.id, end(&children[0])).await.unwrap();
    assert_eq!(state(&store, &parent.id).await, TaskState::Blocked);
    let last = apply(&store, &children[1].task.id, end(&children[1])).await.unwrap();
    let ready: Vec<_> = last.made.iter().map(|task| (&task.id, task.state)).collect();
    assert_eq!(ready, [(&parent.id, TaskState::Pending)], "in the same transaction");
    let listed = store.list_children(&parent.id, None, 9).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|one| (one.id, one.progress.state)).collect();
    assert_eq!(listed, [(made.workflow.id, WorkflowState::Succeeded)]);
    assert_eq!(store.list_workflows(None, None, 9).await.unwrap(), [], "they are nobody else's");

    // The next attempt finds them done, and may make others.
    let parent = claim(&store, 7, 1).await.leased.remove(0).task.task;
    apply(&store, &parent.id, start(&parent)).await.unwrap();
    make(&store, &parent, "none-left", &group(&["fail"])).await;
    work(&store).await;
    let ready = apply(&store, &parent.id, wait(&parent, true, &[])).await.unwrap().task;
    assert_eq!(ready.state, TaskState::Pending, "they have all ended, one of them badly");
}

/// An attempt that finds its children done and waits for them all the same would do so for ever;
/// one whose children end while it runs could not know.
pub async fn who_waits_for_children_that_have_ended_fails_unless_that_is_news(store: Store) {
    store.ensure_type(&type_name("work")).await.unwrap();
    let mut parent = running(&store, 7).await.task;
    make(&store, &parent, "one", &group(&["echo"])).await;
    work(&store).await;
    let why = Failure { reason: FailureReason::Error, message: "again".into() };
    for failures in [0, 1] {
        let asked = wait_or_fail(&parent, true, &[], Some(why.clone()));
        let after = apply(&store, &parent.id, asked).await.unwrap().task;
        assert_eq!(after.failures, failures, "{after:?}");
        if failures == 0 {
            assert_eq!(after.state, TaskState::Pending);
            while store.now_ms().await.unwrap() <= after.update_time_ms {
                tokio::task::yield_now().await;
            }
            parent = claim(&store, 7, 1).await.leased.remove(0).task.task;
            apply(&store, &parent.id, start(&parent)).await.unwrap();
        }
    }
}

pub async fn children_end_with_their_parent(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    switch_off(dir.path(), "workflow.carries_out");
    let dying = another(&store, dir.path()).await;
    store.ensure_type(&type_name("work")).await.unwrap();
    for is_dying in [false, true] {
        let parent = running(&store, 7).await.task;
        make(&store, &parent, "one", &group(&["echo", "echo"])).await;
        let child = claim(&store, 8, 1).await.leased.remove(0).task.task;
        apply(&store, &parent.id, wait(&parent, true, &[])).await.unwrap();
        let by = if is_dying { &dying } else { &store };
        apply(by, &parent.id, Event::Cancel { message: "no".into() }).await.unwrap();
        assert_eq!(state(&store, &parent.id).await, TaskState::Cancelled);
        if is_dying {
            assert_eq!(state(&store, &child.id).await, TaskState::Running, "it was not told");
            assert_eq!(store.tend_children(None, 10).await.unwrap(), None);
        }
        assert_eq!(state(&store, &child.id).await, TaskState::Cancelling);
        assert!(claim(&store, 8, 9).await.leased.is_empty(), "the other one is cancelled");
        let failed = super::fixture::fail(&child, 1);
        apply(&store, &child.id, failed).await.unwrap();
        let listed = store.list_children(&parent.id, None, 9).await.unwrap();
        assert_eq!(listed[0].progress.state, WorkflowState::Cancelled);
    }
    dying.close().await;
    // One that succeeds leaves them alone, also when it is gone.
    let parent = running(&store, 7).await.task;
    make(&store, &parent, "free", &group(&["echo"])).await;
    apply(&store, &parent.id, complete(&parent, 4)).await.unwrap();
    store.delete(&parent.id).await.unwrap();
    store.tend_children(None, 10).await.unwrap();
    assert_eq!(work(&store).await, ["echo"]);
}

/// They are cancelled, but their workers have not said so yet: more than one look finds.
pub async fn many_children_are_all_told_to_end(store: Store) {
    store.ensure_type(&type_name("work")).await.unwrap();
    let parent = running(&store, 7).await.task;
    for n in 0..101 {
        make(&store, &parent, &n.to_string(), &group(&["echo"])).await;
    }
    let children = claim(&store, 8, 200).await.leased;
    assert_eq!(children.len(), 101);
    apply(&store, &parent.id, Event::Cancel { message: "no".into() }).await.unwrap();
    for child in children {
        assert_eq!(state(&store, &child.task.task.id).await, TaskState::Cancelling);
    }
}

/// The last children and the parent's wait meet at the same moment, in two processes.
pub async fn no_parent_waits_for_children_that_are_done(store: Store) {
    let other = another(&store, std::path::Path::new("")).await;
    store.ensure_type(&type_name("work")).await.unwrap();
    for round in 0..12 {
        let parent = running(&store, 7).await.task;
        make(&store, &parent, "a", &group(&["echo"])).await;
        make(&store, &parent, "b", &group(&["echo"])).await;
        let children: Vec<FullTask> =
            claim(&store, 8, 2).await.leased.into_iter().map(|leased| leased.task).collect();
        let (waited, one, two) = tokio::join!(
            apply(&store, &parent.id, wait(&parent, true, &[])),
            apply(&other, &children[0].task.id, end(&children[0])),
            apply(&store, &children[1].task.id, end(&children[1])),
        );
        assert!(waited.is_ok() && one.is_ok() && two.is_ok());
        assert_eq!(state(&store, &parent.id).await, TaskState::Pending, "round {round}");
        let again = claim(&store, 7, 1).await.leased.remove(0).task.task;
        apply(&store, &again.id, start(&again)).await.unwrap();
        apply(&store, &again.id, complete(&again, 3)).await.unwrap();
    }
    other.close().await;
}

pub async fn callbacks_are_made_when_the_task_ends(store: Store) {
    let name = |does: &str| asyncflow_core::create::NewTask {
        payload: Default::default(),
        retry: asyncflow_core::retry::RetryPatch { max_retries: Some(0), ..Default::default() },
        ..new_task(does)
    };
    let with_callbacks = |does: &str| {
        let callbacks = asyncflow_core::create::Callbacks {
            on_success: vec![name("add 1")],
            on_error: vec![name("echo")],
            on_cancel: vec![name("add 3")],
        };
        let flow = callbacks::flow(asyncflow_core::create::NewTask { callbacks, ..name(does) });
        NewWorkflow { flow, ..workflow(json!(41), vec![task("x", "echo")]) }
    };
    let id = create(&store, &with_callbacks("echo")).await;
    assert_eq!(work(&store).await, ["echo", "add 1"]);
    assert_eq!(super::workflow_fixture::result_of(&store, id, "on_success.1").await, json!(42));
    assert_eq!(view(&store, id).await.workflow.progress.state, WorkflowState::Succeeded);

    let id = create(&store, &with_callbacks("fail")).await;
    assert_eq!(work(&store).await, ["fail", "echo"]);
    let told = super::workflow_fixture::result_of(&store, id, "on_error.1").await;
    assert_eq!(told["state"], "FAILED");
    assert!(told["message"].as_str().unwrap().contains("it broke"), "{told}");

    let id = create(&store, &with_callbacks("echo")).await;
    let claimed = claim(&store, 7, 1).await.leased.remove(0).task.task;
    apply(&store, &claimed.id, Event::Cancel { message: "no".into() }).await.unwrap();
    apply(&store, &claimed.id, super::fixture::fail(&claimed, 1)).await.unwrap();
    assert_eq!(work(&store).await, ["add 3"]);
    let view = view(&store, id).await;
    assert_eq!(states(&view)["on_success.1"], NodeState::Skipped);
}
