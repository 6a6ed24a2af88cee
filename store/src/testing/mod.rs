//! Real servers for tests and benchmarks: MariaDB, PostgreSQL and Redis from the distribution's
//! packages, in temporary directories, on free ports. No mocks, no containers.
//!
//! ```text
//! test process ──stdin pipe──▶ sh (supervisor) ──▶ server
//!       ✗ dies                   read ends: kill -KILL server, rm -rf its directory
//! ```
//!
//! A server never outlives the process that started it, however that process ends.

mod dice;
mod fill;
mod hold;
mod mariadb;
mod postgres;
mod postgres_storage;
mod raw;
mod redis;
mod refuse;
mod server;
mod shifted_clock;
mod small_disk;
mod sqlite;
mod supervised;
mod tally;
mod transactions;
mod work;

pub use dice::Dice;
pub use fill::fill_finished;
pub use hold::{HeldRead, HeldSnapshot, hold_snapshot};
pub use mariadb::{mariadb, start_mariadb, start_mariadb_on, start_mariadb_with};
pub use postgres::{postgres, start_postgres, start_postgres_on, start_postgres_with};
pub use postgres_storage::{
    PostgresStorage, hurry_autovacuum, postgres_storage, set_postgres_storage, switch_log,
    vacuum_and_checkpoint,
};
pub use raw::{insert_raw, make_raw};
pub use redis::start_redis;
pub use refuse::refuse_changes;
pub use server::{Durability, Server, free_port};
pub use shifted_clock::ShiftedClock;
pub use small_disk::SmallDisk;
pub use sqlite::SqliteFile;
pub use supervised::Supervised;
pub use tally::tally;
pub use transactions::open_transactions;
pub use work::{STATISTICS_LAG, ServerWork, server_work};

use std::io::Write;

use asyncflow_core::{
    id::{ScheduleId, ShardId},
    state::TaskState,
};
use sea_orm::{ConnectionTrait, Database};

use crate::{Store, StoreError, ledger::add_counts};

/// Says that the test of this thread, or a part of it, is not made here: past the capture of the
/// test runner, which shows what is printed of failed tests alone.
pub fn tell_skipped(reason: &str) {
    let thread = std::thread::current();
    let line = format!("SKIPPED in {}: {reason}\n", thread.name().unwrap_or("a test"));
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// A database of its own on a shared server: `(server, url)`. Tests of one process share the server
/// and nothing else.
///
/// # Panics
/// When the database cannot be made; a test cannot go on without it.
pub async fn fresh_database(server: &Server) -> String {
    let name = server.next_name();
    let admin = Database::connect(server.admin_url()).await.unwrap_or_else(|error| {
        panic!("cannot connect to the {} of the tests: {error}", server.program())
    });
    admin
        .execute_unprepared(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap_or_else(|error| panic!("cannot create database {name}: {error}"));
    let closed = admin.close().await;
    assert!(closed.is_ok(), "cannot close the connection that made {name}");
    server.database_url(&name)
}

/// Takes a shard's table of tasks away, as an operator by mistake.
///
/// # Panics
/// When the table cannot be dropped.
pub async fn drop_tasks(store: &Store, shard: &ShardId) {
    let sql = format!("DROP TABLE {}", shard.task_table());
    let dropped = store.writer().execute_unprepared(&sql).await;
    assert!(dropped.is_ok(), "cannot drop the tasks of {shard:?}: {dropped:?}");
}

/// Makes a schedule unreadable, as no code of ours does.
///
/// # Panics
/// When the database refuses.
pub async fn spoil_schedule(store: &Store, id: ScheduleId) {
    let mut sql = store.sql("UPDATE schedules SET action = ");
    let spoilt = sql.bind(b"{".to_vec()).push(" WHERE id = ").bind(id.0).run(store.writer()).await;
    assert!(matches!(spoilt, Ok(1)), "cannot spoil {id}: {spoilt:?}");
}

/// Makes a count wrong by `by`, as no code of ours does.
///
/// # Panics
/// When the database refuses.
pub async fn add_drift(store: &Store, shard: &ShardId, user: &str, state: TaskState, by: i64) {
    let drift = ((shard.clone(), user.to_owned(), state.code()), by);
    let added: Result<(), StoreError> = store
        .transact(&drift, |store, tx, drift| Box::pin(add_counts(store, tx, [drift.clone()])))
        .await;
    assert!(added.is_ok(), "cannot make a count of {shard:?} wrong: {added:?}");
}
