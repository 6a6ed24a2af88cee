//! Applying events.

use asyncflow_core::{
    event::{Event, HandOver, Settle, TaskPatch},
    reason::FailureReason,
    state::TaskState,
    task::{AttemptOutcome, Labels, Progress, Task},
    transition::Refusal,
};
use asyncflow_store::{ApplyError, ShardPage, Store, StoreOptions};

use super::fixture::{
    LEASE_MS, apply, claim, complete, content, fail, fence, get, insert_all, insert_one, new_task,
    running, start,
};

/// Each process knows the tasks that it leased as it wrote them last. What the other one did to
/// them meanwhile must show in the answers of both.
pub async fn what_another_process_did_to_a_leased_task_is_seen(store: Store) {
    let other = Store::connect(&StoreOptions::new(store.url())).await.unwrap();
    let first = running(&store, 5).await.task;
    apply(&other, &first.id, Event::Cancel { message: "enough".into() }).await.unwrap();
    let beat = |task: &Task| Event::Heartbeat { fence: fence(task), lease_ttl_ms: LEASE_MS };
    let told = apply(&store, &first.id, beat(&first)).await.unwrap().task;
    assert_eq!(told.state, TaskState::Cancelling);
    apply(&other, &first.id, fail(&first, 1)).await.unwrap();
    apply(&other, &first.id, Event::retry(true)).await.unwrap();
    let second = claim(&other, 6, 1).await.leased.remove(0).task.task;
    assert_eq!((&second.id, second.attempt), (&first.id, 2));
    let late = apply(&store, &first.id, complete(&first, 2)).await.unwrap_err();
    assert!(
        matches!(late, ApplyError::Refused(Refusal::LeaseLost { .. }, task) if *task == second)
    );
    apply(&store, &second.id, start(&second)).await.unwrap();
    apply(&other, &second.id, beat(&second)).await.unwrap();
    let (one, two) = tokio::join!(
        apply(&store, &second.id, complete(&second, 3)),
        apply(&other, &second.id, complete(&second, 3)),
    );
    let answers = [one, two];
    let replays = answers.iter().filter(|answer| answer.is_err());
    assert_eq!(replays.count(), 1, "{answers:?}");
    assert_eq!(get(&store, &second.id).await.task.state, TaskState::Succeeded);
    other.close().await;
}

pub async fn a_life_is_written_as_the_state_machine_says(store: Store) {
    let full = running(&store, 5).await;
    let (id, fence) = (full.task.id.clone(), fence(&full.task));
    let metrics = [("loss".to_owned(), 0.25), ("bad".to_owned(), f64::NAN)].into();
    let progress = Progress { percent: Some(40.0), message: "epoch 2".into(), metrics };
    apply(&store, &id, Event::Report { fence, progress }).await.unwrap();
    let save = Event::SaveContext {
        fence,
        stage: Some("train".into()),
        context: Some(content("epoch 2")),
        expected_version: Some(0),
    };
    apply(&store, &id, save.clone()).await.unwrap();
    let refused = apply(&store, &id, save).await.unwrap_err();
    assert!(matches!(
        refused,
        ApplyError::Refused(Refusal::ContextVersion { current: 1 }, task) if task.stage == "train"
    ));
    apply(&store, &id, fail(&full.task, 1)).await.unwrap();
    let failed = get(&store, &id).await;
    assert_eq!(failed.task.state, TaskState::Scheduled);
    assert_eq!(failed.task.failures, 1);
    assert_eq!(failed.task.failure.as_ref().unwrap().reason, FailureReason::Error);
    assert_eq!(failed.body.context, content("epoch 2"));
    assert_eq!(failed.task.progress.metrics.len(), 1);
    let second = loop {
        store.promote_due(id.task_type(), 10).await.unwrap();
        if let Some(leased) = claim(&store, 6, 1).await.leased.pop() {
            break leased.task;
        }
    };
    assert_eq!(second.task.attempt, 2);
    assert_eq!(second.body.context, content("epoch 2"));
    apply(&store, &id, start(&second.task)).await.unwrap();
    apply(&store, &id, complete(&second.task, 2)).await.unwrap();
    let done = get(&store, &id).await;
    assert_eq!(done.task.state, TaskState::Succeeded);
    assert_eq!(done.body.result, Some(content("result")));
    let attempts = store.list_attempts(&id, 0, 10).await.unwrap();
    let outcomes: Vec<_> = attempts.iter().map(|a| (a.attempt, a.outcome, a.exit_code)).collect();
    assert_eq!(
        outcomes,
        [(1, AttemptOutcome::Failed, Some(1)), (2, AttemptOutcome::Succeeded, Some(0))]
    );
    assert_eq!(attempts[0].worker_id, "worker-5");
    assert_eq!(store.list_attempts(&id, 1, 10).await.unwrap().len(), 1);
}

/// What completed a task without an exit code stands in the task's row, as long as that is so.
pub async fn the_history_is_whole_whatever_row_tells_it(store: Store) {
    let id = running(&store, 5).await.task.id;
    let mut task = get(&store, &id).await.task;
    let codes = [None, Some(0), None];
    for (round, exit_code) in (0..).zip(codes) {
        let Event::Settle { fence, settle, digest, .. } = complete(&task, round) else { panic!() };
        apply(&store, &id, Event::Settle { fence, settle, digest, exit_code, usage: None })
            .await
            .unwrap();
        let attempts = store.list_attempts(&id, 0, 10).await.unwrap();
        let told: Vec<_> = attempts.iter().map(|one| (one.attempt, one.exit_code)).collect();
        let wanted: Vec<_> = (1..).zip(codes).take(round as usize + 1).collect();
        assert_eq!(told, wanted);
        let last = attempts.last().unwrap();
        assert_eq!((last.outcome, &*last.worker_id), (AttemptOutcome::Succeeded, "worker-5"));
        assert_eq!((last.session_id, last.start_time_ms), (5, task.start_time_ms));
        let page = ShardPage { rows_max: 9, bytes_max: 9_999 };
        let row = store.shard_rows(&id.shard, None, page).await.unwrap().remove(0);
        assert_eq!(row.attempts, attempts);
        // Page by page, too.
        for (at, attempt) in attempts.iter().enumerate() {
            let page = store.list_attempts(&id, at as i32, 1).await.unwrap();
            assert_eq!(page, std::slice::from_ref(attempt));
        }
        assert!(store.list_attempts(&id, round as i32 + 1, 10).await.unwrap().is_empty());

        apply(&store, &id, Event::retry(true)).await.unwrap();
        assert_eq!(store.list_attempts(&id, 0, 10).await.unwrap(), attempts);
        task = claim(&store, 5, 1).await.leased.remove(0).task.task;
        task = apply(&store, &id, start(&task)).await.unwrap().task;
    }
}

pub async fn stale_writes_are_refused_and_replays_known(store: Store) {
    let full = running(&store, 5).await;
    let id = &full.task.id;
    apply(&store, id, fail(&full.task, 1)).await.unwrap();
    let replay = apply(&store, id, fail(&full.task, 1)).await.unwrap_err();
    assert!(matches!(replay, ApplyError::Refused(Refusal::AlreadyDone, _)));
    let stale = apply(&store, id, complete(&full.task, 2)).await.unwrap_err();
    assert!(matches!(stale, ApplyError::Refused(Refusal::LeaseLost { .. }, _)));
    let second = loop {
        store.promote_due(id.task_type(), 10).await.unwrap();
        if let Some(leased) = claim(&store, 6, 1).await.leased.pop() {
            break leased.task.task;
        }
    };
    let mut forged = second.clone();
    forged.holder.session_id = 99;
    let stolen = apply(&store, id, complete(&forged, 3)).await.unwrap_err();
    assert!(matches!(stolen, ApplyError::Refused(Refusal::NotYourLease, _)));
    let stale = apply(&store, id, complete(&full.task, 2)).await.unwrap_err();
    assert!(matches!(stale, ApplyError::Refused(Refusal::LeaseLost { given: 1, in_force: 2 }, _)));
    let before = get(&store, id).await;
    assert_eq!(before.task, second);
}

pub async fn a_batch_takes_several_events_of_one_task(store: Store) {
    let tasks = insert_all(&store, [new_task("a"), new_task("b")]).await;
    let claimed = claim(&store, 1, 2).await;
    let first = claimed.leased[0].task.task.clone();
    let fence = fence(&first);
    let labels = Labels::from([("run".into(), "7".into()), ("team".into(), "audio".into())]);
    let patch = TaskPatch { labels: Some(labels.clone()), ..TaskPatch::default() };
    let mut unknown = first.id.clone();
    unknown.key += 1_000_000;
    let mut elsewhere = first.id.clone();
    elsewhere.shard.number = 77;
    let answers = store
        .apply(vec![
            (first.id.clone(), start(&first)),
            (unknown, Event::Pause),
            (first.id.clone(), Event::Heartbeat { fence, lease_ttl_ms: LEASE_MS }),
            (tasks[1].id.clone(), Event::Resume),
            (first.id.clone(), Event::Update(patch)),
            (elsewhere, Event::Pause),
            (first.id.clone(), complete(&first, 9)),
        ])
        .await;
    let oks: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(oks, [true, false, true, false, true, false, true]);
    assert!(matches!(answers[1], Err(ApplyError::NotFound)));
    assert!(matches!(answers[5], Err(ApplyError::NotFound)));
    let stored = get(&store, &first.id).await;
    assert_eq!(stored.task, answers[6].as_ref().unwrap().task);
    assert_eq!(stored.task.revision, first.revision + 4);
    assert_eq!(stored.body.labels, labels);
    assert_eq!(get(&store, &tasks[1].id).await.task.state, TaskState::Running);
}

/// On each of three databases: a thousand races.
const RACES: i64 = 334;

pub async fn cancel_races_complete_and_one_wins(store: Store) {
    for round in 0..RACES {
        let full = running(&store, 5).await;
        let id = full.task.id.clone();
        let cancel = Event::Cancel { message: "no need".into() };
        let (cancelled, completed) = tokio::join!(
            apply(&store, &id, cancel),
            apply(&store, &id, complete(&full.task, round))
        );
        // A complete in CANCELLING wins too; a cancel after it is told so.
        completed.unwrap();
        if let Err(error) = cancelled {
            assert!(matches!(error, ApplyError::Refused(Refusal::IllegalState { .. }, _)));
        }
        assert_eq!(get(&store, &id).await.task.state, TaskState::Succeeded);
        assert_eq!(store.list_attempts(&id, 0, 10).await.unwrap().len(), 1);
    }
}

pub async fn a_big_batch_of_different_changes(store: Store) {
    insert_all(&store, (0..700).map(|n| new_task(&n.to_string()))).await;
    let waiting = insert_one(&store).await;
    let claimed = claim(&store, 1, 700).await.leased;
    assert_eq!(claimed.len(), 700);
    let mut events: Vec<_> = (claimed.iter().enumerate())
        .map(|(n, leased)| {
            let task = &leased.task.task;
            let ends = [complete(task, n as i64), fail(task, n as i64), start(task)];
            (task.id.clone(), ends[n % 3].clone())
        })
        .collect();
    events.push((waiting.id.clone(), Event::Pause));
    let answers = store.apply(events).await;
    assert!(answers.iter().all(Result::is_ok));
    for answer in answers {
        let task = answer.unwrap().task;
        assert_eq!(get(&store, &task.id).await.task, task);
    }
}

/// Context and host to avoid are written with the release, or not at all.
pub async fn who_is_given_away_takes_its_context_along(store: Store) {
    let full = running(&store, 5).await;
    let (id, fence) = (full.task.id.clone(), fence(&full.task));
    let hand_over =
        HandOver { context: Some(content("100000")), avoid_host: Some("host-a".to_owned()) };
    let (reason, message) = (FailureReason::HandedOver, "full".to_owned());
    let settle = Settle::Release { reason, message, delay_ms: 0, hand_over };
    let digest = asyncflow_core::digest::settle(&settle, Some(3));
    let event = Event::Settle { fence, settle, digest, exit_code: Some(3), usage: None };
    apply(&store, &id, event.clone()).await.unwrap();
    let given = get(&store, &id).await;
    assert_eq!((given.task.state, given.task.failures), (TaskState::Pending, 0));
    assert_eq!((given.task.context_version, &given.body.context), (1, &content("100000")));
    assert_eq!(given.task.resources.as_ref().unwrap().avoid_host, "host-a");
    let replayed = apply(&store, &id, event).await.unwrap_err();
    assert!(matches!(replayed, ApplyError::Refused(Refusal::AlreadyDone, _)), "{replayed:?}");
    assert_eq!(get(&store, &id).await, given);
    let attempts = store.list_attempts(&id, 0, 10).await.unwrap();
    assert_eq!((attempts[0].outcome, attempts[0].exit_code), (AttemptOutcome::Released, Some(3)));
    assert_eq!(attempts[0].failure.as_ref().unwrap().reason, FailureReason::HandedOver);
}
