//! Who has to make room: the fewest tasks that may be asked to, and have less of a claim.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Gpu, GpuUse, Host, Placed, Plan, Scene, Waiting, hold, room};
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
    /// It was asked to stop, and will.
    pub leaving: bool,
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
    /// UUIDs of what is its own then, also of those that are free now.
    pub gpus: Vec<String>,
}

/// How everybody stands when those who are leaving have left, for those whom they were asked for.
struct Soon<'a> {
    scene: &'a Scene<'a>,
    running: &'a [Running],
    gpu_millis: BTreeMap<&'a str, i64>,
}

impl<'a> Soon<'a> {
    fn new(scene: &'a Scene<'a>, running: &'a [Running]) -> Self {
        let mut gpu_millis: BTreeMap<&str, i64> = BTreeMap::new();
        for (user, standing) in scene.users {
            gpu_millis.insert(user, standing.gpu_millis);
        }
        for one in running.iter().filter(|one| one.leaving) {
            *gpu_millis.entry(&one.user).or_default() -= gpu_millis_of(scene, one);
        }
        for one in scene.promises {
            let (waiting, host) = (&scene.waiting[one.task], &scene.hosts[one.host]);
            *gpu_millis.entry(&waiting.user).or_default() += wanted_millis(host, waiting);
        }
        Self { scene, running, gpu_millis }
    }

    fn has(&self, user: &str) -> i64 {
        self.gpu_millis.get(user).copied().unwrap_or_default()
    }

    /// Whether it makes room for the task: its user has more, or it is less important. One whose
    /// user has less than the other then is left alone for a while, or two would take turns.
    fn yields(&self, host: &Host, at: usize, task: &Waiting) -> bool {
        let one = &self.running[at];
        let (his, mine) = (self.has(&one.user), self.has(&task.user));
        let is_turned =
            his - gpu_millis_of(self.scene, one) < mine.saturating_add(wanted_millis(host, task));
        let has_run = self.scene.now_ms.saturating_sub(one.start_ms);
        let has_less = one.user != task.user && his > mine;
        let may = has_less && (!is_turned || has_run >= self.scene.hold_after_ms);
        one.preemptible && !one.leaving && (may || one.priority < task.priority)
    }
}

/// How many GPUs one that runs has, in thousandths.
fn gpu_millis_of(scene: &Scene<'_>, one: &Running) -> i64 {
    let host = scene.hosts.iter().find(|host| host.worker_id == one.worker_id);
    let gpus = host.map(|host| host.gpus.as_slice()).unwrap_or_default();
    let of = gpus.iter().find(|gpu| one.placed.gpus.contains(&gpu.uuid));
    one.placed.gpu_millis(of.map_or(0, |gpu| gpu.memory_bytes))
}

/// How many GPUs a task asks for there, in thousandths.
fn wanted_millis(host: &Host, task: &Waiting) -> i64 {
    let of = host.gpus.iter().find(|gpu| room::is_suited(gpu, task));
    match task.needs.gpu_memory_bytes {
        0 => i64::from(task.needs.gpus) * 1_000,
        bytes => Placed { gpus: Vec::new(), gpu_memory_bytes: bytes }
            .gpu_millis(of.map_or(0, |gpu| gpu.memory_bytes)),
    }
}

/// Makes room for tasks that have waited for longer than `after_ms` (0 = never), that the plan does
/// not place, and for which nobody was asked yet. At most one for each host, and for each user.
pub fn preemptions(
    scene: &Scene<'_>,
    plan: &Plan,
    running: &[Running],
    after_ms: i64,
) -> Vec<Preemption> {
    if after_ms <= 0 {
        return Vec::new();
    }
    let placed = plan.placements.iter().map(|one| one.task);
    let settled: BTreeSet<usize> =
        placed.chain(scene.promises.iter().map(|one| one.task)).collect();
    let late = |task: usize| {
        let waiting = &scene.waiting[task];
        waiting.needs.uses_gpus()
            && !settled.contains(&task)
            && scene.now_ms.saturating_sub(waiting.ready_ms) >= after_ms
    };
    let mut tasks: Vec<usize> = (0..scene.waiting.len()).filter(|task| late(*task)).collect();
    tasks.sort_by_key(|task| (scene.waiting[*task].ready_ms, &scene.waiting[*task].id));
    let soon = Soon::new(scene, running);
    let holders: BTreeSet<usize> = plan.holds.iter().map(|hold| hold.task).collect();
    let mut users = BTreeSet::new();
    let mut hosts = BTreeSet::new();
    let mut found = Vec::new();
    // Hosts only get fewer, so for what nobody could make room once, nobody can in this look.
    let mut failed = HashSet::new();
    for task in tasks {
        let one = &scene.waiting[task];
        let shape = (
            (one.id.task_type(), one.user.as_str(), &*one.needs),
            (one.priority, one.max_running_ms, holders.get(&task)),
        );
        if users.contains(one.user.as_str()) || failed.contains(&shape) {
            continue;
        }
        match for_task(&soon, plan, task, &hosts) {
            Some(preemption) => {
                hosts.insert(preemption.host);
                users.insert(one.user.as_str());
                found.push(preemption);
            }
            None => {
                failed.insert(shape);
            }
        }
    }
    found
}

fn for_task(
    soon: &Soon<'_>,
    plan: &Plan,
    task: usize,
    taken: &BTreeSet<usize>,
) -> Option<Preemption> {
    let waiting = &soon.scene.waiting[task];
    let avoids = room::avoids(&plan.hosts, waiting, soon.scene.now_ms);
    let mut best: Option<Preemption> = None;
    for (at, host) in plan.hosts.iter().enumerate() {
        if taken.contains(&at) || !room::has_room(host, waiting, avoids) {
            continue;
        }
        let kept = hold::kept(plan, at, soon.scene.now_ms, waiting, Some(task));
        let Some((gpus, victims)) = on_host(soon, host, waiting, &kept) else { continue };
        if victims.is_empty() {
            // It needs a slot there, and no GPU of anybody.
            return None;
        }
        if best.as_ref().is_none_or(|best| victims.len() < best.victims.len()) {
            best = Some(Preemption { task, host: at, victims, gpus });
        }
    }
    best
}

/// The GPUs that the fewest have to leave there, and who these are; `None` if they cannot.
fn on_host(
    soon: &Soon<'_>,
    host: &Host,
    task: &Waiting,
    kept: &[&str],
) -> Option<(Vec<String>, Vec<usize>)> {
    let running = soon.running;
    let yields = |at: usize| soon.yields(host, at, task);
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
    let mut gpus: Vec<(&str, Vec<usize>)> = Vec::new();
    for gpu in host.gpus.iter().filter(usable) {
        let on_it = users_of.get(gpu.uuid.as_str()).map(Vec::as_slice).unwrap_or_default();
        // What the report shows may have ended since.
        let is_free = gpu.usage == GpuUse::Free;
        if task.needs.gpu_memory_bytes > 0 {
            let leaving = share_of(gpu, on_it, running, task, &yields);
            gpus.extend(leaving.map(|leaving| (gpu.uuid.as_str(), leaving)));
        } else if is_free {
            gpus.push((&gpu.uuid, Vec::new()));
        } else if !on_it.is_empty() && on_it.iter().all(|at| yields(*at)) {
            gpus.push((&gpu.uuid, on_it.to_vec()));
        }
    }
    let wanted = if task.needs.gpu_memory_bytes > 0 { 1 } else { task.needs.gpus.max(0) };
    fewest(&gpus, wanted as usize)
}

/// Who leaves a shared GPU, largest share first, until there is room for another share.
fn share_of(
    gpu: &Gpu,
    on_it: &[usize],
    running: &[Running],
    task: &Waiting,
    yields: &impl Fn(usize) -> bool,
) -> Option<Vec<usize>> {
    let share = |at: &usize| match running[*at].placed.gpu_memory_bytes {
        0 => gpu.memory_bytes,
        bytes => bytes,
    };
    let mut leaving: Vec<usize> = on_it.iter().copied().filter(|at| yields(*at)).collect();
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
fn fewest(gpus: &[(&str, Vec<usize>)], wanted: usize) -> Option<(Vec<String>, Vec<usize>)> {
    let gpus = &gpus[..gpus.len().min(GPUS_MAX)];
    let mut best: Option<(BTreeSet<usize>, u32)> = None;
    for chosen in 0_u32..1 << gpus.len() {
        if chosen.count_ones() as usize != wanted {
            continue;
        }
        let of = those(gpus, chosen).flat_map(|(_, on_it)| on_it.iter().copied());
        let victims: BTreeSet<usize> = of.collect();
        let is_better =
            |(known, _): &(BTreeSet<usize>, u32)| (victims.len(), &victims) < (known.len(), known);
        if best.as_ref().is_none_or(is_better) {
            best = Some((victims, chosen));
        }
    }
    let (victims, chosen) = best?;
    let uuids = those(gpus, chosen).map(|(uuid, _)| (*uuid).to_owned()).collect();
    Some((uuids, victims.into_iter().collect()))
}

/// Those of the GPUs whose bit is set.
fn those<T>(gpus: &[T], chosen: u32) -> impl Iterator<Item = &T> {
    gpus.iter().enumerate().filter(move |(at, _)| chosen >> at & 1 == 1).map(|(_, gpu)| gpu)
}
