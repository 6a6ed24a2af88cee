//! Every bad input gets its code, its reason and all of its fields, over a real connection.

use std::fmt::Debug;

use asyncflow_proto::v1;
use prost_types::{Duration, FieldMask, Timestamp};
use tonic::{Code, Response, Status};

use crate::harness::{TestBroker, acquire, complete, refusal, registration};

/// What a refusal has to be.
struct Expected {
    code: Code,
    reason: &'static str,
    fields: &'static [&'static str],
}

fn invalid(fields: &'static [&'static str]) -> Expected {
    Expected { code: Code::InvalidArgument, reason: "INVALID_FIELDS", fields }
}

fn refused(code: Code, reason: &'static str) -> Expected {
    Expected { code, reason, fields: &[] }
}

/// `what` names the row.
fn check<T: Debug>(what: &str, answer: Result<Response<T>, Status>, expected: &Expected) {
    let status = answer.expect_err(what);
    let (code, reason, fields) = refusal(&status);
    assert_eq!((code, reason.as_str()), (expected.code, expected.reason), "{what}: {status:?}");
    assert_eq!(fields, expected.fields, "{what}");
}

fn spec() -> v1::TaskSpec {
    v1::TaskSpec { task_type: "train".into(), ..Default::default() }
}

fn content(bytes: usize) -> Option<v1::Content> {
    Some(v1::Content { data: vec![b'x'; bytes].into(), ..Default::default() })
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

fn retry(max_retries: i32, interval: i64, max_interval: i64) -> Option<v1::OptionalRetryPolicy> {
    Some(v1::OptionalRetryPolicy {
        max_retries: Some(max_retries),
        interval: seconds(interval),
        max_interval: seconds(max_interval),
    })
}

fn command(program: &str, directory: &str) -> Option<v1::Command> {
    Some(v1::Command {
        program: program.into(),
        working_directory: directory.into(),
        ..Default::default()
    })
}

const TYPE: &[&str] = &["task.task_type"];

/// What is wrong, with which task, at which fields.
type Row = (&'static str, v1::TaskSpec, &'static [&'static str]);

fn of_names_sizes_and_retries() -> Vec<Row> {
    let named = |name: &str| v1::TaskSpec { task_type: name.into(), ..Default::default() };
    vec![
        ("empty type", named(""), TYPE),
        ("path", named("../etc"), TYPE),
        ("quote", named("a'b"), TYPE),
        ("space", named("a b"), TYPE),
        ("dash", named("a-b"), TYPE),
        ("300 characters", named(&"a".repeat(300)), TYPE),
        ("payload", v1::TaskSpec { payload: content(65_537), ..spec() }, &["task.payload.data"]),
        ("context", v1::TaskSpec { context: content(8_193), ..spec() }, &["task.context.data"]),
        ("priority", v1::TaskSpec { priority: Some(1_001), ..spec() }, &["task.priority"]),
        (
            "retries < 0",
            v1::TaskSpec { retry: retry(-1, 1, 2), ..spec() },
            &["task.retry.max_retries"],
        ),
        (
            "all of retry",
            v1::TaskSpec { retry: retry(1_001, 0, -1), ..spec() },
            &[
                "task.retry.max_retries",
                "task.retry.interval",
                "task.retry.max_interval",
                "task.retry.max_interval",
            ],
        ),
    ]
}

fn of_times_labels_and_commands() -> Vec<Row> {
    vec![
        (
            "no running time",
            v1::TaskSpec { max_running_time: seconds(0), ..spec() },
            &["task.max_running_time"],
        ),
        (
            "nanos",
            v1::TaskSpec {
                max_running_time: Some(Duration { seconds: 1, nanos: 1_000_000_000 }),
                ..spec()
            },
            &["task.max_running_time"],
        ),
        (
            "before 1970",
            v1::TaskSpec { not_before: Some(Timestamp { seconds: -1, nanos: 0 }), ..spec() },
            &["task.not_before"],
        ),
        (
            "overflow",
            v1::TaskSpec { not_before: Some(Timestamp { seconds: i64::MAX, nanos: 0 }), ..spec() },
            &["task.not_before"],
        ),
        (
            "10,000 labels",
            v1::TaskSpec {
                labels: (0..10_000).map(|n| (format!("k{n}"), String::new())).collect(),
                ..spec()
            },
            &["task.labels"],
        ),
        (
            "1 MB label",
            v1::TaskSpec { labels: [("k".into(), "v".repeat(1 << 20))].into(), ..spec() },
            &["task.labels[0].value"],
        ),
        ("NUL", v1::TaskSpec { name: "a\0b".into(), ..spec() }, &["task.name"]),
        (
            "payload and command",
            v1::TaskSpec { payload: content(1), command: command("ls", ""), ..spec() },
            &["task.payload"],
        ),
        (
            "command",
            v1::TaskSpec { command: command("", "tmp"), ..spec() },
            &["task.command.program", "task.command.working_directory"],
        ),
    ]
}

#[tokio::test]
async fn of_a_new_task() {
    let mut t = TestBroker::start().await;
    let rows = of_names_sizes_and_retries().into_iter().chain(of_times_labels_and_commands());
    for (what, task, fields) in rows {
        let request = v1::CreateTaskRequest { task: Some(task), ..Default::default() };
        check(what, t.broker.create_task(request).await, &invalid(fields));
    }
    for request_id in [" ".to_owned(), "x".repeat(129), "a\nb".to_owned()] {
        let request =
            v1::CreateTaskRequest { task: Some(spec()), request_id, ..Default::default() };
        check("request id", t.broker.create_task(request).await, &invalid(&["request_id"]));
    }
    let nothing = v1::CreateTaskRequest::default();
    check("no task", t.broker.create_task(nothing).await, &invalid(&["task", "task.task_type"]));
    let counted = t.broker.count_tasks(v1::CountTasksRequest::default()).await.unwrap();
    assert_eq!(counted.into_inner().total, 0);
    t.stop().await;
}

#[tokio::test]
async fn of_a_batch_nothing_is_written() {
    let mut t = TestBroker::start().await;
    let one = |task_type: &str| v1::CreateTaskRequest {
        task: Some(v1::TaskSpec { task_type: task_type.into(), ..Default::default() }),
        ..Default::default()
    };
    let requests = vec![one("train"), one("train"), one("train"), one("B")];
    let batch = v1::BatchCreateTasksRequest { requests };
    let bad = invalid(&["requests[3].task.task_type"]);
    check("one bad item", t.broker.batch_create_tasks(batch).await, &bad);
    let empty = v1::BatchCreateTasksRequest::default();
    check("empty", t.broker.batch_create_tasks(empty).await, &invalid(&["requests"]));
    let counted = t.broker.count_tasks(v1::CountTasksRequest::default()).await.unwrap();
    assert_eq!(counted.into_inner().total, 0);
    t.stop().await;
}

#[tokio::test]
async fn of_ids_and_types() {
    let mut t = TestBroker::with(&[("auto_create_task_types", "false")]).await;
    let request = v1::CreateTaskRequest { task: Some(spec()), ..Default::default() };
    let unknown = refused(Code::NotFound, "UNKNOWN_TASK_TYPE");
    check("unregistered type", t.broker.create_task(request).await, &unknown);

    let get = |id: &str| v1::GetTaskRequest { task_id: id.into(), view: 0 };
    for id in ["", "x", "train-1", "train-01-0000000000001", "'; DROP TABLE task_types; --"] {
        check(id, t.broker.get_task(get(id)).await, &invalid(&["task_id"]));
    }
    let id = "train-1-0c5wzq8a7r2kd";
    let missing = refused(Code::NotFound, "TASK_NOT_FOUND");
    check("unknown id", t.broker.get_task(get(id)).await, &missing);
    let cancel = v1::CancelTaskRequest { task_id: id.into(), reason: String::new() };
    check("cancel", t.broker.cancel_task(cancel).await, &missing);
    let delete = v1::DeleteTaskRequest { task_id: id.into() };
    check("delete", t.broker.delete_task(delete).await, &missing);
    let wait = v1::WaitTaskRequest { task_id: id.into(), timeout: None };
    check("wait", t.broker.wait_task(wait).await, &missing);
    let logs = v1::StreamTaskLogsRequest { task_id: id.into(), ..Default::default() };
    check("logs", t.broker.stream_task_logs(logs).await, &missing);
    let attempts = v1::ListAttemptsRequest { task_id: id.into(), ..Default::default() };
    check("attempts", t.broker.list_attempts(attempts).await, &missing);
    let name = v1::GetTaskTypeRequest { name: "train".into() };
    check("type", t.broker.get_task_type(name).await, &unknown);

    let task_type = v1::TaskType { name: "train".into(), ..Default::default() };
    let create = v1::CreateTaskTypeRequest { task_type: Some(task_type.clone()) };
    t.broker.create_task_type(create.clone()).await.unwrap();
    let exists = refused(Code::AlreadyExists, "ALREADY_EXISTS");
    check("twice", t.broker.create_task_type(create).await, &exists);
    let speculation = v1::Speculation {
        factor: f64::NAN,
        min_sample: -1,
        max_percent: 101,
        min_running_time: Some(asyncflow_proto::time::duration(-1)),
    };
    let bad = v1::TaskType {
        shard_max_rows: 1,
        max_crashes: Some(-1),
        speculation: Some(speculation),
        ..task_type
    };
    let request = v1::UpdateTaskTypeRequest {
        task_type: Some(bad),
        update_mask: Some(FieldMask {
            paths: ["shard_max_rows", "max_crashes", "name", "speculation"].map(Into::into).into(),
        }),
    };
    let fields = &[
        "update_mask",
        "task_type.max_crashes",
        "task_type.shard_max_rows",
        "task_type.speculation.factor",
        "task_type.speculation.min_sample",
        "task_type.speculation.max_percent",
        "task_type.speculation.min_running_time",
    ];
    check("type's fields", t.broker.update_task_type(request).await, &invalid(fields));
    t.stop().await;
}

#[tokio::test]
async fn of_lists() {
    let mut t = TestBroker::start().await;
    for _ in 0..3 {
        t.create("train").await;
    }
    let list = |page_size, page_token: &str, filter: &str| v1::ListTasksRequest {
        page_size,
        page_token: page_token.into(),
        filter: filter.into(),
        view: 0,
        own: false,
    };
    let first = t.broker.list_tasks(list(1, "", "")).await.unwrap().into_inner();
    let token = first.next_page_token;
    let rows = [
        ("negative size", list(-1, "", ""), &["page_size"][..]),
        ("forged token", list(1, "abcd", ""), &["page_token"]),
        ("truncated token", list(1, &token[..token.len() - 2], ""), &["page_token"]),
        ("other filter", list(1, &token, "task_type = train"), &["page_token"]),
        ("unusable field", list(1, "", "priority > 3"), &["filter"]),
        ("not a filter", list(1, "", "state = RUNNING OR"), &["filter"]),
    ];
    for (what, request, fields) in rows {
        let status = t.broker.list_tasks(request).await.expect_err(what);
        let (code, reason, given) = refusal(&status);
        assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "INVALID_FIELDS"), "{what}");
        assert_eq!(given, fields, "{what}");
    }
    let clamped = t.broker.list_tasks(list(1_000_000, "", "")).await.unwrap().into_inner();
    assert_eq!(clamped.tasks.len(), 3);
    let bound = "user = \"'; DROP TABLE t_train_1; --\"";
    assert!(t.broker.list_tasks(list(9, "", bound)).await.unwrap().into_inner().tasks.is_empty());
    assert_eq!(t.broker.list_tasks(list(9, "", "")).await.unwrap().into_inner().tasks.len(), 3);
    t.stop().await;
}

/// What only a broker or the governor can find out, and numbers that are no reasons.
fn not_for_workers() -> [i32; 7] {
    [
        v1::FailureReason::LeaseLost.into(),
        v1::FailureReason::Poison.into(),
        v1::FailureReason::DependencyFailed.into(),
        v1::FailureReason::Expired.into(),
        v1::FailureReason::WorkerRestarted.into(),
        99,
        -1,
    ]
}

#[tokio::test]
async fn of_workers() {
    let mut t = TestBroker::start().await;
    let request = v1::RegisterWorkerRequest {
        worker_id: "a b".into(),
        incarnation: String::new(),
        task_types: vec![],
        slots: 0,
        ..registration("w", "a")
    };
    let fields = &["worker_id", "incarnation", "task_types", "slots"];
    check("registration", t.worker.register_worker(request).await, &invalid(fields));

    t.create("train").await;
    let session = t.register("w1", "a").await;
    for many in [0, 100_000] {
        let request = acquire(&session, "1", many);
        check("acquire", t.worker.acquire_tasks(request).await, &invalid(&["max_tasks"]));
    }
    let unknown = refused(Code::FailedPrecondition, "UNKNOWN_SESSION");
    let request = acquire("s0000000000000001", "1", 1);
    check("forged session", t.worker.acquire_tasks(request).await, &unknown);

    let leased = t.start_one(&session, "1").await;
    for percent in [f64::NAN, -1.0, 101.0] {
        let progress = v1::Progress { percent: Some(percent), ..Default::default() };
        let report = v1::ProgressReport { lease: leased.lease.clone(), progress: Some(progress) };
        let request =
            v1::ReportProgressRequest { session_id: session.clone(), reports: vec![report] };
        let bad = invalid(&["reports[0].progress.percent"]);
        check("progress", t.worker.report_progress(request).await, &bad);
    }
    let request = v1::SaveContextRequest {
        session_id: session.clone(),
        lease: leased.lease.clone(),
        stage: Some("s".repeat(65)),
        context: content(8_193),
        expected_version: None,
    };
    let bad = invalid(&["stage", "context.data"]);
    check("context", t.worker.save_context(request).await, &bad);
    let bad = invalid(&["failure.reason"]);
    for reason in not_for_workers() {
        let failure = Some(v1::Failure { reason, message: String::new() });
        let (session_id, lease) = (session.clone(), leased.lease.clone());
        let fail = v1::FailTaskRequest {
            session_id: session_id.clone(),
            lease: lease.clone(),
            failure: failure.clone(),
            ..Default::default()
        };
        check(&format!("fail {reason}"), t.worker.fail_task(fail).await, &bad);
        let release = v1::ReleaseTaskRequest { session_id, lease, failure, ..Default::default() };
        check(&format!("release {reason}"), t.worker.release_task(release).await, &bad);
    }
    let request = v1::CompleteTaskRequest { lease: None, ..complete(&session, &leased) };
    check("no lease", t.worker.complete_task(request).await, &invalid(&["lease"]));
    t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    t.stop().await;
}

#[tokio::test]
async fn of_the_transport() {
    let mut t = TestBroker::with(&[("limits.message_bytes_max", "1048576")]).await;
    let big = v1::TaskSpec { payload: content(2 << 20), ..spec() };
    let request = v1::CreateTaskRequest { task: Some(big), ..Default::default() };
    let status = t.broker.create_task(request).await.expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    // The connection lives.
    t.create("train").await;
    t.stop().await;
}

#[tokio::test]
async fn of_a_database_that_is_away() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    t.store.close().await;
    let away = refused(Code::Unavailable, "DATABASE_UNAVAILABLE");
    let get = v1::GetTaskRequest { task_id: task.id.clone(), view: 0 };
    check("get", t.broker.get_task(get).await, &away);
    let create = v1::CreateTaskRequest { task: Some(spec()), ..Default::default() };
    let status = t.broker.create_task(create).await.expect_err("create");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(tonic_types::StatusExt::get_details_retry_info(&status).is_some());
    let cancel = t.cancel(&task.id).await.expect_err("cancel");
    assert_eq!(refusal(&cancel).1, "DATABASE_UNAVAILABLE");
    t.stop().await;
}
