//! Which waiting task goes to which host, and what it gets there.
//!
//! ```text
//!  hosts with what is free ─┐
//!  tasks that wait ─────────┼─▶ holds ─▶ fair order ─▶ the best host that fits ─▶ plan
//!  GPUs and usage by user ──┘
//! ```
//!
//! Shares of GPUs are packed: the fullest shared GPU that still has room, and a free one only if
//! there is none. Whole GPUs are taken where the fewest are free, so that whole hosts stay free for
//! those who need several. A task that needs several and has waited for too long gets a hold: what
//! is freed where it will fit first is kept for it. What others were asked to leave for a task is
//! kept before all of that. The next task is always one of the user who has the fewest GPUs now.

mod fair;
mod hold;
mod preempt;
mod room;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    id::{TaskId, TypeName},
    order::PRIORITY_POINT_MS,
    resources::Resources,
    task::Task,
};
use fair::Queue;
pub use hold::Hold;
pub use preempt::{Preemption, Running, preemptions};
pub use room::Misfit;

/// What may be done with a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuUse {
    /// Nobody uses it.
    Free,
    /// Tasks have shares of it.
    Shared,
    /// A task has it for itself.
    Exclusive,
    /// It may not be given away.
    Unavailable,
}

/// One GPU of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    pub uuid: String,
    pub model: String,
    pub memory_bytes: i64,
    /// What of it may be given away as shares.
    pub free_bytes: i64,
    pub usage: GpuUse,
    /// When what runs on it must have ended; `None` = not known.
    pub free_time_ms: Option<i64>,
}

/// A host with what it has to give.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// The worker.
    pub worker_id: String,
    /// What the host is called.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// The types that it runs; `None` = all.
    pub types: Option<BTreeSet<TypeName>>,
    /// Most tasks that it takes now.
    pub slots: u32,
    /// Thousandths of cores.
    pub cpu_millis: i64,
    pub memory_bytes: i64,
    /// Thousandths of cores, whatever runs there; 0 = not known.
    pub cpu_millis_total: i64,
    /// Whatever runs there; 0 = not known.
    pub memory_bytes_total: i64,
    /// 0 = idle, 1 = as many runnable threads as cores.
    pub load: f64,
    /// How many tasks run there.
    pub running: u32,
    pub gpus: Vec<Gpu>,
}

impl Host {
    /// The host of a worker that has not said what is free there: nothing but slots.
    pub fn without_offer(worker_id: &str, name: &str, labels: &BTreeMap<String, String>) -> Self {
        Self {
            worker_id: worker_id.to_owned(),
            name: name.to_owned(),
            labels: labels.clone(),
            types: None,
            slots: 0,
            cpu_millis: 0,
            memory_bytes: 0,
            cpu_millis_total: 0,
            memory_bytes_total: 0,
            load: 0.0,
            running: 0,
            gpus: Vec::new(),
        }
    }
}

/// A task that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub id: TaskId,
    pub user: String,
    pub order_time_ms: i64,
    /// Since when it could have been claimed, the last time.
    pub ready_ms: i64,
    pub priority: i32,
    /// Limit of its running time; 0 = none.
    pub max_running_ms: i64,
    pub needs: Arc<Resources>,
}

impl Waiting {
    /// What placement has to know of a task.
    pub fn of(task: &Task) -> Self {
        let seniority_ms = i64::from(task.priority).saturating_mul(PRIORITY_POINT_MS);
        let ready_ms = task.order_time_ms.saturating_add(seniority_ms);
        // It keeps its place in the queue when it comes back, but has not waited while it ran.
        let back_ms = task.start_time_ms.map_or(ready_ms, |_| task.update_time_ms);
        Self {
            id: task.id.clone(),
            user: task.user.clone(),
            order_time_ms: task.order_time_ms,
            ready_ms: ready_ms.max(back_ms),
            priority: task.priority,
            max_running_ms: task.max_running_ms,
            needs: task.resources.clone().unwrap_or_default(),
        }
    }
}

/// How much somebody has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// GPUs that he has now, in thousandths; a share counts by its part of the memory.
    pub gpu_millis: i64,
    /// What he had lately, the older the less; any unit.
    pub usage: f64,
}

/// Everything that a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    pub now_ms: i64,
    pub hosts: &'a [Host],
    pub waiting: &'a [Waiting],
    /// Users who are not there have nothing.
    pub users: &'a BTreeMap<String, Standing>,
    /// A task that needs several GPUs gets a hold when it has waited for so long.
    pub hold_after_ms: i64,
    /// In the order in which they were made; at most one for each task.
    pub promises: &'a [Promise],
}

/// GPUs that others were asked to leave for a task. Nobody else gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Index into the waiting tasks.
    pub task: usize,
    /// Index into the hosts.
    pub host: usize,
    /// UUIDs, also of those that others still use.
    pub gpus: Vec<String>,
}

/// What a task gets of its host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// UUIDs.
    pub gpus: Vec<String>,
    /// Its share of the memory of the one GPU; 0 = the GPUs are its own.
    pub gpu_memory_bytes: i64,
}

/// A task that goes to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Index into the waiting tasks.
    pub task: usize,
    /// Index into the hosts.
    pub host: usize,
    pub placed: Placed,
}

/// What is to be done now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub placements: Vec<Placement>,
    pub holds: Vec<Hold>,
    /// The hosts as they are after it.
    pub hosts: Vec<Host>,
}

/// Makes the plan: the same scene gives the same plan.
pub fn place(scene: &Scene<'_>) -> Plan {
    let mut plan = Plan { hosts: scene.hosts.to_vec(), ..Plan::default() };
    let mut queue = Queue::new(scene);
    let promised = hold::keep_promises(scene, &mut plan, &mut queue);
    for task in hold::overdue(scene) {
        hold::place_or_hold(scene, &mut plan, &mut queue, task, promised);
    }
    // Room only gets less, so what did not fit once does not fit in this plan. How long a task may
    // run decides whether it may fill a hold.
    let mut failed: HashSet<(&TypeName, &Resources, i64)> = HashSet::new();
    while plan.hosts.iter().any(|host| host.slots > 0) {
        let Some(task) = queue.next() else { break };
        let waiting = &scene.waiting[task];
        let shape = (waiting.id.task_type(), &*waiting.needs, waiting.max_running_ms);
        if failed.contains(&shape) {
            continue;
        }
        match best(scene, &plan, task) {
            Some(placement) => take(scene, &mut plan, &mut queue, placement),
            None => {
                failed.insert(shape);
            }
        }
    }
    plan
}

/// Why a waiting task does not go to each host, after the plan; an empty list for one where it
/// would fit.
pub fn misfits(scene: &Scene<'_>, plan: &Plan, task: usize) -> Vec<Vec<Misfit>> {
    let waiting = &scene.waiting[task];
    let avoids = room::avoids(&plan.hosts, waiting, scene.now_ms);
    let kept = |at| hold::kept(plan, at, scene.now_ms, waiting, Some(task));
    let of = |(at, host): (usize, &Host)| room::misfits(host, waiting, &kept(at), avoids);
    plan.hosts.iter().enumerate().map(of).collect()
}

/// The best host that fits.
fn best(scene: &Scene<'_>, plan: &Plan, task: usize) -> Option<Placement> {
    let waiting = &scene.waiting[task];
    let avoids = room::avoids(&plan.hosts, waiting, scene.now_ms);
    let fitting = plan.hosts.iter().enumerate().filter_map(|(at, host)| {
        let kept = hold::kept(plan, at, scene.now_ms, waiting, Some(task));
        let fit = room::fit(host, waiting, &kept, avoids)?;
        Some((fit.rank, at, fit.placed))
    });
    let (_, host, placed) = fitting.min_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)))?;
    Some(Placement { task, host, placed })
}

/// Notes a placement: the host has less, the user more.
fn take<'a>(scene: &Scene<'a>, plan: &mut Plan, queue: &mut Queue<'a>, placement: Placement) {
    let waiting = &scene.waiting[placement.task];
    let host = &mut plan.hosts[placement.host];
    queue.charge(&waiting.user, gpu_millis(host, &placement.placed));
    room::take(host, waiting, &placement.placed, scene.now_ms);
    plan.placements.push(placement);
}

/// How many GPUs that is, in thousandths.
pub fn gpu_millis(host: &Host, placed: &Placed) -> i64 {
    let of = host.gpus.iter().find(|gpu| placed.gpus.contains(&gpu.uuid));
    placed.gpu_millis(of.map_or(0, |gpu| gpu.memory_bytes))
}

impl Placed {
    /// How many GPUs that is, in thousandths, where one has so much memory.
    pub fn gpu_millis(&self, gpu_bytes: i64) -> i64 {
        if self.gpu_memory_bytes == 0 {
            return self.gpus.len() as i64 * 1_000;
        }
        let whole = i128::from(gpu_bytes.max(1));
        let millis = i128::from(self.gpu_memory_bytes) * 1_000 / whole;
        millis.clamp(1, 1_000) as i64
    }
}
