//! What hosts report, of the tasks of all brokers: who has how many GPUs, and who can make room.
//!
//! It is looked at now and then, while tasks wait to be placed, and is a few seconds old. What this
//! broker has placed since is known from its own memory.

use asyncflow_core::{
    id::TaskId,
    placement::{self, Placed, Preemption, Running, Scene, Waiting},
    task::Task,
};
use asyncflow_proto::v1;
use asyncflow_store::{HostRow, Parts, StoreError};

use super::Dispatch;
use crate::{clock, convert, orders};

/// Hosts per page of their list.
const HOSTS_PAGE: u32 = 500;
/// Tasks that are looked up at once.
const TASKS_PAGE: usize = 500;

/// A task that has GPUs, as its host reports it.
struct Reported {
    worker_id: String,
    id: TaskId,
    attempt: i32,
    gpus: Vec<String>,
    /// The memory of one of them in all.
    gpu_bytes: i64,
}

impl Dispatch {
    /// Looks at the reports, and asks tasks to make room where that is called for.
    pub(super) async fn look_at_reports(&self) -> Result<(), StoreError> {
        let store = &self.shared.store;
        let reported = self.reported().await?;
        let mut running: Vec<(Task, Running)> = Vec::new();
        let mut has = Vec::new();
        for page in reported.chunks(TASKS_PAGE) {
            let ids: Vec<TaskId> = page.iter().map(|one| one.id.clone()).collect();
            let found = store.get_many(&ids, Parts::NONE).await?;
            for (one, full) in page.iter().zip(found) {
                let task = full.map(|full| full.task);
                let in_force = |task: &Task| task.attempt == one.attempt && task.state.is_leased();
                let Some(task) = task.filter(in_force) else { continue };
                let of = running_of(&task, one);
                let gpu_millis = of.placed.gpu_millis(one.gpu_bytes);
                has.push((task.id.clone(), task.user.clone(), gpu_millis));
                running.push((task, of));
            }
        }
        let had = store.decayed_gpu_seconds().await?;
        self.shared.placer.lock().users.reported(has, had);
        if self.shared.settings.preempt_after_ms > 0 {
            self.preempt(running).await?;
        }
        Ok(())
    }

    async fn reported(&self) -> Result<Vec<Reported>, StoreError> {
        let mut reported = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let rows = self.shared.store.list_hosts(after.as_deref(), HOSTS_PAGE).await?;
            rows.iter().for_each(|row| of_host(row, &mut reported));
            match rows.last() {
                Some(last) if rows.len() == HOSTS_PAGE as usize => {
                    after = Some(last.worker.registration.worker_id.clone());
                }
                _ => return Ok(reported),
            }
        }
    }

    /// Asks the tasks that the plan names; each waiting task has others asked once in a while.
    async fn preempt(&self, running: Vec<(Task, Running)>) -> Result<(), StoreError> {
        let now_ms = self.shared.store.now_ms().await?;
        let settings = &self.shared.settings;
        let mut waiting: Vec<Waiting> = Vec::new();
        let (hosts, users) = {
            let (mut state, now) = (self.shared.placer.lock(), clock::now());
            for name in state.aside.types() {
                waiting.extend(state.aside.of_type(&name).map(|entry| entry.waiting.clone()));
            }
            state.asked.retain(|_, asked| now - *asked < super::ASKED_AGAIN);
            waiting.retain(|one| !state.asked.contains_key(&one.id));
            (state.hosts.all(now), state.users.standings(now))
        };
        let is_late = |one: &Waiting| now_ms - one.ready_ms >= settings.preempt_after_ms;
        if running.is_empty() || !waiting.iter().any(is_late) {
            return Ok(());
        }
        let hold_after_ms = settings.hold_after_ms;
        let scene =
            Scene { now_ms, hosts: &hosts, waiting: &waiting, users: &users, hold_after_ms };
        let plan = placement::place(&scene);
        let tasks: Vec<Running> = running.iter().map(|(_, one)| one.clone()).collect();
        let asked = placement::preemptions(&scene, &plan, &tasks, settings.preempt_after_ms);
        let mut ordered = Vec::new();
        for Preemption { task, victims, .. } in asked {
            let Waiting { id, user, .. } = &waiting[task];
            let message = format!("it makes room for the task {id} of {user}");
            for victim in victims {
                let request = orders::Request {
                    reason: v1::FailureReason::Preempted,
                    message: message.clone(),
                    ..orders::Request::default()
                };
                ordered.push((running[victim].0.clone(), request));
            }
            self.shared.placer.lock().asked.insert(id.clone(), clock::now());
        }
        metrics::counter!("asyncflow_preempted_tasks_total").increment(ordered.len() as u64);
        orders::order_tasks(&self.shared.store, &ordered).await
    }
}

/// What runs there and has GPUs.
fn of_host(row: &HostRow, reported: &mut Vec<Reported>) {
    let Some(report) = convert::host::decode(row) else { return };
    for task in report.running {
        let Ok(id) = task.task_id.parse() else { continue };
        if task.gpus.is_empty() {
            continue;
        }
        let mut gpus = report.gpus.iter().filter(|gpu| task.gpus.contains(&gpu.uuid));
        let gpu_bytes = gpus.next().map_or(0, |gpu| gpu.memory_bytes);
        reported.push(Reported {
            worker_id: row.worker.registration.worker_id.clone(),
            id,
            attempt: task.attempt,
            gpus: task.gpus,
            gpu_bytes,
        });
    }
}

fn running_of(task: &Task, reported: &Reported) -> Running {
    let needs = task.resources.as_deref();
    Running {
        id: task.id.clone(),
        attempt: task.attempt,
        user: task.user.clone(),
        priority: task.priority,
        start_ms: task.start_time_ms.unwrap_or(task.update_time_ms),
        preemptible: needs.is_some_and(|needs| needs.preemptible),
        worker_id: reported.worker_id.clone(),
        placed: Placed {
            gpus: reported.gpus.clone(),
            gpu_memory_bytes: needs.map_or(0, |needs| needs.gpu_memory_bytes),
        },
    }
}
