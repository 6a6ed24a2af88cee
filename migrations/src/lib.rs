//! The tables: the steps that make them, and the template of a shard's tables.
//!
//! A step is history: once released it never changes, and a change of the schema is a new step.
//! `schema/*.sql` is the sum of the steps for reading; a test keeps it so. The tables of a shard
//! are not made by a step but by the store, on first use of a task type, from [`shard`].

pub mod ddl;
mod m0001_registry;
mod m0002_shard_life;
mod m0003_owner_index;
mod m0004_workflows;
mod m0005_schedules;
mod m0006_operations;
mod m0007_speculation;
mod m0008_resources;
mod m0009_hosts;
mod m0010_brokers;
mod m0011_commands;
pub mod shard;

use std::time::Duration;

use sea_orm_migration::{MigratorTrait, prelude::*, sea_orm::DatabaseConnection};

/// How often a migration that lost a race against another process is repeated.
const ATTEMPTS_MAX: u32 = 20;
const PAUSE_MS: u64 = 100;

/// Runs the steps that the database does not have yet, in order.
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_registry::Migration),
            Box::new(m0002_shard_life::Migration),
            Box::new(m0003_owner_index::Migration),
            Box::new(m0004_workflows::Migration),
            Box::new(m0005_schedules::Migration),
            Box::new(m0006_operations::Migration),
            Box::new(m0007_speculation::Migration),
            Box::new(m0008_resources::Migration),
            Box::new(m0009_hosts::Migration),
            Box::new(m0010_brokers::Migration),
            Box::new(m0011_commands::Migration),
        ]
    }
}

/// Brings the database to the newest schema; a no-op when it is there already.
///
/// Two processes may do so at once: what is there is not made again, and whoever loses a race looks
/// again.
///
/// # Errors
/// The last error of the database when it fails again and again.
pub async fn migrate(db: &DatabaseConnection) -> Result<(), DbErr> {
    let mut attempt = 1;
    loop {
        match Migrator::up(db, None).await {
            Ok(()) => return Ok(()),
            Err(error) if attempt >= ATTEMPTS_MAX => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await,
        }
        attempt += 1;
    }
}

/// The statements of all steps, in order: what `schema/*.sql` shows.
pub fn schema(backend: ddl::Backend) -> Vec<String> {
    let tables = m0001_registry::tables();
    let tables = tables.iter().flat_map(|table| table.statements(backend));
    let tables = tables.chain(m0002_shard_life::statements(backend));
    let tables = tables.chain(m0004_workflows::statements(backend));
    let tables = tables.chain(m0005_schedules::statements(backend));
    let tables = tables.chain(m0006_operations::statements(backend));
    let tables = tables.chain(m0007_speculation::statements(backend));
    let tables = tables.chain(m0008_resources::statements(backend));
    let tables = tables.chain(m0009_hosts::statements(backend));
    let tables = tables.chain(m0010_brokers::statements(backend));
    tables.chain(m0011_commands::statements(backend)).collect()
}
