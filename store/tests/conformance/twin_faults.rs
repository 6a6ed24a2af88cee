//! Twins, when somebody stops or dies in between; and what happens without the guards.

use asyncflow_core::{event::Event, state::TaskState, task::Task};
use asyncflow_store::{DropOutcome, DropTerms, Store, StoreError};

use super::{
    fault::{Stop, another, switch_off},
    fixture::{apply, claim, complete, fail, get, running, start, type_name},
    twin::{is_lost, lead, returns, run_twin, state, straggler, twins},
};

/// What the task's second attempt would be given a twin for is the first one's slowness.
pub async fn a_governor_that_looked_too_long_ago_makes_no_twin(store: Store) {
    for has_guard in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        if !has_guard {
            switch_off(dir.path(), "twin.looks_again");
        }
        let slow = another(&store, dir.path()).await;
        let original = running(&store, 7).await.task;
        let (leader, seen) = (lead(&store, "g").await, straggler(&original));
        let stop = Stop::at(dir.path(), "twin.seen");
        let (by, leads) = (slow.clone(), leader.clone());
        let making = tokio::spawn(async move { by.make_twin(&seen, &leads).await });
        stop.reached().await;
        apply(&store, &original.id, Event::WorkerRestarted).await.unwrap();
        let again = claim(&store, 7, 1).await.leased.remove(0).task.task;
        assert_eq!((&again.id, again.attempt), (&original.id, 2));
        apply(&store, &again.id, start(&again)).await.unwrap();
        stop.release();
        let made = making.await.unwrap().unwrap();
        assert_eq!(made.is_none(), has_guard, "{made:?}");
        apply(&store, &again.id, complete(&again, 1)).await.unwrap();
        slow.close().await;
    }
}

pub async fn a_governor_that_leads_no_more_makes_no_twin(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    let slow = another(&store, dir.path()).await;
    let original = running(&store, 7).await.task;
    let (leader, seen) = (lead(&store, "g1").await, straggler(&original));
    let stop = Stop::at(dir.path(), "twin.seen");
    let by = slow.clone();
    let making = tokio::spawn(async move { by.make_twin(&seen, &leader).await });
    stop.reached().await;
    let next = lead(&store, "g2").await;
    let made = store.make_twin(&straggler(&original), &next).await.unwrap();
    assert!(made.is_some());
    stop.release();
    let refused = making.await.unwrap();
    assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
    assert_eq!(store.live_twins(9).await.unwrap().len(), 1);
    slow.close().await;
}

pub async fn two_governors_make_one_twin(store: Store) {
    let other = another(&store, std::path::Path::new("")).await;
    let leader = lead(&store, "g").await;
    for _ in 0..8 {
        let original = running(&store, 7).await.task;
        let seen = straggler(&original);
        // The same term twice: as if one had been cut off, and its transaction was not.
        let (one, two) =
            tokio::join!(store.make_twin(&seen, &leader), other.make_twin(&seen, &leader));
        let made: Vec<Task> = [one.unwrap(), two.unwrap()].into_iter().flatten().collect();
        assert_eq!(made.len(), 1);
        apply(&store, &original.id, complete(&original, 1)).await.unwrap();
        assert_eq!(state(&store, &made[0].id).await, TaskState::Cancelled);
    }
    other.close().await;
}

/// The twin's transaction has read the original, and is not committed.
pub async fn an_original_that_comes_while_it_is_overtaken_is_too_late(store: Store) {
    let dir = tempfile::tempdir().unwrap();
    let slow = another(&store, dir.path()).await;
    let (original, twin) = twins(&store).await;
    let twin_runs = run_twin(&store).await.task;
    let stop = Stop::at(dir.path(), "twin.overtakes");
    let (by, id) = (slow.clone(), twin.id.clone());
    let ending = tokio::spawn(async move { apply(&by, &id, returns(&twin_runs, "twin")).await });
    stop.reached().await;
    let (by, id, event) = (store.clone(), original.id.clone(), returns(&original, "original"));
    let late = tokio::spawn(async move { apply(&by, &id, event).await });
    tokio::task::yield_now().await;
    assert_eq!(state(&store, &original.id).await, TaskState::Running, "nothing is committed");
    stop.release();
    ending.await.unwrap().unwrap();
    let refused = late.await.unwrap().unwrap_err();
    assert!(is_lost(&refused), "{refused:?}");
    let after = get(&store, &original.id).await;
    assert_eq!(after.body.result.unwrap().data, "twin");
    slow.close().await;
}

/// Its original was cancelled and is run anew, by a broker that died before it told the twin.
pub async fn a_twin_of_a_run_that_is_over_ends_nothing(store: Store) {
    for has_guard in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        switch_off(dir.path(), "workflow.carries_out");
        if !has_guard {
            switch_off(dir.path(), "twin.is_of_its_run");
        }
        let dying = another(&store, dir.path()).await;
        let (original, twin) = twins(&store).await;
        let twin_runs = run_twin(&store).await.task;
        let cancel = Event::Cancel { message: "wrong data".into() };
        for event in [cancel, fail(&original, 2), Event::retry(true)] {
            apply(&dying, &original.id, event).await.unwrap();
        }
        assert_eq!(state(&store, &twin.id).await, TaskState::Running);
        apply(&dying, &twin.id, returns(&twin_runs, "old")).await.unwrap();
        let after = get(&store, &original.id).await;
        let expected = if has_guard { TaskState::Pending } else { TaskState::Succeeded };
        assert_eq!((after.task.state, after.task.run), (expected, 1));
        assert_eq!(after.body.result.is_none(), has_guard);
        assert_eq!(store.live_twins(9).await.unwrap(), []);
        if has_guard {
            apply(&store, &original.id, Event::Cancel { message: String::new() }).await.unwrap();
        }
        dying.close().await;
    }
}

pub async fn twins_are_forgotten_with_their_shard(store: Store) {
    let (original, twin) = twins(&store).await;
    let twin_runs = run_twin(&store).await.task;
    apply(&store, &twin.id, returns(&twin_runs, "twin")).await.unwrap();
    let known = || async {
        let seen = store.twinned(std::slice::from_ref(&original.id)).await.unwrap();
        (seen.len(), store.hosts_to_avoid(std::slice::from_ref(&twin.id)).await.unwrap().len())
    };
    assert_eq!(known().await, (1, 1));
    let leader = lead(&store, "g").await;
    store.roll_shard(&type_name("work"), Some(&leader)).await.unwrap();
    assert_eq!(store.drain_shards(None, &leader).await.unwrap().drained.len(), 1);
    let terms = DropTerms { before_ms: i64::MAX, archived: None };
    let dropped = store.drop_shard(&original.id.shard, terms, &leader).await.unwrap();
    assert!(matches!(dropped, DropOutcome::Dropped { .. }), "{dropped:?}");
    assert_eq!(known().await, (0, 0));
}
