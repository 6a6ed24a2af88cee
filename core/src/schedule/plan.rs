//! What is to be done at one look at a schedule: which fire times fire, which do not, what is next.

use super::{
    spec::{Overlap, Spec, Times},
    zone::rfc3339,
};
use crate::id::ScheduleId;

/// Fire times that one look deals with at most.
pub const FIRES_MAX: usize = 100;

/// A schedule as it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub id: ScheduleId,
    pub spec: &'a Spec,
    pub times: &'a Times,
    /// The fire time that comes next; `None` if none does.
    pub next_ms: Option<i64>,
    /// A fire time that waits for the end of the last run.
    pub queued_ms: Option<i64>,
    /// Whether what it fired last has not ended.
    pub is_alive: bool,
    pub now_ms: i64,
    /// Fire times that are dealt with; the next look goes on. At most [`FIRES_MAX`].
    pub fires_max: usize,
}

/// What becomes of a fire time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Fire,
    Queue,
    Skip,
    /// Why, for people.
    Miss(String),
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which it is to be done.
    pub verdicts: Vec<(i64, Verdict)>,
    pub next_ms: Option<i64>,
    pub queued_ms: Option<i64>,
    /// What runs is to be cancelled first.
    pub cancels: bool,
}

/// Decides; changes nothing.
pub fn plan(look: &Look<'_>) -> Plan {
    let Look { id, spec, times, now_ms, .. } = *look;
    let due_ms = |fire_ms| spec.due_ms(id, fire_ms);
    let mut is_alive = look.is_alive;
    let mut plan = Plan { next_ms: look.next_ms, queued_ms: look.queued_ms, ..Plan::default() };
    if let Some(fire_ms) = plan.queued_ms.filter(|_| !is_alive) {
        plan.verdicts.push((fire_ms, Verdict::Fire));
        (plan.queued_ms, is_alive) = (None, true);
    }
    while let Some(fire_ms) = plan.next_ms {
        if due_ms(fire_ms) > now_ms || plan.verdicts.len() >= look.fires_max.min(FIRES_MAX) {
            break;
        }
        if is_missed(spec, due_ms(fire_ms), now_ms) {
            plan.next_ms = after_outage(look, fire_ms);
            plan.verdicts.push((fire_ms, Verdict::Miss(missed(fire_ms, plan.next_ms))));
            continue;
        }
        plan.next_ms = times.next_after(fire_ms);
        let verdict = match spec.overlap {
            Overlap::Allow => Verdict::Fire,
            // It would be cancelled at once by the one behind it.
            Overlap::CancelRunning
                if plan.next_ms.is_some_and(|next_ms| due_ms(next_ms) <= now_ms) =>
            {
                Verdict::Skip
            }
            Overlap::QueueOne if is_alive && plan.queued_ms.is_none() => {
                plan.queued_ms = Some(fire_ms);
                Verdict::Queue
            }
            Overlap::Skip | Overlap::QueueOne if is_alive => Verdict::Skip,
            Overlap::Skip | Overlap::QueueOne | Overlap::CancelRunning => Verdict::Fire,
        };
        is_alive |= verdict == Verdict::Fire;
        plan.verdicts.push((fire_ms, verdict));
    }
    let fires = plan.verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Fire);
    plan.cancels = fires && look.is_alive && spec.overlap == Overlap::CancelRunning;
    plan
}

fn is_missed(spec: &Spec, due_ms: i64, now_ms: i64) -> bool {
    due_ms.saturating_add(spec.catch_up_ms) < now_ms
}

/// The fire time at which a schedule goes on that has missed this one. An outage may have lasted
/// for millions of fire times, so they are passed over at once, but for those near the border.
fn after_outage(look: &Look<'_>, fire_ms: i64) -> Option<i64> {
    let Look { spec, times, now_ms, .. } = *look;
    let border_ms = now_ms.saturating_sub(spec.catch_up_ms).saturating_sub(spec.jitter_ms);
    times.next_after(fire_ms.max(border_ms.saturating_sub(1)))
}

fn missed(fire_ms: i64, next_ms: Option<i64>) -> String {
    let until = match next_ms {
        Some(next_ms) => format!("before {}", rfc3339(next_ms)),
        None => "to the last".to_owned(),
    };
    let from = rfc3339(fire_ms);
    format!("the fire times from {from} {until} were over for longer than the catch-up window")
}
