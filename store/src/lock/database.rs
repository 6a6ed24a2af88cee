//! Locks in a table, by the database's clock.

use std::time::Duration;

use sea_orm::DatabaseConnection;

use crate::{
    backend::{Backend, now_sql, or_ignore},
    error::StoreError,
    sql::Sql,
};

pub(super) struct Table {
    backend: Backend,
    database: DatabaseConnection,
    time_max: Duration,
}

impl Table {
    pub fn new(backend: Backend, database: DatabaseConnection, time_max: Duration) -> Self {
        Self { backend, database, time_max }
    }

    fn sql(&self, text: &str) -> Sql {
        Sql::new(self.backend, text, self.time_max)
    }

    /// A row that has run out is taken over by a conditional update; only then one is inserted.
    pub async fn take(&self, name: &str, token: &str, ttl: Duration) -> Result<bool, StoreError> {
        let (now, ttl_ms) = (now_sql(self.backend), ttl.as_millis() as i64);
        let mut sql = self.sql("UPDATE locks SET token = ");
        sql.bind(token).push(&format!(", expire_time_ms = {now} + ")).bind(ttl_ms);
        sql.push(" WHERE name = ").bind(name).push(&format!(" AND expire_time_ms < {now}"));
        if sql.run(&self.database).await? == 1 {
            return Ok(true);
        }
        let mut sql = self.sql("INSERT INTO locks (name, token, expire_time_ms) VALUES (");
        sql.bind(name).push(", ").bind(token).push(&format!(", {now} + ")).bind(ttl_ms).push(")");
        sql.push(&or_ignore(self.backend, "name", "name")).run(&self.database).await?;
        // How many rows an INSERT met that was left out differs between databases.
        let mut sql = self.sql("SELECT token FROM locks WHERE name = ");
        sql.bind(name);
        let row = sql.one(&self.database).await?;
        Ok(row.is_some_and(|row| row.try_get_by_index::<String>(0).is_ok_and(|t| t == token)))
    }

    pub async fn renew(&self, name: &str, token: &str, ttl: Duration) -> Result<bool, StoreError> {
        let now = now_sql(self.backend);
        let mut sql = self.sql(&format!("UPDATE locks SET expire_time_ms = {now} + "));
        sql.bind(ttl.as_millis() as i64).push(" WHERE name = ").bind(name);
        sql.push(" AND token = ").bind(token);
        Ok(sql.run(&self.database).await? == 1)
    }

    pub async fn release(&self, name: &str, token: &str) -> Result<(), StoreError> {
        let mut sql = self.sql("DELETE FROM locks WHERE name = ");
        sql.bind(name).push(" AND token = ").bind(token).run(&self.database).await?;
        Ok(())
    }
}
