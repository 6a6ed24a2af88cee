//! What keeps a task that could be claimed from all hosts.

mod earliest;
mod fit;
mod holders;
mod never;

use super::{Ahead, Explained, Host, Kind, Reason, Subject, words};
use crate::{id::TypeName, resources::Resources};
use fit::{Look, look};
use holders::holders;

/// Hosts that are told of one by one.
const HOSTS_MAX: usize = 50;

/// The hosts that run a type.
fn running<'a>(task_type: &TypeName, hosts: &'a [Host]) -> Vec<&'a Host> {
    let runs = |host: &&Host| host.types.as_ref().is_none_or(|types| types.contains(task_type));
    hosts.iter().filter(runs).collect()
}

/// See [`super::is_impossible`].
pub(super) fn is_impossible(task_type: &TypeName, needs: &Resources, hosts: &[Host]) -> bool {
    let hosts = running(task_type, hosts);
    if hosts.iter().any(|host| host.is_unknown) {
        return false;
    }
    let ever = fit::lacking_ever(task_type, needs, &hosts);
    !ever.is_empty() && ever.iter().all(|lacking| !lacking.is_empty())
}

pub(super) fn explain(subject: &Subject<'_>) -> Explained {
    let task_type = subject.task.id.task_type();
    let hosts = running(task_type, subject.hosts);
    let queue = queued(subject);
    let first = if hosts.is_empty() {
        let runs_commands = |host: &Host| host.types.as_ref().is_some_and(|types| types.is_empty());
        let but = match subject.hosts.iter().any(runs_commands) {
            true => "; those that are there run commands, and it has none",
            false => "",
        };
        let message = format!("no worker is there for the type {task_type}{but}");
        vec![Reason::new(Kind::NoWorker, message)]
    } else {
        let needs = subject.task.resources.as_deref().cloned().unwrap_or_default();
        match among(subject, &needs, hosts) {
            Found::Reasons(reasons) => reasons,
            Found::Never(reasons) => return unqueued(reasons),
            Found::Waits(waits) => return waits.explained(subject, &needs, queue),
        }
    };
    let summary = sentence(first.first(), &queue);
    let reasons = first.into_iter().chain(queue).collect();
    Explained { summary, reasons, earliest_start_ms: None }
}

/// Its place in the queue helps nobody.
fn unqueued(reasons: Vec<Reason>) -> Explained {
    let summary = sentence(reasons.first(), &None);
    Explained { summary, reasons, earliest_start_ms: None }
}

enum Found<'a> {
    /// No host is in question now, for these reasons.
    Reasons(Vec<Reason>),
    /// As they are, no host will ever be.
    Never(Vec<Reason>),
    Waits(Waits<'a>),
}

fn among<'a>(subject: &Subject<'a>, needs: &Resources, hosts: Vec<&'a Host>) -> Found<'a> {
    let is_needy = needs.is_needy();
    let (unknown, known): (Vec<_>, Vec<_>) = hosts.into_iter().partition(|host| host.is_unknown);
    let mut looks = look(subject, needs, known);
    looks.extend(unknown.into_iter().map(Look::unknown));
    if looks.iter().all(|look| !look.ever.is_empty()) {
        return Found::Never(never::never(needs, &looks));
    }
    let shut = |host: &Host| why_shut(host, is_needy, subject.now_ms);
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
        told.extend(others.iter().take(HOSTS_MAX).map(never::of_host));
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
fn why_shut(host: &Host, is_needy: bool, now_ms: i64) -> Option<String> {
    let order = match (host.is_draining, host.is_cordoned) {
        (true, _) => Some("is draining"),
        (false, true) => Some("is cordoned"),
        (false, false) => None,
    };
    if !host.is_alive {
        let since = host.heard_ms.map(|ms| format!(" since {}", words::span(now_ms - ms)));
        let order = order.map(|order| format!("{order} and")).unwrap_or_else(|| "is".to_owned());
        return Some(format!("{order} away{}", since.unwrap_or_default()));
    }
    if let Some(order) = order {
        return Some(order.to_owned());
    }
    match &host.report {
        Some(report) if !report.takes_nothing.is_empty() => {
            Some(format!("cannot start tasks: {}", report.takes_nothing))
        }
        None if is_needy => Some("does not report what it has".to_owned()),
        Some(_) | None => None,
    }
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
        let (mut reasons, mut told) = (Vec::new(), Vec::new());
        for look in self.looks.iter().take(HOSTS_MAX) {
            let kind = if look.lacks_slot_only() { Kind::NoSlot } else { Kind::TooLittleFree };
            let message = format!("{} {}", look.host.name, look.lacks());
            let holders = holders(subject, look);
            if reasons.is_empty() {
                told.push(message.clone());
                told.extend(Some(holders.told).filter(|told| !told.is_empty()));
            }
            reasons.push(Reason::new(kind, message).on(look.host));
            reasons.extend(holders.reasons);
        }
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

fn queued(subject: &Subject<'_>) -> Option<Reason> {
    let (least, count) = match subject.ahead? {
        Ahead::Exactly(0) | Ahead::AtLeast(0) => return None,
        Ahead::Exactly(count) => ("", count),
        Ahead::AtLeast(count) => ("at least ", count),
    };
    let verb = if count == 1 { "is" } else { "are" };
    let tasks = words::count(count as usize, "task", "tasks");
    // They are placed in another order than that of the queue.
    let turns = if subject.task.is_needy() { ", and users take turns" } else { "" };
    Some(Reason::new(Kind::Queued, format!("{least}{tasks} {verb} before it{turns}")))
}

fn sentence(first: Option<&Reason>, queue: &Option<Reason>) -> String {
    let first = first.map(|first| first.message.as_str()).unwrap_or_default();
    match queue {
        Some(queue) => format!("{first}; {}", queue.message),
        None => first.to_owned(),
    }
}
