//! What the runtime does with the machine's side of a worker, against a fake broker.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[allow(dead_code, reason = "shared with the worker's tests")]
mod fake;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use asyncflow_sdk::{
    ChannelOptions,
    v1::{
        Content, FailureReason, GpuOffer, GpuUse, HostOffer, HostOrders, HostReport, Lease,
        LeasedTask, Resources, Task, TaskOrder,
    },
    worker::{
        AttemptHandle, Handler, HandlerError, HostSide, Outcome, StopReason, WorkerBuilder,
        WorkerOptions,
    },
};
use fake::{FakeBroker, Settled, handler_task};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// A machine with GPUs of which a test says whether they are free.
#[derive(Default)]
struct Machine {
    free: Mutex<usize>,
    taken: Mutex<BTreeMap<String, LeasedTask>>,
    orders: Mutex<HostOrders>,
    changes: watch::Sender<u64>,
}

impl Machine {
    fn set_free(&self, free: usize) {
        *self.free.lock().unwrap() = free;
        self.changes.send_modify(|version| *version += 1);
    }
}

impl HostSide for Machine {
    fn offer(&self) -> Option<HostOffer> {
        let taken = self.taken.lock().unwrap();
        let gpu = |number: usize| GpuOffer {
            uuid: format!("GPU-{number}"),
            r#use: GpuUse::Free.into(),
            ..GpuOffer::default()
        };
        let is_taken = |gpu: &GpuOffer| {
            taken.values().any(|task| task.placement.as_ref().unwrap().gpus.contains(&gpu.uuid))
        };
        let gpus = (0..*self.free.lock().unwrap()).map(gpu).filter(|gpu| !is_taken(gpu));
        Some(HostOffer { gpus: gpus.collect(), ..HostOffer::default() })
    }

    fn report(&self) -> HostReport {
        HostReport { gpu_provider: "test".to_owned(), ..HostReport::default() }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn follow(&self, orders: &HostOrders) {
        *self.orders.lock().unwrap() = orders.clone();
    }

    fn taken(&self, task: &LeasedTask) {
        let id = task.lease.clone().unwrap().task_id;
        self.taken.lock().unwrap().insert(id, task.clone());
    }

    fn ended(&self, lease: &Lease) {
        self.taken.lock().unwrap().remove(&lease.task_id);
        self.changes.send_modify(|version| *version += 1);
    }
}

/// Ends when it is told to, or at once.
struct Patient;

#[async_trait::async_trait]
impl Handler for Patient {
    type Context = bool;

    async fn load_context(&self, task: &LeasedTask) -> Result<bool, HandlerError> {
        Ok(task.task.as_ref().unwrap().payload.as_ref().unwrap().data == "wait")
    }

    async fn process(
        &self,
        attempt: &mut AttemptHandle,
        waits: bool,
    ) -> Result<Option<Content>, HandlerError> {
        if waits {
            attempt.log("waiting").await;
            attempt.cancelled().await;
            return Err(HandlerError::stopped());
        }
        Ok(None)
    }
}

fn start(broker: &FakeBroker, machine: &Arc<Machine>) -> JoinHandle<()> {
    let channel = ChannelOptions::new(broker.url());
    let options = WorkerOptions { slots: 8, ..WorkerOptions::new(vec![channel], "w") };
    let worker = WorkerBuilder::new(options).handler("train", Patient).host(machine.clone());
    let never = CancellationToken::new();
    tokio::spawn(async move { worker.run(never.clone(), never).await.unwrap() })
}

fn gpu_task(id: &str, payload: &'static [u8]) -> Task {
    let resources = Some(Resources { gpus: 1, ..Resources::default() });
    Task { resources, ..handler_task(id, "train", payload) }
}

async fn runs(broker: &FakeBroker, id: &str) {
    let key = (id.to_owned(), 1);
    broker.until("the task's log", |state| state.logs.get(&key).map(drop)).await;
}

#[tokio::test]
async fn a_new_offer_is_made_under_the_same_id_while_the_old_one_waits() {
    let broker = FakeBroker::start().await;
    let machine = Arc::new(Machine::default());
    let _worker = start(&broker, &machine);
    broker.add(gpu_task("train-1-a", b"go"));
    broker.until("an acquire", |state| (!state.acquires.is_empty()).then_some(())).await;
    assert!(broker.state().settled.is_empty());
    machine.set_free(1);
    assert!(matches!(broker.settled("train-1-a").await, Settled::Completed(_)));
    let (first, second) = broker.change(|state| {
        let mut acquires = state.acquires.iter();
        (acquires.next().unwrap().clone(), acquires.next().unwrap().clone())
    });
    assert_eq!(first.acquire_id, second.acquire_id);
    assert_eq!(first.offer.unwrap().gpus.len(), 0);
    assert_eq!(second.offer.unwrap().gpus[0].uuid, "GPU-0");
}

#[tokio::test]
async fn what_was_taken_is_not_offered_again_before_its_end() {
    let broker = FakeBroker::start().await;
    let machine = Arc::new(Machine::default());
    machine.set_free(2);
    let _worker = start(&broker, &machine);
    broker.add(gpu_task("train-1-a", b"wait"));
    runs(&broker, "train-1-a").await;
    let offers_one = |state: &fake::State| {
        let last = state.acquires.last()?.offer.as_ref()?;
        (last.gpus.len() == 1 && last.gpus[0].uuid == "GPU-1").then_some(())
    };
    broker.until("an offer of the other", offers_one).await;
    broker.cancel("train-1-a");
    broker.settled("train-1-a").await;
    let offers_both = |state: &fake::State| {
        (state.acquires.last()?.offer.as_ref()?.gpus.len() == 2).then_some(())
    };
    broker.until("an offer of both", offers_both).await;
}

#[tokio::test]
async fn a_cordoned_worker_takes_nothing_and_what_runs_goes_on() {
    let broker = FakeBroker::start().await;
    let machine = Arc::new(Machine::default());
    machine.set_free(2);
    let _worker = start(&broker, &machine);
    broker.add(gpu_task("train-1-a", b"wait"));
    runs(&broker, "train-1-a").await;
    broker.order(|orders| orders.cordoned = true);
    while !machine.orders.lock().unwrap().cordoned {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    broker.add(gpu_task("train-1-b", b"go"));
    let reports = broker.state().reports.len();
    broker.until("a report", |state| (state.reports.len() > reports).then_some(())).await;
    assert!(broker.state().settled.is_empty(), "one goes on, the other is not taken");
    broker.order(|orders| orders.cordoned = false);
    assert!(matches!(broker.settled("train-1-b").await, Settled::Completed(_)));
    assert_eq!(broker.state().reports[0].gpu_provider, "test");
}

#[tokio::test]
async fn a_worker_that_drains_by_order_ends_when_what_runs_has_ended() {
    let broker = FakeBroker::start().await;
    let machine = Arc::new(Machine::default());
    machine.set_free(1);
    let worker = start(&broker, &machine);
    broker.add(gpu_task("train-1-a", b"wait"));
    runs(&broker, "train-1-a").await;
    broker.order(|orders| orders.draining = true);
    let reports = broker.state().reports.len();
    broker.until("reports", |state| (state.reports.len() > reports + 1).then_some(())).await;
    assert!(!worker.is_finished());
    broker.cancel("train-1-a");
    worker.await.unwrap();
    assert!(broker.state().deregistered);
}

#[tokio::test]
async fn a_detached_worker_ends_without_a_word_about_what_it_runs() {
    let broker = FakeBroker::start().await;
    let machine = Arc::new(Machine::default());
    machine.set_free(1);
    let worker = start(&broker, &machine);
    broker.add(gpu_task("train-1-a", b"wait"));
    runs(&broker, "train-1-a").await;
    broker.order(|orders| orders.detach = true);
    worker.await.unwrap();
    assert!(broker.state().settled.is_empty());
    assert!(!broker.state().deregistered);
}

#[tokio::test]
async fn tasks_are_stopped_by_order_with_what_was_said() {
    let broker = FakeBroker::start().await;
    let machine = Arc::new(Machine::default());
    machine.set_free(2);
    let _worker = start(&broker, &machine);
    for id in ["train-1-a", "train-1-b"] {
        broker.add(gpu_task(id, b"wait"));
        runs(&broker, id).await;
    }
    broker.order(|orders| {
        orders.tasks.push(TaskOrder {
            task_id: "train-1-a".to_owned(),
            attempt: 1,
            reason: FailureReason::Preempted.into(),
            message: "bob needs 4 GPUs".to_owned(),
            ..TaskOrder::default()
        });
    });
    let Settled::Released(call) = broker.settled("train-1-a").await else { panic!() };
    let failure = call.failure.unwrap();
    assert_eq!(failure.reason(), FailureReason::Preempted);
    assert_eq!(failure.message, "bob needs 4 GPUs");
    assert!(!broker.state().settled.contains_key("train-1-b"));
}

#[test]
fn what_becomes_of_those_who_were_told_to_stop() {
    let table = [
        (StopReason::Preempted, FailureReason::Preempted),
        (StopReason::HandedOver, FailureReason::HandedOver),
        (StopReason::GpuFault, FailureReason::GpuFault),
    ];
    for (told, expected) in table {
        let outcome = Outcome::stopped(told);
        assert!(
            matches!(outcome, Outcome::Released { reason, .. } if reason == expected),
            "{outcome:?}"
        );
    }
    let outcome = Outcome::stopped(StopReason::Trespassed);
    assert!(matches!(outcome, Outcome::Failed { permanent: true, .. }), "{outcome:?}");
}
