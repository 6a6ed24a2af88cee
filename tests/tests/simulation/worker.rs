//! Workers: the SDK's own runtime, with handlers that work in stages and note down what they see.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use asyncflow_sdk::{
    ChannelOptions,
    v1::{Content, Lease, LeasedTask, Task},
    worker::{
        AttemptHandle, Handler, HandlerError, Handlers, ResultJournal, SettleCall, WorkerBuilder,
        WorkerOptions,
    },
};
use asyncflow_store::testing::Dice;
use tokio_util::sync::CancellationToken;

use super::{
    database::TASK_TYPE,
    history::Fact,
    network::PORT,
    plan::{WorkerPlan, broker_name},
    scene::Scene,
    shim::Supervisor,
};

/// Before a process that has ended is started again.
const RESTART: Duration = Duration::from_millis(700);

/// Outcomes on the worker's disk: they outlive its process.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<BTreeMap<(String, i32), SettleCall>>>);

impl Disk {
    fn with<T>(&self, run: impl FnOnce(&mut BTreeMap<(String, i32), SettleCall>) -> T) -> T {
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Journal {
    disk: Disk,
    scene: Arc<Scene>,
}

#[async_trait]
impl ResultJournal for Journal {
    async fn record(&self, call: &SettleCall) -> io::Result<()> {
        let Some(lease) = call.lease() else { return Ok(()) };
        let end = match call {
            SettleCall::Complete(call) => {
                let result = call.result.clone().unwrap_or_default();
                format!("complete {}", String::from_utf8_lossy(&result.data))
            }
            SettleCall::Fail(_) => "fail".to_owned(),
            SettleCall::Release(_) => "release".to_owned(),
        };
        let (task, attempt) = (lease.task_id.clone(), lease.attempt);
        self.disk.with(|calls| calls.insert((task.clone(), attempt), call.clone()));
        self.scene.database.note(Fact::Told { task, attempt, end });
        Ok(())
    }

    async fn confirmed(&self, lease: &Lease) {
        let (task, attempt) = (lease.task_id.clone(), lease.attempt);
        self.disk.with(|calls| calls.remove(&(task.clone(), attempt)));
        self.scene.database.note(Fact::Confirmed { task, attempt });
    }

    async fn rejected(&self, lease: &Lease, why: &str) {
        let (task, attempt, why) = (lease.task_id.clone(), lease.attempt, why.to_owned());
        self.disk.with(|calls| calls.remove(&(task.clone(), attempt)));
        self.scene.database.note(Fact::Rejected { task, attempt, why });
    }

    async fn pending(&self) -> Vec<SettleCall> {
        self.disk.with(|calls| calls.values().cloned().collect())
    }
}

/// Counts its stages in the context.
struct Stages {
    scene: Arc<Scene>,
    process: u32,
}

fn number(content: Option<&Content>) -> Result<u32, HandlerError> {
    let Some(content) = content else { return Ok(0) };
    let text = String::from_utf8_lossy(&content.data);
    text.parse().map_err(|_| HandlerError::bad_context(text))
}

pub fn content(text: String) -> Content {
    Content { data: text.into(), ..Content::default() }
}

/// How many stages of a task are done, and how many it has.
pub fn begin(scene: &Scene, process: u32, task: &Task) -> Result<(u32, u32), HandlerError> {
    let (done, all) = (number(task.context.as_ref())?, number(task.payload.as_ref())?);
    let (task, attempt) = (task.id.clone(), task.attempt);
    scene.database.note(Fact::Began { task, attempt, process, done });
    Ok((done, all))
}

impl Stages {
    /// Works for a while, unless it is told to stop and does as it is told.
    async fn work(&self, attempt: &AttemptHandle, dice: &mut Dice) -> Result<(), HandlerError> {
        let working = tokio::time::sleep(Duration::from_millis(dice.between(20, 2_500)));
        if dice.one_in(5) {
            working.await;
            return Ok(());
        }
        tokio::select! {
            () = working => Ok(()),
            _ = attempt.cancelled() => Err(HandlerError::stopped()),
        }
    }
}

#[async_trait]
impl Handler for Stages {
    type Context = (u32, u32);

    async fn load_context(&self, task: &LeasedTask) -> Result<(u32, u32), HandlerError> {
        begin(&self.scene, self.process, &task.task.clone().unwrap_or_default())
    }

    async fn process(
        &self,
        attempt: &mut AttemptHandle,
        (mut done, all): (u32, u32),
    ) -> Result<Option<Content>, HandlerError> {
        let number = attempt.task().attempt;
        let mut dice = self.scene.dice.with(|dice| Dice::of(dice.roll(u64::from(u32::MAX))));
        while done < all {
            self.work(attempt, &mut dice).await?;
            match dice.roll(40) {
                0..3 => return Err(HandlerError::retryable("as it was rolled")),
                3 => return Err(HandlerError::permanent("as it was rolled")),
                4 => panic!("as it was rolled"),
                _ => {}
            }
            done += 1;
            let stage = format!("stage {done}");
            attempt.save_context(Some(&stage), Some(content(done.to_string()))).await?;
            let task = attempt.task().id.clone();
            self.scene.database.note(Fact::Saved { task, attempt: number, done });
            if dice.one_in(3) {
                attempt.progress(f64::from(done) / f64::from(all), stage);
                attempt.log("a stage is done").await;
            }
        }
        self.work(attempt, &mut dice).await?;
        Ok(Some(content(format!("{done} by attempt {number} in process {}", self.process))))
    }
}

/// A host that starts its worker again and again, until it crashes itself.
pub async fn run(scene: Arc<Scene>, plan: WorkerPlan) -> turmoil::Result {
    loop {
        let process = scene.next_process();
        let disk = if plan.keeps_journal { plan.disk.clone() } else { Disk::default() };
        let [drain, abort, detach] = [(); 3].map(|()| CancellationToken::new());
        let life_ms = scene.dice.with(|dice| dice.one_in(2).then(|| dice.between(2_000, 20_000)));
        let handlers = if plan.adopts {
            let (scene, programs) = (scene.clone(), plan.programs.clone());
            Handlers::new().executor(TASK_TYPE, Supervisor { scene, process, programs })
        } else {
            Handlers::new().handler(TASK_TYPE, Stages { scene: scene.clone(), process })
        };
        let working = WorkerBuilder::new(options(&scene, &plan))
            .handlers(handlers)
            .journal(Arc::new(Journal { disk, scene: scene.clone() }))
            .detach(detach.clone())
            .run(drain.clone(), abort);
        let end = async {
            let Some(life_ms) = life_ms else { return std::future::pending().await };
            tokio::time::sleep(Duration::from_millis(life_ms)).await;
            if plan.adopts {
                detach.cancel()
            } else {
                drain.cancel()
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = working => {
                let ended = ended.map_err(|error| error.to_string());
                scene.database.note(Fact::Fault(format!("process {process} ended: {ended:?}")));
            }
            () = end => {}
        }
        tokio::time::sleep(RESTART).await;
    }
}

fn options(scene: &Scene, plan: &WorkerPlan) -> WorkerOptions {
    let broker = |number| ChannelOptions::new(format!("http://{}:{PORT}", broker_name(number)));
    let brokers = (0..scene.plan.brokers).map(broker).collect();
    let mut options = WorkerOptions::new(brokers, &plan.name);
    options.slots = plan.slots;
    options.acquire_wait = Duration::from_secs(3);
    options.drain_timeout = Duration::from_secs(2);
    options.starts_later = plan.starts_later;
    options
}
