//! Random walks of commands against the store and a model in memory, on every database.
//!
//! ```text
//!   dice ─▶ roll.rs ─▶ Command ─┬─▶ Store ──▶ answer ─┐
//!             ▲                 │                     ├─ the same? ── look.rs: all that can be
//!             └──── model ◀─────┴─▶ Model ──▶ answer ─┘              read, every LOOK_STEPS
//! ```
//!
//! The model is a map of rows and some maps beside it. What one event makes of one row it asks of
//! `asyncflow_core::transition`, as the store does, and what a new row looks like of
//! `NewTask::into_task`; those have their own tests. All the rest is modelled by itself: which
//! tasks a claim takes and who gets them, what a repeated request or acquire is answered, what a
//! batch does beside a bad member, whose tasks go back when a session ends, what is due and what
//! has run out, the counts, the history, the lists and the change log.
//!
//! Time is the database's. The model reads it off the answers, so nothing here depends on how long
//! anything takes; what is due soon is waited for, and a lease has ended an hour ago or ends in ten
//! minutes. A seed rolls the same commands again; only what falls into the same millisecond may
//! come in another order.
//!
//! `ASYNCFLOW_WALK_SEED` plays one seed, `ASYNCFLOW_WALK_CASES` so many of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod command;
mod events;
mod look;
mod model;
mod roll;
mod tend;
mod world;

use asyncflow_store::testing::{SqliteFile, fresh_database, mariadb, postgres};
use world::World;

/// Commands of a walk.
const STEPS: usize = 200;
/// Commands between two looks at everything.
const LOOK_STEPS: usize = 100;
/// Walks on each database, unless the environment says how many.
const CASES: u64 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_does_as_the_model() {
    for seed in seeds() {
        let file = SqliteFile::new();
        walk(&file.url(), "sqlite", seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_does_as_the_model() {
    for seed in seeds() {
        walk(&fresh_database(mariadb()).await, "mariadb", seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_does_as_the_model() {
    for seed in seeds() {
        walk(&fresh_database(postgres()).await, "postgres", seed).await;
    }
}

async fn walk(url: &str, database: &'static str, seed: u64) {
    let mut world = World::open(url, database, seed).await;
    for step in 1..=STEPS {
        world.step().await;
        if step % LOOK_STEPS == 0 {
            world.look().await;
        }
    }
    world.close().await;
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
    };
    match number("ASYNCFLOW_WALK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ASYNCFLOW_WALK_CASES").unwrap_or(CASES),
    }
}
