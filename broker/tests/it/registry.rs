//! Task types and workers: what was registered is told, and what a worker leaves goes back.

use asyncflow_proto::v1::{self, LeaseVerdict, TaskState};
use tonic::Code;

use crate::harness::{TestBroker, refusal};

#[tokio::test]
async fn a_type_is_created_once_and_told_with_its_defaults() {
    let mut t = TestBroker::start().await;
    let task_type =
        v1::TaskType { name: "train".into(), max_context_bytes: Some(100), ..Default::default() };
    let request = v1::CreateTaskTypeRequest { task_type: Some(task_type) };
    let created = t.broker.create_task_type(request.clone()).await.unwrap().into_inner();
    let created = created.task_type.unwrap();
    assert_eq!((created.max_context_bytes, created.shard_max_rows), (Some(100), 5_000_000));

    let again = t.broker.create_task_type(request).await.unwrap_err();
    assert_eq!((again.code(), refusal(&again).1.as_str()), (Code::AlreadyExists, "ALREADY_EXISTS"));

    let request = |name: &str| v1::GetTaskTypeRequest { name: name.into() };
    let told = t.broker.get_task_type(request("train")).await.unwrap().into_inner();
    assert_eq!(told.task_type.unwrap(), created);
    let unknown = t.broker.get_task_type(request("nothing")).await.unwrap_err();
    assert_eq!(refusal(&unknown), (Code::NotFound, "UNKNOWN_TASK_TYPE".to_owned(), vec![]));
    t.stop().await;
}

#[tokio::test]
async fn a_worker_is_listed_and_gives_back_all_it_holds_when_it_leaves() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let session_id = t.register("w1", "a").await;
    t.start_one(&session_id, "1").await;
    let workers = t.broker.list_workers(v1::ListWorkersRequest::default()).await.unwrap();
    let worker = workers.into_inner().workers.pop().unwrap();
    assert_eq!((worker.worker_id.as_str(), worker.slots, worker.alive), ("w1", 4, true));
    assert!(!worker.draining);

    let request = v1::DeregisterWorkerRequest { session_id };
    t.worker.deregister_worker(request).await.unwrap();
    assert_eq!(t.get(&task.id).await.state(), TaskState::Pending);
    let workers = t.broker.list_workers(v1::ListWorkersRequest::default()).await.unwrap();
    assert!(workers.into_inner().workers.iter().all(|worker| worker.draining));
    t.stop().await;
}

#[tokio::test]
async fn progress_is_told_and_that_of_a_lost_lease_is_not() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let session_id = t.register("w1", "a").await;
    let leased = t.start_one(&session_id, "1").await;
    let lease = leased.lease.unwrap();
    let stale = v1::Lease { attempt: lease.attempt + 1, ..lease.clone() };
    let report = |lease: v1::Lease, percent: f64| v1::ProgressReport {
        lease: Some(lease),
        progress: Some(v1::Progress { percent: Some(percent), ..Default::default() }),
    };
    let reports = vec![report(lease, 40.0), report(stale, 99.0)];
    let request = v1::ReportProgressRequest { session_id, reports };
    let answer = t.worker.report_progress(request).await.unwrap().into_inner();
    let verdicts: Vec<_> = answer.leases.iter().map(v1::LeaseStatus::verdict).collect();
    assert_eq!(verdicts, [LeaseVerdict::Ok, LeaseVerdict::Lost]);
    assert_eq!(t.get(&task.id).await.progress.unwrap().percent, Some(40.0));
    t.stop().await;
}
