//! Twins over the wire: who gets them, what both tasks tell, what their workers hear.

use asyncflow_proto::v1::{self, AttemptOutcome, FailureReason, LeaseVerdict, TaskState};
use asyncflow_store::Straggler;
use tonic::Code;

use crate::harness::{TestBroker, acquire, complete, refusal, registration};

async fn register(t: &mut TestBroker, worker_id: &str, host: &str) -> String {
    let request = v1::RegisterWorkerRequest { host: host.into(), ..registration(worker_id, "1") };
    t.worker.register_worker(request).await.unwrap().into_inner().session_id
}

/// What the governor does.
async fn make_twin(t: &TestBroker, leased: &v1::LeasedTask, host: &str) -> String {
    let (task, lease) = (leased.task.as_ref().unwrap(), leased.lease.as_ref().unwrap());
    let (id, attempt, host) = (task.id.parse().unwrap(), lease.attempt, host.to_owned());
    let fence = t.store.try_lead("g", -1).await.unwrap().unwrap();
    let straggler = Straggler { id, run: task.run, attempt, host };
    t.store.make_twin(&straggler, &fence).await.unwrap().unwrap().id.to_string()
}

#[tokio::test]
async fn a_twin_keeps_away_from_the_host_and_its_result_counts() {
    let mut t = TestBroker::start().await;
    let created = t.create("train").await;
    let slow = register(&mut t, "w1", "slow").await;
    let leased = t.start_one(&slow, "1").await;
    let twin = make_twin(&t, &leased, "slow").await;
    let shown = t.get(&created.id).await.twin.unwrap();
    assert_eq!(shown, v1::Twin { task_id: twin.clone(), is_twin: false });
    let shown = t.get(&twin).await.twin.unwrap();
    assert_eq!(shown, v1::Twin { task_id: created.id.clone(), is_twin: true });

    let listed = t.broker.list_tasks(v1::ListTasksRequest::default()).await.unwrap().into_inner();
    let is_twin = |task: &v1::Task| task.twin.as_ref().is_some_and(|twin| twin.is_twin);
    let listed: Vec<_> = listed.tasks.iter().map(|task| (&task.id, is_twin(task))).collect();
    assert!(listed.contains(&(&twin, true)) && listed.contains(&(&created.id, false)));

    // Another worker on that host stands first in the line, and does not get it.
    let beside = register(&mut t, "w2", "slow").await;
    assert!(t.acquire(acquire(&beside, "1", 1)).await.is_empty());
    let other = register(&mut t, "w3", "fast").await;
    let given = t.start_one(&other, "1").await;
    assert_eq!(given.task.as_ref().unwrap().id, twin);
    assert_eq!(given.lease.as_ref().unwrap().attempt, 2, "the first one went back");
    t.worker.complete_task(complete(&other, &given)).await.unwrap();

    let done = t.get(&created.id).await;
    assert_eq!((done.state(), done.result.unwrap().data), (TaskState::Succeeded, "42".into()));
    let attempts = v1::ListAttemptsRequest { task_id: created.id.clone(), ..Default::default() };
    let attempts = t.broker.list_attempts(attempts).await.unwrap().into_inner().attempts;
    let failure = attempts[0].failure.clone().unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].outcome(), AttemptOutcome::Released);
    assert_eq!(failure.reason(), FailureReason::Overtaken);
    assert!(failure.message.contains(&twin), "{}", failure.message);

    let lease = leased.lease.clone().unwrap();
    let beat = v1::HeartbeatRequest {
        session_id: slow.clone(),
        leases: vec![lease],
        ..Default::default()
    };
    let heard = t.worker.heartbeat(beat).await.unwrap().into_inner();
    assert_eq!(heard.leases[0].verdict(), LeaseVerdict::Lost);
    let late = t.worker.complete_task(complete(&slow, &leased)).await.unwrap_err();
    let (code, reason, _) = refusal(&late);
    assert_eq!((code, reason.as_str()), (Code::Aborted, "LEASE_LOST"));

    let retry = v1::RetryTaskRequest { task_id: twin, ..Default::default() };
    let refused = t.broker.retry_task(retry).await.unwrap_err();
    let (code, reason, _) = refusal(&refused);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "ILLEGAL_STATE"));
    assert!(refused.message().contains("twin"), "{refused}");
    t.stop().await;
}

#[tokio::test]
async fn a_twin_goes_with_its_original_and_may_go_before() {
    let mut t = TestBroker::start().await;
    let slow = register(&mut t, "w1", "slow").await;
    for by_hand in [true, false] {
        let created = t.create("train").await;
        let leased = t.start_one(&slow, &format!("{by_hand}")).await;
        let twin = make_twin(&t, &leased, "slow").await;
        if by_hand {
            t.cancel(&twin).await.unwrap();
            assert_eq!(t.get(&created.id).await.state(), TaskState::Running);
        }
        t.worker.complete_task(complete(&slow, &leased)).await.unwrap();
        assert_eq!(t.get(&created.id).await.state(), TaskState::Succeeded);
        let wait = v1::WaitTaskRequest { task_id: twin, timeout: None };
        let gone = t.broker.wait_task(wait).await.unwrap().into_inner().task.unwrap();
        assert_eq!(gone.state(), TaskState::Cancelled);
    }
    t.stop().await;
}

#[tokio::test]
async fn a_type_says_when_its_tasks_get_twins() {
    let mut t = TestBroker::start().await;
    let speculation = Some(v1::Speculation { factor: 1.5, ..Default::default() });
    let task_type = v1::TaskType { name: "train".into(), speculation, ..Default::default() };
    let request = v1::CreateTaskTypeRequest { task_type: Some(task_type.clone()) };
    let created = t.broker.create_task_type(request).await.unwrap().into_inner();
    let told = v1::Speculation {
        factor: 1.5,
        min_sample: 10,
        max_percent: 10,
        min_running_time: Some(asyncflow_proto::time::duration(10_000)),
    };
    assert_eq!(created.task_type.unwrap().speculation, Some(told));
    let paths = vec!["speculation".into()];
    let off = v1::UpdateTaskTypeRequest {
        task_type: Some(v1::TaskType { speculation: None, ..task_type }),
        update_mask: Some(prost_types::FieldMask { paths }),
    };
    let updated = t.broker.update_task_type(off).await.unwrap().into_inner();
    assert_eq!(updated.task_type.unwrap().speculation, None);
    t.stop().await;
}
