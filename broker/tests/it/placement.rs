//! Tasks that need more than a slot go where there is room for them, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_proto::{
    time::duration,
    v1::{self, GpuUse, TaskState},
};
use tonic::Code;

use crate::harness::{TestBroker, acquire, complete, refusal, registration};

pub const GIB: i64 = 1 << 30;

/// A host with GPUs that does what a worker does: it offers what is free, and keeps account.
pub struct Host {
    pub session: String,
    acquires: u32,
    /// Who has each GPU, and how much of it; 0 = all.
    pub used: BTreeMap<String, Vec<(String, i64)>>,
    pub running: BTreeMap<String, v1::LeasedTask>,
    slots: i32,
}

impl Host {
    pub async fn start(t: &mut TestBroker, name: &str, gpus: usize) -> Self {
        let mut request = registration(name, "a");
        request.host = name.into();
        request.labels.insert("room".into(), name.into());
        let session = t.worker.register_worker(request).await.unwrap().into_inner().session_id;
        let used = (0..gpus).map(|number| (format!("GPU-{name}-{number}"), Vec::new())).collect();
        Self { session, acquires: 0, used, running: BTreeMap::new(), slots: 100 }
    }

    fn offer(&self) -> v1::HostOffer {
        let gpu = |(uuid, used): (&String, &Vec<(String, i64)>)| {
            let shares: i64 = used.iter().map(|(_, bytes)| bytes).sum();
            let usage = match used.as_slice() {
                [] => GpuUse::Free,
                [(_, 0), ..] => GpuUse::Exclusive,
                _ => GpuUse::Shared,
            };
            let free = if usage == GpuUse::Exclusive { 0 } else { 24 * GIB - shares };
            v1::GpuOffer {
                uuid: uuid.clone(),
                model: "NVIDIA A100".into(),
                memory_bytes: 24 * GIB,
                memory_free_bytes: free,
                r#use: usage.into(),
                free_time: None,
            }
        };
        let gpus = self.used.iter().map(gpu).collect();
        v1::HostOffer { cpus: 64.0, memory_bytes: 64 * GIB, gpus, ..Default::default() }
    }

    fn request(&mut self, wait_ms: i64) -> v1::AcquireTasksRequest {
        self.acquires += 1;
        let mut request = acquire(&self.session, &self.acquires.to_string(), self.slots);
        request.wait = Some(duration(wait_ms));
        request.start = true;
        request.offer = Some(self.offer());
        request
    }

    /// Takes what comes within that time; panics when it is given what is not there.
    pub async fn take(&mut self, t: &mut TestBroker, wait_ms: i64) -> Vec<v1::LeasedTask> {
        let request = self.request(wait_ms);
        let tasks = t.acquire(request).await;
        tasks.iter().for_each(|leased| self.begin(leased));
        tasks
    }

    fn begin(&mut self, leased: &v1::LeasedTask) {
        let id = leased.lease.as_ref().unwrap().task_id.clone();
        if let Some(v1::Placement { gpus, gpu_memory_bytes: share }) = &leased.placement {
            for uuid in gpus {
                let used = self.used.get_mut(uuid).expect("a GPU of this host");
                let taken: i64 = used.iter().map(|(_, bytes)| bytes).sum();
                let fits = if *share == 0 {
                    used.is_empty()
                } else {
                    used.iter().all(|(_, bytes)| *bytes > 0) && taken + share <= 24 * GIB
                };
                assert!(fits, "{id} on {uuid}, where {used:?} are");
                used.push((id.clone(), *share));
            }
        }
        assert!(self.running.insert(id.clone(), leased.clone()).is_none(), "{id} came twice");
    }

    async fn complete(&mut self, t: &mut TestBroker, id: &str) {
        let leased = self.running.remove(id).unwrap();
        t.worker.complete_task(complete(&self.session, &leased)).await.unwrap();
        self.used.values_mut().for_each(|used| used.retain(|(user, _)| user != id));
    }

    /// Says what runs there, and hears what is wanted of it.
    pub async fn report(&self, t: &mut TestBroker) -> v1::HostOrders {
        let running = self.running.iter().map(|(id, leased)| v1::RunningTask {
            task_id: id.clone(),
            attempt: leased.lease.as_ref().unwrap().attempt,
            gpus: leased.placement.as_ref().unwrap().gpus.clone(),
            ..Default::default()
        });
        let gpu = |uuid: &String| v1::Gpu {
            uuid: uuid.clone(),
            memory_bytes: 24 * GIB,
            ..Default::default()
        };
        let report = v1::HostReport {
            running: running.collect(),
            gpus: self.used.keys().map(gpu).collect(),
            ..Default::default()
        };
        let (session_id, report) = (self.session.clone(), Some(report));
        let request = v1::ReportHostRequest { session_id, report };
        t.worker.report_host(request).await.unwrap().into_inner().orders.unwrap_or_default()
    }

    /// The task goes back, as one does that was asked to.
    pub async fn release(&mut self, t: &mut TestBroker, id: &str) {
        let leased = self.running.remove(id).unwrap();
        let (session_id, lease) = (self.session.clone(), leased.lease);
        let request = v1::ReleaseTaskRequest { session_id, lease, ..Default::default() };
        t.worker.release_task(request).await.unwrap();
        self.used.values_mut().for_each(|used| used.retain(|(user, _)| user != id));
    }

    async fn complete_first(&mut self, t: &mut TestBroker) {
        let id = self.running.keys().next().unwrap().clone();
        self.complete(t, &id).await;
    }
}

pub fn spec(name: &str, resources: v1::Resources) -> v1::TaskSpec {
    v1::TaskSpec {
        task_type: "train".into(),
        name: name.into(),
        resources: Some(resources),
        ..Default::default()
    }
}

pub fn gpus(count: i32) -> v1::Resources {
    v1::Resources { gpus: count, ..Default::default() }
}

pub fn names(tasks: &[v1::LeasedTask]) -> Vec<&str> {
    tasks.iter().map(|leased| leased.task.as_ref().unwrap().name.as_str()).collect()
}

#[tokio::test]
async fn a_hundred_tasks_on_four_gpus_are_never_two_on_one() {
    let mut t = TestBroker::start().await;
    for number in 0..100 {
        t.create_spec(spec(&number.to_string(), gpus(1))).await;
    }
    let mut host = Host::start(&mut t, "a", 4).await;
    let mut done = 0;
    while done < 100 {
        let got = host.take(&mut t, 5_000).await;
        assert!(!got.is_empty(), "{done} are done");
        for leased in &got {
            assert_eq!(leased.placement.as_ref().unwrap().gpus.len(), 1);
        }
        assert!(host.running.len() <= 4);
        // Two always go on, so that those which come next find GPUs in use.
        let going_on = if done < 90 { 2 } else { 0 };
        while host.running.len() > going_on {
            host.complete_first(&mut t).await;
            done += 1;
        }
    }
    t.stop().await;
}

#[tokio::test]
async fn twenty_shares_of_ten_gib_on_one_card_are_two_at_a_time() {
    let mut t = TestBroker::start().await;
    for number in 0..20 {
        let share = v1::Resources { gpu_memory_bytes: 10 * GIB, ..Default::default() };
        t.create_spec(spec(&number.to_string(), share)).await;
    }
    let mut host = Host::start(&mut t, "a", 1).await;
    for _ in 0..10 {
        let mut got = 0;
        while got < 2 {
            got += host.take(&mut t, 5_000).await.len();
        }
        assert_eq!(host.running.len(), 2);
        assert!(host.take(&mut t, 50).await.is_empty());
        host.complete_first(&mut t).await;
        host.complete_first(&mut t).await;
    }
    t.stop().await;
}

#[tokio::test]
async fn a_task_for_four_gpus_starts_behind_a_stream_of_tasks_for_one() {
    let mut t = TestBroker::with(&[("placement.hold_after_ms", "300")]).await;
    let mut host = Host::start(&mut t, "a", 4).await;
    for number in 0..4 {
        t.create_spec(spec(&format!("early{number}"), gpus(1))).await;
    }
    while host.running.len() < 4 {
        host.take(&mut t, 5_000).await;
    }
    let large = t.create_spec(spec("large", gpus(4))).await;
    for number in 0.. {
        assert!(number < 200, "it never starts");
        // There is always another one for the GPU that is freed next.
        t.create_spec(spec(&number.to_string(), gpus(1))).await;
        if !host.running.is_empty() {
            host.complete_first(&mut t).await;
        }
        let got = host.take(&mut t, 100).await;
        if names(&got).contains(&"large") {
            break;
        }
    }
    assert_eq!(t.get(&large.id).await.state(), TaskState::Running);
    t.stop().await;
}

#[tokio::test]
async fn one_task_of_somebody_is_the_next_after_two_hundred_of_another() {
    let mut t = TestBroker::start().await;
    let of = |name: &str, user: &str| v1::TaskSpec { user: user.into(), ..spec(name, gpus(1)) };
    for number in 0..200 {
        t.create_spec(of(&number.to_string(), "ana")).await;
    }
    let mut host = Host::start(&mut t, "a", 2).await;
    while host.running.len() < 2 {
        host.take(&mut t, 5_000).await;
    }
    t.create_spec(of("his", "bob")).await;
    host.complete_first(&mut t).await;
    assert_eq!(names(&host.take(&mut t, 5_000).await), ["his"]);
    t.stop().await;
}

#[tokio::test]
async fn a_repeated_acquire_is_placed_in_the_same_way() {
    let mut t = TestBroker::start().await;
    for number in 0..3 {
        t.create_spec(spec(&number.to_string(), gpus(2))).await;
    }
    let mut host = Host::start(&mut t, "a", 4).await;
    let request = host.request(5_000);
    let first = t.acquire(request.clone()).await;
    assert!(!first.is_empty() && first.iter().all(|leased| leased.placement.is_some()));
    let again = t.acquire(v1::AcquireTasksRequest { offer: None, ..request }).await;
    assert_eq!(again, first);
    t.stop().await;
}

#[tokio::test]
async fn workers_that_offer_nothing_get_what_needs_a_slot_only() {
    let mut t = TestBroker::start().await;
    let needy = t.create_spec(spec("needy", gpus(1))).await;
    t.create_spec(spec("plain", v1::Resources { preemptible: true, ..Default::default() })).await;
    let session = t.register("old", "a").await;
    let mut got = t.acquire(acquire(&session, "1", 5)).await;
    assert_eq!(names(&got), ["plain"]);
    let task = got.pop().unwrap();
    assert_eq!((task.placement, task.task.unwrap().resources.unwrap().preemptible), (None, true));
    let mut request = acquire(&session, "2", 5);
    request.wait = Some(duration(300));
    assert!(t.acquire(request).await.is_empty());
    assert_eq!(t.get(&needy.id).await.state(), TaskState::Pending);

    // It comes to the first host that has what it needs, also while plain tasks are handed over.
    let mut host = Host::start(&mut t, "a", 1).await;
    let mut all = host.take(&mut t, 5_000).await;
    assert_eq!(names(&all), ["needy"]);
    assert_eq!(all.pop().unwrap().placement.unwrap().gpus, ["GPU-a-0"]);
    t.stop().await;
}

#[tokio::test]
async fn a_task_goes_to_the_host_that_it_names_and_to_one_with_its_labels() {
    let mut t = TestBroker::start().await;
    let (mut a, mut b) = (Host::start(&mut t, "a", 1).await, Host::start(&mut t, "b", 1).await);
    let labels = BTreeMap::from([("room".to_owned(), "b".to_owned())]);
    let named = v1::Resources { host: "b".into(), ..Default::default() };
    let labelled = v1::Resources { worker_labels: labels, cpus: 1.5, ..Default::default() };
    t.create_spec(spec("named", named)).await;
    t.create_spec(spec("labelled", labelled)).await;
    assert!(a.take(&mut t, 300).await.is_empty());
    let mut got = Vec::new();
    while got.len() < 2 {
        got.extend(b.take(&mut t, 5_000).await);
    }
    assert_eq!(BTreeSet::from_iter(names(&got)), BTreeSet::from(["named", "labelled"]));
    t.stop().await;
}

#[tokio::test]
async fn a_backlog_of_plain_tasks_does_not_starve_one_that_needs_a_gpu() {
    let mut t = TestBroker::start().await;
    for number in 0..100 {
        t.create_spec(spec(&number.to_string(), v1::Resources::default())).await;
    }
    let mut host = Host::start(&mut t, "a", 1).await;
    host.slots = 1;
    assert_eq!(host.take(&mut t, 5_000).await.len(), 1);
    t.create_spec(spec("needy", gpus(1))).await;
    // It asks for one at a time, and is answered at once each time.
    for number in 0..3 {
        let got = host.take(&mut t, 5_000).await;
        assert_eq!(got.len(), 1);
        if names(&got) == ["needy"] {
            return t.stop().await;
        }
        assert!(number < 2, "plain tasks come first, again and again");
    }
}

#[tokio::test]
async fn what_comes_back_is_placed_again() {
    let mut t = TestBroker::start().await;
    let mut host = Host::start(&mut t, "a", 1).await;
    t.create_spec(spec("back", gpus(1))).await;
    for round in 0..3 {
        let got = host.take(&mut t, 5_000).await;
        assert_eq!(names(&got), ["back"], "{round}");
        host.release(&mut t, &got[0].lease.as_ref().unwrap().task_id).await;
    }
    t.stop().await;
}

#[tokio::test]
async fn two_brokers_never_place_a_task_twice() {
    let settings = [("dispatch.lock", "database"), ("dispatch.poll_interval_ms", "50")];
    let mut first = TestBroker::with(&settings).await;
    let mut second = first.beside(&settings).await;
    for number in 0..40 {
        let by = if number % 2 == 0 { &mut first } else { &mut second };
        by.create_spec(spec(&number.to_string(), gpus(1))).await;
    }
    let mut a = Host::start(&mut first, "a", 3).await;
    let mut b = Host::start(&mut second, "b", 3).await;
    let mut seen = BTreeSet::new();
    while seen.len() < 40 {
        let (of_a, of_b) = tokio::join!(a.take(&mut first, 500), b.take(&mut second, 500));
        for leased in of_a.iter().chain(&of_b) {
            assert!(seen.insert(leased.lease.clone().unwrap().task_id), "placed twice");
        }
        while !a.running.is_empty() {
            a.complete_first(&mut first).await;
        }
        while !b.running.is_empty() {
            b.complete_first(&mut second).await;
        }
    }
    second.stop().await;
    first.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_needs_and_offers_is_told() {
    let mut t = TestBroker::start().await;
    let bad = v1::Resources { gpus: 1, gpu_memory_bytes: 1, cpus: -1.0, ..Default::default() };
    let request = v1::CreateTaskRequest { task: Some(spec("bad", bad)), ..Default::default() };
    let refused = t.broker.create_task(request).await.unwrap_err();
    let (code, _, fields) = refusal(&refused);
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(fields, ["task.resources.gpu_memory_bytes", "task.resources.cpus"]);

    let mut host = Host::start(&mut t, "a", 2).await;
    let mut request = host.request(1);
    let offer = request.offer.as_mut().unwrap();
    offer.cpus = f64::NAN;
    offer.gpus[1].uuid = offer.gpus[0].uuid.clone();
    offer.gpus[1].memory_bytes = -1;
    let (_, _, fields) = refusal(&t.worker.acquire_tasks(request).await.unwrap_err());
    assert_eq!(fields, ["offer.cpus", "offer.gpus[1].uuid", "offer.gpus[1].memory_bytes"]);
    t.stop().await;
}

#[tokio::test]
async fn a_task_type_says_what_its_tasks_need() {
    let mut t = TestBroker::start().await;
    let task_type = v1::TaskType {
        name: "train".into(),
        resources: Some(v1::Resources { cpus: 2.5, ..gpus(1) }),
        ..Default::default()
    };
    let request = v1::CreateTaskTypeRequest { task_type: Some(task_type) };
    t.broker.create_task_type(request).await.unwrap();
    let task = t.create("train").await;
    let resources = task.resources.unwrap();
    assert_eq!((resources.gpus, resources.cpus), (1, 2.5));
    let other = v1::Resources { gpu_memory_bytes: GIB, ..Default::default() };
    let task = t.create_spec(spec("share", other)).await;
    let resources = task.resources.unwrap();
    assert_eq!((resources.gpus, resources.gpu_memory_bytes, resources.cpus), (0, GIB, 2.5));
    t.stop().await;
}
