//! What hosts report, of the tasks of all brokers: who has how many GPUs, and who can make room.
//!
//! It is looked at now and then, while tasks wait to be placed, and is a few seconds old. What this
//! broker has placed since is known from its own memory.

use std::collections::BTreeSet;

use asyncflow_core::{
    id::TaskId,
    placement::{self, Placed, Preemption, Running, Waiting},
    task::Task,
};
use asyncflow_proto::v1;
use asyncflow_store::{HostOrder, HostRow, Parts, StoreError};

use super::{Dispatch, facts::apart};
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
    /// That it is to stop.
    order: Option<v1::TaskOrder>,
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
                if let Some(order) = &one.order
                    && let Ok(id) = order.for_task_id.parse()
                {
                    let (mut state, now) = (self.shared.placer.lock(), clock::now());
                    state.promises.make(&id, &one.worker_id, &order.for_gpus, now);
                }
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
        let (store, mut reported) = (&self.shared.store, Vec::new());
        let mut after: Option<String> = None;
        loop {
            let rows = store.list_hosts(after.as_deref(), HOSTS_PAGE).await?;
            let id = |row: &HostRow| row.worker.registration.worker_id.clone();
            let ids: Vec<String> = rows.iter().map(id).collect();
            let orders = store.list_orders(&ids).await?;
            {
                let (mut state, now) = (self.shared.placer.lock(), clock::now());
                orders.iter().for_each(|(id, orders)| state.promises.read(id, orders, now));
            }
            for row in &rows {
                let orders = orders.get(&row.worker.registration.worker_id);
                of_host(row, orders.map(Vec::as_slice).unwrap_or_default(), &mut reported);
            }
            match rows.last() {
                Some(last) if rows.len() == HOSTS_PAGE as usize => {
                    after = Some(last.worker.registration.worker_id.clone());
                }
                _ => return Ok(reported),
            }
        }
    }

    /// Asks the tasks that the plan names. Brokers that look at the same moment may each ask for
    /// the same task; who looks later sees the orders and asks nobody.
    async fn preempt(&self, running: Vec<(Task, Running)>) -> Result<(), StoreError> {
        let after_ms = self.shared.settings.preempt_after_ms;
        let mut facts = self.facts().await?;
        {
            // Room is made for it on a host that this broker does not know.
            let promised: BTreeSet<usize> = facts.promises.iter().map(|one| one.task).collect();
            let state = self.shared.placer.lock();
            for (task, one) in facts.waiting.iter_mut().enumerate() {
                if state.promises.has(&one.id) && !promised.contains(&task) {
                    one.ready_ms = facts.now_ms;
                }
            }
        }
        let is_late = |one: &Waiting| facts.now_ms - one.ready_ms >= after_ms;
        if running.is_empty() || !facts.waiting.iter().any(is_late) {
            return Ok(());
        }
        let tasks: Vec<Running> = running.iter().map(|(_, one)| one.clone()).collect();
        let (facts, asked) = apart(move || {
            let scene = facts.scene();
            let plan = placement::place(&scene);
            let asked = placement::preemptions(&scene, &plan, &tasks, after_ms);
            (facts, asked)
        })
        .await?;
        for Preemption { task, host, victims, gpus } in asked {
            let Waiting { id, user, .. } = &facts.waiting[task];
            let request = orders::Request {
                reason: v1::FailureReason::Preempted,
                message: format!("preempted: it makes room for the task {id} of {user}"),
                room: Some(orders::Room { for_task: id.clone(), gpus: gpus.clone() }),
                ..orders::Request::default()
            };
            let of = |victim: usize| (running[victim].0.clone(), request.clone());
            let ordered: Vec<_> = victims.into_iter().map(of).collect();
            orders::order_tasks(&self.shared.store, &ordered).await?;
            let (worker_id, now) = (&facts.hosts[host].worker_id, clock::now());
            self.shared.placer.lock().promises.make(id, worker_id, &gpus, now);
            metrics::counter!("asyncflow_preempted_tasks_total").increment(ordered.len() as u64);
        }
        Ok(())
    }
}

/// What runs there and has GPUs, and what it was told.
fn of_host(row: &HostRow, orders: &[HostOrder], reported: &mut Vec<Reported>) {
    let Some(report) = convert::host::decode(row) else { return };
    let orders = convert::host_order::to_proto(orders).tasks;
    for task in report.running {
        let Ok(id) = task.task_id.parse() else { continue };
        if task.gpus.is_empty() {
            continue;
        }
        let mut gpus = report.gpus.iter().filter(|gpu| task.gpus.contains(&gpu.uuid));
        let gpu_bytes = gpus.next().map_or(0, |gpu| gpu.memory_bytes);
        let is_about =
            |order: &&v1::TaskOrder| order.task_id == task.task_id && order.attempt == task.attempt;
        reported.push(Reported {
            worker_id: row.worker.registration.worker_id.clone(),
            id,
            attempt: task.attempt,
            order: orders.iter().find(is_about).cloned(),
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
        leaving: reported.order.is_some(),
        worker_id: reported.worker_id.clone(),
        placed: Placed {
            gpus: reported.gpus.clone(),
            gpu_memory_bytes: needs.map_or(0, |needs| needs.gpu_memory_bytes),
        },
    }
}
