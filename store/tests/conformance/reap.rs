//! Taking tasks back.

use asyncflow_core::{event::Event, lease::Suspect, limits::LEASE_MS_MAX, state::TaskState};
use asyncflow_store::{ApplyError, Departure, Store, StoreError};

use super::fixture::{
    apply, claim, claim_request, fence, get, insert_all, new_task, running, taker,
};

pub async fn only_silent_leases_are_reaped(store: Store) {
    insert_all(&store, ["silent", "beating", "fresh"].map(new_task)).await;
    let mut request = claim_request(vec![taker(1, "", 2)]);
    request.handout_ttl_ms = -1_000;
    let gone = store.claim(&request).await.unwrap().leased;
    let fresh = claim(&store, 1, 1).await.leased.remove(0).task.task;
    let (silent, beating) = (&gone[0].task.task, &gone[1].task.task);
    let start = |task| Event::Start { fence: fence(task), lease_ttl_ms: -1_000 };
    apply(&store, &silent.id, start(silent)).await.unwrap();
    let mut suspects = store.expired_leases(silent.id.task_type(), 10).await.unwrap();
    suspects.sort_by(|a, b| a.id.cmp(&b.id));
    let seen: Vec<_> = suspects.iter().map(|s| (&s.id, s.attempt, s.beats, s.started)).collect();
    assert_eq!(seen, [(&silent.id, 1, 1, true), (&beating.id, 1, 0, false)]);
    let beat = Event::Heartbeat { fence: fence(beating), lease_ttl_ms: -1_000 };
    apply(&store, &beating.id, beat).await.unwrap();
    suspects.push(Suspect { id: fresh.id.clone(), attempt: 1, beats: 0, started: false });
    let leader = store.try_lead("g1", 60_000).await.unwrap().unwrap();
    let newer = store.try_lead("g1", 60_000).await.unwrap().unwrap();
    let refused = store.reap(suspects.clone(), Some(&leader)).await;
    assert!(refused.iter().all(|r| matches!(r, Err(ApplyError::Store(StoreError::NotLeader)))));
    let reaped = store.reap(suspects, Some(&newer)).await;
    assert_eq!(reaped[0].as_ref().unwrap().task.crashes, 1);
    assert!(matches!(reaped[1], Err(ApplyError::MovedOn(_))));
    assert!(matches!(reaped[2], Err(ApplyError::MovedOn(_))));
    assert_eq!(get(&store, &silent.id).await.task.state, TaskState::Pending);
    assert_eq!(get(&store, &fresh.id).await.task.state, TaskState::Running);
}

/// Its worker died before it could renew it by the clock that was set back.
pub async fn a_lease_of_a_time_to_come_is_reaped(store: Store) {
    let long = running(&store, 1).await.task;
    let ahead = running(&store, 1).await.task;
    for (task, lease_ttl_ms) in [(&long, LEASE_MS_MAX), (&ahead, LEASE_MS_MAX + 60_000)] {
        let beat = Event::Heartbeat { fence: fence(task), lease_ttl_ms };
        apply(&store, &task.id, beat).await.unwrap();
    }
    let suspects = store.expired_leases(ahead.id.task_type(), 10).await.unwrap();
    assert_eq!(suspects.iter().map(|suspect| &suspect.id).collect::<Vec<_>>(), [&ahead.id]);
    let reaped = store.reap(suspects, None).await;
    assert_eq!(reaped[0].as_ref().unwrap().task.crashes, 1);
    assert_eq!(get(&store, &ahead.id).await.task.state, TaskState::Pending);
}

pub async fn a_restarted_worker_gives_back(store: Store) {
    let first = running(&store, 5).await.task;
    let kept = running(&store, 5).await.task;
    let others = running(&store, 6).await.task;
    let keep = [(kept.id.clone(), kept.attempt)];
    let released = store.release_session("worker-5", 5, &keep, Departure::Restarted).await.unwrap();
    assert_eq!(released.len(), 1);
    assert_eq!(released[0].as_ref().unwrap().task.id, first.id);
    assert_eq!(get(&store, &first.id).await.task.state, TaskState::Pending);
    assert_eq!(get(&store, &kept.id).await.task.state, TaskState::Running);
    assert_eq!(get(&store, &others.id).await.task.state, TaskState::Running);
    let adopt = Event::Adopt { fence: fence(&kept), session_id: 50, lease_ttl_ms: 1_000 };
    apply(&store, &kept.id, adopt).await.unwrap();
    assert_eq!(get(&store, &kept.id).await.task.holder.session_id, 50);
}
