//! Every combination of filters, page by page, against a filter in memory.

use std::collections::HashSet;

use asyncflow_core::{
    event::{Event, RetryHint, Settle},
    filter::Filter,
    id::TaskId,
    reason::FailureReason,
    state::TaskState,
    task::FullTask,
};
use asyncflow_store::{Parts, Store};

use super::fixture::{
    all_tasks, apply, claim, complete, fail, fence, insert_all, new_task, type_name,
};

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
        lists += usize::from(walk(&store, &filter, &all).await > 0);
    }
    assert!(lists > 100, "{lists} lists with tasks");
}

/// Pages through a list and compares it with `all`; says how many tasks it has.
async fn walk(store: &Store, filter: &Filter, all: &[FullTask]) -> usize {
    let wanted: HashSet<TaskId> =
        all.iter().filter(|full| matches(filter, full)).map(|f| f.task.id.clone()).collect();
    let (mut found, mut after): (Vec<FullTask>, _) = (Vec::new(), None);
    loop {
        let page = store.list(filter, after.as_ref(), 13, Parts::LABELS).await.unwrap();
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
    let by_state =
        !filter.states.is_empty() && filter.user.is_none() && filter.labels.is_empty() && !by_time;
    let place =
        |full: &FullTask| (if by_state { full.task.order_time_ms } else { 0 }, full.task.id.key);
    assert!(found.is_sorted_by(|a, b| place(a) >= place(b)), "newest first: {filter:?}");
    found.len()
}

/// More rows than a call examines: what no index finds at once comes in parts, some of them empty,
/// and nothing is lost at their borders.
pub async fn what_is_dense_is_walked_in_parts(store: Store) {
    for batch in 0..7_usize {
        let tasks = (0..500).map(|n| {
            let mut new = new_task("");
            new.user = if n == 77 { "eve" } else { "ann" }.into();
            let parity = if batch < 2 { "old" } else { ["even", "odd"][n % 2] };
            new.labels.insert("parity".into(), parity.into());
            new
        });
        insert_all(&store, tasks).await;
        if batch == 4 {
            store.roll_shard(&type_name("work"), None).await.unwrap();
        }
    }
    // 1,100 tasks that are FAILED soon, too many for a look at all of them, none of them young.
    for _ in 0..2 {
        let leased = claim(&store, 1, 550).await.leased;
        let failed = leased.into_iter().map(|leased| {
            let task = leased.task.task;
            let settle = Settle::Fail {
                reason: FailureReason::Permanent,
                message: String::new(),
                hint: RetryHint::Never,
            };
            let fence = fence(&task);
            (task.id, Event::Settle { fence, settle, digest: 1, exit_code: None, usage: None })
        });
        let answers = store.apply(failed.collect()).await;
        assert!(answers.iter().all(Result::is_ok));
    }
    let all = all_tasks(&store, &Filter::default()).await;
    assert_eq!(all.len(), 3_500);
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let team = || label("team", "vision");
    let failed = vec![TaskState::Failed];
    let (first_ms, last_ms) = (all[3_499].task.create_time_ms, all[0].task.create_time_ms);
    let filters = [
        Filter { labels: vec![team(), label("parity", "odd")], ..Filter::default() },
        Filter {
            labels: vec![label("parity", "even"), label("parity", "odd")],
            ..Filter::default()
        },
        Filter {
            labels: vec![label("parity", "old")],
            user: Some("eve".into()),
            ..Filter::default()
        },
        Filter { labels: vec![team()], user: Some("ann".into()), ..Filter::default() },
        Filter { labels: vec![team()], states: failed.clone(), ..Filter::default() },
        Filter {
            labels: vec![label("parity", "odd")],
            user: Some("ann".into()),
            states: failed.clone(),
            ..Filter::default()
        },
        Filter { states: failed.clone(), created_from_ms: Some(first_ms), ..Filter::default() },
        Filter {
            states: vec![TaskState::Failed, TaskState::Pending],
            created_from_ms: Some(first_ms + 1),
            created_before_ms: Some(last_ms),
            ..Filter::default()
        },
    ];
    for filter in &filters {
        walk(&store, filter, &all).await;
    }
    // None of the newest is FAILED: the first call finds no task and says where to go on.
    let page = store.list(&filters[4], None, 13, Parts::NONE).await.unwrap();
    assert!(page.tasks.is_empty() && page.next.is_some(), "{} tasks", page.tasks.len());
}
