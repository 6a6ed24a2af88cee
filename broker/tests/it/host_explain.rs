//! Why a task is where it is, asked of a broker.

use asyncflow_proto::v1::{self, ExplanationKind, GpuState};
use tonic::Code;

use crate::{
    harness::{TestBroker, acquire, refusal, registration},
    host::{gpu, report},
};

impl TestBroker {
    pub async fn explain(&mut self, task_id: &str) -> v1::ExplainTaskResponse {
        let request = v1::ExplainTaskRequest { task_id: task_id.into() };
        self.hosts.explain_task(request).await.unwrap().into_inner()
    }

    async fn needs_gpus(&mut self, gpus: i32) -> v1::Task {
        let resources = Some(v1::Resources { gpus, ..v1::Resources::default() });
        let spec = v1::TaskSpec { task_type: "train".into(), resources, ..Default::default() };
        self.create_spec(spec).await
    }
}

fn kinds(answer: &v1::ExplainTaskResponse) -> Vec<ExplanationKind> {
    answer.explanations.iter().map(v1::Explanation::kind).collect()
}

#[tokio::test]
async fn who_waits_is_told_what_for_and_who_runs_where() {
    let mut t = TestBroker::start().await;
    let first = t.needs_gpus(4).await;
    let answer = t.explain(&first.id).await;
    assert_eq!(answer.summary, "no worker is there for the type train");
    assert_eq!((kinds(&answer), answer.queue_position), (vec![ExplanationKind::NoWorker], Some(0)));

    let session_id = t.register("w1", "a").await;
    let stranger = v1::GpuProcess {
        pid: 4_242,
        user: "bob".into(),
        command: "python train.py".into(),
        blocks: true,
        ..v1::GpuProcess::default()
    };
    let mut gpus: Vec<v1::Gpu> = (0..4).map(gpu).collect();
    gpus[1].state = GpuState::Foreign.into();
    gpus[1].processes = vec![stranger.clone()];
    t.report(&session_id, report(gpus)).await;
    let second = t.needs_gpus(4).await;
    let answer = t.explain(&second.id).await;
    assert_eq!(
        answer.summary,
        "waiting for 4 GPUs on one host: host has 3 free, GPU 1 is held by pid 4242 \
         of bob (python train.py); 1 task is before it, and users take turns"
    );
    assert_eq!(answer.queue_position, Some(1));
    let held = &answer.explanations[1];
    assert_eq!((held.worker_id.as_str(), held.gpu.as_str()), ("w1", "GPU-1"));
    assert_eq!(held.process.as_ref(), Some(&stranger));

    let small = t.create("small").await;
    let session_id = t.register("w2", "a").await;
    let task_types = vec!["small".to_owned()];
    let request = v1::AcquireTasksRequest { task_types, ..acquire(&session_id, "1", 1) };
    let lease = t.acquire(request).await.remove(0).lease.unwrap();
    let answer = t.explain(&small.id).await;
    assert_eq!(kinds(&answer), [ExplanationKind::HandedOut]);
    t.start_lease(&session_id, lease).await;
    let answer = t.explain(&small.id).await;
    assert_eq!(kinds(&answer), [ExplanationKind::Running]);
    assert!(answer.summary.starts_with("it runs on host (worker w2) since "), "{answer:?}");
    assert_eq!((answer.queue_position, answer.task.unwrap().id), (None, small.id));

    let nothing = v1::ExplainTaskRequest { task_id: "train-1-0000000000000".into() };
    let unknown = refusal(&t.hosts.explain_task(nothing).await.unwrap_err());
    assert_eq!((unknown.0, unknown.1.as_str()), (Code::NotFound, "TASK_NOT_FOUND"));
    t.stop().await;
}

#[tokio::test]
async fn shares_and_cordons_are_known_to_it() {
    let mut t = TestBroker::start().await;
    let session_id = t.register("w1", "a").await;
    let share = |gib: i64| {
        let gpu_memory_bytes = gib << 30;
        let resources = Some(v1::Resources { gpu_memory_bytes, ..v1::Resources::default() });
        v1::TaskSpec { task_type: "train".into(), resources, ..Default::default() }
    };
    let running = t.create_spec(share(25)).await;
    let waiting = t.create_spec(share(20)).await;
    let mut told = report(vec![gpu(0)]);
    told.running = vec![v1::RunningTask {
        task_id: running.id.clone(),
        attempt: 1,
        gpus: vec!["GPU-0".into()],
        user: "an impostor".into(),
        ..v1::RunningTask::default()
    }];
    t.report(&session_id, told).await;
    let answer = t.explain(&waiting.id).await;
    let wanted = format!(
        "waiting for 20 GiB of one GPU: host has 15 GiB free on one GPU at most, \
         GPU 0 runs {} of {}; 1 task is before it, and users take turns",
        running.id, running.user
    );
    assert_eq!(answer.summary, wanted);
    let holder = &answer.explanations[1];
    assert_eq!(holder.kind(), ExplanationKind::GpuInUse);
    let of = (&holder.task_id, &holder.user, holder.gpu.as_str());
    assert_eq!(of, (&running.id, &running.user, "GPU-0"));
    let cordon = v1::UpdateHostRequest {
        worker_id: "w1".into(),
        cordoned: Some(true),
        ..Default::default()
    };
    t.hosts.update_host(cordon).await.unwrap();
    let answer = t.explain(&waiting.id).await;
    let wanted = "no host with 20 GiB of one GPU takes tasks now: host is cordoned; \
                  1 task is before it, and users take turns";
    assert_eq!(answer.summary, wanted);
    t.stop().await;
}

/// A task that no host could ever run is passed over, so it does not stand before anybody.
#[tokio::test]
async fn what_can_never_run_is_not_before_anybody() {
    let mut t = TestBroker::start().await;
    let session_id = t.register("w1", "a").await;
    t.report(&session_id, report(vec![gpu(0)])).await;
    let never = t.needs_gpus(4).await;
    t.needs_gpus(8).await;
    t.needs_gpus(1).await;
    t.create("train").await;
    let last = t.needs_gpus(1).await;
    let answer = t.explain(&last.id).await;
    assert_eq!(
        (answer.summary.as_str(), answer.queue_position),
        ("2 tasks are before it, and users take turns", Some(2))
    );
    let answer = t.explain(&never.id).await;
    let wanted = "no host can ever run it: it asks for 4 GPUs on one host, but host has 1 GPU \
                  (NVIDIA A100, 40 GiB); start a worker on a host that has it, or create it anew \
                  with less";
    assert_eq!(answer.summary, wanted);
    // Another host comes, which could: then they are in the queue.
    let other = v1::RegisterWorkerRequest { host: "big".into(), ..registration("w2", "a") };
    let session_id = t.worker.register_worker(other).await.unwrap().into_inner().session_id;
    t.report(&session_id, report((0..4).map(gpu).collect())).await;
    assert_eq!(t.explain(&last.id).await.queue_position, Some(3));
    t.stop().await;
}

#[tokio::test]
async fn hosts_that_take_nothing_say_why() {
    let mut t = TestBroker::start().await;
    let session_id = t.register("w1", "a").await;
    let full = v1::HostReport {
        takes_nothing: "No space left on device".into(),
        ..report((0..4).map(gpu).collect())
    };
    t.report(&session_id, full).await;
    let task = t.needs_gpus(4).await;
    let head = "no host with 4 GPUs on one host takes tasks now:";
    let answer = t.explain(&task.id).await;
    let wanted = format!("{head} host cannot start tasks: No space left on device");
    assert_eq!(answer.summary, wanted);
    t.report(&session_id, report((0..4).map(gpu).collect())).await;
    assert_eq!(t.explain(&task.id).await.summary, "it is next, host has room for it");

    // Drained and gone, it might still be what the task is waiting for.
    let drain = v1::UpdateHostRequest {
        worker_id: "w1".into(),
        draining: Some(true),
        ..v1::UpdateHostRequest::default()
    };
    t.hosts.update_host(drain).await.unwrap();
    let request = v1::DeregisterWorkerRequest { session_id };
    t.worker.deregister_worker(request).await.unwrap();
    let other = v1::RegisterWorkerRequest { host: "small".into(), ..registration("w2", "a") };
    let session_id = t.worker.register_worker(other).await.unwrap().into_inner().session_id;
    t.report(&session_id, report(vec![gpu(0)])).await;
    let answer = t.explain(&task.id).await;
    let wanted = format!("{head} w1 is cordoned and away since ");
    assert!(answer.summary.starts_with(&wanted), "{}", answer.summary);
    assert!(answer.summary.ends_with("small has 1 GPU (NVIDIA A100, 40 GiB)"), "{answer:?}");
    t.needs_gpus(1).await;
    let last = t.needs_gpus(1).await;
    assert_eq!(t.explain(&last.id).await.queue_position, Some(2), "it might be taken before");
    t.stop().await;
}
