//! What a host lacks for a task: ever, and now.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::{Gpu, GpuState, Held, Host, Report, Subject, words},
    earliest::earliest,
    never,
};
use crate::{
    id::{ShardId, TaskId, TypeName},
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
    /// GPUs that would do, if it lacks some.
    pub wanted_gpus: Vec<&'a Gpu>,
    pub earliest_ms: Option<i64>,
}

/// Looks at hosts, all of which run the task's type.
pub(super) fn look<'a>(
    subject: &Subject<'a>,
    needs: &Resources,
    hosts: Vec<&'a Host>,
) -> Vec<Look<'a>> {
    let ever = lacking_ever(subject.task.id.task_type(), needs, &hosts);
    let holds = holds(subject, &hosts);
    let waiting = Waiting { needs: Arc::new(needs.clone()), ..Waiting::of(subject.task) };
    let as_they_are = hosts.iter().map(|host| as_it_is(host)).collect();
    let now = lacking(waiting, subject.now_ms, as_they_are, holds);
    let lacking = ever.into_iter().zip(now);
    hosts.into_iter().zip(lacking).map(|(host, of)| look_at(subject, needs, host, of)).collect()
}

fn look_at<'a>(
    subject: &Subject<'a>,
    needs: &Resources,
    host: &'a Host,
    (ever, now): (Vec<Misfit>, Vec<Misfit>),
) -> Look<'a> {
    let gpus = host.report.iter().flat_map(|report| &report.gpus);
    let suits = |gpu: &&Gpu| needs.suits_gpu(&gpu.model, gpu.memory_bytes);
    let suitable: Vec<&Gpu> = gpus.filter(suits).collect();
    let earliest_ms =
        if ever.is_empty() { earliest(subject, needs, host, &now, &suitable) } else { None };
    let lacks_gpus = now.iter().any(|misfit| {
        matches!(misfit, Misfit::Gpus { .. } | Misfit::GpuMemory { .. }) && needs.uses_gpus()
    });
    let wanted_gpus = if lacks_gpus { suitable } else { Vec::new() };
    let lack = now.iter().map(lack).sum();
    Look { host, ever, now, lack, wanted_gpus, earliest_ms }
}

impl<'a> Look<'a> {
    /// A host of which nobody knows what it has.
    pub fn unknown(host: &'a Host) -> Self {
        let (ever, now, wanted_gpus) = (Vec::new(), Vec::new(), Vec::new());
        Self { host, ever, now, lack: 0, wanted_gpus, earliest_ms: None }
    }
}

impl Look<'_> {
    /// What it lacks now, for people.
    pub fn lacks(&self) -> String {
        let lacks = self.now.iter().map(|misfit| lacks_now(self.host, misfit));
        words::list(&lacks.collect::<Vec<_>>())
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
}

/// What each of the hosts lacks for a task of this type even if nothing ran there.
pub(super) fn lacking_ever(
    task_type: &TypeName,
    needs: &Resources,
    hosts: &[&Host],
) -> Vec<Vec<Misfit>> {
    let shard = ShardId { task_type: task_type.clone(), number: 1 };
    let some = Waiting {
        id: TaskId { shard, key: 1 },
        user: String::new(),
        order_time_ms: 0,
        ready_ms: 0,
        priority: 0,
        max_running_ms: 0,
        needs: Arc::new(needs.clone()),
    };
    let mut ever = lacking(some, 0, hosts.iter().map(|host| empty(host)).collect(), Vec::new());
    for (host, lacking) in hosts.iter().zip(&mut ever) {
        // One that has gone before it told of its GPUs may have some.
        if !host.is_alive && host.report.is_none() {
            lacking
                .retain(|misfit| !matches!(misfit, Misfit::Gpus { .. } | Misfit::GpuMemory { .. }));
        }
    }
    ever
}

/// What each of the hosts lacks.
fn lacking(
    task: Waiting,
    now_ms: i64,
    hosts: Vec<placement::Host>,
    holds: Vec<Hold>,
) -> Vec<Vec<Misfit>> {
    let (waiting, users) = ([task], BTreeMap::new());
    let plan = Plan { hosts, holds, ..Plan::default() };
    let scene = Scene {
        now_ms,
        hosts: &plan.hosts,
        waiting: &waiting,
        users: &users,
        hold_after_ms: i64::MAX,
        promises: &[],
    };
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
fn as_it_is(host: &Host) -> placement::Host {
    let empty = empty(host);
    let Some(report) = &host.report else {
        return placement::Host { slots: host.slots.saturating_sub(host.running), ..empty };
    };
    placement::Host {
        slots: host.slots.saturating_sub(host.running),
        running: host.running,
        cpu_millis: report.cpu_free_millis,
        memory_bytes: report.memory_free_bytes,
        gpus: report.gpus.iter().map(|gpu| gpu_as_it_is(gpu, report)).collect(),
        ..empty
    }
}

fn gpu_as_it_is(gpu: &Gpu, report: &Report) -> placement::Gpu {
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
        free_time_ms: None,
    }
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

fn lacks_now(host: &Host, misfit: &Misfit) -> String {
    match misfit {
        Misfit::Gpus { free: 0, .. } => "has none free".to_owned(),
        Misfit::Gpus { free, .. } => format!("has {free} free"),
        Misfit::GpuMemory { most_free, .. } => {
            format!("has {} free on one GPU at most", words::bytes(*most_free))
        }
        Misfit::Cpus { free, .. } => format!("has {} free", words::cores(*free)),
        Misfit::Memory { free, .. } => format!("has {} of memory free", words::bytes(*free)),
        Misfit::Slots => "runs as many tasks as it may".to_owned(),
        other => never::lacks(host, other),
    }
}
