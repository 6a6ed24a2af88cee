//! Every combination of filters, page by page, against a filter in memory.

use std::collections::HashSet;

use asyncflow_core::{filter::Filter, id::TaskId, state::TaskState, task::FullTask};
use asyncflow_store::{Parts, Store};

use super::fixture::{all_tasks, apply, claim, complete, fail, insert_all, new_task, type_name};

/// Three shards of one type and one of another, two users, two labels, and tasks in most states.
async fn many(store: &Store) {
    for shard in 0..3_usize {
        let tasks = (0..60).map(|n| {
            let mut new = new_task(&n.to_string());
            new.task_type = type_name(if n % 6 == 5 { "other" } else { "work" });
            new.user = ["ann", "bob", "eve"][(n / 2 + shard) % 3].into();
            // "team" is on all of them, from the fixture; "rare" only on some of the first shard.
            new.labels.insert("n".into(), (n % 4).to_string());
            if shard == 0 && n % 9 == 0 {
                new.labels.insert("rare".into(), "yes".into());
            }
            new.not_before_ms = (n % 7 == 3).then_some(i64::MAX / 4);
            new
        });
        insert_all(store, tasks).await;
        for (at, leased) in claim(store, 1, 30).await.leased.into_iter().enumerate() {
            let task = leased.task.task;
            match at % 4 {
                0 => continue,
                1 => apply(store, &task.id, fail(&task, 1)).await.unwrap(),
                _ => apply(store, &task.id, complete(&task, 1)).await.unwrap(),
            };
        }
        if shard < 2 {
            store.roll_shard(&type_name("work"), None).await.unwrap();
        }
    }
}

fn filters(all: &[FullTask]) -> Vec<Filter> {
    use TaskState::{Cancelled, Pending, Running, Scheduled, Succeeded};
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let types = [None, Some("work")];
    let users = [None, Some("bob"), Some("nobody")];
    let states = [vec![], vec![Succeeded], vec![Running, Pending, Running], vec![Cancelled]];
    let states = [&states[..], &[vec![Scheduled, Succeeded]]].concat();
    let labels = [
        vec![],
        vec![label("team", "vision")],
        vec![label("rare", "yes"), label("team", "vision")],
        vec![label("n", "2"), label("team", "vision")],
        vec![label("n", "never")],
    ];
    let (young_ms, old_ms) = (all[40].task.create_time_ms, all[130].task.create_time_ms);
    let times = [(None, None), (Some(old_ms), None), (Some(old_ms), Some(young_ms))];
    let mut filters = Vec::new();
    for task_type in types {
        for user in users {
            for states in &states {
                for labels in &labels {
                    for (created_from_ms, created_before_ms) in times {
                        filters.push(Filter {
                            task_type: task_type.map(type_name),
                            states: states.clone(),
                            user: user.map(str::to_owned),
                            labels: labels.clone(),
                            created_from_ms,
                            created_before_ms,
                        });
                    }
                }
            }
        }
    }
    filters
}

fn matches(filter: &Filter, full: &FullTask) -> bool {
    let (task, labels) = (&full.task, &full.body.labels);
    filter.user.as_ref().is_none_or(|user| *user == task.user)
        && filter.task_type.as_ref().is_none_or(|name| name == task.id.task_type())
        && (filter.states.is_empty() || filter.states.contains(&task.state))
        && filter.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
        && filter.created_from_ms.is_none_or(|from| task.create_time_ms >= from)
        && filter.created_before_ms.is_none_or(|before| task.create_time_ms < before)
}

pub async fn every_combination_of_filters_finds_what_matches(store: Store) {
    many(&store).await;
    let all = all_tasks(&store, &Filter::default()).await;
    assert_eq!(all.len(), 180);
    let mut lists = 0;
    for filter in filters(&all) {
        let wanted: HashSet<TaskId> =
            all.iter().filter(|full| matches(&filter, full)).map(|f| f.task.id.clone()).collect();
        let (mut found, mut after): (Vec<FullTask>, _) = (Vec::new(), None);
        loop {
            let page = store.list(&filter, after.as_ref(), 13, Parts::LABELS).await.unwrap();
            assert!(page.tasks.len() <= 13);
            found.extend(page.tasks);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let ids: HashSet<TaskId> = found.iter().map(|full| full.task.id.clone()).collect();
        assert_eq!(ids.len(), found.len(), "twice in {filter:?}");
        assert_eq!(ids, wanted, "{filter:?}");
        let by_time = filter.created_from_ms.or(filter.created_before_ms).is_some();
        let by_state = !filter.states.is_empty()
            && filter.user.is_none()
            && filter.labels.is_empty()
            && !by_time;
        let place = |full: &FullTask| {
            (if by_state { full.task.order_time_ms } else { 0 }, full.task.id.key)
        };
        assert!(found.is_sorted_by(|a, b| place(a) >= place(b)), "newest first: {filter:?}");
        lists += usize::from(!wanted.is_empty());
    }
    assert!(lists > 100, "{lists} lists with tasks");
}
