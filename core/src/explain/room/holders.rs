//! Who has the GPUs that a task waits for: tasks, those for which they are kept, strangers.

use super::{
    super::{Gpu, GpuState, Kind, Process, Reason, Running, Subject, words},
    Look,
};

/// What is said of the GPUs of a host that would do and are not to be had.
#[derive(Default)]
pub(super) struct Holders {
    /// One for each GPU and each who has it.
    pub reasons: Vec<Reason>,
    /// The same for a sentence, shortened; empty = nothing.
    pub told: String,
}

/// GPUs of which the same is said.
struct Group {
    /// Strangers first: somebody can do something about them.
    rank: u8,
    indexes: Vec<i32>,
    /// Of one of them: `runs train-1-… of bob`.
    predicate: String,
}

pub(super) fn holders(subject: &Subject<'_>, look: &Look<'_>) -> Holders {
    let mut holders = Holders::default();
    let mut groups: Vec<Group> = Vec::new();
    for gpu in &look.wanted_gpus {
        let (rank, reasons) = of_gpu(subject, look, gpu);
        if reasons.is_empty() {
            continue;
        }
        let predicate = said(&reasons);
        match groups.iter_mut().find(|group| group.predicate == predicate) {
            Some(group) => group.indexes.push(gpu.index),
            None => groups.push(Group { rank, indexes: vec![gpu.index], predicate }),
        }
        holders.reasons.extend(reasons.into_iter().map(|(predicate, reason)| {
            let message = format!("GPU {} {predicate}", gpu.index);
            Reason { message, ..reason }.on(look.host).about(gpu)
        }));
    }
    holders.told = told(groups);
    holders
}

/// A predicate, and the reason that it makes with the GPU before it.
type Said = (String, Reason);

fn of_gpu(subject: &Subject<'_>, look: &Look<'_>, gpu: &Gpu) -> (u8, Vec<Said>) {
    let blocking: Vec<&Process> = gpu.processes.iter().filter(|process| process.blocks).collect();
    if gpu.state == GpuState::Foreign && !blocking.is_empty() {
        let held = blocking.into_iter().map(|process| {
            let (predicate, reason) = match trespasser(look, gpu, process) {
                Some(task) => trespasses(task),
                None => {
                    let held = format!("is held by {}", words::process(process, subject.now_ms));
                    (held, Reason::new(Kind::ForeignProcess, ""))
                }
            };
            (predicate, Reason { process: Some(process.clone()), ..reason })
        });
        return (0, held.collect());
    }
    if gpu.state != GpuState::Ready {
        let predicate = why_unavailable(gpu, subject.now_ms);
        return (1, vec![(predicate, Reason::new(Kind::GpuUnavailable, ""))]);
    }
    let of_task = |kind, verb: &str, task_id: String, user: &str| {
        let predicate = format!("{verb} {task_id}{}", words::of(user));
        (predicate, Reason { task_id, user: user.to_owned(), ..Reason::new(kind, "") })
    };
    let report = look.host.report.iter();
    let running = report.flat_map(|report| &report.running);
    let on_it = running.filter(|running| running.gpus.contains(&gpu.uuid));
    let mut reasons: Vec<Said> =
        on_it.map(|one| of_task(Kind::GpuInUse, "runs", one.task_id.clone(), &one.user)).collect();
    let is_busy = !reasons.is_empty();
    let held = subject.holds.iter().filter(|held| {
        held.task_id != subject.task.id
            && held.worker_id == look.host.worker_id
            && held.gpus.contains(&gpu.uuid)
            // A free one that this task may fill meanwhile keeps nobody away.
            && (is_busy || look.kept().contains(&gpu.uuid.as_str()))
    });
    let verb = if is_busy { "is then kept for" } else { "is kept for" };
    reasons.extend(
        held.map(|held| of_task(Kind::HeldForOthers, verb, held.task_id.to_string(), &held.user)),
    );
    (if is_busy { 3 } else { 2 }, reasons)
}

/// The task whose process that is, if it is one that was not given the GPU: then its worker has put
/// the task's id where the command of a stranger stands.
fn trespasser<'a>(look: &Look<'a>, gpu: &Gpu, process: &Process) -> Option<&'a Running> {
    let report = look.host.report.as_ref()?;
    let mut there = report.running.iter().filter(|one| one.trespassed_gpus.contains(&gpu.uuid));
    there.find(|one| process.command.starts_with(&format!("task {},", one.task_id)))
}

fn trespasses(task: &Running) -> Said {
    let (task_id, user) = (task.task_id.clone(), task.user.clone());
    let predicate = format!("is used by {task_id}{}, which was not given it", words::of(&user));
    (predicate, Reason { task_id, user, ..Reason::new(Kind::Trespass, "") })
}

/// `runs a of ann and b of bob and is then kept for c of cyd`
fn said(reasons: &[Said]) -> String {
    let mut predicates: Vec<&str> = Vec::new();
    for (at, (predicate, reason)) in reasons.iter().enumerate() {
        let is_again = at > 0 && reasons[at - 1].1.kind == reason.kind;
        let verb = match reason.kind {
            Kind::GpuInUse => "runs ",
            Kind::ForeignProcess => "is held by ",
            _ => "",
        };
        let rest = predicate.strip_prefix(verb).filter(|_| is_again);
        predicates.push(rest.unwrap_or(predicate));
    }
    predicates.join(" and ")
}

/// `GPU 0 and GPU 1 run …, GPU 3 is held by … and 4 more GPUs`
fn told(mut groups: Vec<Group>) -> String {
    groups.sort_by_key(|group| group.rank);
    let rest = groups.split_off(groups.len().min(words::GPU_GROUPS_MAX));
    groups.sort_by_key(|group| group.indexes.first().copied());
    let one = |group: &Group| {
        let names: Vec<String> = group.indexes.iter().map(|index| format!("GPU {index}")).collect();
        match names.as_slice() {
            [name] => format!("{name} {}", group.predicate),
            _ => format!("{} {}", words::list(&names), words::plural(&group.predicate)),
        }
    };
    let shown: Vec<String> = groups.iter().map(one).collect();
    let more: usize = rest.iter().map(|group| group.indexes.len()).sum();
    let more = match more {
        0 => String::new(),
        more => format!(" and {}", words::count(more, "more GPU", "more GPUs")),
    };
    format!("{}{more}", shown.join(", "))
}

fn why_unavailable(gpu: &Gpu, now_ms: i64) -> String {
    let left = gpu.until_ms.filter(|until_ms| *until_ms > now_ms);
    let left = left.map(|until_ms| words::span(until_ms - now_ms));
    let state = match (gpu.state, left) {
        (GpuState::Ready, _) => "is in use".to_owned(),
        (GpuState::Cordoned, _) => "is cordoned".to_owned(),
        (GpuState::Foreign, _) => "is used by somebody else".to_owned(),
        (GpuState::CoolingDown, None) => "was used by somebody else a moment ago".to_owned(),
        (GpuState::CoolingDown, Some(left)) => {
            format!("was used by somebody else a moment ago and rests for another {left}")
        }
        (GpuState::Quarantined, None) => "has shown a fault".to_owned(),
        (GpuState::Quarantined, Some(left)) => {
            format!("has shown a fault and is tried again in {left}")
        }
        (GpuState::Broken, _) => "is broken".to_owned(),
    };
    let why = if gpu.reason.is_empty() { String::new() } else { format!(" ({})", gpu.reason) };
    format!("{state}{why}")
}
