//! Tasks that need more than a slot.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use asyncflow_core::{
    create::NewTask, id::TypeName, placement::Placed, resources::Resources, state::TaskState,
    task::Task, task_type::TaskType,
};
use asyncflow_store::{Create, Handover, PlaceRequest, PlacedTask, SetAside, Store, WaitingAhead};

use super::fixture::{
    LEASE_MS, apply, claim, claim_request, complete, create, get, insert_all, new_task, start,
    taker, type_name,
};

fn needy(name: &str) -> NewTask {
    NewTask { resources: Some(Resources { gpus: 1, ..Resources::default() }), ..new_task(name) }
}

fn placed(gpu: &str) -> Placed {
    Placed { gpus: vec![gpu.to_owned()], gpu_memory_bytes: 0 }
}

fn place_request(acquire_id: &str, tasks: &[&Task]) -> PlaceRequest {
    let one = |task: &&Task| PlacedTask {
        id: task.id.clone(),
        revision: task.revision,
        taker: 0,
        placed: placed("GPU-1"),
    };
    PlaceRequest {
        takers: vec![taker(7, acquire_id, 9)],
        tasks: tasks.iter().map(one).collect(),
        bytes_max: usize::MAX,
        handout_ttl_ms: LEASE_MS,
    }
}

pub async fn what_a_task_needs_is_kept(store: Store) {
    let labels = BTreeMap::from([("room".to_owned(), "3".to_owned())]);
    let needs = Resources {
        gpus: 2,
        cpu_millis: 1_500,
        worker_labels: labels,
        preemptible: true,
        gpu_idle_ms: 60_000,
        ..Resources::default()
    };
    let new = NewTask { resources: Some(needs.clone()), ..new_task("needy") };
    let tasks = insert_all(&store, [new, new_task("plain")]).await;
    assert_eq!(get(&store, &tasks[0].id).await.task.resources.as_deref(), Some(&needs));
    assert_eq!(get(&store, &tasks[1].id).await.task.resources, None);

    let name: TypeName = type_name("gpus");
    let resources = Some(Arc::new(Resources { gpu_memory_bytes: 7, ..Resources::default() }));
    let task_type =
        TaskType { resources: resources.clone(), ..TaskType::with_defaults(name.clone(), 0) };
    assert!(store.create_type(task_type).await.unwrap());
    let read = store.get_type(&name).await.unwrap().unwrap();
    assert_eq!(read.resources, resources);
    let new = NewTask::new(name.clone(), "ann");
    let created = store.insert(vec![Create { new, task_type: Arc::new(read) }]).await.remove(0);
    assert_eq!(created.unwrap().task.resources, resources, "that of its type");
    let changed = store.update_type(&name, None, |task_type| task_type.resources = None).await;
    assert_eq!(changed.unwrap().resources, None);
}

pub async fn a_claim_sets_aside_what_needs_more_than_a_slot(store: Store) {
    let mut news: Vec<NewTask> = (0..100).map(|number| needy(&number.to_string())).collect();
    news.insert(50, new_task("first"));
    news.push(new_task("second"));
    let tasks = insert_all(&store, news).await;
    let request = claim_request(vec![taker(1, "", 1)]);
    let claimed = store.claim(&request).await.unwrap();
    assert_eq!(claimed.leased.len(), 1);
    assert_eq!(claimed.leased[0].task.task.name, "first");
    assert!(claimed.aside.len() >= 50, "at least what stands before it");
    let rest = store.claim(&claim_request(vec![taker(1, "", 9)])).await.unwrap();
    assert_eq!(rest.leased.iter().map(|one| &*one.task.task.name).collect::<Vec<_>>(), ["second"]);
    assert_eq!(rest.aside.len(), 100);
    assert!(rest.aside.iter().all(|task| task.state == TaskState::Pending && task.attempt == 0));

    // Looking back finds what was set aside, unless it is known.
    let name = type_name("work");
    let nothing = SetAside::default();
    assert_eq!(store.look_back(&name, &rest.marks, &nothing).await.unwrap().len(), 1);
    let shard = tasks[0].id.shard.clone();
    let mut keys: BTreeSet<i64> = rest.aside.iter().map(|task| task.id.key).collect();
    let known = |keys| SetAside { keys: BTreeMap::from([(shard.clone(), keys)]), is_cut: false };
    let looked = store.look_back(&name, &rest.marks, &known(keys.clone())).await.unwrap();
    assert!(looked.is_empty(), "{looked:?}");
    keys.remove(&tasks[30].id.key);
    let looked = store.look_back(&name, &rest.marks, &known(keys.clone())).await.unwrap();
    assert_eq!(looked[&shard], (tasks[30].order_time_ms - 1, i64::MAX));
    let cut = SetAside { is_cut: true, ..known(keys) };
    assert!(store.look_back(&name, &rest.marks, &cut).await.unwrap().is_empty());
    // One that may be asked to stop needs no more than others.
    let may_stop = Resources { preemptible: true, ..Resources::default() };
    let new = NewTask { resources: Some(may_stop), priority: Some(500), ..new_task("may stop") };
    insert_all(&store, [new]).await;
    assert_eq!(store.look_back(&name, &rest.marks, &cut).await.unwrap().len(), 1);
}

pub async fn nobody_is_handed_what_needs_more_than_a_slot(store: Store) {
    let takers = vec![(type_name("work"), taker(1, "a", 9))];
    let handover = Handover { takers, bytes_max: usize::MAX, handout_ttl_ms: LEASE_MS };
    let creates = vec![create(needy("needy")), create(new_task("plain"))];
    let answers = store.insert_for(creates, &handover).await;
    let states = answers.into_iter().map(|answer| answer.unwrap().task.state);
    assert_eq!(states.collect::<Vec<_>>(), [TaskState::Pending, TaskState::Running]);
}

pub async fn a_placed_task_is_claimed_as_it_was_read(store: Store) {
    let tasks = insert_all(&store, ["a", "b", "c"].map(needy)).await;
    assert!(claim(&store, 1, 9).await.leased.is_empty());
    let stale = Task { revision: tasks[1].revision + 1, ..tasks[1].clone() };
    let request = place_request("once", &[&tasks[0], &stale]);
    let claimed = store.claim_placed(&request).await.unwrap();
    assert_eq!((claimed.leased.len(), claimed.left.len(), claimed.replays.len()), (1, 0, 0));
    let leased = &claimed.leased[0];
    assert_eq!(leased.placed, Some(placed("GPU-1")));
    let task = &leased.task.task;
    assert_eq!((task.state, task.attempt, task.holder.session_id), (TaskState::Running, 1, 7));
    assert_eq!(get(&store, &task.id).await, leased.task);

    // The same acquire gets the same task in the same place, and nothing else.
    let again = store.acquired(7, "once").await.unwrap().unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!((&again[0].full, &again[0].placed), (&leased.task, &leased.placed));
    let more = store.claim_placed(&place_request("once", &[&tasks[2]])).await.unwrap();
    assert_eq!((more.leased.len(), more.replays), (0, vec![0]));
    assert_eq!(more.left, [tasks[2].id.clone()]);

    // What runs already is not claimed again.
    let claimed = store.claim_placed(&place_request("twice", &[&tasks[0]])).await.unwrap();
    assert!(claimed.leased.is_empty() && claimed.left.is_empty());
    apply(&store, &task.id, start(task)).await.unwrap();
    apply(&store, &task.id, complete(task, 1)).await.unwrap();
}

pub async fn two_who_place_the_same_tasks_share_them(store: Store) {
    let tasks = Arc::new(insert_all(&store, (0..60).map(|n| needy(&n.to_string()))).await);
    let placers = (1..=3).map(|session_id| {
        let (store, tasks) = (store.clone(), Arc::clone(&tasks));
        tokio::spawn(async move {
            let mut got = Vec::new();
            for some in tasks.chunks(7) {
                let some: Vec<&Task> = some.iter().collect();
                let mut request = place_request("", &some);
                request.takers[0] = taker(session_id, "", 9);
                let claimed = store.claim_placed(&request).await.unwrap();
                got.extend(claimed.leased.into_iter().map(|leased| leased.task.task.id));
            }
            got
        })
    });
    let mut all = Vec::new();
    for placer in placers.collect::<Vec<_>>() {
        all.extend(placer.await.unwrap());
    }
    let distinct: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!((all.len(), distinct.len()), (60, 60));
}

pub async fn who_stands_before_a_task_is_told_by_what_is_needed(store: Store) {
    let cores = || NewTask {
        resources: Some(Resources { cpu_millis: 500, ..Resources::default() }),
        ..new_task("cores")
    };
    let news = [needy("1"), new_task("2"), needy("3"), cores(), new_task("5"), needy("6")];
    let tasks = insert_all(&store, news).await;
    let before = async |task: &Task, most| {
        let ahead = store.waiting_ahead(task, most).await.unwrap();
        let of = |ahead: WaitingAhead| {
            let needs = ahead.resources.map(|needs| (needs.gpus, needs.cpu_millis));
            (needs, ahead.count)
        };
        ahead.into_iter().map(of).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(before(&tasks[0], 10).await, BTreeMap::new());
    let all = [(None, 2), (Some((1, 0)), 2), (Some((0, 500)), 1)];
    assert_eq!(before(&tasks[5], 10).await, BTreeMap::from(all));
    let first = [(None, 1), (Some((1, 0)), 2)];
    assert_eq!(before(&tasks[5], 3).await, BTreeMap::from(first), "the first three are counted");
    // What runs is in no queue.
    let leased = claim(&store, 1, 1).await.leased.remove(0).task.task;
    assert_eq!(leased.id, tasks[1].id);
    let rest = [(None, 1), (Some((1, 0)), 2), (Some((0, 500)), 1)];
    assert_eq!(before(&tasks[5], 10).await, BTreeMap::from(rest));
}
