//! Compares everything that can be read with the model.

use std::{cmp::Reverse, collections::BTreeMap};

use asyncflow_core::{
    filter::Filter,
    id::{TaskId, first_key_at, key_time_ms},
    state::TaskState,
    task::{FullTask, Task},
};
use asyncflow_store::{CountFilter, Parts, Store};

use super::{
    model::{Model, Row, TYPES, type_name, worker_id},
    world::World,
};

/// Small, so that there are many pages.
const PAGE: u32 = 7;

impl World {
    /// Everything, by one of the processes.
    pub async fn look(&mut self) {
        let by = self.dice.roll(2);
        let (model, store) = (&self.model, &self.stores[by]);
        rows(model, store).await;
        counts(model, store).await;
        requests_and_workers(model, store).await;
        // Who has not heard of a shard yet may not list it.
        let store = &self.stores[0];
        for filter in filters(model) {
            list(model, store, &filter).await;
        }
        for name in TYPES.map(type_name) {
            let scheduled = model.queue(&name, TaskState::Scheduled).into_iter();
            let next = scheduled.map(|task| task.order_time_ms).min();
            assert_eq!(store.next_due_ms(&name).await.unwrap(), next, "what is due next");
        }
    }
}

async fn rows(model: &Model, store: &Store) {
    let found = store.get_many(&model.made, Parts::ALL).await.unwrap();
    for (id, found) in model.made.iter().zip(found) {
        let wanted = model.rows.get(id);
        let full = |row: &Row| FullTask { task: row.task.clone(), body: row.body.clone() };
        assert_eq!(found, wanted.map(full), "{id}");
        let attempts = store.list_attempts(id, 0, 1_000).await.unwrap();
        let none = Vec::new();
        assert_eq!(&attempts, wanted.map_or(&none, |row| &row.attempts), "the history of {id}");
    }
}

async fn counts(model: &Model, store: &Store) {
    let users = [None, Some("ann".to_owned())];
    let types = [None, Some(type_name("work"))];
    let states = [vec![], vec![TaskState::Pending, TaskState::Failed]];
    for (at, user) in users.iter().enumerate() {
        let (task_type, states) = (types[at].clone(), states[at].clone());
        let mut wanted = BTreeMap::new();
        for task in model.rows.values().map(|row| &row.task) {
            let is_counted = user.as_ref().is_none_or(|user| *user == task.user)
                && task_type.as_ref().is_none_or(|name| name == task.id.task_type())
                && (states.is_empty() || states.contains(&task.state));
            let key = (task.id.task_type().clone(), task.user.clone(), task.state);
            *wanted.entry(key).or_insert(0) += i64::from(is_counted);
        }
        wanted.retain(|_, tasks| *tasks != 0);
        let filter = CountFilter { task_type, user: user.clone(), states };
        let found = store.counts(&filter).await.unwrap().into_iter();
        let found = found.map(|one| ((one.task_type, one.user, one.state), one.tasks));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), wanted, "the counts of {filter:?}");
    }
}

async fn requests_and_workers(model: &Model, store: &Store) {
    for ((user, request_id), (_, id)) in &model.requests {
        let found = store.find_request(user, request_id).await.unwrap();
        assert_eq!(found.as_ref(), Some(id), "{user}'s {request_id}");
    }
    let found = store.list_workers(None, 100).await.unwrap().into_iter();
    let found = found.map(|row| {
        let registration = row.registration;
        (registration.worker_id, registration.incarnation, row.session_id, row.former_session_id)
    });
    let wanted = model.workers.iter().map(|(number, worker)| {
        let incarnation = format!("incarnation {}", worker.incarnation);
        (worker_id(*number), incarnation, worker.session_id, worker.former_session_id)
    });
    assert_eq!(found.collect::<Vec<_>>(), wanted.collect::<Vec<_>>(), "the workers");
}

fn filters(model: &Model) -> Vec<Filter> {
    let created = model.made.get(model.made.len() / 2).map(|id| key_time_ms(id.key));
    let all = Filter::default();
    let work = Filter { task_type: Some(type_name("work")), ..all.clone() };
    let states = vec![TaskState::Pending, TaskState::Succeeded, TaskState::Scheduled];
    let ann = Filter { user: Some("ann".into()), ..all.clone() };
    let audio = Filter { labels: vec![("team".into(), "audio".into())], ..all.clone() };
    vec![
        Filter { states: states.clone(), ..all.clone() },
        Filter { states: vec![TaskState::Running], ..work.clone() },
        Filter { states: states.clone(), ..ann.clone() },
        Filter { labels: vec![("run".into(), "2".into())], ..ann.clone() },
        Filter { states, ..audio.clone() },
        Filter { created_from_ms: created, ..all.clone() },
        Filter { created_before_ms: created, ..work.clone() },
        all,
        work,
        ann,
        audio,
    ]
}

/// By state alone in the order of the states' index, otherwise by id; the newest first.
async fn list(model: &Model, store: &Store, filter: &Filter) {
    let by_state = !filter.states.is_empty()
        && *filter
            == Filter {
                task_type: filter.task_type.clone(),
                states: filter.states.clone(),
                ..Filter::default()
            };
    let place = |task: &Task| {
        let order_ms = if by_state { task.order_time_ms } else { 0 };
        (Reverse((order_ms, task.id.key)), task.id.shard.clone())
    };
    let matching = model.rows.values().filter(|row| matches(row, filter));
    let mut wanted: Vec<&Task> = matching.map(|row| &row.task).collect();
    wanted.sort_by_key(|task| place(task));
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(filter, after.as_ref(), PAGE, Parts::LABELS).await.unwrap();
        found.extend(page.tasks);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let ids = |tasks: &[&Task]| tasks.iter().map(|task| task.id.clone()).collect::<Vec<TaskId>>();
    let found_tasks: Vec<&Task> = found.iter().map(|full| &full.task).collect();
    assert_eq!(ids(&found_tasks), ids(&wanted), "the list of {filter:?}");
    assert_eq!(found_tasks, wanted, "the list of {filter:?}");
    for full in &found {
        assert_eq!(full.body.labels, model.rows[&full.task.id].body.labels);
    }
}

fn matches(row: &Row, filter: &Filter) -> bool {
    let (task, key) = (&row.task, row.task.id.key);
    filter.task_type.as_ref().is_none_or(|name| name == task.id.task_type())
        && (filter.states.is_empty() || filter.states.contains(&task.state))
        && filter.user.as_ref().is_none_or(|user| *user == task.user)
        && filter.labels.iter().all(|(name, value)| row.body.labels.get(name) == Some(value))
        && filter.created_from_ms.is_none_or(|from_ms| key >= first_key_at(from_ms))
        && filter.created_before_ms.is_none_or(|before_ms| key < first_key_at(before_ms))
}
