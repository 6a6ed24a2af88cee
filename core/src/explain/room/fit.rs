//! What a host lacks for a task: ever, and now.

use std::{collections::BTreeMap, sync::Arc};

use super::super::{Gpu, GpuState, Held, Host, Kind, Reason, Report, Subject, words};
use crate::{
    placement::{self, GpuUse, Hold, Misfit, Plan, Scene, Waiting, misfits},
    resources::Resources,
};

/// What was found on one host.
pub(super) struct Look<'a> {
    pub host: &'a Host,
    /// What it lacks even if nothing ran there.
    pub ever: Vec<Misfit>,
    /// What it lacks now.
    pub now: Vec<Misfit>,
    /// How much that is; less is better.
    pub lack: i64,
    /// GPUs that would do and may not be used.
    pub shut_gpus: Vec<&'a Gpu>,
    pub earliest_ms: Option<i64>,
}

/// Looks at hosts, all of which run the task's type.
pub(super) fn look<'a>(
    subject: &Subject<'a>,
    needs: &Resources,
    hosts: Vec<&'a Host>,
) -> Vec<Look<'a>> {
    let ever = lacking(subject, needs, hosts.iter().map(|host| empty(host)).collect(), Vec::new());
    let now_ms = subject.now_ms;
    let holds = holds(subject, &hosts);
    let as_they_are = hosts.iter().map(|host| as_it_is(host, now_ms)).collect();
    let now = lacking(subject, needs, as_they_are, holds);
    let lacking = ever.into_iter().zip(now);
    hosts.into_iter().zip(lacking).map(|(host, of)| look_at(subject, needs, host, of)).collect()
}

fn look_at<'a>(
    subject: &Subject<'a>,
    needs: &Resources,
    host: &'a Host,
    (ever, now): (Vec<Misfit>, Vec<Misfit>),
) -> Look<'a> {
    let suits = |gpu: &&Gpu| {
        let model = needs.gpu_model.to_lowercase();
        gpu.memory_bytes >= needs.gpu_memory_min_bytes.max(needs.gpu_memory_bytes)
            && gpu.model.to_lowercase().contains(&model)
    };
    let gpus = host.report.iter().flat_map(|report| &report.gpus);
    let suitable: Vec<&Gpu> = gpus.filter(suits).collect();
    let earliest_ms =
        if ever.is_empty() { earliest(subject, needs, host, &now, &suitable) } else { None };
    let lacks_gpus = now.iter().any(|misfit| {
        matches!(misfit, Misfit::Gpus { .. } | Misfit::GpuMemory { .. }) && needs.uses_gpus()
    });
    let shut = suitable.into_iter().filter(|gpu| gpu.state != GpuState::Ready);
    let shut_gpus = if lacks_gpus { shut.collect() } else { Vec::new() };
    let lack = now.iter().map(lack).sum();
    Look { host, ever, now, lack, shut_gpus, earliest_ms }
}

impl Look<'_> {
    /// What it lacks now, for people.
    pub fn lacks(&self) -> String {
        words::list(&self.now.iter().map(lacks_now).collect::<Vec<_>>())
    }

    /// GPUs that are free and kept for others, by their UUIDs.
    pub fn kept(&self) -> Vec<&'_ str> {
        let kept = self.now.iter().flat_map(|misfit| match misfit {
            Misfit::Gpus { kept, .. } | Misfit::GpuMemory { kept, .. } => kept.as_slice(),
            _ => &[],
        });
        kept.map(String::as_str).collect()
    }

    pub fn lacks_slot_only(&self) -> bool {
        self.now == [Misfit::Slots]
    }

    /// Why it can never take the task.
    pub fn never_reason(&self) -> Reason {
        let why: Vec<String> = self.ever.iter().map(lacks_ever).collect();
        let message = format!("{} {}", self.host.name, words::list(&why));
        Reason::new(Kind::NeverFits, message).on(self.host)
    }
}

/// What each of the hosts lacks.
fn lacking(
    subject: &Subject<'_>,
    needs: &Resources,
    hosts: Vec<placement::Host>,
    holds: Vec<Hold>,
) -> Vec<Vec<Misfit>> {
    let task = subject.task;
    let waiting = [Waiting {
        id: task.id.clone(),
        user: task.user.clone(),
        order_time_ms: task.order_time_ms,
        ready_ms: task.order_time_ms,
        priority: task.priority,
        max_running_ms: task.max_running_ms,
        needs: Arc::new(needs.clone()),
    }];
    let users = BTreeMap::new();
    let scene = Scene {
        now_ms: subject.now_ms,
        hosts: &hosts,
        waiting: &waiting,
        users: &users,
        hold_after_ms: i64::MAX,
        promises: &[],
    };
    let plan = Plan { hosts: hosts.clone(), holds, ..Plan::default() };
    misfits(&scene, &plan, 0)
}

/// What is kept on these hosts for other tasks.
fn holds(subject: &Subject<'_>, hosts: &[&Host]) -> Vec<Hold> {
    let others = subject.holds.iter().filter(|held| held.task_id != subject.task.id);
    let of = |held: &Held| {
        let host = hosts.iter().position(|host| host.worker_id == held.worker_id)?;
        // No index of a waiting task: the only one is the subject.
        let task = usize::MAX;
        Some(Hold { task, host, gpus: held.gpus.clone(), start_ms: held.start_ms })
    };
    others.filter_map(of).collect()
}

/// The host as it would be if nothing ran there.
fn empty(host: &Host) -> placement::Host {
    let report = host.report.as_ref();
    let free = |gpu: &Gpu| placement::Gpu {
        uuid: gpu.uuid.clone(),
        model: gpu.model.clone(),
        memory_bytes: gpu.memory_bytes,
        free_bytes: gpu.memory_bytes,
        usage: GpuUse::Free,
        free_time_ms: None,
    };
    placement::Host {
        worker_id: host.worker_id.clone(),
        name: host.name.clone(),
        labels: host.labels.clone(),
        types: None,
        slots: host.slots.max(1),
        // One that has not told is not said to have too little.
        cpu_millis: report.map_or(i64::MAX, |report| report.cpu_millis),
        memory_bytes: report.map_or(i64::MAX, |report| report.memory_bytes),
        cpu_millis_total: 0,
        memory_bytes_total: 0,
        load: 0.0,
        running: 0,
        gpus: report.map(|report| report.gpus.iter().map(free).collect()).unwrap_or_default(),
    }
}

/// The host as it was reported.
fn as_it_is(host: &Host, now_ms: i64) -> placement::Host {
    let empty = empty(host);
    let Some(report) = &host.report else {
        return placement::Host { slots: host.slots.saturating_sub(host.running), ..empty };
    };
    placement::Host {
        slots: host.slots.saturating_sub(host.running),
        running: host.running,
        cpu_millis: report.cpu_free_millis,
        memory_bytes: report.memory_free_bytes,
        gpus: report.gpus.iter().map(|gpu| gpu_as_it_is(gpu, report, now_ms)).collect(),
        ..empty
    }
}

fn gpu_as_it_is(gpu: &Gpu, report: &Report, now_ms: i64) -> placement::Gpu {
    let on_it: Vec<_> =
        report.running.iter().filter(|running| running.gpus.contains(&gpu.uuid)).collect();
    let given: i64 = on_it.iter().map(|running| running.gpu_share_bytes).sum();
    let rest = gpu.memory_bytes.saturating_sub(given.max(gpu.memory_used_bytes)).max(0);
    let (usage, free_bytes) = match gpu.state {
        GpuState::Ready if on_it.is_empty() => (GpuUse::Free, rest),
        GpuState::Ready if on_it.iter().all(|running| running.gpu_share_bytes > 0) => {
            (GpuUse::Shared, rest)
        }
        GpuState::Ready => (GpuUse::Exclusive, 0),
        _ => (GpuUse::Unavailable, 0),
    };
    placement::Gpu {
        uuid: gpu.uuid.clone(),
        model: gpu.model.clone(),
        memory_bytes: gpu.memory_bytes,
        free_bytes,
        usage,
        free_time_ms: free_ms(gpu, report, now_ms),
    }
}

/// When nothing of ours is on a GPU any more, and it may be used.
fn free_ms(gpu: &Gpu, report: &Report, now_ms: i64) -> Option<i64> {
    let usable_ms = match gpu.state {
        GpuState::Ready => now_ms,
        GpuState::CoolingDown | GpuState::Quarantined => gpu.until_ms?,
        GpuState::Cordoned | GpuState::Foreign | GpuState::Broken => return None,
    };
    let on_it = report.running.iter().filter(|running| running.gpus.contains(&gpu.uuid));
    on_it
        .map(|running| running.end_time_max_ms)
        .try_fold(usable_ms.max(now_ms), |last, end_ms| end_ms.map(|end_ms| last.max(end_ms)))
}

/// When the host has room if all tasks end by their limits.
fn earliest(
    subject: &Subject<'_>,
    needs: &Resources,
    host: &Host,
    now: &[Misfit],
    suitable: &[&Gpu],
) -> Option<i64> {
    if now.is_empty() {
        return Some(subject.now_ms);
    }
    let report = host.report.as_ref()?;
    let is_gpu =
        |misfit: &&Misfit| matches!(misfit, Misfit::Gpus { .. } | Misfit::GpuMemory { .. });
    let mut earliest_ms = subject.now_ms;
    if now.iter().any(|misfit| is_gpu(&misfit)) {
        // Nobody knows when those are free that are kept for others.
        let is_kept = |gpu: &Gpu| {
            let others = subject.holds.iter().filter(|held| held.task_id != subject.task.id);
            let mut here = others.filter(|held| held.worker_id == host.worker_id);
            here.any(|held| held.gpus.contains(&gpu.uuid))
        };
        let open = suitable.iter().filter(|gpu| !is_kept(gpu));
        let mut free: Vec<i64> =
            open.filter_map(|gpu| free_ms(gpu, report, subject.now_ms)).collect();
        free.sort_unstable();
        let wanted = usize::try_from(needs.gpus.max(1)).unwrap_or(1);
        earliest_ms = earliest_ms.max(*free.get(wanted - 1)?);
    }
    if !now.iter().all(|misfit| is_gpu(&misfit)) {
        // Who has how much is not known: surely when all have ended.
        let mut ends = report.running.iter().map(|running| running.end_time_max_ms);
        earliest_ms = ends.try_fold(earliest_ms, |last, end| end.map(|end| last.max(end)))?;
    }
    Some(earliest_ms)
}

/// How much is missing, to tell which host is the closest; what is of another kind weighs more.
fn lack(misfit: &Misfit) -> i64 {
    match misfit {
        Misfit::Gpus { wanted, free, .. } => i64::from(*wanted) - *free as i64,
        Misfit::Slots | Misfit::Cpus { .. } | Misfit::Memory { .. } => 1,
        Misfit::GpuMemory { .. } => 1,
        Misfit::Type | Misfit::Host { .. } | Misfit::Avoided | Misfit::Labels { .. } => 1_000,
    }
}

fn lacks_now(misfit: &Misfit) -> String {
    match misfit {
        Misfit::Gpus { free: 0, .. } => "has none free".to_owned(),
        Misfit::Gpus { free, .. } => format!("has {free} free"),
        Misfit::GpuMemory { most_free, .. } => {
            format!("has {} free on one GPU at most", words::bytes(*most_free))
        }
        Misfit::Cpus { free, .. } => format!("has {} free", words::cores(*free)),
        Misfit::Memory { free, .. } => format!("has {} of memory free", words::bytes(*free)),
        Misfit::Slots => "runs as many tasks as it may".to_owned(),
        other => lacks_ever(other),
    }
}

fn lacks_ever(misfit: &Misfit) -> String {
    match misfit {
        Misfit::Type => "does not run its type".to_owned(),
        Misfit::Host { wanted } => format!("is not {wanted}"),
        Misfit::Avoided => "has given it away".to_owned(),
        Misfit::Labels { missing } => {
            let labels = missing.iter().map(|(key, value)| format!("{key}={value}"));
            format!("is not labelled {}", words::list(&labels.collect::<Vec<_>>()))
        }
        Misfit::Slots => "runs no tasks".to_owned(),
        Misfit::Cpus { free, .. } => format!("has {}", words::cores(*free)),
        Misfit::Memory { free, .. } => format!("has {} of memory", words::bytes(*free)),
        Misfit::Gpus { suitable: 0, .. } => "has no such GPU".to_owned(),
        Misfit::Gpus { suitable, .. } => format!("has {suitable} such"),
        Misfit::GpuMemory { .. } => "has no such GPU".to_owned(),
    }
}
