//! Who may do what with hosts, by token, through every method.

use asyncflow_proto::v1;
use asyncflow_store::Store;
use tonic::{Code, Response, Status};

use crate::{
    harness::{TestBroker, acquire, by, registration, tokens_file},
    host::{gpu, report},
};

const ANN: &str = "ann-token-0123456789";
const BOB: &str = "bob-token-0123456789";
const HOST: &str = "host-token-0123456789";
const ROOT: &str = "root-token-0123456789";

fn code<T>(answer: Result<Response<T>, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// What somebody is answered by each method of HostService.
async fn answers(t: &mut TestBroker, token: &str, task_id: &str) -> Vec<(&'static str, Code)> {
    let (worker_id, uuid) = ("w1".to_owned(), "GPU-0".to_owned());
    let hosts = &mut t.hosts;
    let list = by(token, v1::ListHostsRequest::default());
    let cordoned = Some(true);
    let host =
        v1::UpdateHostRequest { worker_id: worker_id.clone(), cordoned, ..Default::default() };
    let of_gpu =
        v1::UpdateGpuRequest { worker_id: worker_id.clone(), uuid: uuid.clone(), cordoned };
    let process = v1::UpdateGpuProcessRequest {
        worker_id: worker_id.clone(),
        uuid: uuid.clone(),
        pid: 42,
        treatment: v1::GpuProcessTreatment::Ignored.into(),
    };
    let hand_over = v1::HandOverTaskRequest { task_id: task_id.into(), ..Default::default() };
    let explain = v1::ExplainTaskRequest { task_id: task_id.into() };
    let usage = by(token, v1::ListUsageRequest::default());
    vec![
        ("ListHosts", code(hosts.list_hosts(list).await)),
        ("UpdateHost", code(hosts.update_host(by(token, host)).await)),
        ("UpdateGpu", code(hosts.update_gpu(by(token, of_gpu)).await)),
        ("UpdateGpuProcess", code(hosts.update_gpu_process(by(token, process)).await)),
        (
            "EvictGpu",
            code(hosts.evict_gpu(by(token, v1::EvictGpuRequest { worker_id, uuid })).await),
        ),
        ("HandOverTask", code(hosts.hand_over_task(by(token, hand_over)).await)),
        ("ExplainTask", code(hosts.explain_task(by(token, explain)).await)),
        ("ListUsage", code(hosts.list_usage(usage).await)),
    ]
}

/// The names of all that is wanted of the host.
async fn orders(store: &Store) -> Vec<String> {
    let mut orders = store.list_orders(&["w1".to_owned()]).await.unwrap();
    let orders = orders.remove("w1").unwrap_or_default();
    orders.into_iter().map(|order| order.name.to_string()).collect()
}

/// A task of ann's runs on a host with a stranger, which a worker with its token has told of.
async fn with_a_host(t: &mut TestBroker) -> String {
    let task = v1::TaskSpec { task_type: "train".into(), ..Default::default() };
    let create = v1::CreateTaskRequest { task: Some(task), ..Default::default() };
    let created = t.broker.create_task(by(ANN, create)).await.unwrap().into_inner();
    let registered = t.worker.register_worker(by(HOST, registration("w1", "a"))).await.unwrap();
    let session_id = registered.into_inner().session_id;
    let request = v1::AcquireTasksRequest { start: true, ..acquire(&session_id, "1", 1) };
    let got = t.worker.acquire_tasks(by(HOST, request)).await.unwrap().into_inner();
    assert_eq!(got.tasks.len(), 1);
    let process = v1::GpuProcess { pid: 42, user: "bob".into(), ..Default::default() };
    let report = Some(report(vec![v1::Gpu { processes: vec![process], ..gpu(0) }]));
    let request = v1::ReportHostRequest { session_id, report };
    t.worker.report_host(by(HOST, request)).await.unwrap();
    created.task.unwrap().id
}

#[tokio::test]
async fn owners_look_and_give_their_own_away_and_administrators_change_hosts() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [
        ("ann", "client", ANN),
        ("bob", "client", BOB),
        ("w1", "worker", HOST),
        ("root", "admin", ROOT),
    ];
    let file = tokens_file(folder.path(), &lines);
    let mut t = TestBroker::with(&[("listen.auth.tokens_file", &file)]).await;
    let id = with_a_host(&mut t).await;

    let all = |denied: Code| vec![denied; 8];
    let codes = |answers: Vec<(&str, Code)>| -> Vec<Code> {
        answers.into_iter().map(|(_, code)| code).collect()
    };
    let nobody = answers(&mut t, "no-token-of-anybody-0", &id).await;
    assert_eq!(codes(nobody), all(Code::Unauthenticated));
    // A worker has its own service, and does not order hosts about.
    let worker = answers(&mut t, HOST, &id).await;
    assert_eq!(codes(worker), all(Code::PermissionDenied));
    let no = Code::PermissionDenied;
    let by_bob = answers(&mut t, BOB, &id).await;
    let wanted = [
        ("ListHosts", Code::Ok),
        ("UpdateHost", no),
        ("UpdateGpu", no),
        ("UpdateGpuProcess", no),
        ("EvictGpu", no),
        ("HandOverTask", no),
        ("ExplainTask", Code::Ok),
        ("ListUsage", Code::Ok),
    ];
    assert_eq!(by_bob, wanted);
    assert_eq!(orders(&t.store).await, Vec::<String>::new(), "who is refused changes nothing");

    let by_ann = answers(&mut t, ANN, &id).await;
    let of_owner = wanted.map(|(name, code)| match name {
        "HandOverTask" => (name, Code::Ok),
        _ => (name, code),
    });
    assert_eq!(by_ann, of_owner);
    assert_eq!(orders(&t.store).await, [format!("task/{id}.1")]);

    let by_root = answers(&mut t, ROOT, &id).await;
    assert_eq!(by_root, wanted.map(|(name, _)| (name, Code::Ok)));
    let mut given = orders(&t.store).await;
    given.sort();
    let task = format!("task/{id}.1");
    assert_eq!(given, ["cordon", "gpu/GPU-0", "process/GPU-0/42", &task]);
    t.stop().await;
}
