//! PostgreSQL's way to bind a table of values: one array a column.

use sea_orm::{Value, sea_query::ArrayType};

use super::{Sql, clean};
use crate::error::StoreError;

/// Columns of values, none of which is NULL.
pub(crate) struct Arrays(Vec<Vec<Value>>);

impl Arrays {
    pub fn new(columns: usize) -> Self {
        Self(vec![Vec::new(); columns])
    }

    /// Adds a row.
    pub fn push(&mut self, row: impl IntoIterator<Item = Value>) {
        self.0.iter_mut().zip(row).for_each(|(column, value)| column.push(clean(value)));
    }

    /// How a column is called in the table `v`.
    pub fn name(column: usize) -> String {
        format!("c{column}")
    }

    /// `UNNEST($1::BIGINT[], …) AS v (c0, …)`
    ///
    /// # Errors
    /// When a column holds values of a kind that our tables have not.
    pub fn push_to(self, sql: &mut Sql) -> Result<(), StoreError> {
        let names: Vec<String> = (0..self.0.len()).map(Self::name).collect();
        sql.push("UNNEST(");
        for (at, column) in self.0.into_iter().enumerate() {
            let (kind, cast) = kind(column.first()).ok_or_else(|| {
                StoreError::Corrupt(format!("the values of column {at} of a table of values"))
            })?;
            sql.push(if at > 0 { ", " } else { "" });
            sql.bind(Value::Array(kind, Some(Box::new(column)))).push(cast);
        }
        sql.push(") AS v (").push(&names.join(", ")).push(")");
        Ok(())
    }
}

fn kind(value: Option<&Value>) -> Option<(ArrayType, &'static str)> {
    match value? {
        Value::SmallInt(_) => Some((ArrayType::SmallInt, "::SMALLINT[]")),
        Value::Int(_) => Some((ArrayType::Int, "::INTEGER[]")),
        Value::BigInt(_) => Some((ArrayType::BigInt, "::BIGINT[]")),
        Value::String(_) => Some((ArrayType::String, "::TEXT[]")),
        Value::Bytes(_) => Some((ArrayType::Bytes, "::BYTEA[]")),
        _ => None,
    }
}
