//! What a worker's session may write, and what it is told.

use asyncflow_proto::v1::{self, LeaseVerdict, TaskState};
use tonic::Code;

use crate::harness::{TestBroker, acquire, complete, refusal, registration};

#[tokio::test]
async fn a_repeated_acquire_gives_the_same_tasks() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let session = t.register("w1", "a").await;
    for _ in 0..2 {
        let tasks = t.acquire(acquire(&session, "1", 5)).await;
        assert_eq!(tasks[0].lease.as_ref().unwrap().task_id, task.id);
        assert_eq!(tasks[0].lease.as_ref().unwrap().attempt, 1);
    }
    t.stop().await;
}

#[tokio::test]
async fn a_restarted_worker_keeps_what_it_adopts_and_gives_back_the_rest() {
    let mut t = TestBroker::start().await;
    let (kept, left) = (t.create("train").await, t.create("train").await);
    let old = t.register("w1", "a").await;
    let mut leases = Vec::new();
    for number in ["1", "2"] {
        leases.push(t.start_one(&old, number).await);
    }
    let adopted = leases[0].lease.clone().unwrap();
    assert_eq!(adopted.task_id, kept.id);
    let request =
        v1::RegisterWorkerRequest { adopted: vec![adopted.clone()], ..registration("w1", "b") };
    let registered = t.worker.register_worker(request).await.unwrap().into_inner();
    assert_eq!(registered.adopted, [adopted]);
    assert_eq!(t.get(&left.id).await.state(), TaskState::Pending);

    let late = t.worker.complete_task(complete(&old, &leases[1])).await.unwrap_err();
    assert!(["UNKNOWN_SESSION", "LEASE_LOST"].contains(&refusal(&late).1.as_str()));
    let done = t.worker.complete_task(complete(&registered.session_id, &leases[0])).await;
    assert_eq!(done.unwrap().into_inner().state(), TaskState::Succeeded);
    t.stop().await;
}

#[tokio::test]
async fn a_registration_that_a_broker_left_half_done_is_taken_up_by_its_repetition() {
    let mut t = TestBroker::start().await;
    let (_, left) = (t.create("train").await, t.create("train").await);
    let old = t.register("w1", "a").await;
    let kept = t.start_one(&old, "1").await.lease.unwrap();
    t.start_one(&old, "2").await;
    // A broker that was killed here had written the new session and nothing else.
    let begun = asyncflow_store::Registration {
        worker_id: "w1".into(),
        incarnation: "b".into(),
        task_types: vec!["*".into()],
        ..Default::default()
    };
    t.store.register_worker(&begun).await.unwrap();
    for _ in 0..2 {
        let request =
            v1::RegisterWorkerRequest { adopted: vec![kept.clone()], ..registration("w1", "b") };
        let registered = t.worker.register_worker(request).await.unwrap().into_inner();
        assert_eq!(registered.adopted, std::slice::from_ref(&kept));
        assert_eq!(t.get(&left.id).await.state(), TaskState::Pending);
        assert_eq!(t.get(&kept.task_id).await.state(), TaskState::Running);
    }
    t.stop().await;
}

#[tokio::test]
async fn a_deregistered_worker_gives_back_what_it_holds_and_is_unknown() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let session = t.register("w1", "a").await;
    let leased = t.start_one(&session, "1").await;
    let leave = v1::DeregisterWorkerRequest { session_id: session.clone() };
    t.worker.deregister_worker(leave.clone()).await.unwrap();
    let back = t.get(&task.id).await;
    assert_eq!((back.state(), back.crashes), (TaskState::Pending, 0), "leaving is no crash");

    let unknown = (Code::FailedPrecondition, "UNKNOWN_SESSION".to_owned(), vec![]);
    let heartbeat = v1::HeartbeatRequest {
        session_id: session.clone(),
        leases: vec![leased.lease.clone().unwrap()],
        draining: true,
    };
    let errors = [
        t.worker.heartbeat(heartbeat).await.unwrap_err(),
        t.worker.acquire_tasks(acquire(&session, "2", 1)).await.unwrap_err(),
        t.worker.complete_task(complete(&session, &leased)).await.unwrap_err(),
        t.worker.deregister_worker(leave).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(refusal(&error), unknown);
    }
    let workers = t.broker.list_workers(v1::ListWorkersRequest::default()).await.unwrap();
    assert_eq!(workers.into_inner().workers, []);

    let again = t.register("w1", "a").await;
    assert_ne!(again, session);
    let leased = t.start_one(&again, "1").await;
    assert_eq!(leased.lease.unwrap().attempt, 2);
    t.stop().await;
}

#[tokio::test]
async fn old_attempts_and_foreign_sessions_are_refused() {
    let mut t = TestBroker::start().await;
    t.create("train").await;
    let (one, two) = (t.register("w1", "a").await, t.register("w2", "a").await);
    let first = t.start_one(&one, "1").await;
    let foreign = t.worker.complete_task(complete(&two, &first)).await.unwrap_err();
    assert_eq!(refusal(&foreign), (Code::PermissionDenied, "NOT_YOUR_LEASE".to_owned(), vec![]));

    let release = v1::ReleaseTaskRequest {
        session_id: one.clone(),
        lease: first.lease.clone(),
        ..Default::default()
    };
    let released = t.worker.release_task(release).await.unwrap().into_inner();
    assert_eq!(released.state(), TaskState::Pending);
    let second = t.start_one(&two, "2").await;
    assert_eq!(second.lease.as_ref().unwrap().attempt, 2);
    let late = t.worker.complete_task(complete(&one, &first)).await.unwrap_err();
    assert_eq!(refusal(&late), (Code::Aborted, "LEASE_LOST".to_owned(), vec![]));

    let heartbeat = v1::HeartbeatRequest {
        session_id: one,
        leases: vec![first.lease.unwrap()],
        draining: false,
    };
    let beat = t.worker.heartbeat(heartbeat).await.unwrap().into_inner();
    assert_eq!(beat.leases[0].verdict(), LeaseVerdict::Lost);

    let unknown = v1::HeartbeatRequest { session_id: "s1".into(), ..Default::default() };
    let error = t.worker.heartbeat(unknown).await.unwrap_err();
    assert_eq!(refusal(&error).1, "UNKNOWN_SESSION");
    t.stop().await;
}

#[tokio::test]
async fn a_cancel_is_pushed_and_confirmed() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let session = t.register("w1", "a").await;
    let leased = t.start_one(&session, "1").await;
    let request = v1::StreamCommandsRequest { session_id: session.clone() };
    let mut commands = t.worker.stream_commands(request).await.unwrap().into_inner();
    assert_eq!(t.cancel(&task.id).await.unwrap().state(), TaskState::Cancelling);
    let command = commands.message().await.unwrap().unwrap().command.unwrap();
    let expected = v1::stream_commands_response::Command::Cancel(leased.lease.clone().unwrap());
    assert_eq!(command, expected);

    let heartbeat = v1::HeartbeatRequest {
        session_id: session.clone(),
        leases: vec![leased.lease.clone().unwrap()],
        draining: false,
    };
    let beat = t.worker.heartbeat(heartbeat).await.unwrap().into_inner();
    assert_eq!(beat.leases[0].verdict(), LeaseVerdict::Cancel);
    let fail = v1::FailTaskRequest {
        session_id: session,
        lease: leased.lease,
        failure: Some(v1::Failure {
            reason: v1::FailureReason::Cancelled.into(),
            message: "stopped".into(),
        }),
        ..Default::default()
    };
    let failed = t.worker.fail_task(fail).await.unwrap().into_inner();
    assert_eq!(failed.state(), TaskState::Cancelled);
    t.stop().await;
}

#[tokio::test]
async fn a_wrong_context_version_is_told_with_the_current_one() {
    let mut t = TestBroker::start().await;
    t.create("train").await;
    let session = t.register("w1", "a").await;
    let leased = t.start_one(&session, "1").await;
    let request = v1::SaveContextRequest {
        session_id: session,
        lease: leased.lease,
        stage: Some("a".into()),
        context: None,
        expected_version: Some(3),
    };
    let error = t.worker.save_context(request).await.unwrap_err();
    assert_eq!(refusal(&error), (Code::Aborted, "CONTEXT_VERSION".to_owned(), vec![]));
    let current = error.metadata().get(asyncflow_proto::CONTEXT_VERSION_METADATA).unwrap();
    assert_eq!(current, "0");
    t.stop().await;
}

#[tokio::test]
async fn a_save_upon_a_version_is_done_once_however_often_it_comes() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let session = t.register("w1", "a").await;
    let leased = t.start_one(&session, "1").await;
    let save = |version, data: &str| v1::SaveContextRequest {
        session_id: session.clone(),
        lease: leased.lease.clone(),
        stage: Some("fit".into()),
        context: Some(v1::Content { data: data.to_owned().into(), ..Default::default() }),
        expected_version: Some(version),
    };
    for (version, data) in [(0, "{}"), (0, "{}"), (1, "two"), (1, "two")] {
        let saved = t.worker.save_context(save(version, data)).await.unwrap().into_inner();
        assert_eq!(saved.context_version, version + 1);
    }
    // Another save upon the same version, and the first one, which was held up on its way.
    let stage = v1::SaveContextRequest { stage: Some("other".into()), ..save(1, "two") };
    for late in [save(1, "another"), stage, save(0, "{}")] {
        let error = t.worker.save_context(late).await.unwrap_err();
        assert_eq!(refusal(&error), (Code::Aborted, "CONTEXT_VERSION".to_owned(), vec![]));
    }
    let task = t.get(&task.id).await;
    assert_eq!((task.context_version, task.context.unwrap().data), (2, "two".into()));
    t.stop().await;
}

#[tokio::test]
async fn a_result_over_its_limit_fails_the_attempt_once() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let session = t.register("w1", "a").await;
    let leased = t.start_one(&session, "1").await;
    let mut request = complete(&session, &leased);
    request.result =
        Some(v1::Content { data: vec![0; 64 * 1_024 + 1].into(), ..Default::default() });
    let done = t.worker.complete_task(request).await.unwrap().into_inner();
    assert_eq!(done.state(), TaskState::Failed);
    let failure = t.get(&task.id).await.failure.unwrap();
    assert_eq!(failure.reason(), v1::FailureReason::ResultTooLarge);
    t.stop().await;
}

#[tokio::test]
async fn what_a_task_wrote_is_followed_to_its_end() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let session = t.register("w1", "a").await;
    let leased = t.start_one(&session, "1").await;
    let request =
        v1::StreamTaskLogsRequest { task_id: task.id, follow: true, ..Default::default() };
    let mut logs = t.broker.stream_task_logs(request).await.unwrap().into_inner();
    let push = |offset: i64, data: &'static str| v1::PushTaskLogsRequest {
        session_id: session.clone(),
        chunks: vec![v1::LogChunk {
            lease: leased.lease.clone(),
            stream: v1::LogStream::Stdout.into(),
            offset,
            data: data.into(),
            time: None,
        }],
    };
    for (offset, data) in [(0, "epoch 1\n"), (8, "epoch 2\n")] {
        t.worker.push_task_logs(push(offset, data)).await.unwrap();
        let chunk = logs.message().await.unwrap().unwrap();
        assert_eq!((chunk.offset, &chunk.data[..]), (offset, data.as_bytes()));
        let year_2020 = 1_577_836_800;
        assert!(chunk.time.unwrap().seconds > year_2020, "retention deletes by this time");
    }
    t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    assert!(logs.message().await.unwrap().is_none());
    t.stop().await;
}

#[tokio::test]
async fn a_log_that_cannot_be_kept_is_the_callers_mistake() {
    let mut t = TestBroker::start().await;
    t.create("train").await;
    let session = t.register("w1", "a").await;
    let lease = t.start_one(&session, "1").await.lease;
    let chunk = |offset: i64| v1::LogChunk {
        lease: lease.clone(),
        stream: v1::LogStream::Stdout.into(),
        offset,
        data: "x".into(),
        time: None,
    };
    let far = (vec![chunk(i64::MAX)], "chunks[0].offset");
    let many = ((0..5_000).map(chunk).collect(), "chunks");
    for (chunks, field) in [far, many] {
        let request = v1::PushTaskLogsRequest { session_id: session.clone(), chunks };
        let error = t.worker.push_task_logs(request).await.unwrap_err();
        let fields = vec![field.to_owned()];
        assert_eq!(refusal(&error), (Code::InvalidArgument, "INVALID_FIELDS".to_owned(), fields));
    }
    let most = v1::PushTaskLogsRequest {
        session_id: session.clone(),
        chunks: (0..4_096).map(chunk).collect(),
    };
    t.worker.push_task_logs(most).await.unwrap();
    t.stop().await;
}

#[tokio::test]
async fn tasks_that_are_started_by_their_acquire_need_no_start() {
    let mut t = TestBroker::start().await;
    let waiting = t.create("train").await;
    let session = t.register("w1", "a").await;
    let starting =
        |acquire_id| v1::AcquireTasksRequest { start: true, ..acquire(&session, acquire_id, 1) };
    // Claimed, and again for a repeated call; then, most likely, handed over while it is created.
    for acquire_id in ["1", "1"] {
        let claimed = t.acquire(starting(acquire_id)).await.pop().unwrap().task.unwrap();
        assert_eq!((claimed.id.as_str(), claimed.state()), (&*waiting.id, TaskState::Running));
        assert!(claimed.start_time.is_some());
    }
    let (mut worker, parked) = (t.worker.clone(), starting("2"));
    let parked = tokio::spawn(async move { worker.acquire_tasks(parked).await });
    let created = t.create("train").await;
    let leased = parked.await.unwrap().unwrap().into_inner().tasks.pop().unwrap();
    assert_eq!(leased.lease.as_ref().unwrap().task_id, created.id);
    assert!(leased.task.as_ref().unwrap().start_time.is_some());
    assert_eq!(t.get(&created.id).await.start_time, leased.task.as_ref().unwrap().start_time);

    let again = t.start_lease(&session, leased.lease.clone().unwrap()).await;
    assert_eq!(again, [LeaseVerdict::Ok], "a start that is not needed does no harm");
    let done = t.worker.complete_task(complete(&session, &leased)).await.unwrap();
    assert_eq!(done.into_inner().state(), TaskState::Succeeded);
    t.stop().await;
}

#[tokio::test]
async fn outcomes_of_many_tasks_are_answered_one_by_one() {
    use v1::task_outcome::Outcome;
    let mut t = TestBroker::start().await;
    let session = t.register("w1", "a").await;
    let mut leased = Vec::new();
    for number in ["1", "2", "3", "4"] {
        t.create("train").await;
        leased.push(t.start_one(&session, number).await);
    }
    let whole = |outcome| v1::TaskOutcome { outcome: Some(outcome) };
    let lost = v1::Lease { attempt: 7, ..leased[3].lease.clone().unwrap() };
    let outcomes = vec![
        whole(Outcome::Complete(complete("", &leased[0]))),
        whole(Outcome::Fail(v1::FailTaskRequest {
            lease: leased[1].lease.clone(),
            permanent: true,
            ..Default::default()
        })),
        whole(Outcome::Release(v1::ReleaseTaskRequest {
            lease: leased[2].lease.clone(),
            ..Default::default()
        })),
        whole(Outcome::Complete(v1::CompleteTaskRequest {
            lease: Some(lost),
            ..Default::default()
        })),
        whole(Outcome::Fail(v1::FailTaskRequest::default())),
        v1::TaskOutcome { outcome: None },
    ];
    let request = v1::SettleTasksRequest { session_id: session.clone(), outcomes };
    let wanted = [TaskState::Succeeded, TaskState::Failed, TaskState::Pending];
    // A repeated call is answered as the first one.
    for _ in 0..2 {
        let answer = t.worker.settle_tasks(request.clone()).await.unwrap().into_inner();
        let got: Vec<_> = answer.results[..3].iter().map(|one| one.state()).collect();
        assert_eq!(got, wanted);
        let refusals: Vec<_> = answer.results[3..]
            .iter()
            .map(|one| {
                assert_eq!(one.state(), TaskState::Unspecified);
                let error = one.error.clone().unwrap();
                let status = tonic::Status::with_details(
                    Code::from_i32(error.code),
                    error.message,
                    error.status.into(),
                );
                refusal(&status)
            })
            .collect();
        let lost = (Code::Aborted, "LEASE_LOST".to_owned(), vec![]);
        let bad = |field: &str| {
            (Code::InvalidArgument, "INVALID_FIELDS".to_owned(), vec![field.to_owned()])
        };
        assert_eq!(refusals, [lost, bad("outcomes[4].fail.lease"), bad("outcomes[5]")]);
    }
    let none = v1::SettleTasksRequest { session_id: session.clone(), outcomes: vec![] };
    let refused = t.worker.settle_tasks(none).await.unwrap_err();
    assert_eq!(refusal(&refused).2, ["outcomes"]);
    t.stop().await;
}
