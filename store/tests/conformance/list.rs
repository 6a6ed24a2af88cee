//! Lists and counts.

use std::collections::HashSet;

use asyncflow_core::{filter::Filter, state::TaskState};
use asyncflow_store::{CountFilter, LeaderFence, Parts, Store, StoreError};
use sea_orm::{ConnectionTrait, Database};

use super::fixture::{all_tasks, apply, claim, complete, insert_all, new_task, type_name};

async fn many(store: &Store) {
    let tasks = (0..60).map(|n| {
        let mut new = new_task(&n.to_string());
        new.task_type = type_name(["work", "other", "third"][n % 3]);
        new.user = ["ann", "bob"][n % 2].into();
        new.labels.insert("n".into(), (n % 5).to_string());
        new
    });
    insert_all(store, tasks).await;
    store.roll_shard(&type_name("work"), None).await.unwrap();
    insert_all(store, (60..70).map(|n| new_task(&n.to_string()))).await;
    for leased in claim(store, 1, 12).await.leased {
        let task = leased.task.task;
        if task.id.key % 2 == 0 {
            apply(store, &task.id, complete(&task, 1)).await.unwrap();
        }
    }
}

pub async fn pages_meet_every_task_once(store: Store) {
    many(&store).await;
    let by_state = Filter { states: vec![TaskState::Pending], ..Filter::default() };
    let two = vec![TaskState::Pending, TaskState::Running];
    let by_states = Filter { states: two, ..Filter::default() };
    let by_label = Filter { labels: vec![("n".into(), "3".into())], ..Filter::default() };
    for filter in [Filter::default(), by_state, by_states, by_label] {
        let whole = store.list(&filter, None, 1_000, Parts::NONE).await.unwrap();
        assert!(whole.next.is_none() && !whole.tasks.is_empty());
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = store.list(&filter, after.as_ref(), 7, Parts::NONE).await.unwrap();
            assert!(page.tasks.len() <= 7);
            paged.extend(page.tasks);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(paged, whole.tasks);
        let ids: HashSet<_> = paged.iter().map(|full| &full.task.id).collect();
        assert_eq!(ids.len(), paged.len());
    }
    let all = all_tasks(&store, &Filter::default()).await;
    assert_eq!(all.len(), 70);
    assert!(all.is_sorted_by(|a, b| a.task.id.key >= b.task.id.key), "newest first");
}

pub async fn filters_are_conjunctions(store: Store) {
    many(&store).await;
    let all = all_tasks(&store, &Filter::default()).await;
    let middle = &all[30].task;
    let label = |n: &str| ("n".to_owned(), n.to_owned());
    let filters = [
        Filter { user: Some("bob".into()), ..Filter::default() },
        Filter { task_type: Some(type_name("other")), ..Filter::default() },
        Filter { labels: vec![label("2"), ("team".into(), "vision".into())], ..Filter::default() },
        Filter {
            user: Some("ann".into()),
            states: vec![TaskState::Succeeded, TaskState::Running],
            task_type: Some(type_name("work")),
            ..Filter::default()
        },
        Filter {
            labels: vec![label("0")],
            states: vec![TaskState::Pending],
            created_before_ms: Some(middle.create_time_ms + 1),
            ..Filter::default()
        },
        Filter { created_from_ms: Some(middle.create_time_ms), ..Filter::default() },
        Filter { created_before_ms: Some(middle.create_time_ms), ..Filter::default() },
    ];
    for filter in filters {
        let matches = |full: &&asyncflow_core::task::FullTask| {
            let (task, labels) = (&full.task, &full.body.labels);
            filter.user.as_ref().is_none_or(|user| *user == task.user)
                && filter.task_type.as_ref().is_none_or(|name| name == task.id.task_type())
                && (filter.states.is_empty() || filter.states.contains(&task.state))
                && filter.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
                && filter.created_from_ms.is_none_or(|from| task.create_time_ms >= from)
                && filter.created_before_ms.is_none_or(|before| task.create_time_ms < before)
        };
        let wanted: HashSet<_> = all.iter().filter(matches).map(|f| f.task.id.clone()).collect();
        let found = all_tasks(&store, &filter).await;
        let found: HashSet<_> = found.iter().map(|full| full.task.id.clone()).collect();
        assert_eq!(found, wanted, "{filter:?}");
    }
    let count = CountFilter {
        task_type: Some(type_name("other")),
        user: Some("ann".into()),
        states: vec![TaskState::Pending, TaskState::Failed],
    };
    let counts = store.counts(&count).await.unwrap();
    assert_eq!(
        counts.iter().map(|c| (c.state, c.tasks)).collect::<Vec<_>>(),
        [(TaskState::Pending, 10)]
    );
}

pub async fn a_value_is_never_sql(store: Store) {
    let nasty = "'; DROP TABLE t_work_1; -- \\";
    let mut new = new_task(nasty);
    new.user = nasty.into();
    new.labels.insert("quote".into(), nasty.into());
    insert_all(&store, [new, new_task("plain")]).await;
    let filter = Filter {
        user: Some(nasty.into()),
        labels: vec![("quote".into(), nasty.into())],
        ..Filter::default()
    };
    let found = all_tasks(&store, &filter).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].task.name, nasty);
    assert_eq!(all_tasks(&store, &Filter::default()).await.len(), 2);
    // Texts are compared exactly: by case, accents and trailing spaces.
    for user in ["ANN", "ann ", "änn"] {
        let filter = Filter { user: Some(user.into()), ..Filter::default() };
        assert!(all_tasks(&store, &filter).await.is_empty(), "{user:?}");
    }
}

pub async fn counts_are_right_while_they_are_folded(store: Store) {
    let name = type_name("work");
    for n in 0..24 {
        let mut new = new_task("one by one, into different slots");
        new.user = ["ann", "bob"][n % 2].into();
        insert_all(&store, [new]).await;
    }
    let shard = store.open_shard(&name).await.unwrap();
    store.roll_shard(&name, None).await.unwrap();
    let fence = store.try_lead("one", 60_000).await.unwrap().unwrap();
    let writers = (1..=3).map(|session_id| {
        let store = store.clone();
        tokio::spawn(async move {
            for leased in claim(&store, session_id, 6).await.leased {
                let task = leased.task.task;
                apply(&store, &task.id, complete(&task, 1)).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut gone = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        gone += store.fold_counts(&shard, &fence).await.unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    gone += store.fold_counts(&shard, &fence).await.unwrap();
    assert!(gone > 0, "some rows were spread over slots");
    assert_eq!(store.fold_counts(&shard, &fence).await.unwrap(), 0, "nothing is left to fold");
    let of_ann = CountFilter { user: Some("ann".into()), ..CountFilter::default() };
    let total: i64 = store.counts(&of_ann).await.unwrap().iter().map(|count| count.tasks).sum();
    assert_eq!(total, 12);
    let old = LeaderFence { epoch: fence.epoch - 1, ..fence };
    assert!(matches!(store.fold_counts(&shard, &old).await, Err(StoreError::NotLeader)));
}

/// More rows than one transaction folds: every user's are met.
pub async fn the_counts_of_many_users_are_folded_to_the_last(store: Store) {
    let shard = insert_all(&store, [new_task("one")]).await.remove(0).id.shard;
    let fence = store.try_lead("one", 60_000).await.unwrap().unwrap();
    let rows = (0..1_500).flat_map(|user| {
        let row = move |(slot, n)| format!("('work', 1, 'u{user:04}', 5, {slot}, {n})");
        [(0, 1), (1, 1), (2, -2)].into_iter().map(row)
    });
    let columns = "task_type, shard, user_name, state, slot, n";
    let rows = rows.collect::<Vec<_>>().join(", ");
    let db = Database::connect(store.url()).await.unwrap();
    let insert = format!("INSERT INTO task_counts ({columns}) VALUES {rows}");
    db.execute_unprepared(&insert).await.unwrap();
    db.close().await.unwrap();
    assert_eq!(store.fold_counts(&shard, &fence).await.unwrap(), 4_500);
    assert_eq!(store.fold_counts(&shard, &fence).await.unwrap(), 0);
}
