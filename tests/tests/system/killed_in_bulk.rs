//! kill -9 of the broker that cancels 20,000 tasks: another one finishes it, and each task is
//! cancelled once.

use asyncflow_core::{filter::Filter, id::OperationId, state::TaskState};
use asyncflow_proto::v1::{
    BulkCancelTasksRequest, CreateTaskRequest, OperationState, TaskSelection,
};
use asyncflow_sdk::is_over;
use asyncflow_store::{Parts, Store};
use asyncflow_tests::{Backend, Cluster, Shape, command, until};

const TASKS: usize = 20_000;
const BATCH: usize = 1_000;

/// Every task has been created and cancelled, and nothing else has happened to it.
async fn each_was_cancelled_once(store: &Store) {
    let (mut after, mut seen) = (None, 0);
    for _ in 0..1_000 {
        let page =
            store.list(&Filter::default(), after.as_ref(), 1_000, Parts::NONE).await.unwrap();
        for full in &page.tasks {
            let task = &full.task;
            assert_eq!((task.state, task.revision), (TaskState::Cancelled, 2), "{task:?}");
        }
        seen += page.tasks.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, TASKS);
}

async fn another_broker_finishes(backend: Backend) {
    let shape = Shape { brokers: 2, workers: 0, governors: 0, ..Shape::default() };
    let mut cluster = Cluster::start(backend, shape).await;
    let client = cluster.client(0);
    for _ in 0..TASKS / BATCH {
        let task = Some(command(["true"]));
        let requests = vec![CreateTaskRequest { task, ..Default::default() }; BATCH];
        client.create_batch(requests).await.unwrap();
    }
    let selection =
        Some(TaskSelection { filter: "task_type = command".into(), ..Default::default() });
    let request = BulkCancelTasksRequest { selection, ..Default::default() };
    let id = client.bulk_cancel(request).await.unwrap().operation.unwrap().id;

    let store = cluster.store().await;
    let key: OperationId = id.parse().unwrap();
    let half_way = until("it is under way", || async {
        let operation = store.find_operation(key).await.unwrap()?;
        (operation.tally.changed > 0).then_some(operation)
    })
    .await;
    assert!(!half_way.state.is_over(), "it was too fast: {half_way:?}");
    let carries = (0..2).find(|n| half_way.holder.contains(&cluster.broker_address(*n))).unwrap();
    cluster.brokers[carries].kill();
    let dead = store.find_operation(key).await.unwrap().unwrap();
    assert!(!dead.state.is_over(), "it was too fast: {dead:?}");

    let other = cluster.client(1 - carries);
    let over = other.wait_operation(&id, None).await.unwrap();
    assert!(is_over(over.state()));
    assert_eq!(over.state(), OperationState::Succeeded, "{over:?}\n{}", cluster.logs());
    let all = i64::try_from(TASKS).unwrap();
    let counts = (over.matched_count, over.changed_count, over.skipped_count, over.failed_count);
    assert_eq!(counts, (all, all, 0, 0));
    let operation = store.find_operation(key).await.unwrap().unwrap();
    assert!(operation.epoch >= 2, "nobody took it over");
    assert!(operation.holder.contains(&cluster.broker_address(1 - carries)));
    each_was_cancelled_once(&store).await;
    store.close().await;
}
on_each_database!(another_broker_finishes);
