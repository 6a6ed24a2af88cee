//! A statement under construction: text and bound values together, in the dialect's placeholders.
//!
//! sea-orm's builders have static table names; a shard's tables have not. Names that are pushed
//! here come from checked ids or from this crate, values are only ever bound.

use std::{fmt::Write, mem, time::Duration};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};

use crate::{
    backend::Backend,
    error::{StoreError, TimedOut},
};

mod arrays;
mod insert;

pub(crate) use arrays::Arrays;
pub(crate) use insert::{InsertInto, insert_rows};

#[derive(Clone, Debug)]
pub(crate) struct Sql {
    backend: Backend,
    text: String,
    values: Vec<Value>,
    time_max: Duration,
}

impl Sql {
    /// Not answered within `time_max` it fails as `Unavailable`: a connection to a host that is
    /// gone would hold its caller for minutes.
    pub fn new(backend: Backend, text: &str, time_max: Duration) -> Self {
        Self { backend, text: text.to_owned(), values: Vec::new(), time_max }
    }

    pub fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    pub fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(clean(value.into()));
        match self.backend {
            Backend::Postgres => {
                // Writing into a String cannot fail.
                let _ = write!(self.text, "${}", self.values.len());
            }
            Backend::Sqlite | Backend::Mysql => self.text.push('?'),
        }
        self
    }

    /// `(?, ?, …)`
    pub fn tuple(&mut self, values: impl IntoIterator<Item = Value>) -> &mut Self {
        self.push("(");
        for (at, value) in values.into_iter().enumerate() {
            if at > 0 {
                self.push(", ");
            }
            self.bind(value);
        }
        self.push(")")
    }

    /// `column IN (…)`. The list is filled up to a power of two with its last member, so that
    /// batches of all sizes share a few prepared statements. The list must not be empty.
    pub fn is_in<V: Into<Value> + Clone>(&mut self, column: &str, list: &[V]) -> &mut Self {
        let width = list.len().next_power_of_two();
        let padding = list.last().into_iter().cycle().take(width - list.len());
        let values: Vec<Value> = list.iter().chain(padding).cloned().map(Into::into).collect();
        self.push(column).push(" IN ").tuple(values)
    }

    #[cfg(test)]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn statement(&mut self) -> Statement {
        let backend = match self.backend {
            Backend::Sqlite => DbBackend::Sqlite,
            Backend::Mysql => DbBackend::MySql,
            Backend::Postgres => DbBackend::Postgres,
        };
        let (text, values) = (mem::take(&mut self.text), mem::take(&mut self.values));
        Statement::from_sql_and_values(backend, text, values)
    }

    /// Runs it, which empties it; so do the others.
    pub async fn all(&mut self, db: &impl ConnectionTrait) -> Result<Vec<QueryResult>, StoreError> {
        let statement = self.statement();
        self.in_time(db.query_all_raw(statement)).await
    }

    pub async fn one(
        &mut self,
        db: &impl ConnectionTrait,
    ) -> Result<Option<QueryResult>, StoreError> {
        let statement = self.statement();
        self.in_time(db.query_one_raw(statement)).await
    }

    /// Tells how many rows it met.
    pub async fn run(&mut self, db: &impl ConnectionTrait) -> Result<u64, StoreError> {
        let statement = self.statement();
        Ok(self.in_time(db.execute_raw(statement)).await?.rows_affected())
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.time_max, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(StoreError::unavailable(TimedOut)),
        }
    }
}

/// PostgreSQL cannot store NUL in a text, and one such text would fail a whole batch.
fn clean(value: Value) -> Value {
    match value {
        Value::String(Some(text)) if text.contains('\0') => {
            Value::String(Some(text.replace('\0', "\u{fffd}")))
        }
        other => other,
    }
}
