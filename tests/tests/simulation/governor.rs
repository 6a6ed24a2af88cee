//! The governor: two looks, by the same book as the real one.

use std::{sync::Arc, time::Duration};

use asyncflow_core::{
    event::Event,
    lease::{BrokerWatch, LookBook, Suspect},
    transition::transition,
};

use super::{
    database::{Database, Write},
    times::{HEARTBEAT_MS, LOOK_MS, WORKER_SILENT_MS},
};

const SUSPECTS_MAX: usize = 1_000;

pub async fn run(database: Arc<Database>) -> turmoil::Result {
    let mut book = LookBook::new(HEARTBEAT_MS, LOOK_MS, SUSPECTS_MAX);
    let mut brokers = BrokerWatch::default();
    loop {
        tokio::time::sleep(Duration::from_millis(LOOK_MS as u64)).await;
        if database.is_away() {
            book.interrupted();
            continue;
        }
        let now_ms = database.now_ms();
        if brokers.is_away(database.beats(), HEARTBEAT_MS, now_ms) {
            book.interrupted();
            continue;
        }
        let suspects = database.suspects();
        for suspect in book.look(&suspects, now_ms) {
            reap(&database, suspect);
        }
        database.forget_workers(WORKER_SILENT_MS);
    }
}

/// Unless it has moved on.
fn reap(database: &Database, suspect: &Suspect) {
    let Some(row) = database.read(&suspect.id) else { return };
    let before = row.task;
    if (before.attempt, before.holder.beats) != (suspect.attempt, suspect.beats) {
        return;
    }
    let event = Event::LeaseExpired;
    if let Ok(step) = transition(&before, &event, database.now_ms()) {
        database.write(vec![Write { before, event, step, asked: None }]);
    }
}
