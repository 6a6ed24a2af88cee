//! What keeps a task that could be claimed from all hosts.

mod fit;

use super::{Ahead, Explained, Gpu, GpuState, Host, Kind, Process, Reason, Subject, words};
use crate::resources::Resources;
use fit::{Look, look};

/// Hosts that are told of one by one.
const HOSTS_MAX: usize = 50;

pub(super) fn explain(subject: &Subject<'_>) -> Explained {
    let task_type = subject.task.id.task_type();
    let accepts = |host: &&Host| host.types.as_ref().is_none_or(|types| types.contains(task_type));
    let hosts: Vec<&Host> = subject.hosts.iter().filter(accepts).collect();
    let queue = queued(subject);
    let first = if hosts.is_empty() {
        let message = format!("no worker is there for the type {task_type}");
        vec![Reason::new(Kind::NoWorker, message)]
    } else {
        let needs = subject.task.resources.as_deref().cloned().unwrap_or_default();
        match among(subject, &needs, hosts) {
            Found::Reasons(reasons) => reasons,
            Found::Waits(waits) => return waits.explained(subject, &needs, queue),
        }
    };
    let summary = sentence(first.first(), &queue);
    let reasons = first.into_iter().chain(queue).collect();
    Explained { summary, reasons, earliest_start_ms: None }
}

enum Found<'a> {
    /// No host is in question now, for these reasons.
    Reasons(Vec<Reason>),
    Waits(Waits<'a>),
}

fn among<'a>(subject: &Subject<'a>, needs: &Resources, hosts: Vec<&'a Host>) -> Found<'a> {
    let is_needy = needs.is_needy();
    let looks = look(subject, needs, hosts);
    if looks.iter().all(|look| !look.ever.is_empty()) {
        return Found::Reasons(never(needs, &looks));
    }
    let shut = |host: &Host| why_shut(host, is_needy);
    let (open, closed): (Vec<_>, Vec<_>) =
        looks.into_iter().partition(|look| shut(look.host).is_none());
    let (mut fitting, others): (Vec<_>, Vec<_>) =
        open.into_iter().partition(|look| look.ever.is_empty());
    if fitting.is_empty() {
        let able = closed.iter().filter(|look| look.ever.is_empty()).take(HOSTS_MAX);
        let told = able.filter_map(|look| {
            let message = format!("{} {}", look.host.name, shut(look.host)?);
            Some(Reason::new(Kind::NoWorkerReady, message).on(look.host))
        });
        let mut told: Vec<Reason> = told.collect();
        told.extend(others.iter().take(HOSTS_MAX).map(|look| look.never_reason()));
        let names: Vec<String> = told.iter().map(|reason| reason.message.clone()).collect();
        let needs = words::needs(needs);
        let head = format!("no host with {needs} takes tasks now: {}", words::list(&names));
        told.insert(0, Reason::new(Kind::NoWorkerReady, head));
        return Found::Reasons(told);
    }
    // Those that lack the least first.
    fitting.sort_by(|a, b| (a.lack, &a.host.worker_id).cmp(&(b.lack, &b.host.worker_id)));
    Found::Waits(Waits { looks: fitting })
}

/// Why a host gets no tasks at all.
fn why_shut(host: &Host, is_needy: bool) -> Option<&'static str> {
    if !host.is_alive {
        Some("was not heard of lately")
    } else if host.is_draining {
        Some("is draining")
    } else if host.is_cordoned {
        Some("is cordoned")
    } else if is_needy && host.report.is_none() {
        Some("does not report what it has")
    } else {
        None
    }
}

fn never(needs: &Resources, looks: &[Look<'_>]) -> Vec<Reason> {
    let mut told: Vec<Reason> = looks.iter().take(HOSTS_MAX).map(Look::never_reason).collect();
    let why: Vec<String> = told.iter().map(|reason| reason.message.clone()).collect();
    let head = format!("no host could ever give it {}: {}", words::needs(needs), words::list(&why));
    told.insert(0, Reason::new(Kind::NeverFits, head));
    told
}

/// It waits until a host has room, or its turn comes.
struct Waits<'a> {
    looks: Vec<Look<'a>>,
}

impl Waits<'_> {
    fn explained(
        self,
        subject: &Subject<'_>,
        needs: &Resources,
        queue: Option<Reason>,
    ) -> Explained {
        let earliest_start_ms = self.looks.iter().filter_map(|look| look.earliest_ms).min();
        let Some(best) = self.looks.first() else { return Explained::default() };
        if best.now.is_empty() {
            let next = format!("it is next, {} has room for it", best.host.name);
            let is_next = subject.ahead.is_none_or(|ahead| ahead == Ahead::Exactly(0));
            let reason = match queue {
                Some(queue) if !is_next => queue,
                _ => Reason::new(Kind::Queued, next).on(best.host),
            };
            let summary = reason.message.clone();
            return Explained { summary, reasons: vec![reason], earliest_start_ms };
        }
        let mut reasons = Vec::new();
        for look in self.looks.iter().take(HOSTS_MAX) {
            let kind = if look.lacks_slot_only() { Kind::NoSlot } else { Kind::TooLittleFree };
            let message = format!("{} {}", look.host.name, look.lacks());
            reasons.push(Reason::new(kind, message).on(look.host));
            reasons.extend(obstacles(look, subject.now_ms));
            reasons.extend(held(subject, look));
        }
        let of_best = reasons.iter().take_while(|reason| reason.worker_id == best.host.worker_id);
        let told: Vec<String> = of_best.map(|reason| reason.message.clone()).collect();
        let mut head = format!("waiting for {}: {}", words::needs(needs), told.join(", "));
        if self.looks.len() > 1 {
            let verb = if self.looks.len() == 2 { "is" } else { "are" };
            let others = words::count(self.looks.len() - 1, "other host", "other hosts");
            head += &format!(", {others} {verb} no better");
        }
        let summary = sentence(Some(&Reason::new(Kind::TooLittleFree, head)), &queue);
        reasons.extend(queue);
        Explained { summary, reasons, earliest_start_ms }
    }
}

/// GPUs of a host that would do and may not be used, and strangers on them.
fn obstacles(look: &Look<'_>, now_ms: i64) -> Vec<Reason> {
    let mut told = Vec::new();
    for gpu in &look.shut_gpus {
        let blocking = gpu.processes.iter().filter(|process| process.blocks);
        let blocking: Vec<&Process> = blocking.collect();
        if gpu.state == GpuState::Foreign && !blocking.is_empty() {
            told.extend(blocking.into_iter().map(|process| {
                let who = words::process(process, now_ms);
                let message = format!("GPU {} is held by {who}", gpu.index);
                let reason = Reason::new(Kind::ForeignProcess, message).on(look.host).about(gpu);
                Reason { process: Some(process.clone()), ..reason }
            }));
        } else {
            let message = format!("GPU {} {}", gpu.index, why_unavailable(gpu, now_ms));
            told.push(Reason::new(Kind::GpuUnavailable, message).on(look.host).about(gpu));
        }
    }
    told
}

/// For whom free GPUs are kept.
fn held(subject: &Subject<'_>, look: &Look<'_>) -> Vec<Reason> {
    let kept = look.kept();
    let there = subject.holds.iter().filter(|held| {
        held.worker_id == look.host.worker_id
            && held.gpus.iter().any(|gpu| kept.contains(&gpu.as_str()))
    });
    let told = there.map(|held| {
        let count = held.gpus.iter().filter(|gpu| kept.contains(&gpu.as_str())).count();
        let (gpus, verb) =
            (words::count(count, "free GPU", "free GPUs"), if count == 1 { "is" } else { "are" });
        let message = format!(
            "{gpus} {verb} kept for {}, which needs {} and has waited for long",
            held.task_id,
            held.gpus.len()
        );
        Reason::new(Kind::HeldForOthers, message).on(look.host)
    });
    told.collect()
}

fn why_unavailable(gpu: &Gpu, now_ms: i64) -> String {
    let state = match gpu.state {
        GpuState::Ready => "is in use",
        GpuState::Cordoned => "is cordoned",
        GpuState::Foreign => "is used by somebody else",
        GpuState::CoolingDown => "was used by somebody else a moment ago",
        GpuState::Quarantined => "has shown a fault",
        GpuState::Broken => "is broken",
    };
    let until = gpu.until_ms.filter(|until_ms| *until_ms > now_ms);
    let until = until.map(|until_ms| format!(" for another {}", words::span(until_ms - now_ms)));
    let why = if gpu.reason.is_empty() { String::new() } else { format!(" ({})", gpu.reason) };
    format!("{state}{}{why}", until.unwrap_or_default())
}

fn queued(subject: &Subject<'_>) -> Option<Reason> {
    let (least, count) = match subject.ahead? {
        Ahead::Exactly(0) => return None,
        Ahead::Exactly(count) => ("", count),
        Ahead::AtLeast(count) => ("at least ", count),
    };
    let verb = if count == 1 { "is" } else { "are" };
    let tasks = words::count(count as usize, "task", "tasks");
    Some(Reason::new(Kind::Queued, format!("{least}{tasks} {verb} before it")))
}

fn sentence(first: Option<&Reason>, queue: &Option<Reason>) -> String {
    let first = first.map(|first| first.message.as_str()).unwrap_or_default();
    match queue {
        Some(queue) => format!("{first}; {}", queue.message),
        None => first.to_owned(),
    }
}
