//! Brokers: which of them live, so that nobody takes their absence for the death of workers.

use sea_orm_migration::{prelude::*, sea_orm::ConnectionTrait};

use crate::ddl::{
    Backend,
    Kind::{Big, Chars},
    Table, not_null,
};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0010_brokers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in statements(manager.get_database_backend().into()) {
            manager.get_connection().execute_unprepared(&statement).await?;
        }
        Ok(())
    }
}

/// The statements of this step.
pub(crate) fn statements(backend: Backend) -> Vec<String> {
    brokers().statements(backend)
}

/// A row for each process that served lately.
fn brokers() -> Table {
    let columns = vec![
        not_null("broker_id", Chars(64)),
        // Grows while it lives.
        not_null("beats", Big),
        not_null("seen_time_ms", Big),
    ];
    let name = "brokers".to_owned();
    Table { name, columns, primary_key: "broker_id", indexes: vec![], postgres_storage: "" }
}
