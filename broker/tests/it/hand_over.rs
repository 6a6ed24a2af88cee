//! ReleaseTask with a context, for another host.

use asyncflow_core::id::TaskId;
use asyncflow_proto::v1::{self, AttemptOutcome, FailureReason, TaskState};
use asyncflow_store::Parts;
use tonic::Code;

use crate::harness::{TestBroker, acquire, refusal};

fn content(data: impl Into<Vec<u8>>) -> Option<v1::Content> {
    Some(v1::Content { data: data.into().into(), content_type: "application/json".into() })
}

fn give_away(session: &str, leased: &v1::LeasedTask) -> v1::ReleaseTaskRequest {
    v1::ReleaseTaskRequest {
        session_id: session.into(),
        lease: leased.lease.clone(),
        failure: Some(v1::Failure {
            reason: FailureReason::HandedOver.into(),
            message: "the disk is full".into(),
        }),
        exit_code: Some(3),
        context: content("{\"offset\":100000}"),
        elsewhere: true,
        ..Default::default()
    }
}

async fn avoids(t: &TestBroker, id: &str) -> String {
    let id: TaskId = id.parse().unwrap();
    let task = t.store.get(&id, Parts::NONE).await.unwrap().task;
    task.resources.map(|needs| needs.avoid_host.clone()).unwrap_or_default()
}

#[tokio::test]
async fn another_host_goes_on_from_the_context_that_it_was_given_away_with() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let session = t.register("w1", "a").await;
    let leased = t.start_one(&session, "1").await;
    let request = give_away(&session, &leased);
    // A repeated call is answered as the first one.
    for _ in 0..2 {
        let answer = t.worker.release_task(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.state(), TaskState::Pending);
    }
    let given = t.get(&task.id).await;
    assert_eq!((given.failures, given.context_version), (0, 1));
    assert_eq!(avoids(&t, &task.id).await, "host");
    let attempts = v1::ListAttemptsRequest { task_id: task.id.clone(), ..Default::default() };
    let attempts = t.broker.list_attempts(attempts).await.unwrap().into_inner().attempts;
    assert_eq!(attempts[0].outcome(), AttemptOutcome::Released);
    let failure = attempts[0].failure.clone().unwrap();
    assert_eq!(failure.reason(), FailureReason::HandedOver);
    assert_eq!(failure.message, "the disk is full");

    let elsewhere = v1::RegisterWorkerRequest {
        host: "other".into(),
        ..crate::harness::registration("w2", "a")
    };
    let elsewhere = t.worker.register_worker(elsewhere).await.unwrap().into_inner().session_id;
    let next = t.acquire(acquire(&elsewhere, "1", 1)).await.remove(0);
    assert_eq!(next.lease.unwrap().attempt, 2);
    assert_eq!(next.task.unwrap().context, request.context);
    t.stop().await;
}

#[tokio::test]
async fn a_context_that_is_too_large_fails_the_attempt_for_good() {
    let mut t = TestBroker::start().await;
    let session = t.register("w1", "a").await;
    for many in [false, true] {
        let task = t.create("train").await;
        let leased = t.start_one(&session, &format!("{many}")).await;
        let context = content(vec![b'1'; 8_193]);
        let call = v1::ReleaseTaskRequest { context, ..give_away(&session, &leased) };
        if many {
            let outcome = Some(v1::task_outcome::Outcome::Release(call));
            let outcomes = vec![v1::TaskOutcome { outcome }];
            let call = v1::SettleTasksRequest { session_id: session.clone(), outcomes };
            t.worker.settle_tasks(call).await.unwrap();
        } else {
            t.worker.release_task(call).await.unwrap();
        }
        let failed = t.get(&task.id).await;
        assert_eq!(failed.state(), TaskState::Failed);
        assert_eq!(
            (failed.failure.unwrap().reason(), failed.context_version),
            (FailureReason::BadContext, 0)
        );
    }
    t.stop().await;
}

#[tokio::test]
async fn who_waits_gives_nothing_away() {
    let mut t = TestBroker::start().await;
    t.create("train").await;
    let session = t.register("w1", "a").await;
    let leased = t.start_one(&session, "1").await;
    let wait_for = Some(v1::WaitFor { children: true, ..Default::default() });
    let call = v1::ReleaseTaskRequest { wait_for, ..give_away(&session, &leased) };
    let refused = t.worker.release_task(call).await.unwrap_err();
    assert_eq!(
        refusal(&refused),
        (Code::InvalidArgument, "INVALID_FIELDS".to_owned(), vec!["wait_for".to_owned()])
    );
    t.stop().await;
}
