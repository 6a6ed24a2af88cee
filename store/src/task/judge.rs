//! Looks at results before they are written: what a `success_if` says of one takes a while, and
//! neither locks nor those who share a batch are to wait for it. A task's `success_if` never
//! changes, so what it says of a result stays.

use asyncflow_core::{
    event::{Event, Settle},
    id::TaskId,
    task::{Content, Task},
    verdict::Verdict,
};
use futures::future::join_all;
use tokio::task::spawn_blocking;

use super::apply::Item;
use crate::Store;

/// A result that is to be looked at: its place among the events, and the condition.
pub(super) type Unjudged = (usize, String);

impl Store {
    /// Looks at the results of the tasks that this process has written last. Those of others are
    /// looked at when they are applied.
    pub async fn judge(&self, events: &mut [(TaskId, Event)]) {
        let completed: Vec<(usize, &TaskId)> = (events.iter().enumerate())
            .filter(|(_, (_, event))| result_of(event).is_some())
            .map(|(at, (id, _))| (at, id))
            .collect();
        if completed.is_empty() {
            return;
        }
        let unjudged = self.leases().success_ifs(completed);
        if !unjudged.is_empty() {
            self.judge_these(events.iter_mut().map(|(_, event)| event), unjudged).await;
        }
    }

    /// Looks at these results.
    pub(super) async fn judge_items(&self, items: &mut [Item], unjudged: Vec<Unjudged>) {
        self.judge_these(items.iter_mut().map(|item| &mut item.event), unjudged).await;
    }

    async fn judge_these(&self, events: impl Iterator<Item = &mut Event>, unjudged: Vec<Unjudged>) {
        let mut events: Vec<&mut Event> = events.collect();
        let looks = unjudged.into_iter().filter_map(|(at, success_if)| {
            let result = result_of(events.get(at)?)?.cloned();
            let look = spawn_blocking(move || Verdict::of(&success_if, result.as_ref()));
            Some(async move { (at, look.await) })
        });
        let verdicts = join_all(looks.collect::<Vec<_>>()).await;
        self.fault_point("result.judged").await;
        for (at, found) in verdicts {
            // Without one the machine looks itself.
            let (Ok(found), Some(event)) = (found, events.get_mut(at)) else { continue };
            if let Event::Settle { settle: Settle::Complete { verdict, .. }, .. } = event {
                *verdict = Some(found);
            }
        }
    }
}

/// The condition that the result of this event is to be looked at by, if it was not yet.
pub(super) fn unjudged<'a>(event: &Event, task: &'a Task) -> Option<&'a str> {
    let is_unjudged = !task.success_if.is_empty() && result_of(event).is_some();
    is_unjudged.then_some(task.success_if.as_str())
}

/// A result that nobody has looked at.
fn result_of(event: &Event) -> Option<Option<&Content>> {
    match event {
        Event::Settle { settle: Settle::Complete { result, verdict: None }, .. } => {
            Some(result.as_ref())
        }
        _ => None,
    }
}
