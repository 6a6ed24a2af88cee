//! Watches the registry, so that rolls and drops are known with their time in the run.

use super::rows::Rows;
use crate::{clock::Stopwatch, error::BenchError, span::Span};
use asyncflow_core::{id::TypeName, shard::ShardState};
use asyncflow_store::{Store, StoreOptions};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::task::JoinHandle;

/// How finely an event is placed in time.
const LOOK: Duration = Duration::from_millis(50);

/// A shard that was seen in a state for the first time.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub shard: i32,
    pub state: ShardState,
    /// In all shards, then.
    pub rows: u64,
    pub at: Duration,
}

/// What the governor did to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// From the look before its row was there to OPEN.
    Rolled,
    /// From DROPPING to GONE.
    Dropped,
}

/// A change with the time that it took, as far as looks show it.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub change: Change,
    pub shard: i32,
    pub rows: u64,
    pub span: Span,
}

/// Looks at the registry until it is dropped.
pub struct Registry {
    seen: Arc<Mutex<Vec<Seen>>>,
    looking: JoinHandle<()>,
}

impl Registry {
    pub async fn watch(
        url: &str,
        name: &TypeName,
        clock: Stopwatch,
        rows: Rows,
    ) -> Result<Self, BenchError> {
        let store = Store::connect(&StoreOptions::new(url)).await?;
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let looking = tokio::spawn(look(store, name.clone(), clock, rows, Arc::clone(&seen)));
        Ok(Self { seen, looking })
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The state in which a shard was seen last.
    pub fn state(&self, shard: i32) -> Option<ShardState> {
        let seen = self.seen();
        let last = seen.iter().rev().find(|seen| seen.shard == shard);
        last.map(|seen| seen.state)
    }

    /// The rolls and drops so far, without the making of the first shard.
    pub fn events(&self) -> Vec<Event> {
        events(&self.seen())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

async fn look(
    store: Store,
    name: TypeName,
    clock: Stopwatch,
    rows: Rows,
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    loop {
        // A look that fails is made again; the calls of the stream tell of an outage.
        for shard in store.list_shards(Some(&name)).await.unwrap_or_default() {
            let (rows, at) = (rows.now(), clock.elapsed());
            let now = Seen { shard: shard.id.number, state: shard.state, rows, at };
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let before = seen.iter().rev().find(|before| before.shard == now.shard);
            if before.is_none_or(|before| before.state != now.state) {
                seen.push(now);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn events(seen: &[Seen]) -> Vec<Event> {
    let first = |shard, states: &[ShardState]| {
        seen.iter().find(|seen| seen.shard == shard && states.contains(&seen.state))
    };
    let mut events = Vec::new();
    for ended in seen {
        let (change, begins) = match ended.state {
            ShardState::Open if ended.shard > 1 => (Change::Rolled, ShardState::Creating),
            ShardState::Gone => (Change::Dropped, ShardState::Dropping),
            _ => continue,
        };
        let began = first(ended.shard, &[begins]).map_or(ended.at, |began| began.at);
        let span = Span { from: began.saturating_sub(LOOK), to: ended.at };
        events.push(Event { change, shard: ended.shard, rows: ended.rows, span });
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roll_and_a_drop_are_found_also_when_their_first_half_was_missed() {
        let seen = |shard, state, ms| Seen { shard, state, rows: 0, at: Duration::from_millis(ms) };
        let seen = [
            seen(1, ShardState::Open, 0),
            seen(2, ShardState::Creating, 1_000),
            seen(2, ShardState::Open, 1_100),
            seen(1, ShardState::Closed, 1_100),
            seen(3, ShardState::Open, 2_000),
            seen(1, ShardState::Dropping, 3_000),
            seen(1, ShardState::Gone, 3_500),
        ];
        let found: Vec<_> = (events(&seen).iter())
            .map(|e| (e.change, e.shard, e.span.from.as_millis(), e.span.to.as_millis()))
            .collect();
        let expected = [
            (Change::Rolled, 2, 950, 1_100),
            (Change::Rolled, 3, 1_950, 2_000),
            (Change::Dropped, 1, 2_950, 3_500),
        ];
        assert_eq!(found, expected);
    }
}
