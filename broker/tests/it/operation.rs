//! Operations over the wire: each verb, counted before, waited for, cancelled, refused.

use std::time::Duration;

use asyncflow_core::{
    id::OperationId,
    operation::{NewOperation, OperationKind, OperationState},
};
use asyncflow_proto::{time::duration, v1};
use asyncflow_store::{Advance, Store, StoreOptions};
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::harness::{TestBroker, by, refusal, tokens_file};

fn selection(filter: &str) -> Option<v1::TaskSelection> {
    Some(v1::TaskSelection { filter: filter.into(), ..Default::default() })
}

fn cancel(filter: &str) -> v1::BulkCancelTasksRequest {
    v1::BulkCancelTasksRequest { selection: selection(filter), ..Default::default() }
}

async fn create_many(t: &mut TestBroker, task_type: &str, count: usize) {
    let task = v1::TaskSpec { task_type: task_type.into(), ..Default::default() };
    let one = v1::CreateTaskRequest { task: Some(task), ..Default::default() };
    let requests = vec![one; count];
    t.broker.batch_create_tasks(v1::BatchCreateTasksRequest { requests }).await.unwrap();
}

/// Waits for its end; every answer is counted as the waits are.
async fn wait(t: &mut TestBroker, operation: Option<v1::Operation>) -> v1::Operation {
    let id = operation.expect("an operation was begun").id;
    let timeout = Some(duration(60_000));
    let request = v1::WaitOperationRequest { operation_id: id, timeout };
    let answer = t.operations.wait_operation(request).await.unwrap().into_inner();
    assert!(answer.done, "{answer:?}");
    answer.operation.unwrap()
}

async fn count(t: &mut TestBroker, state: v1::TaskState) -> i64 {
    let request = v1::CountTasksRequest { states: vec![state.into()], ..Default::default() };
    t.broker.count_tasks(request).await.unwrap().into_inner().total
}

fn tally(operation: &v1::Operation) -> (i64, i64, i64, i64) {
    let v1::Operation { matched_count, changed_count, skipped_count, failed_count, .. } = operation;
    (*matched_count, *changed_count, *skipped_count, *failed_count)
}

#[tokio::test]
async fn many_tasks_are_cancelled_retried_and_deleted() {
    let mut t = TestBroker::start().await;
    create_many(&mut t, "train", 600).await;
    create_many(&mut t, "eval", 5).await;
    let request =
        v1::BulkCancelTasksRequest { reason: "spring".into(), ..cancel("task_type = train") };
    let counted = v1::BulkCancelTasksRequest { validate_only: true, ..request.clone() };
    let counted = t.operations.bulk_cancel_tasks(counted).await.unwrap().into_inner();
    assert_eq!(counted.operation, None);
    let matching = counted.matching.unwrap();
    let pending = v1::StateCount { state: v1::TaskState::Pending.into(), count: 600 };
    assert_eq!((matching.total, matching.at_least), (600, false));
    assert_eq!(matching.counts, [pending]);
    assert_eq!(count(&mut t, v1::TaskState::Pending).await, 605, "nothing was done");

    let begun = t.operations.bulk_cancel_tasks(request).await.unwrap().into_inner();
    let over = wait(&mut t, begun.operation).await;
    assert_eq!((over.state(), tally(&over)), (v1::OperationState::Succeeded, (600, 600, 0, 0)));
    assert_eq!(
        (over.kind(), over.selection.unwrap().filter.as_str()),
        (v1::OperationKind::Cancel, "task_type = train",)
    );
    assert!(over.finish_time.is_some() && over.message.is_empty());
    assert_eq!(count(&mut t, v1::TaskState::Cancelled).await, 600);

    let retry = v1::BulkRetryTasksRequest {
        selection: Some(v1::TaskSelection {
            filter: "state = CANCELLED".into(),
            max_tasks: 300,
            all: false,
        }),
        from_start: true,
        ..Default::default()
    };
    let begun = t.operations.bulk_retry_tasks(retry).await.unwrap().into_inner();
    let over = wait(&mut t, begun.operation).await;
    assert_eq!(tally(&over), (300, 300, 0, 0));
    // A worker that waits is given them.
    let session = t.register("w", "i").await;
    let leased = t.start_one(&session, "1").await;

    let purge = v1::BulkPurgeTasksRequest {
        selection: Some(v1::TaskSelection { all: true, ..Default::default() }),
        ..Default::default()
    };
    let begun = t.operations.bulk_purge_tasks(purge).await.unwrap().into_inner();
    assert_eq!(tally(&wait(&mut t, begun.operation).await), (300, 300, 0, 0));
    assert_eq!(count(&mut t, v1::TaskState::Cancelled).await, 0);

    let delete = v1::BulkDeleteTasksRequest {
        selection: selection("create_time >= \"2024-01-01T00:00:00Z\""),
        ..Default::default()
    };
    let begun = t.operations.bulk_delete_tasks(delete).await.unwrap().into_inner();
    let over = wait(&mut t, begun.operation).await;
    assert_eq!((over.state(), tally(&over)), (v1::OperationState::Succeeded, (305, 304, 1, 0)));
    assert_eq!(over.issues[0].task_id, leased.task.unwrap().id);
    assert!(over.issues[0].message.contains("RUNNING"), "{over:?}");
    assert_eq!(count(&mut t, v1::TaskState::Running).await, 1);
    assert_eq!(count(&mut t, v1::TaskState::Pending).await, 0);
    t.stop().await;
}

#[tokio::test]
async fn operations_are_listed_got_and_cancelled() {
    let mut t = TestBroker::start().await;
    create_many(&mut t, "train", 2).await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let request =
            v1::BulkCancelTasksRequest { request_id: n.to_string(), ..cancel("user = x") };
        let begun = t.operations.bulk_cancel_tasks(request.clone()).await.unwrap().into_inner();
        let again = t.operations.bulk_cancel_tasks(request).await.unwrap().into_inner();
        let (id, again_id) = (begun.operation.unwrap().id, again.operation.unwrap().id);
        assert!(again.deduplicated && !begun.deduplicated && id == again_id);
        ids.push(id);
    }
    let reused = v1::BulkCancelTasksRequest { request_id: "0".into(), ..cancel("user = y") };
    let reused = t.operations.bulk_cancel_tasks(reused).await.unwrap_err();
    assert_eq!(refusal(&reused), (Code::AlreadyExists, "REQUEST_ID_REUSED".into(), vec![]));
    ids.reverse();
    let list = v1::ListOperationsRequest { page_size: 2, ..Default::default() };
    let page = t.operations.list_operations(list.clone()).await.unwrap().into_inner();
    let rest = v1::ListOperationsRequest { page_token: page.next_page_token, ..list };
    let rest = t.operations.list_operations(rest).await.unwrap().into_inner();
    let listed: Vec<_> =
        page.operations.into_iter().chain(rest.operations).map(|operation| operation.id).collect();
    assert_eq!((listed, rest.next_page_token.as_str()), (ids.clone(), ""));
    let of_bob = v1::ListOperationsRequest { user: "bob".into(), ..Default::default() };
    assert!(t.operations.list_operations(of_bob).await.unwrap().into_inner().operations.is_empty());

    let get = v1::GetOperationRequest { operation_id: ids[0].clone() };
    let got = t.operations.get_operation(get).await.unwrap().into_inner().operation.unwrap();
    let over = wait(&mut t, Some(got)).await;
    // One that is over is left as it is.
    let request = v1::CancelOperationRequest { operation_id: ids[0].clone() };
    let cancelled = t.operations.cancel_operation(request).await.unwrap().into_inner();
    assert_eq!(cancelled.operation.unwrap(), over);
    assert_eq!(over.state(), v1::OperationState::Succeeded);
    t.stop().await;
}

/// An operation that somebody else carries out, and says nothing.
async fn held_by(other: &Store, user: &str) -> OperationId {
    let new = NewOperation {
        kind: OperationKind::Cancel,
        user: user.into(),
        filter: "user = ann".into(),
        only_user: None,
        changes_max: None,
        message: String::new(),
        from_start: false,
        request_id: None,
    };
    // No wake-up goes from one process to another here, so that the broker does not see it at once;
    // should its slow look be faster, the operation is over, and it is made anew.
    for _ in 0..100 {
        let made = other.create_operation(&new, 16).await.unwrap().operation.id;
        if other.take_operations("other", 3_600_000, 1).await.unwrap().len() == 1 {
            return made;
        }
    }
    panic!("the broker was faster each time");
}

#[tokio::test]
async fn a_user_has_a_few_unfinished_operations() {
    let mut t = TestBroker::with(&[("limits.operations_per_user_max", "1")]).await;
    let begun = t.operations.bulk_cancel_tasks(cancel("user = x")).await.unwrap().into_inner();
    let user = wait(&mut t, begun.operation).await.user;
    let other = Store::connect(&StoreOptions::new(t.store.url())).await.unwrap();
    let held = held_by(&other, &user).await;
    let refused = t.operations.bulk_cancel_tasks(cancel("user = x")).await.unwrap_err();
    let (code, reason, _) = refusal(&refused);
    assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "TOO_MANY_OPERATIONS"));
    other.cancel_operation(held).await.unwrap();
    t.operations.bulk_cancel_tasks(cancel("user = x")).await.unwrap();
    other.close().await;
    t.stop().await;
}

#[tokio::test]
async fn a_wait_ends_with_its_time() {
    let mut t = TestBroker::start().await;
    let other = Store::connect(&StoreOptions::new(t.store.url())).await.unwrap();
    let id = held_by(&other, "ann").await;
    let request =
        v1::WaitOperationRequest { operation_id: id.to_string(), timeout: Some(duration(10)) };
    let answer = t.operations.wait_operation(request.clone()).await.unwrap().into_inner();
    assert!(!answer.done);
    assert_eq!(answer.operation.unwrap().state(), v1::OperationState::Running);
    let cancel = v1::CancelOperationRequest { operation_id: id.to_string() };
    let long = duration(60_000);
    let long = v1::WaitOperationRequest { timeout: Some(long), ..request };
    let mut waiter = t.operations.clone();
    let (waited, cancelled) =
        tokio::join!(waiter.wait_operation(long), t.operations.cancel_operation(cancel));
    let waited = waited.unwrap().into_inner();
    assert!(waited.done);
    assert_eq!(waited.operation, cancelled.unwrap().into_inner().operation);
    assert_eq!(waited.operation.unwrap().state(), v1::OperationState::Cancelled);
    other.close().await;
    t.stop().await;
}

/// A broker that is told to end gives back what it carries out, so that nobody waits for its lease.
#[tokio::test]
async fn what_is_not_done_is_given_back() {
    let mut t = TestBroker::start().await;
    for _ in 0..4 {
        create_many(&mut t, "train", 1_000).await;
    }
    let other = Store::connect(&StoreOptions::new(t.store.url())).await.unwrap();
    let begun = t.operations.bulk_cancel_tasks(cancel("task_type = train")).await.unwrap();
    let id = begun.into_inner().operation.unwrap().id.parse().unwrap();
    let is_under_way = async {
        while other.find_operation(id).await.unwrap().unwrap().tally.changed == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), is_under_way).await.expect("it is carried out");
    t.drain();
    let taken = async {
        loop {
            let mut taken = other.take_operations("other", 60_000, 1).await.unwrap();
            if let Some(lease) = taken.pop() {
                break lease;
            }
            let operation = other.find_operation(id).await.unwrap().unwrap();
            assert!(!operation.state.is_over(), "it was too fast: {operation:?}");
            tokio::task::yield_now().await;
        }
    };
    // Its lease is ten seconds.
    let lease = timeout(Duration::from_secs(8), taken).await.expect("it is given back");
    for _ in 0..100 {
        let advance = other.advance_operation(&lease, 250, 60_000).await.unwrap();
        if matches!(advance, Advance::Over { .. }) {
            break;
        }
    }
    let over = other.find_operation(id).await.unwrap().unwrap();
    assert_eq!(over.state, OperationState::Succeeded);
    assert_eq!((over.tally.changed, over.tally.skipped), (4_000, 0));
    other.close().await;
    t.stop().await;
}

#[tokio::test]
async fn bad_inputs_are_told_all_at_once() {
    let mut t = TestBroker::start().await;
    let invalid = |status: Status, fields: &[&str]| {
        let (code, reason, given) = refusal(&status);
        assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "INVALID_FIELDS"), "{status}");
        assert_eq!(given, fields);
    };
    let all_wrong = v1::BulkCancelTasksRequest {
        selection: Some(v1::TaskSelection { max_tasks: -1, ..Default::default() }),
        request_id: "x".repeat(129),
        reason: "r".repeat(1_025),
        validate_only: true,
    };
    let fields = ["selection.filter", "selection.max_tasks", "request_id", "reason"];
    invalid(t.operations.bulk_cancel_tasks(all_wrong).await.unwrap_err(), &fields);
    let filter = ["selection.filter"];
    for bad in ["", "priority > 3", "state = FAILED", "state = RUNNING OR", &"(".repeat(5_000)] {
        invalid(t.operations.bulk_cancel_tasks(cancel(bad)).await.unwrap_err(), &filter);
    }
    let nothing = v1::BulkDeleteTasksRequest::default();
    invalid(t.operations.bulk_delete_tasks(nothing).await.unwrap_err(), &filter);
    let both = v1::TaskSelection { filter: "user = a".into(), all: true, max_tasks: 0 };
    let both = v1::BulkDeleteTasksRequest { selection: Some(both), ..Default::default() };
    invalid(t.operations.bulk_delete_tasks(both).await.unwrap_err(), &filter);
    let live = selection("state = PENDING");
    let purge = v1::BulkPurgeTasksRequest { selection: live.clone(), ..Default::default() };
    invalid(t.operations.bulk_purge_tasks(purge).await.unwrap_err(), &filter);
    let retry = v1::BulkRetryTasksRequest { selection: live, ..Default::default() };
    invalid(t.operations.bulk_retry_tasks(retry).await.unwrap_err(), &filter);

    for id in ["", "op-1", "wf-0000000000001", "op-0000000000001'; DROP TABLE operations; --"] {
        let get = v1::GetOperationRequest { operation_id: id.into() };
        invalid(t.operations.get_operation(get).await.unwrap_err(), &["operation_id"]);
    }
    let id = "op-0000000000001".to_owned();
    let missing = (Code::NotFound, "OPERATION_NOT_FOUND".to_owned(), vec![]);
    let get = v1::GetOperationRequest { operation_id: id.clone() };
    assert_eq!(refusal(&t.operations.get_operation(get).await.unwrap_err()), missing);
    let cancel = v1::CancelOperationRequest { operation_id: id.clone() };
    assert_eq!(refusal(&t.operations.cancel_operation(cancel).await.unwrap_err()), missing);
    let wait = v1::WaitOperationRequest { operation_id: id.clone(), timeout: None };
    assert_eq!(refusal(&t.operations.wait_operation(wait).await.unwrap_err()), missing);
    let long = Some(duration(60_001));
    let wait = v1::WaitOperationRequest { operation_id: id, timeout: long };
    invalid(t.operations.wait_operation(wait).await.unwrap_err(), &["timeout"]);
    let list =
        v1::ListOperationsRequest { user: "u".repeat(65), page_size: -1, page_token: "abc".into() };
    let fields = ["user", "page_size", "page_token"];
    invalid(t.operations.list_operations(list).await.unwrap_err(), &fields);
    t.stop().await;
}

#[tokio::test]
async fn clients_change_tasks_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let (ann, bob, root) =
        ("ann-token-0123456789", "bob-token-0123456789", "root-token-0123456789");
    let lines = [("ann", "client", ann), ("bob", "client", bob), ("root", "admin", root)];
    let file = tokens_file(dir.path(), &lines);
    let mut t = TestBroker::with(&[("listen.auth.tokens_file", &file)]).await;
    for token in [ann, ann, bob] {
        let task = v1::TaskSpec { task_type: "train".into(), ..Default::default() };
        let request = v1::CreateTaskRequest { task: Some(task), ..Default::default() };
        t.broker.create_task(by(token, request)).await.unwrap();
    }
    let request = cancel("task_type = train");
    let counted = v1::BulkCancelTasksRequest { validate_only: true, ..request.clone() };
    let counted = t.operations.bulk_cancel_tasks(by(ann, counted.clone())).await.unwrap();
    assert_eq!(counted.into_inner().matching.unwrap().total, 2);
    let denied = t.operations.bulk_cancel_tasks(by(bob, cancel("user = ann"))).await.unwrap_err();
    assert_eq!(refusal(&denied).0, Code::PermissionDenied);

    let begun = t.operations.bulk_cancel_tasks(by(ann, request.clone())).await.unwrap();
    let operation = begun.into_inner().operation.unwrap();
    assert_eq!((operation.user.as_str(), operation.only_user.as_str()), ("ann", "ann"));
    let stop = v1::CancelOperationRequest { operation_id: operation.id.clone() };
    let denied = t.operations.cancel_operation(by(bob, stop)).await.unwrap_err();
    assert_eq!(refusal(&denied).0, Code::PermissionDenied);
    let wait = |id: &str| v1::WaitOperationRequest { operation_id: id.into(), timeout: None };
    let over = t.operations.wait_operation(by(bob, wait(&operation.id))).await.unwrap();
    assert_eq!(tally(&over.into_inner().operation.unwrap()), (2, 2, 0, 0));

    let begun = t.operations.bulk_cancel_tasks(by(root, request)).await.unwrap();
    let operation = begun.into_inner().operation.unwrap();
    assert_eq!(operation.only_user, "");
    let over = t.operations.wait_operation(by(root, wait(&operation.id))).await.unwrap();
    assert_eq!(tally(&over.into_inner().operation.unwrap()), (1, 1, 0, 0));
    t.stop().await;
}
