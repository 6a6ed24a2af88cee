//! Hosts: what is reported is listed, what is wanted is heard, what is used is added up.

use std::time::Duration;

use asyncflow_proto::v1::{self, FailureReason, GpuProcessTreatment, GpuState};
use tonic::Code;

use crate::harness::{TestBroker, acquire, complete, refusal, registration};

pub fn gpu(index: i32) -> v1::Gpu {
    v1::Gpu {
        uuid: format!("GPU-{index}"),
        index,
        model: "NVIDIA A100".into(),
        memory_bytes: 40 << 30,
        state: GpuState::Ready.into(),
        ..v1::Gpu::default()
    }
}

pub fn report(gpus: Vec<v1::Gpu>) -> v1::HostReport {
    v1::HostReport {
        cpus: 16.0,
        cpus_free: 16.0,
        memory_bytes: 64 << 30,
        memory_free_bytes: 64 << 30,
        gpus,
        gpu_provider: "fake".into(),
        ..v1::HostReport::default()
    }
}

impl TestBroker {
    pub async fn report(&mut self, session_id: &str, report: v1::HostReport) -> v1::HostOrders {
        let request = v1::ReportHostRequest { session_id: session_id.into(), report: Some(report) };
        let answer = self.worker.report_host(request).await.unwrap().into_inner();
        assert_eq!(answer.report_interval.unwrap().seconds, 5);
        answer.orders.unwrap()
    }

    async fn list_all(&mut self) -> Vec<v1::Host> {
        self.hosts.list_hosts(v1::ListHostsRequest::default()).await.unwrap().into_inner().hosts
    }

    async fn cordon(&mut self, cordoned: bool) -> v1::Host {
        let request = v1::UpdateHostRequest {
            worker_id: "w1".into(),
            cordoned: Some(cordoned),
            ..Default::default()
        };
        self.hosts.update_host(request).await.unwrap().into_inner().host.unwrap()
    }
}

/// The report of a host on which this task runs on GPU 0.
fn running_on(leased: &v1::LeasedTask) -> v1::HostReport {
    let lease = leased.lease.clone().unwrap();
    let mut report = report(vec![gpu(0), gpu(1)]);
    report.gpus[0].task_ids = vec![lease.task_id.clone()];
    report.running = vec![v1::RunningTask {
        task_id: lease.task_id,
        attempt: lease.attempt,
        gpus: vec!["GPU-0".into()],
        user: "an impostor".into(),
        ..v1::RunningTask::default()
    }];
    report
}

#[tokio::test]
async fn hosts_are_listed_as_they_were_reported_last() {
    let mut t = TestBroker::start().await;
    let spec = v1::TaskSpec { task_type: "train".into(), name: "fit".into(), ..Default::default() };
    let task = t.create_spec(spec).await;
    for worker_id in ["w2", "w1", "w3"] {
        t.register(worker_id, "a").await;
    }
    let session_id = t.register("w1", "b").await;
    let leased = t.start_one(&session_id, "1").await;
    t.report(&session_id, report(vec![gpu(0)])).await;
    t.report(&session_id, running_on(&leased)).await;

    let hosts = t.list_all().await;
    let id = |host: &v1::Host| host.worker.as_ref().unwrap().worker_id.clone();
    assert_eq!(hosts.iter().map(id).collect::<Vec<_>>(), ["w1", "w2", "w3"]);
    assert_eq!((&hosts[1].report, &hosts[1].report_time), (&None, &None));
    let told = hosts[0].report.clone().unwrap();
    assert_eq!((told.gpus.len(), told.gpu_provider.as_str()), (2, "fake"));
    assert!(hosts[0].report_time.is_some() && hosts[0].worker.as_ref().unwrap().alive);
    let one = &told.running[0];
    assert_eq!((&one.task_id, &one.user, one.name.as_str()), (&task.id, &task.user, "fit"));

    let page = |page_token: String| v1::ListHostsRequest { page_size: 2, page_token };
    let first = t.hosts.list_hosts(page(String::new())).await.unwrap().into_inner();
    let second = t.hosts.list_hosts(page(first.next_page_token)).await.unwrap().into_inner();
    assert_eq!((first.hosts.len(), second.hosts.len()), (2, 1));
    assert_eq!(second.next_page_token, "");
    t.stop().await;
}

#[tokio::test]
async fn a_report_that_cannot_be_is_refused_with_all_that_is_wrong() {
    let mut t = TestBroker::start().await;
    let session_id = t.register("w1", "a").await;
    let mut wrong = report(vec![gpu(0), gpu(0), v1::Gpu::default()]);
    wrong.load = f64::NAN;
    wrong.gpus[0].task_ids = vec!["nonsense".into()];
    wrong.running = vec![v1::RunningTask { cpus: -1.0, ..v1::RunningTask::default() }];
    let cases = [
        (None, vec!["report"]),
        (Some(report((0..65).map(gpu).collect())), vec!["report.gpus"]),
        (Some(v1::HostReport { load: -1.0, ..report(vec![]) }), vec!["report.load"]),
        (
            Some(v1::HostReport { load: 0.0, ..wrong }),
            vec![
                "report.gpus[0].task_ids[0]",
                "report.gpus[1].uuid",
                "report.gpus[2].uuid",
                "report.running[0].task_id",
                "report.running[0].cpus",
            ],
        ),
    ];
    for (report, fields) in cases {
        let request = v1::ReportHostRequest { session_id: session_id.clone(), report };
        let (code, reason, found) = refusal(&t.worker.report_host(request).await.unwrap_err());
        assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "INVALID_FIELDS"));
        assert_eq!(found, fields);
    }
    // What is for people is cut.
    let mut long = report(vec![v1::Gpu { reason: "é".repeat(5_000), ..gpu(0) }]);
    long.alarms = vec!["!".repeat(5_000); 20];
    let process = v1::GpuProcess { command: "x".repeat(5_000), ..Default::default() };
    long.gpus[0].processes = vec![process; 300];
    t.report(&session_id, long).await;
    let told = t.list_all().await[0].report.clone().unwrap();
    assert_eq!((told.alarms.len(), told.alarms[0].len()), (16, 1_024));
    assert_eq!((told.gpus[0].processes.len(), told.gpus[0].reason.len()), (256, 1_024));
    assert_eq!(told.gpus[0].processes[0].command.len(), 255);
    // Of a process that is not there any more nothing is taken.
    t.register("w1", "b").await;
    let request = v1::ReportHostRequest { session_id, report: Some(report(vec![])) };
    let old = refusal(&t.worker.report_host(request).await.unwrap_err());
    assert_eq!((old.0, old.1.as_str()), (Code::FailedPrecondition, "UNKNOWN_SESSION"));
    t.stop().await;
}

#[tokio::test]
async fn a_cordoned_host_gets_no_tasks_until_it_is_open_again() {
    let mut t = TestBroker::start().await;
    let session_id = t.register("w1", "a").await;
    let wait = Some(asyncflow_proto::time::duration(300));
    let short = |id: &str| v1::AcquireTasksRequest { wait, ..acquire(&session_id, id, 1) };
    // A call that waits already, and listens, ends at once.
    let offer = Some(v1::HostOffer::default());
    let long = v1::AcquireTasksRequest { offer, ..acquire(&session_id, "long", 1) };
    let mut worker = t.worker.clone();
    let waiting = tokio::spawn(async move { worker.acquire_tasks(long).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(t.cordon(true).await.orders.unwrap().cordoned);
    let answer = tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap();
    assert_eq!(answer.unwrap().unwrap().into_inner().tasks, []);

    let task = t.create("train").await;
    assert_eq!(t.acquire(short("1")).await, []);
    assert!(t.report(&session_id, report(vec![])).await.cordoned);
    assert!(!t.cordon(false).await.orders.unwrap().cordoned);
    let tasks = t.acquire(acquire(&session_id, "2", 1)).await;
    assert_eq!(tasks[0].task.as_ref().unwrap().id, task.id);
    t.stop().await;
}

#[tokio::test]
async fn a_host_that_another_broker_has_opened_again_gets_tasks_at_once() {
    let mut t = TestBroker::start().await;
    let mut other = t.beside(&[]).await;
    let session_id = t.register("w1", "a").await;
    other.cordon(true).await;
    // So this broker knows the session as that of a closed host.
    assert!(t.report(&session_id, report(vec![])).await.cordoned);
    other.cordon(false).await;
    t.create("train").await;
    let asked = t.acquire(acquire(&session_id, "1", 1));
    let tasks = tokio::time::timeout(Duration::from_secs(3), asked).await;
    assert_eq!(tasks.expect("it does not wait").len(), 1);
    other.stop().await;
    t.stop().await;
}

#[tokio::test]
async fn what_is_wanted_of_a_host_is_heard_at_once() {
    let mut t = TestBroker::start().await;
    let session_id = t.register("w1", "a").await;
    let request = v1::StreamCommandsRequest { session_id: session_id.clone() };
    let mut commands = t.worker.stream_commands(request).await.unwrap().into_inner();
    let update = |draining, detach| v1::UpdateHostRequest {
        worker_id: "w1".into(),
        draining,
        detach,
        ..Default::default()
    };
    t.hosts.update_host(update(Some(true), true)).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(5), commands.message()).await.unwrap();
    let changed = v1::stream_commands_response::Command::OrdersChanged(v1::HostOrdersChanged {});
    assert_eq!(heard.unwrap().unwrap().command, Some(changed));
    let orders = t.report(&session_id, report(vec![])).await;
    assert!(orders.draining && orders.detach && !orders.cordoned);
    // The next process is not told to end, but to go on draining.
    let session_id = t.register("w1", "b").await;
    let orders = t.report(&session_id, report(vec![])).await;
    assert!(orders.draining && !orders.detach);
    t.hosts.update_host(update(Some(false), false)).await.unwrap();
    let orders = t.report(&session_id, report(vec![])).await;
    assert_eq!(orders, v1::HostOrders::default());

    let nothing = refusal(&t.hosts.update_host(update(None, false)).await.unwrap_err());
    assert_eq!((nothing.0, nothing.1.as_str()), (Code::InvalidArgument, "INVALID_FIELDS"));
    let elsewhere = v1::UpdateHostRequest { worker_id: "w9".into(), ..update(None, true) };
    let unknown = refusal(&t.hosts.update_host(elsewhere).await.unwrap_err());
    assert_eq!((unknown.0, unknown.1.as_str()), (Code::NotFound, "HOST_NOT_FOUND"));
    t.stop().await;
}

#[tokio::test]
async fn gpus_and_strangers_on_them_are_ordered_about() {
    let mut t = TestBroker::start().await;
    let session_id = t.register("w1", "a").await;
    let process = v1::GpuProcess { pid: 42, user: "bob".into(), ..Default::default() };
    let with = || report(vec![v1::Gpu { processes: vec![process.clone()], ..gpu(0) }]);
    t.report(&session_id, with()).await;
    let update = |uuid: &str, cordoned| v1::UpdateGpuRequest {
        worker_id: "w1".into(),
        uuid: uuid.into(),
        cordoned,
    };
    t.hosts.update_gpu(update("GPU-0", Some(true))).await.unwrap();
    let wanted = v1::GpuOrder { uuid: "GPU-0".into(), cordoned: true, forgive_time: None };
    assert_eq!(t.report(&session_id, with()).await.gpus, [wanted]);
    t.hosts.update_gpu(update("GPU-0", Some(false))).await.unwrap();
    let order = t.report(&session_id, with()).await.gpus.pop().unwrap();
    assert!(!order.cordoned && order.forgive_time.is_some());
    let fields = refusal(&t.hosts.update_gpu(update("GPU-0", None)).await.unwrap_err()).2;
    assert_eq!(fields, ["cordoned"]);
    let unknown = refusal(&t.hosts.update_gpu(update("GPU-9", Some(true))).await.unwrap_err());
    assert_eq!((unknown.0, unknown.1.as_str()), (Code::NotFound, "GPU_NOT_FOUND"));

    let treat = |pid, treatment: i32| v1::UpdateGpuProcessRequest {
        worker_id: "w1".into(),
        uuid: "GPU-0".into(),
        pid,
        treatment,
    };
    let ignored = GpuProcessTreatment::Ignored;
    t.hosts.update_gpu_process(treat(42, ignored.into())).await.unwrap();
    let order = t.report(&session_id, with()).await.processes.pop().unwrap();
    assert_eq!((order.pid, order.treatment()), (42, ignored));
    assert!(order.time.is_some());
    // Nobody knows of the process while the driver does not answer.
    assert_eq!(t.report(&session_id, report(vec![])).await.processes.len(), 1);
    t.report(&session_id, with()).await;
    // It ends with the process.
    assert_eq!(t.report(&session_id, report(vec![gpu(0)])).await.processes, []);
    assert_eq!(t.report(&session_id, with()).await.processes, []);
    t.hosts.update_gpu_process(treat(42, ignored.into())).await.unwrap();
    t.hosts.update_gpu_process(treat(42, 0)).await.unwrap();
    assert_eq!(t.report(&session_id, with()).await.processes, []);
    let gone = refusal(&t.hosts.update_gpu_process(treat(43, 1)).await.unwrap_err());
    assert_eq!((gone.0, gone.1.as_str()), (Code::NotFound, "GPU_NOT_FOUND"));
    let fields = refusal(&t.hosts.update_gpu_process(treat(42, 77)).await.unwrap_err()).2;
    assert_eq!(fields, ["treatment"]);
    t.stop().await;
}

#[tokio::test]
async fn an_evicted_gpu_is_cordoned_and_its_tasks_are_asked_to_go() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let session_id = t.register("w1", "a").await;
    let leased = t.start_one(&session_id, "1").await;
    t.report(&session_id, running_on(&leased)).await;
    let evict = |uuid: &str| v1::EvictGpuRequest { worker_id: "w1".into(), uuid: uuid.into() };
    let none = t.hosts.evict_gpu(evict("GPU-1")).await.unwrap().into_inner();
    assert_eq!(none.task_ids, Vec::<String>::new());
    let evicted = t.hosts.evict_gpu(evict("GPU-0")).await.unwrap().into_inner();
    assert_eq!(evicted.task_ids, std::slice::from_ref(&task.id));
    let orders = t.report(&session_id, running_on(&leased)).await;
    assert_eq!(orders, evicted.host.unwrap().orders.unwrap());
    assert!(orders.gpus.iter().all(|order| order.cordoned) && orders.gpus.len() == 2);
    let order = &orders.tasks[0];
    assert_eq!((&order.task_id, order.attempt), (&task.id, 1));
    assert_eq!((order.reason(), order.elsewhere), (FailureReason::HandedOver, false));
    assert_eq!(order.message, "evicted from GPU 0 of host by anonymous");
    // When the attempt has ended nothing is wanted of it any more.
    t.worker.complete_task(complete(&session_id, &leased)).await.unwrap();
    assert_eq!(t.report(&session_id, report(vec![gpu(0), gpu(1)])).await.tasks, []);
    t.stop().await;
}

#[tokio::test]
async fn a_running_task_is_asked_to_go_to_another_host() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let ask = |context: Option<&'static str>| v1::HandOverTaskRequest {
        task_id: task.id.clone(),
        context: context.map(|data| v1::Content { data: data.into(), ..Default::default() }),
        message: "the host goes down".into(),
    };
    let waiting = refusal(&t.hosts.hand_over_task(ask(None)).await.unwrap_err());
    assert_eq!((waiting.0, waiting.1.as_str()), (Code::FailedPrecondition, "ILLEGAL_STATE"));
    let session_id = t.register("w1", "a").await;
    let leased = t.start_one(&session_id, "1").await;
    let deaf = t.hosts.hand_over_task(ask(None)).await.unwrap_err();
    assert_eq!(deaf.code(), Code::FailedPrecondition);
    assert!(deaf.message().contains("does not report"), "{}", deaf.message());
    t.report(&session_id, running_on(&leased)).await;
    let answer = t.hosts.hand_over_task(ask(Some("{\"offset\": 100000}"))).await.unwrap();
    assert_eq!(answer.into_inner().task.unwrap().id, task.id);
    let order = t.report(&session_id, running_on(&leased)).await.tasks.pop().unwrap();
    assert!(order.elsewhere && order.reason() == FailureReason::HandedOver);
    assert_eq!(order.message, "handed over by anonymous: the host goes down");
    assert_eq!(order.context.unwrap().data, "{\"offset\": 100000}");
    let shown = t.list_all().await.pop().unwrap().orders.unwrap().tasks;
    assert!(shown.len() == 1 && shown[0].context.is_none(), "it may be large");
    let large = "x".repeat(8_193).leak();
    let fields = refusal(&t.hosts.hand_over_task(ask(Some(large))).await.unwrap_err()).2;
    assert_eq!(fields, ["context.data"]);
    t.stop().await;
}

#[tokio::test]
async fn what_attempts_used_is_told_with_them_and_added_up() {
    let mut t = TestBroker::start().await;
    let task = t.create("train").await;
    let session_id = t.register("w1", "a").await;
    let leased = t.start_one(&session_id, "1").await;
    let usage = v1::AttemptUsage {
        host: "host".into(),
        gpus: vec!["GPU-0".into()],
        gpu_seconds: 12.5,
        gpu_memory_peak_bytes: 1 << 34,
        cpu_seconds: f64::NAN,
        memory_peak_bytes: 1 << 30,
        code_commit: "f02c571".into(),
        code_changed: true,
        ..v1::AttemptUsage::default()
    };
    let request =
        v1::CompleteTaskRequest { usage: Some(usage.clone()), ..complete(&session_id, &leased) };
    t.worker.complete_task(request).await.unwrap();
    let request = v1::ListAttemptsRequest { task_id: task.id, ..Default::default() };
    let attempts = t.broker.list_attempts(request).await.unwrap().into_inner().attempts;
    // A figure that is none keeps no task from ending.
    let kept = v1::AttemptUsage { cpu_seconds: 0.0, ..usage };
    assert_eq!(attempts[0].usage, Some(kept));

    t.create("train").await;
    let leased = t.start_one(&session_id, "2").await;
    t.report(&session_id, running_on(&leased)).await;
    let list = |user: &str| v1::ListUsageRequest { user: user.into(), ..Default::default() };
    let users = t.hosts.list_usage(list("")).await.unwrap().into_inner().users;
    let of: Vec<_> = users.iter().map(|of| (of.gpu_seconds, of.attempts, of.gpus_now)).collect();
    assert_eq!(of, [(12.5, 1, 1.0)]);
    assert!(users[0].decayed_gpu_seconds > 11.0, "{users:?}");
    let none = t.hosts.list_usage(list("nobody")).await.unwrap().into_inner().users;
    assert_eq!(none, []);
    t.stop().await;
}

#[tokio::test]
async fn a_detached_worker_is_registered_by_the_next_one() {
    let mut t = TestBroker::start().await;
    t.create("train").await;
    let session_id = t.register("w1", "a").await;
    let leased = t.start_one(&session_id, "1").await;
    let detach =
        v1::UpdateHostRequest { worker_id: "w1".into(), detach: true, ..Default::default() };
    t.hosts.update_host(detach).await.unwrap();
    let adopted = vec![leased.lease.clone().unwrap()];
    let request = v1::RegisterWorkerRequest { adopted, ..registration("w1", "b") };
    let next = t.worker.register_worker(request).await.unwrap().into_inner();
    assert_eq!(next.adopted.len(), 1);
    assert!(!t.report(&next.session_id, running_on(&leased)).await.detach);
    t.stop().await;
}
