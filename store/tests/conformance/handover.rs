//! Tasks that are handed to workers who wait while they are created.

use asyncflow_core::state::TaskState::{Pending, Running, Scheduled};
use asyncflow_store::{Assigned, Handover, Store, Taker};

use super::fixture::{
    LEASE_MS, apply, claim, claim_request, complete, content, create, get, insert_one, new_task,
    start, taker, type_name,
};

fn handover(takers: Vec<Taker>) -> Handover {
    let of_type = |taker| (type_name("work"), taker);
    let takers = takers.into_iter().map(of_type).collect();
    Handover { takers, bytes_max: usize::MAX, handout_ttl_ms: LEASE_MS }
}

pub async fn ready_tasks_go_to_who_waits_in_their_order(store: Store) {
    let mut batch: Vec<_> = ["first", "urgent", "later", "last"].map(new_task).into();
    batch[1].priority = Some(10);
    batch[2].not_before_ms = Some(store.now_ms().await.unwrap() + LEASE_MS);
    let mut offered = handover(vec![taker(1, "a", 1), taker(2, "b", 1)]);
    offered.takers.insert(0, (type_name("other"), taker(3, "c", 9)));
    let answers = store.insert_for(batch.into_iter().map(create).collect(), &offered).await;
    let new: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let states: Vec<_> = new.iter().map(|new| new.task.state).collect();
    assert_eq!(states, [Running, Running, Scheduled, Pending]);
    let takers: Vec<_> = new.iter().map(|new| Some(new.handed.as_ref()?.taker)).collect();
    assert_eq!(takers, [Some(2), Some(1), None, None], "the urgent one first");

    let handed = &new[1].handed.as_ref().unwrap().task;
    assert_eq!((handed.task.attempt, handed.task.holder.session_id), (1, 1));
    assert_eq!(handed.body.payload, content("payload"));
    assert_eq!(get(&store, &handed.task.id).await, *handed);
    assert_eq!(store.acquired(1, "a").await.unwrap().unwrap(), [Assigned::from(handed.clone())]);
    assert_eq!(store.acquired(3, "c").await.unwrap(), None);
    apply(&store, &handed.task.id, start(&handed.task)).await.unwrap();
    apply(&store, &handed.task.id, complete(&handed.task, 1)).await.unwrap();
    let claimed = claim(&store, 4, 9).await.leased;
    assert_eq!(claimed.iter().map(|one| &one.task.task.id).collect::<Vec<_>>(), [&new[3].task.id]);
}

pub async fn what_was_used_before_is_handed_nothing(store: Store) {
    insert_one(&store).await;
    let first = store.claim(&claim_request(vec![taker(1, "same", 1)])).await.unwrap();
    assert_eq!(first.leased.len(), 1);
    let offered = handover(vec![taker(1, "same", 1), taker(2, "other", 1)]);
    let mut task = new_task("one");
    task.request_id = Some("r1".to_owned());
    let tasks = || vec![create(task.clone()), create(new_task("two"))];
    let answers = store.insert_for(tasks(), &offered).await;
    let new: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let takers: Vec<_> = new.iter().map(|new| Some(new.handed.as_ref()?.taker)).collect();
    assert_eq!(takers, [Some(1), None]);
    assert_eq!(store.acquired(1, "same").await.unwrap().unwrap().len(), 1);

    let offered = handover(vec![taker(3, "new", 2)]);
    let again = store.insert_for(tasks(), &offered).await;
    let again: Vec<_> = again.into_iter().map(Result::unwrap).collect();
    assert!(again[0].deduplicated && again[0].handed.is_none());
    assert_eq!(again[0].task.id, new[0].task.id);
    assert_eq!(again[1].handed.as_ref().unwrap().taker, 0);
}

/// Claimed or handed over: who begins at once has started tasks and a lease for them.
pub async fn who_begins_at_once_need_not_say_so(store: Store) {
    let starter =
        |acquire_id| Taker { lease_ttl_ms: Some(LEASE_MS * 10), ..taker(1, acquire_id, 1) };
    let offered = handover(vec![starter("a")]);
    let batch = ["handed", "waiting"].map(|name| create(new_task(name))).into();
    let handed = store.insert_for(batch, &offered).await.remove(0).unwrap().handed.unwrap().task;
    let claimed = store.claim(&claim_request(vec![starter("b")])).await.unwrap().leased.remove(0);
    for full in [handed, claimed.task] {
        let task = &full.task;
        assert_eq!(get(&store, &task.id).await, full);
        assert_eq!((task.state, task.attempt), (Running, 1));
        assert_eq!((task.start_time_ms, task.revision), (task.claim_time_ms, 3));
        assert_eq!(task.order_time_ms, task.start_time_ms.unwrap() + LEASE_MS * 10);
        apply(&store, &task.id, complete(task, 1)).await.unwrap();
    }
}

/// Only what is handed over counts against the bytes of an answer.
pub async fn what_nobody_takes_leaves_room_for_the_rest(store: Store) {
    let large = |name: &str| {
        let mut new = new_task(name);
        new.payload.data = vec![b'x'; 900].into();
        new
    };
    let mut foreign = large("foreign");
    foreign.task_type = type_name("other");
    let batch = [new_task("one"), foreign, new_task("two"), large("large"), new_task("behind")];
    let mut offered = handover(vec![taker(1, "a", 9)]);
    offered.bytes_max = 100;
    let mut creates: Vec<_> = batch.map(create).into();
    creates[1].task_type = store.ensure_type(&type_name("other")).await.unwrap().into();
    let answers = store.insert_for(creates, &offered).await;
    let states: Vec<_> = answers.into_iter().map(|new| new.unwrap().task.state).collect();
    assert_eq!(states, [Running, Pending, Running, Pending, Pending], "nothing is overtaken");
}
