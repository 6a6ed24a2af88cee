//! What tasks wait for that give their slots back, or run again.

use std::borrow::Cow;

use asyncflow_core::event::{Event, Settle};
use sea_orm::DatabaseTransaction;

use super::apply::{Answer, Item};
use crate::{
    Store,
    condition::{Consequences, PendingWait, PendingWaits, pending_waits, waiting_again},
    error::StoreError,
};

/// What the tasks wait for from now on, and no more.
pub(super) fn note_waits(
    items: &[Item],
    answers: &[Answer],
    waits: PendingWaits,
    consequences: &mut Consequences,
) {
    for (item, answer) in items.iter().zip(answers) {
        let is_anew = matches!(item.event, Event::Retry { from_start: true, .. });
        if is_anew && answer.as_ref().is_ok_and(|applied| !applied.task.is_blocked()) {
            consequences.begins_anew(&item.id);
        }
    }
    for (at, PendingWait { rows, .. }) in waits {
        // What another event of this transaction has made of it counts.
        let is_last = |other: &usize| items[*other].id == items[at].id;
        let last = (at..answers.len()).rev().filter(is_last).find(|other| answers[*other].is_ok());
        let waits_on = last.and_then(|last| answers[last].as_ref().ok());
        if answers[at].is_ok() && waits_on.is_some_and(|applied| applied.task.is_blocked()) {
            consequences.wait(rows);
        }
    }
}

/// The events of those who give their slots back until something comes, and of those who run again,
/// which say now whether it is there. Without any, nothing.
pub(super) async fn with_waits<'a>(
    store: &Store,
    tx: &DatabaseTransaction,
    items: &'a [Item],
) -> Result<(Cow<'a, [Item]>, PendingWaits), StoreError> {
    let is_wait = |event: &Event| match event {
        Event::Settle { settle, .. } => matches!(settle, Settle::Wait { .. }),
        event => event.revives(),
    };
    if !items.iter().any(|item| is_wait(&item.event)) {
        return Ok((Cow::Borrowed(items), PendingWaits::new()));
    }
    let retried = items.iter().filter_map(|item| match item.event {
        Event::Retry { from_start, .. } => Some((&item.id, from_start)),
        _ => None,
    });
    let waiting = waiting_again(store, tx, &retried.collect()).await?;
    let events = items.iter().map(|item| (&item.id, &item.event));
    let waits = pending_waits(store, tx, events).await?;
    let mut items = items.to_vec();
    for (at, item) in items.iter_mut().enumerate() {
        if let Event::Retry { is_waiting, .. } = &mut item.event {
            *is_waiting = waiting.contains(&item.id);
        }
        if let Event::Settle { settle: Settle::Wait { is_pending, or_fail, .. }, .. } =
            &mut item.event
            && let Some(found) = waits.get(&at)
        {
            *is_pending = !found.rows.is_empty();
            // It could not know that, and will find it the next time.
            or_fail.take_if(|_| found.is_news);
        }
    }
    Ok((Cow::Owned(items), waits))
}
