//! Claiming tasks.

use std::collections::{BTreeMap, HashSet};

use asyncflow_core::{
    event::{Event, Settle},
    reason::FailureReason,
    state::TaskState,
};
use asyncflow_store::{Assigned, SetAside, Store};

use super::fixture::{
    LEASE_MS, apply, claim, claim_request, complete, content, fence, get, insert_all, insert_one,
    new_task, taker, type_name,
};

pub async fn order_is_seniority_then_id(store: Store) {
    let mut batch: Vec<_> = ["a", "b", "urgent", "c"].map(new_task).into();
    batch[2].priority = Some(10);
    insert_all(&store, batch).await;
    let request = claim_request(vec![taker(1, "", 2), taker(2, "", 5)]);
    let claimed = store.claim(&request).await.unwrap();
    let dealt: Vec<_> =
        claimed.leased.iter().map(|l| (l.taker, l.task.task.name.as_str())).collect();
    assert_eq!(dealt, [(0, "urgent"), (0, "a"), (1, "b"), (1, "c")]);
    let first = &claimed.leased[0].task;
    assert_eq!(first.body.payload, content("payload"));
    assert_eq!(first.task.state, TaskState::Running);
    assert_eq!((first.task.attempt, first.task.holder.session_id), (1, 1));
    assert_eq!(first.task.holder.worker_id, "worker-1");
    let now_ms = store.now_ms().await.unwrap();
    assert!((first.task.order_time_ms - now_ms - LEASE_MS).abs() < 10_000);
    assert_eq!(get(&store, &first.task.id).await.task, first.task);
    assert!(claim(&store, 1, 10).await.leased.is_empty());
}

pub async fn a_mark_starts_behind_what_was_claimed(store: Store) {
    insert_all(&store, (0..5).map(|n| new_task(&n.to_string()))).await;
    let first = claim(&store, 1, 2).await;
    let mut request = claim_request(vec![taker(1, "", 10)]);
    request.after = first.marks.clone();
    request.limit = 2;
    let second = store.claim(&request).await.unwrap();
    let names: Vec<_> = second.leased.iter().map(|l| l.task.task.name.as_str()).collect();
    assert_eq!(names, ["2", "3"]);
    let name = type_name("work");
    let (nothing, aside) = (BTreeMap::new(), SetAside::default());
    assert_eq!(store.look_back(&name, &second.marks, &aside).await.unwrap(), nothing);
    // A mark behind everything hides what is before it; without marks, or looking back, it is
    // found.
    request.after = first.marks.keys().map(|shard| (shard.clone(), (i64::MAX, 0))).collect();
    assert!(store.claim(&request).await.unwrap().leased.is_empty());
    let found = store.look_back(&name, &request.after, &aside).await.unwrap();
    assert!(second.marks.iter().all(|(shard, mark)| found[shard] >= (mark.0 - 1, i64::MAX)));
    request.after = found;
    assert_eq!(store.claim(&request).await.unwrap().leased.len(), 1);
    assert_eq!(store.look_back(&name, &request.after, &aside).await.unwrap(), nothing);
}

pub async fn a_repeated_acquire_finds_the_same_tasks(store: Store) {
    insert_all(&store, (0..3).map(|n| new_task(&n.to_string()))).await;
    let request = claim_request(vec![taker(7, "acquire-1", 2)]);
    let claimed = store.claim(&request).await.unwrap();
    let given = claimed.leased.into_iter().map(|leased| Assigned::from(leased.task));
    let mut given: Vec<_> = given.collect();
    assert_eq!(store.acquired(7, "acquire-1").await.unwrap().unwrap(), given);
    assert_eq!(store.acquired(7, "acquire-2").await.unwrap(), None);
    assert_eq!(store.acquired(8, "acquire-1").await.unwrap(), None);
    let ended = given.remove(0).full;
    apply(&store, &ended.task.id, complete(&ended.task, 1)).await.unwrap();
    assert_eq!(store.acquired(7, "acquire-1").await.unwrap().unwrap(), given);
    let later_ms = store.now_ms().await.unwrap() + 60_000;
    assert_eq!(store.purge_acquires(later_ms, 10, None).await.unwrap(), 1);
    assert_eq!(store.acquired(7, "acquire-1").await.unwrap(), None);
}

pub async fn an_acquire_id_is_served_once(store: Store) {
    insert_all(&store, (0..4).map(|n| new_task(&n.to_string()))).await;
    let request = claim_request(vec![taker(7, "same", 1)]);
    assert_eq!(store.claim(&request).await.unwrap().leased.len(), 1);
    let request = claim_request(vec![taker(7, "same", 1), taker(8, "other", 1)]);
    let again = store.claim(&request).await.unwrap();
    assert_eq!(again.replays, [0]);
    assert_eq!(again.leased.len(), 1);
    assert_eq!(again.leased[0].taker, 1);
    assert_eq!(store.acquired(7, "same").await.unwrap().unwrap().len(), 1);
}

pub async fn two_claimers_never_get_the_same_task(store: Store) {
    let total = 300;
    insert_all(&store, (0..total).map(|n| new_task(&n.to_string()))).await;
    let claimers = (1..=4).map(|session_id| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut got = Vec::new();
            loop {
                let mut request = claim_request(vec![taker(session_id, "", 7)]);
                // Two of them are wrong about that.
                request.is_alone = session_id > 2;
                let claimed = store.claim(&request).await.unwrap();
                if claimed.leased.is_empty() {
                    return got;
                }
                for leased in claimed.leased {
                    let task = leased.task.task;
                    apply(&store, &task.id, complete(&task, 1)).await.unwrap();
                    got.push(task.id);
                }
            }
        })
    });
    let mut seen = HashSet::new();
    for claimer in claimers.collect::<Vec<_>>() {
        for id in claimer.await.unwrap() {
            assert!(seen.insert(id), "claimed twice");
        }
    }
    // Rows that another claimer had locked were passed over; nobody is left when all are done.
    for leased in claim(&store, 9, total).await.leased {
        assert!(seen.insert(leased.task.task.id), "claimed twice");
    }
    assert_eq!(seen.len(), total as usize);
}

pub async fn a_paused_type_gives_nothing(store: Store) {
    let name = type_name("work");
    store.ensure_type(&name).await.unwrap();
    insert_one(&store).await;
    store.update_type(&name, None, |task_type| task_type.paused = true).await.unwrap();
    assert!(claim(&store, 1, 1).await.leased.is_empty());
    store.update_type(&name, None, |task_type| task_type.paused = false).await.unwrap();
    assert_eq!(claim(&store, 1, 1).await.leased.len(), 1);
}

pub async fn old_shards_come_first(store: Store) {
    insert_all(&store, [new_task("old")]).await;
    let name = type_name("work");
    let rolled = store.roll_shard(&name, None).await.unwrap();
    assert_eq!(rolled.number, 2);
    let young = insert_all(&store, [new_task("young")]).await.remove(0);
    assert_eq!(young.id.shard, rolled);
    let claimed = claim(&store, 1, 5).await;
    let names: Vec<_> = claimed.leased.iter().map(|l| l.task.task.name.as_str()).collect();
    assert_eq!(names, ["old", "young"]);
    assert_eq!(claimed.marks.len(), 2);
}

/// Marks hold per shard, also in the look that tells which shards are worth a claim.
pub async fn marks_of_several_shards_hide_and_show(store: Store) {
    let name = type_name("work");
    let first = insert_one(&store).await.id;
    claim(&store, 1, 1).await;
    for shard in 1..=4 {
        insert_all(&store, (0..3).map(|n| new_task(&format!("{shard}.{n}")))).await;
        store.roll_shard(&name, None).await.unwrap();
    }
    let mut request = claim_request(vec![taker(1, "", 1)]);
    let mut names = Vec::new();
    let next = async |request: &_| {
        let claimed = store.claim(request).await.unwrap();
        let name = claimed.leased.into_iter().map(|leased| leased.task.task.name).next();
        (name.unwrap_or_default(), claimed.marks)
    };
    for _ in 0..4 {
        let (name, marks) = next(&request).await;
        names.push(name);
        request.after.extend(marks);
    }
    assert_eq!(names, ["1.0", "1.1", "1.2", "2.0"]);
    // Everything of shard 2 and 3 is behind its mark, shard 5 is empty.
    for number in [2, 3] {
        let shard = asyncflow_core::id::ShardId { task_type: name.clone(), number };
        request.after.insert(shard, (i64::MAX, i64::MAX));
    }
    assert_eq!(next(&request).await.0, "4.0");
    request.after.clear();
    assert_eq!(next(&request).await.0, "2.1");
    // What is closed and empty is known to be so, until its mark is forgotten.
    while !next(&request).await.0.is_empty() {}
    let (_, marks) = next(&request).await;
    assert_eq!(marks.keys().map(|shard| shard.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let stale = get(&store, &first).await.task;
    request.after = marks;
    let released = Event::Settle {
        fence: fence(&stale),
        settle: Settle::release(FailureReason::Drained, "", 0),
        digest: 1,
        exit_code: None,
        usage: None,
    };
    apply(&store, &first, released).await.unwrap();
    assert_eq!(next(&request).await.0, "", "behind its mark");
    let found = store.look_back(&name, &request.after, &SetAside::default()).await.unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), [&first.shard]);
    request.after.extend(found);
    assert_eq!(next(&request).await.0, "one");
}

/// What is leased together has to fit into an answer.
pub async fn large_tasks_are_leased_a_few_at_a_time(store: Store) {
    let with_bytes = |count: usize| {
        let mut new = new_task("large");
        new.payload.data = vec![b'x'; count].into();
        new
    };
    insert_all(&store, [100, 100, 100, 900, 100].map(with_bytes)).await;
    let mut request = claim_request(vec![taker(1, "", 3), taker(2, "", 3)]);
    request.bytes_max = 250 + 2 * content("context").data.len();
    let mut got = Vec::new();
    loop {
        let claimed = store.claim(&request).await.unwrap();
        if claimed.leased.is_empty() {
            break;
        }
        got.push((claimed.leased.len(), claimed.is_cut));
        // Behind the mark of what was taken there is the rest.
        request.after.extend(claimed.marks);
    }
    assert_eq!(got, [(2, true), (1, true), (1, true), (1, false)]);
}
