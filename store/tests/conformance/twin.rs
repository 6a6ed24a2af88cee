//! Twins of stragglers: whoever is done first counts, and nothing counts twice.

use asyncflow_core::{
    create::{NewTask, Predecessor},
    event::{Event, Settle},
    id::TaskId,
    reason::FailureReason,
    state::TaskState,
    task::{Attempt, AttemptOutcome, FullTask, Task},
    transition::Refusal,
    validate::workflow::WorkInput,
    workflow::progress::WorkflowState,
};
use asyncflow_store::{ApplyError, LeaderFence, Store, Straggler};
use serde_json::json;

use super::{
    fault::{another, switch_off},
    fixture::{
        apply, claim, complete, content, create, fail, fence, get, insert_all, new_task, running,
        start,
    },
    workflow_fixture,
};

pub async fn lead(store: &Store, holder: &str) -> LeaderFence {
    store.try_lead(holder, -1).await.unwrap().unwrap()
}

pub fn straggler(task: &Task) -> Straggler {
    let (run, attempt) = (task.run, task.attempt);
    Straggler { id: task.id.clone(), run, attempt, host: "slow".into() }
}

/// A task that runs, and its twin, which is not claimed yet.
pub async fn twins(store: &Store) -> (Task, Task) {
    let original = running(store, 7).await.task;
    let leader = lead(store, "g").await;
    let twin = store.make_twin(&straggler(&original), &leader).await.unwrap().unwrap();
    (original, twin)
}

/// A worker on another host runs the twin.
pub async fn run_twin(store: &Store) -> FullTask {
    let full = claim(store, 8, 1).await.leased.remove(0).task;
    assert!(full.task.ties.twin);
    apply(store, &full.task.id, start(&full.task)).await.unwrap();
    full
}

/// It succeeds with this result.
pub fn returns(task: &Task, result: &str) -> Event {
    let settle = Settle::complete(Some(content(result)));
    Event::Settle { fence: fence(task), settle, digest: 4, exit_code: None, usage: None }
}

pub async fn state(store: &Store, id: &TaskId) -> TaskState {
    get(store, id).await.task.state
}

async fn result(store: &Store, id: &TaskId) -> String {
    let data = get(store, id).await.body.result.unwrap().data;
    String::from_utf8(data.to_vec()).unwrap()
}

pub fn is_lost(error: &ApplyError) -> bool {
    matches!(error, ApplyError::Refused(Refusal::LeaseLost { .. }, _))
}

/// How attempts ended, and why.
async fn outcomes(store: &Store, id: &TaskId) -> Vec<(AttemptOutcome, Option<FailureReason>)> {
    let attempts = store.list_attempts(id, 0, 10).await.unwrap();
    let tell = |one: &Attempt| (one.outcome, one.failure.as_ref().map(|failure| failure.reason));
    attempts.iter().map(tell).collect()
}

pub async fn a_twin_that_is_done_first_ends_its_original(store: Store) {
    let (original, twin) = twins(&store).await;
    let leader = lead(&store, "g").await;
    let second = store.make_twin(&straggler(&original), &leader).await.unwrap();
    assert_eq!(second, None, "one twin for a run");
    let of_twin = store.make_twin(&straggler(&twin), &leader).await.unwrap();
    assert_eq!(of_twin, None, "it does not run, and is a twin");
    let bound = get(&store, &original.id).await.task;
    assert_eq!(store.twin_of(&bound).await.unwrap(), Some(twin.id.clone()));
    assert_eq!(store.twin_of(&twin).await.unwrap(), Some(original.id.clone()));
    let hosts = store.hosts_to_avoid(&[twin.id.clone(), original.id.clone()]).await.unwrap();
    assert_eq!(hosts.into_iter().collect::<Vec<_>>(), [(twin.id.clone(), "slow".to_owned())]);

    let full = run_twin(&store).await;
    let body = get(&store, &original.id).await.body;
    assert_eq!((&full.body.payload, &full.body.context), (&body.payload, &body.context));
    assert_eq!((full.body.labels, full.task.name), (body.labels, original.name.clone()));
    let of_running = store.make_twin(&straggler(&get(&store, &twin.id).await.task), &leader).await;
    assert_eq!(of_running.unwrap(), None, "a twin has no twin");
    let ended = apply(&store, &twin.id, returns(&get(&store, &twin.id).await.task, "twin")).await;
    let made: Vec<_> = ended.unwrap().made.into_iter().map(|task| (task.id, task.state)).collect();
    assert_eq!(made, [(original.id.clone(), TaskState::Succeeded)], "in the same transaction");
    assert_eq!(result(&store, &original.id).await, "twin");
    let overtaken = [(AttemptOutcome::Released, Some(FailureReason::Overtaken))];
    assert_eq!(outcomes(&store, &original.id).await, overtaken);
    assert_eq!(outcomes(&store, &twin.id).await, [(AttemptOutcome::Succeeded, None)]);
    for late in [start(&original), returns(&original, "late"), fail(&original, 3)] {
        let refused = apply(&store, &original.id, late).await.unwrap_err();
        assert!(is_lost(&refused), "{refused:?}");
    }
    assert_eq!(result(&store, &original.id).await, "twin");
    assert_eq!(store.live_twins(9).await.unwrap(), []);

    // A twin is not run again by itself; its original is, and may have another one.
    let retry = Event::retry(false);
    let refused = apply(&store, &twin.id, retry.clone()).await;
    assert!(matches!(refused, Err(ApplyError::Refused(Refusal::Twin(_), _))), "{refused:?}");
    apply(&store, &original.id, retry).await.unwrap();
    let again = claim(&store, 7, 1).await.leased.remove(0).task.task;
    assert_eq!((&again.id, store.twin_of(&again).await.unwrap()), (&original.id, None));
    apply(&store, &again.id, start(&again)).await.unwrap();
    let other = store.make_twin(&straggler(&again), &leader).await.unwrap().unwrap();
    assert_ne!(other.id, twin.id);
    apply(&store, &again.id, returns(&again, "again")).await.unwrap();
    assert_eq!(state(&store, &other.id).await, TaskState::Cancelled);
    let both = [overtaken[0], (AttemptOutcome::Succeeded, None)];
    assert_eq!(outcomes(&store, &original.id).await, both);
    for id in [&original.id, &twin.id, &other.id] {
        store.delete(id).await.unwrap();
    }
    assert_eq!(store.twinned(std::slice::from_ref(&original.id)).await.unwrap().len(), 0);
}

pub async fn an_original_that_ends_takes_its_twin_along(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    switch_off(dir.path(), "workflow.carries_out");
    let dying = another(&store, dir.path()).await;
    for (round, is_running) in (0..3).flat_map(|round| [(round, false), (round, true)]) {
        for by in [&store, &dying] {
            let (original, twin) = twins(&store).await;
            if is_running {
                run_twin(&store).await;
            }
            let end = match round {
                0 => complete(&original, 9),
                1 => Event::Cancel { message: "no".into() },
                _ => Event::LeaseExpired,
            };
            if round < 2 {
                apply(by, &original.id, end).await.unwrap();
            } else {
                apply(by, &original.id, Event::WorkerRestarted).await.unwrap();
                assert!(!state(&store, &twin.id).await.is_terminal(), "it goes on");
                by.delete(&original.id).await.unwrap();
            }
            let stopped = if is_running { TaskState::Cancelling } else { TaskState::Cancelled };
            if std::ptr::eq(by, &dying) {
                let untold = if is_running { TaskState::Running } else { TaskState::Pending };
                assert_eq!(state(&store, &twin.id).await, untold, "nobody told it");
                let live = store.live_twins(9).await.unwrap();
                assert_eq!(live.len(), 1);
                assert_eq!(store.tend_twins(&live).await.unwrap(), 1);
            }
            assert_eq!(state(&store, &twin.id).await, stopped, "round {round}");
            if is_running {
                let task = get(&store, &twin.id).await.task;
                apply(&store, &twin.id, fail(&task, 2)).await.unwrap();
                assert_eq!(state(&store, &twin.id).await, TaskState::Cancelled);
            }
            assert_eq!(store.live_twins(9).await.unwrap(), []);
            if round == 1 {
                apply(&store, &original.id, fail(&original, 2)).await.unwrap();
            }
        }
    }
    dying.close().await;
}

pub async fn of_two_who_are_done_at_once_one_counts(store: Store) {
    let other = another(&store, std::path::Path::new("")).await;
    let (mut originals, mut overtaken) = (0, 0);
    for round in 0..16 {
        let (original, twin) = twins(&store).await;
        let twin_runs = run_twin(&store).await.task;
        let (by_original, by_twin) = if round % 2 == 0 {
            tokio::join!(
                apply(&store, &original.id, returns(&original, "original")),
                apply(&other, &twin.id, returns(&twin_runs, "twin")),
            )
        } else {
            let (by_twin, by_original) = tokio::join!(
                apply(&other, &twin.id, returns(&twin_runs, "twin")),
                apply(&store, &original.id, returns(&original, "original")),
            );
            (by_original, by_twin)
        };
        assert_eq!(state(&store, &original.id).await, TaskState::Succeeded);
        let kept = result(&store, &original.id).await;
        let told = outcomes(&store, &original.id).await;
        match by_original {
            Ok(_) => {
                originals += 1;
                assert_eq!(kept, "original", "round {round}");
                assert_eq!(told, [(AttemptOutcome::Succeeded, None)]);
            }
            Err(error) => {
                overtaken += 1;
                assert!(is_lost(&error), "{error:?}");
                by_twin.unwrap();
                assert_eq!(kept, "twin", "round {round}");
                assert_eq!(told[0].1, Some(FailureReason::Overtaken));
            }
        }
        if let TaskState::Cancelling = state(&store, &twin.id).await {
            apply(&store, &twin.id, fail(&twin_runs, 2)).await.unwrap();
        }
        assert_eq!(store.live_twins(9).await.unwrap(), []);
    }
    assert_eq!(originals + overtaken, 16);
    other.close().await;
}

pub async fn a_batch_with_both_keeps_one_result(store: Store) {
    let (original, twin) = twins(&store).await;
    let twin_runs = run_twin(&store).await.task;
    let both = vec![
        (twin.id.clone(), returns(&twin_runs, "twin")),
        (original.id.clone(), returns(&original, "original")),
    ];
    let answers = store.apply(both).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(result(&store, &original.id).await, "original");
    assert_eq!(outcomes(&store, &original.id).await, [(AttemptOutcome::Succeeded, None)]);
    assert_eq!(store.live_twins(9).await.unwrap(), []);
}

pub async fn what_follows_from_a_task_follows_from_its_twin(store: Store) {
    let original = running(&store, 7).await.task;
    let after = vec![Predecessor { id: original.id.clone(), any_end: false }];
    let waits = NewTask { after, ..new_task("waits") };
    let waits = store.create_waiting(&create(waits)).await.unwrap().task;
    let leader = lead(&store, "g").await;
    let twin = store.make_twin(&straggler(&original), &leader).await.unwrap().unwrap();
    let twin_runs = run_twin(&store).await.task;
    let ended = apply(&store, &twin.id, returns(&twin_runs, "twin")).await.unwrap();
    let mut made: Vec<_> = ended.made.into_iter().map(|task| (task.id, task.state)).collect();
    made.sort();
    assert!(made.contains(&(waits.id.clone(), TaskState::Pending)), "{made:?}");
    let waits = claim(&store, 7, 1).await.leased.remove(0).task.task;
    apply(&store, &waits.id, start(&waits)).await.unwrap();
    apply(&store, &waits.id, complete(&waits, 3)).await.unwrap();

    let node = workflow_fixture::task("first", "add 1");
    let next = workflow_fixture::after(&["first"], workflow_fixture::task("next", "echo"));
    let new = workflow_fixture::workflow(json!(41), vec![node, next]);
    let id = workflow_fixture::create(&store, &new).await;
    let original = claim(&store, 7, 1).await.leased.remove(0).task.task;
    apply(&store, &original.id, start(&original)).await.unwrap();
    let twin = store.make_twin(&straggler(&original), &leader).await.unwrap().unwrap();
    assert_eq!(twin.member, None);
    assert_eq!(
        workflow_fixture::work(&store).await,
        ["add 1", "echo"],
        "the twin, and what follows"
    );
    assert_eq!(workflow_fixture::state(&store, id).await, WorkflowState::Succeeded);
    assert_eq!(workflow_fixture::result_of(&store, id, "first").await, json!(42));
    assert_eq!(state(&store, &original.id).await, TaskState::Succeeded);
}

/// The original went back to the queue, and its owner may do with it what he likes.
pub async fn a_twin_ends_what_nobody_runs_but_not_what_its_owner_holds(store: Store) {
    for is_paused in [false, true] {
        let (original, twin) = twins(&store).await;
        let twin_runs = run_twin(&store).await.task;
        apply(&store, &original.id, Event::WorkerRestarted).await.unwrap();
        if is_paused {
            apply(&store, &original.id, Event::Pause).await.unwrap();
        }
        apply(&store, &twin.id, returns(&twin_runs, "twin")).await.unwrap();
        let expected = if is_paused { TaskState::Paused } else { TaskState::Succeeded };
        assert_eq!(state(&store, &original.id).await, expected);
        let lost = (AttemptOutcome::Lost, Some(FailureReason::WorkerRestarted));
        assert_eq!(outcomes(&store, &original.id).await, [lost], "there was no other attempt");
    }
    // One that fails changes nothing for its original.
    let (original, twin) = twins(&store).await;
    let twin_runs = run_twin(&store).await.task;
    apply(&store, &twin.id, fail(&twin_runs, 2)).await.unwrap();
    assert_eq!(state(&store, &twin.id).await, TaskState::Failed, "it has one attempt");
    apply(&store, &original.id, returns(&original, "original")).await.unwrap();
    assert_eq!(result(&store, &original.id).await, "original");
    assert_eq!(store.live_twins(9).await.unwrap(), []);
}

pub async fn running_and_ended_tasks_tell_what_is_usual(store: Store) {
    let name = super::fixture::type_name("work");
    let (original, twin) = twins(&store).await;
    let seen = store.running_tasks(&name, 9).await.unwrap();
    assert_eq!((seen.len(), &seen[0].id, seen[0].attempt), (1, &original.id, 1));
    assert!(seen[0].ties.twinned && seen[0].start_time_ms > 0);
    assert!(store.took_ms(&name, 9).await.unwrap().is_empty());
    let twin_runs = run_twin(&store).await.task;
    let ids: Vec<_> = store.running_tasks(&name, 9).await.unwrap().into_iter().collect();
    assert_eq!(ids.iter().filter(|task| task.ties.twin).count(), 1);
    assert_eq!(store.running_tasks(&name, 1).await.unwrap().len(), 1);
    apply(&store, &twin.id, returns(&twin_runs, "twin")).await.unwrap();
    let took = store.took_ms(&name, 9).await.unwrap();
    assert_eq!(took.len(), 1, "that of the original is not its own");
    assert!(took.iter().all(|took_ms| (0..60_000).contains(took_ms)), "{took:?}");
    let pinned = store.twinned(std::slice::from_ref(&original.id)).await.unwrap();
    assert_eq!(pinned.into_iter().collect::<Vec<_>>(), [(original.id, 0)]);
    let members = (0..3).map(|_| workflow_fixture::task("", "echo")).collect();
    let group = WorkInput::Group(workflow_fixture::fan(members));
    let new = workflow_fixture::workflow(json!(1), vec![workflow_fixture::node("group", group)]);
    let id = workflow_fixture::create(&store, &new).await;
    assert!(store.siblings_took_ms(id, 0, 9).await.unwrap().is_empty(), "none has ended");
    workflow_fixture::work(&store).await;
    assert_eq!(store.siblings_took_ms(id, 0, 9).await.unwrap().len(), 3);
    assert_eq!(store.siblings_took_ms(id, 0, 2).await.unwrap().len(), 2);
    // What is handed out and not started has not run.
    insert_all(&store, [new_task("waits")]).await;
    claim(&store, 7, 1).await;
    assert_eq!(store.running_tasks(&name, 9).await.unwrap(), []);
}
