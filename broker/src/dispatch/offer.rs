//! Direct match: workers who wait are offered the tasks that are being created.
//!
//! ```text
//!  ingest ─▶ offer: reserve those who wait ─▶ store.insert_for ─▶ close: deal ─▶ answers
//!             only in lanes that have nothing left to claim
//! ```
//!
//! A lane in which older tasks may wait is left to its claims, or a stream of new tasks would
//! overtake them for ever.

use std::collections::BTreeMap;

use asyncflow_core::{id::TypeName, resources::Resources};
use asyncflow_store::{Assigned, Create, Handed, Handover};

use super::{
    Dispatch, Settings,
    parking::{Reserved, Waiting},
};

/// Workers that are reserved until the tasks that they are offered are created. Dropped before it
/// is closed, it lets them wait on.
pub struct Offer {
    dispatch: Dispatch,
    reserved: Vec<Reserved>,
    handover: Handover,
}

/// How many of a type's tasks are offered.
#[derive(Default)]
struct Wanted {
    commands: u32,
    payloads: u32,
}

impl Dispatch {
    /// Reserves those who wait for the tasks that are about to be created.
    pub fn offer(&self, rows: &[Create]) -> Offer {
        let mut wanted: BTreeMap<&TypeName, Wanted> = BTreeMap::new();
        for Create { new, task_type } in rows {
            let needs = Resources::of_task(new.resources.as_ref(), task_type.resources.as_ref());
            let is_needy = needs.is_some_and(|needs| needs.is_needy());
            // One that is not due yet, or has to be placed, would be handed to nobody.
            if !task_type.paused && new.not_before_ms.is_none() && !is_needy {
                let most = task_type.schedule_limit.unsigned_abs();
                let Wanted { commands, payloads } = wanted.entry(&new.task_type).or_default();
                let of_kind = if new.payload.is_command() { commands } else { payloads };
                *of_kind = (*of_kind + 1).min(most);
            }
        }
        let (mut reserved, mut takers) = (Vec::new(), Vec::new());
        for (name, Wanted { commands, payloads }) in wanted {
            if self.shared.parking.waiting(name) == Waiting::Free
                && self.lane(name).has_nothing_left()
            {
                for one in self.shared.parking.reserve_for(name, commands, payloads) {
                    takers.push((name.clone(), self.taker(&one, Some(name))));
                    reserved.push(one);
                }
            }
        }
        let Settings { handout_ttl_ms, answer_bytes_max: bytes_max, .. } = self.shared.settings;
        let handover = Handover { takers, bytes_max, handout_ttl_ms };
        Offer { dispatch: self.clone(), reserved, handover }
    }
}

impl Offer {
    /// What the insert has to know of it.
    pub fn handover(&self) -> &Handover {
        &self.handover
    }

    /// Deals out what was handed over; those who got nothing wait on.
    pub fn close(mut self, handed: impl Iterator<Item = Handed>) {
        let mut brought: Vec<Option<Vec<Assigned>>> = vec![None; self.reserved.len()];
        let mut count = 0;
        for Handed { taker, task } in handed {
            brought[taker].get_or_insert_default().push(Assigned::from(task));
            count += 1;
        }
        metrics::counter!("asyncflow_handed_over_tasks_total").increment(count);
        self.deal(brought);
    }

    fn deal(&mut self, brought: Vec<Option<Vec<Assigned>>>) {
        let reserved = std::mem::take(&mut self.reserved);
        if !reserved.is_empty() {
            self.dispatch.deal(&reserved, brought);
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.deal(Vec::new());
    }
}
