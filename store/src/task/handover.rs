//! Direct match: tasks go to workers who wait for them while they are created, and are inserted as
//! already claimed. No claim has to find them.

use std::collections::BTreeMap;

use asyncflow_core::{
    event::Event,
    id::TypeName,
    invariant::check_step,
    state::TaskState,
    task::{FullTask, Task},
    transition::transition,
};

use super::{Taker, places::Places};
use crate::ledger::Ledger;

/// Who waits for the tasks of a batch of creates. It is up to the caller that no older task waits
/// for them.
#[derive(Clone, Debug, Default)]
pub struct Handover {
    /// Served in this order, each with tasks of its type.
    pub takers: Vec<(TypeName, Taker)>,
    /// Most bytes of payloads and contexts that are handed over, unless the first task has more.
    pub bytes_max: usize,
    /// How long a taker has to say that it started, in milliseconds.
    pub handout_ttl_ms: i64,
}

/// A new task, not written yet, and who takes it: an index into the takers.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub full: FullTask,
    pub taker: Option<usize>,
}

impl Handover {
    /// Lets the takers take the tasks that are ready, in the order of their `order_time`, but for
    /// those takers whose acquire id was used before.
    pub(super) fn deal<'a>(
        &self,
        made: impl Iterator<Item = &'a mut Made>,
        replays: &[usize],
        now_ms: i64,
        ledger: &mut Ledger,
    ) {
        let mut waiting: BTreeMap<&TypeName, Places> = BTreeMap::new();
        for (at, (name, taker)) in self.takers.iter().enumerate() {
            if !replays.contains(&at) {
                waiting.entry(name).or_default().add(at, taker);
            }
        }
        let mut ready: Vec<&mut Made> = made.filter(|made| is_ready(&made.full.task)).collect();
        ready.sort_by_key(|made| (made.full.task.order_time_ms, made.full.task.id.key));
        let mut bytes = None;
        for made in ready {
            let with_this = bytes.unwrap_or(0) + made.full.bytes();
            let task = &mut made.full.task;
            let Some(places) = waiting.get_mut(task.id.task_type()) else { continue };
            if bytes.is_some() && with_this > self.bytes_max {
                break;
            }
            let is_command = made.full.body.payload.is_command();
            let Some(at) = places.next(is_command) else { continue };
            let taker = &self.takers[at].1;
            if step(task, &taker.claims(self.handout_ttl_ms), now_ms, ledger) {
                if let Some(event) = taker.starts(task) {
                    step(task, &event, now_ms, ledger);
                }
                made.taker = Some(at);
                bytes = Some(with_this);
            }
        }
    }
}

/// Whether any worker that has a slot may take it.
fn is_ready(task: &Task) -> bool {
    task.state == TaskState::Pending && !task.is_needy()
}

/// Whether the event happened to the task.
fn step(task: &mut Task, event: &Event, now_ms: i64, ledger: &mut Ledger) -> bool {
    let Ok(step) = transition(task, event, now_ms) else { return false };
    debug_assert_eq!(check_step(task, event, &step), Ok(()), "{event:?}");
    ledger.changed(task, event, &step.task);
    *task = step.task;
    true
}
