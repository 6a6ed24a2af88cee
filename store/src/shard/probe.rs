//! One look into each of several tables, in one statement: what it costs hardly grows with them.

use crate::{Store, error::StoreError, sql::Sql};

/// Looks per statement. More of them are looked at by further statements.
const LOOKS_MAX: usize = 64;

impl Store {
    /// The first value that each look finds, in the order of `looks`; `None` where there is no row.
    ///
    /// `write` pushes a SELECT of one `BIGINT` column, without LIMIT, that an index answers.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn first_of_each<T: Sync>(
        &self,
        looks: &[T],
        write: impl Fn(&mut Sql, &T) + Sync,
    ) -> Result<Vec<Option<i64>>, StoreError> {
        let mut found = Vec::with_capacity(looks.len());
        for chunk in looks.chunks(LOOKS_MAX) {
            let mut sql = self.sql("SELECT ");
            for (at, look) in chunk.iter().enumerate() {
                sql.push(if at > 0 { ", (" } else { "(" });
                write(&mut sql, look);
                sql.push(" LIMIT 1)");
            }
            let row = sql.one(self.reader()).await?;
            let row = row.ok_or_else(|| StoreError::Corrupt("a look gave no row".into()))?;
            for at in 0..chunk.len() {
                found.push(row.try_get_by_index(at)?);
            }
        }
        Ok(found)
    }
}
