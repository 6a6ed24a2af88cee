//! Holds: GPUs that are freed are kept for a task that needs several and has waited for too long,
//! or for the one that others were asked to leave them for.
//!
//! Without them a stream of tasks that need one GPU each would take every GPU that is freed, and
//! several would never be free at once.

use std::collections::BTreeSet;

use super::{Gpu, GpuUse, Host, Plan, Promise, Queue, Scene, Waiting, best, room, take};

/// GPUs of a host that are kept for a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Index into the waiting tasks.
    pub task: usize,
    /// Index into the hosts.
    pub host: usize,
    /// UUIDs, also of those that others still use.
    pub gpus: Vec<String>,
    /// When all of them are free at the latest; `None` = not known.
    pub start_ms: Option<i64>,
}

/// Places the tasks that others were asked to make room for, or keeps that room for them. How many
/// holds that are.
pub(super) fn keep_promises<'a>(
    scene: &Scene<'a>,
    plan: &mut Plan,
    queue: &mut Queue<'a>,
) -> usize {
    // All of them first, or one of these tasks would be placed on what another was promised.
    plan.holds.extend(scene.promises.iter().map(|Promise { task, host, gpus }| Hold {
        task: *task,
        host: *host,
        gpus: gpus.clone(),
        start_ms: None,
    }));
    for Promise { task, .. } in scene.promises {
        if let Some(placement) = best(scene, plan, *task) {
            plan.holds.retain(|hold| hold.task != *task);
            queue.remove(&scene.waiting[*task].user, *task);
            take(scene, plan, queue, placement);
        }
    }
    plan.holds.len()
}

/// Tasks that need several GPUs and have waited for too long, who waits the longest first; of each
/// user one, or one user could keep all hosts. Those that were promised GPUs need no hold.
pub(super) fn overdue(scene: &Scene<'_>) -> Vec<usize> {
    let late = |task: &Waiting| {
        task.needs.gpus > 1 && scene.now_ms.saturating_sub(task.ready_ms) >= scene.hold_after_ms
    };
    let promised: BTreeSet<usize> = scene.promises.iter().map(|one| one.task).collect();
    let each = scene.waiting.iter().enumerate().filter(|(at, _)| !promised.contains(at));
    let mut overdue: Vec<usize> = each.filter(|(_, task)| late(task)).map(|(at, _)| at).collect();
    overdue.sort_by_key(|at| (scene.waiting[*at].ready_ms, &scene.waiting[*at].id));
    let mut users = BTreeSet::new();
    overdue.retain(|at| users.insert(scene.waiting[*at].user.as_str()));
    overdue
}

/// Places an overdue task, or keeps what it needs where that is free first. The first holds of the
/// plan are those that were `promised`.
pub(super) fn place_or_hold<'a>(
    scene: &Scene<'a>,
    plan: &mut Plan,
    queue: &mut Queue<'a>,
    task: usize,
    promised: usize,
) {
    if let Some(placement) = best(scene, plan, task) {
        queue.remove(&scene.waiting[task].user, task);
        take(scene, plan, queue, placement);
        return;
    }
    let waiting = &scene.waiting[task];
    let avoids = room::avoids(&plan.hosts, waiting, scene.now_ms);
    let holds = plan.hosts.iter().enumerate().filter_map(|(at, host)| {
        // Two holds on one host could keep each other from ever being filled.
        if plan.holds[promised..].iter().any(|hold| hold.host == at) {
            return None;
        }
        if !room::is_eligible(host, waiting, avoids) {
            return None;
        }
        let promised = plan.holds[..promised].iter().filter(|hold| hold.host == at);
        let promised: Vec<&str> =
            promised.flat_map(|hold| hold.gpus.iter().map(String::as_str)).collect();
        hold_on(host, waiting, scene.now_ms, &promised)
            .map(|(rank, gpus, start_ms)| (rank, at, Hold { task, host: at, gpus, start_ms }))
    });
    let first = holds.min_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    plan.holds.extend(first.map(|(_, _, hold)| hold));
}

/// When it starts, and how many GPUs it waits for.
type Rank = (i64, usize);

/// The GPUs that are free first. Nobody knows when those are that were promised to others.
fn hold_on(
    host: &Host,
    task: &Waiting,
    now_ms: i64,
    promised: &[&str],
) -> Option<(Rank, Vec<String>, Option<i64>)> {
    let wanted = task.needs.gpus.max(0) as usize;
    let is_free = |gpu: &Gpu| gpu.usage == GpuUse::Free && !promised.contains(&gpu.uuid.as_str());
    let free_ms = |gpu: &Gpu| match gpu.usage {
        _ if is_free(gpu) => now_ms,
        GpuUse::Free => i64::MAX,
        _ => gpu.free_time_ms.map_or(i64::MAX, |free_ms| free_ms.max(now_ms)),
    };
    let usable = |gpu: &&Gpu| room::is_suited(gpu, task) && gpu.usage != GpuUse::Unavailable;
    let mut gpus: Vec<&Gpu> = host.gpus.iter().filter(usable).collect();
    gpus.sort_by(|a, b| (free_ms(a), &a.uuid).cmp(&(free_ms(b), &b.uuid)));
    gpus.truncate(wanted);
    let last_ms = gpus.last().filter(|_| gpus.len() == wanted).map(|gpu| free_ms(gpu))?;
    let missing = gpus.iter().filter(|gpu| !is_free(gpu)).count();
    // It is not GPUs that it waits for there, and nobody knows whether it ever gets the rest.
    if missing == 0 && !room::has_room(host, task, false) && !room::is_known_to_do(host, task) {
        return None;
    }
    let uuids = gpus.iter().map(|gpu| gpu.uuid.clone()).collect();
    Some(((last_ms, missing), uuids, (last_ms != i64::MAX).then_some(last_ms)))
}

/// GPUs of a host that this task must leave to others. One that has ended when they are needed may
/// use them until then.
pub(super) fn kept<'p>(
    plan: &'p Plan,
    host: usize,
    now_ms: i64,
    task: &Waiting,
    index: Option<usize>,
) -> Vec<&'p str> {
    let ends_ms = now_ms.saturating_add(task.max_running_ms);
    let fills = |hold: &Hold| {
        task.max_running_ms > 0 && hold.start_ms.is_some_and(|start_ms| ends_ms <= start_ms)
    };
    let others = plan.holds.iter().filter(|hold| hold.host == host && Some(hold.task) != index);
    let others = others.filter(|hold| !fills(hold));
    others.flat_map(|hold| hold.gpus.iter().map(String::as_str)).collect()
}
