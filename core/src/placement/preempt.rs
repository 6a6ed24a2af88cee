//! Who has to make room: the fewest tasks that may be asked to, and have less of a claim.

use std::collections::{BTreeMap, BTreeSet};

use super::{Gpu, GpuUse, Host, Placed, Plan, Scene, Standing, Waiting, hold, room};
use crate::id::TaskId;

/// GPUs of a host that are looked at in all combinations.
const GPUS_MAX: usize = 12;

/// A task that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    pub id: TaskId,
    pub attempt: i32,
    pub user: String,
    pub priority: i32,
    pub start_ms: i64,
    /// It may be asked to make room.
    pub preemptible: bool,
    /// Where.
    pub worker_id: String,
    pub placed: Placed,
}

/// Tasks that have to make room for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preemption {
    /// Index into the waiting tasks.
    pub task: usize,
    /// Index into the hosts.
    pub host: usize,
    /// Indices into those that run.
    pub victims: Vec<usize>,
}

/// Makes room for tasks that have waited for longer than `after_ms` (0 = never) and that the plan
/// neither places nor holds GPUs for. At most one for each host, and for each user.
pub fn preemptions(
    scene: &Scene<'_>,
    plan: &Plan,
    running: &[Running],
    after_ms: i64,
) -> Vec<Preemption> {
    if after_ms <= 0 {
        return Vec::new();
    }
    let placed: BTreeSet<usize> = plan.placements.iter().map(|one| one.task).collect();
    let late = |task: usize| {
        let waiting = &scene.waiting[task];
        waiting.needs.uses_gpus()
            && !placed.contains(&task)
            && scene.now_ms.saturating_sub(waiting.ready_ms) >= after_ms
    };
    let mut tasks: Vec<usize> = (0..scene.waiting.len()).filter(|task| late(*task)).collect();
    tasks.sort_by_key(|task| (scene.waiting[*task].ready_ms, &scene.waiting[*task].id));
    let mut users = BTreeSet::new();
    let mut hosts = BTreeSet::new();
    let mut found = Vec::new();
    for task in tasks {
        let user = scene.waiting[task].user.as_str();
        if !users.contains(user)
            && let Some(one) = for_task(scene, plan, running, task, &hosts)
        {
            hosts.insert(one.host);
            users.insert(user);
            found.push(one);
        }
    }
    found
}

fn for_task(
    scene: &Scene<'_>,
    plan: &Plan,
    running: &[Running],
    task: usize,
    taken: &BTreeSet<usize>,
) -> Option<Preemption> {
    let waiting = &scene.waiting[task];
    let avoids = room::avoids(&plan.hosts, waiting);
    let mut best: Option<(usize, Preemption)> = None;
    for (at, host) in plan.hosts.iter().enumerate() {
        if taken.contains(&at) || !room::has_room(host, waiting, avoids) {
            continue;
        }
        let kept = hold::kept(plan, at, scene.now_ms, waiting, Some(task));
        let Some(victims) = on_host(scene, host, running, waiting, &kept) else { continue };
        if best.as_ref().is_none_or(|(count, _)| victims.len() < *count) {
            best = Some((victims.len(), Preemption { task, host: at, victims }));
        }
    }
    best.map(|(_, preemption)| preemption)
}

/// The fewest who can make room for it there; `None` if they cannot, or need not.
fn on_host(
    scene: &Scene<'_>,
    host: &Host,
    running: &[Running],
    task: &Waiting,
    kept: &[&str],
) -> Option<Vec<usize>> {
    let standing = |user: &str| scene.users.get(user).copied().unwrap_or_default();
    let mine = standing(&task.user);
    let yields = |one: &Running| {
        let Standing { gpu_millis, .. } = standing(&one.user);
        let has_less = one.user != task.user && gpu_millis > mine.gpu_millis;
        one.preemptible && (has_less || one.priority < task.priority)
    };
    let there = running.iter().enumerate().filter(|(_, one)| one.worker_id == host.worker_id);
    let mut users_of: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, one) in there {
        one.placed.gpus.iter().for_each(|gpu| users_of.entry(gpu).or_default().push(at));
    }
    let usable = |gpu: &&Gpu| {
        room::is_suited(gpu, task)
            && gpu.usage != GpuUse::Unavailable
            && !kept.contains(&gpu.uuid.as_str())
    };
    // Each GPU with who would have to leave it.
    let mut gpus: Vec<Vec<usize>> = Vec::new();
    for gpu in host.gpus.iter().filter(usable) {
        let on_it = users_of.get(gpu.uuid.as_str()).map(Vec::as_slice).unwrap_or_default();
        let is_known = gpu.usage == GpuUse::Free || !on_it.is_empty();
        if task.needs.gpu_memory_bytes > 0 {
            gpus.extend(share_of(gpu, on_it, running, task, &yields));
        } else if is_known && on_it.iter().all(|at| yields(&running[*at])) {
            gpus.push(on_it.to_vec());
        }
    }
    let wanted = if task.needs.gpu_memory_bytes > 0 { 1 } else { task.needs.gpus.max(0) };
    fewest(&gpus, wanted as usize).filter(|victims| !victims.is_empty())
}

/// Who leaves a shared GPU, largest share first, until there is room for another share.
fn share_of(
    gpu: &Gpu,
    on_it: &[usize],
    running: &[Running],
    task: &Waiting,
    yields: &impl Fn(&Running) -> bool,
) -> Option<Vec<usize>> {
    let share = |at: &usize| match running[*at].placed.gpu_memory_bytes {
        0 => gpu.memory_bytes,
        bytes => bytes,
    };
    let mut leaving: Vec<usize> =
        on_it.iter().copied().filter(|at| yields(&running[*at])).collect();
    leaving.sort_by_key(|at| (-share(at), -running[*at].start_ms));
    let mut free = gpu.free_bytes.max(0);
    let mut victims = Vec::new();
    for at in leaving {
        if free >= task.needs.gpu_memory_bytes {
            break;
        }
        free += share(&at);
        victims.push(at);
    }
    (free >= task.needs.gpu_memory_bytes).then_some(victims)
}

/// So many of the GPUs that the fewest have to leave, and who these are.
fn fewest(gpus: &[Vec<usize>], wanted: usize) -> Option<Vec<usize>> {
    let gpus = &gpus[..gpus.len().min(GPUS_MAX)];
    let mut best: Option<BTreeSet<usize>> = None;
    for chosen in 0_u32..1 << gpus.len() {
        if chosen.count_ones() as usize != wanted {
            continue;
        }
        let of = |at: &usize| chosen >> at & 1 == 1;
        let victims: BTreeSet<usize> =
            (0..gpus.len()).filter(of).flat_map(|at| gpus[at].iter().copied()).collect();
        let is_better = |known: &BTreeSet<usize>| (victims.len(), &victims) < (known.len(), known);
        if best.as_ref().is_none_or(is_better) {
            best = Some(victims);
        }
    }
    best.map(|victims| victims.into_iter().collect())
}
