//! What the checks share: tasks to create, workers to claim them, and the counts' truth.

use std::{collections::BTreeMap, sync::Arc};

use asyncflow_core::{
    create::NewTask,
    event::{Event, Fence, RetryHint, Settle},
    filter::Filter,
    id::{TaskId, TypeName},
    invariant::check_task,
    reason::FailureReason,
    state::TaskState,
    task::{Content, FullTask, Task},
    task_type::TaskType,
};
use asyncflow_store::{
    Applied, ApplyError, ClaimRequest, Claimed, CountFilter, Create, Parts, Store, Taker,
};

pub const LEASE_MS: i64 = 60_000;

pub fn type_name(name: &str) -> TypeName {
    TypeName::new(name).unwrap()
}

/// A task of user `ann` and type `work`.
pub fn new_task(name: &str) -> NewTask {
    NewTask {
        name: name.into(),
        labels: [("team".to_owned(), "vision".to_owned())].into(),
        payload: content("payload"),
        context: content("context"),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        ..NewTask::new(type_name("work"), "ann")
    }
}

pub fn content(text: &str) -> Content {
    Content { data: text.to_owned().into(), content_type: "text/plain".into() }
}

pub fn create(new: NewTask) -> Create {
    let mut task_type = TaskType::with_defaults(new.task_type.clone(), 0);
    task_type.retry.interval_ms = 1;
    task_type.retry.max_interval_ms = 5;
    Create { new, task_type: Arc::new(task_type) }
}

/// Creates tasks and expects that all of them are new.
pub async fn insert_all(store: &Store, tasks: impl IntoIterator<Item = NewTask>) -> Vec<Task> {
    let answers = store.insert(tasks.into_iter().map(create).collect()).await;
    let task = |answer: Result<asyncflow_store::Inserted, _>| answer.unwrap().task;
    answers.into_iter().map(task).collect()
}

pub async fn insert_one(store: &Store) -> Task {
    insert_all(store, [new_task("one")]).await.remove(0)
}

pub fn taker(session_id: i64, acquire_id: &str, want: u32) -> Taker {
    let worker_id = format!("worker-{session_id}");
    Taker {
        worker_id,
        session_id,
        acquire_id: acquire_id.into(),
        want,
        lease_ttl_ms: None,
        takes_only_commands: false,
    }
}

pub fn claim_request(takers: Vec<Taker>) -> ClaimRequest {
    ClaimRequest {
        task_type: type_name("work"),
        limit: 1_000,
        takers,
        is_alone: true,
        bytes_max: usize::MAX,
        after: BTreeMap::new(),
        handout_ttl_ms: LEASE_MS,
    }
}

pub async fn claim(store: &Store, session_id: i64, want: u32) -> Claimed {
    store.claim(&claim_request(vec![taker(session_id, "", want)])).await.unwrap()
}

/// Creates, claims and starts a task.
pub async fn running(store: &Store, session_id: i64) -> FullTask {
    insert_one(store).await;
    let full = claim(store, session_id, 1).await.leased.remove(0).task;
    apply(store, &full.task.id, start(&full.task)).await.unwrap();
    full
}

pub fn fence(task: &Task) -> Fence {
    Fence { attempt: task.attempt, session_id: task.holder.session_id }
}

pub fn start(task: &Task) -> Event {
    Event::Start { fence: fence(task), lease_ttl_ms: LEASE_MS }
}

pub fn complete(task: &Task, digest: i64) -> Event {
    let settle = Settle::complete(Some(content("result")));
    Event::Settle { fence: fence(task), settle, digest, exit_code: Some(0), usage: None }
}

pub fn fail(task: &Task, digest: i64) -> Event {
    let message = "it broke".to_owned();
    let reason = FailureReason::Error;
    let settle = Settle::Fail { reason, message, hint: RetryHint::ByPolicy };
    Event::Settle { fence: fence(task), settle, digest, exit_code: Some(1), usage: None }
}

pub async fn apply(store: &Store, id: &TaskId, event: Event) -> Result<Applied, ApplyError> {
    store.apply(vec![(id.clone(), event)]).await.remove(0)
}

/// Claims one task and completes it.
pub async fn finish(store: &Store) -> Task {
    let task = claim(store, 1, 1).await.leased.remove(0).task.task;
    apply(store, &task.id, start(&task)).await.unwrap();
    apply(store, &task.id, complete(&task, 7)).await.unwrap().task
}

pub async fn get(store: &Store, id: &TaskId) -> FullTask {
    store.get(id, Parts::ALL).await.unwrap()
}

/// All tasks, page by page.
pub async fn all_tasks(store: &Store, filter: &Filter) -> Vec<FullTask> {
    let (mut tasks, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(filter, after.as_ref(), 100, Parts::LABELS).await.unwrap();
        tasks.extend(page.tasks);
        after = page.next;
        if after.is_none() {
            return tasks;
        }
    }
}

/// The counts that were kept up equal those of the rows, and every row is in order.
pub async fn check_counts(store: &Store) {
    let mut rows: BTreeMap<(String, String, TaskState), i64> = BTreeMap::new();
    for full in all_tasks(store, &Filter::default()).await {
        check_task(&full.task).unwrap();
        let task = full.task;
        *rows.entry((task.id.task_type().to_string(), task.user, task.state)).or_default() += 1;
    }
    let mut counts = BTreeMap::new();
    for count in store.counts(&CountFilter::default()).await.unwrap() {
        counts.insert((count.task_type.to_string(), count.user, count.state), count.tasks);
    }
    assert_eq!(counts, rows);
}
