//! How much room the tables of shards take on disk, as the database tells it.

use std::collections::HashMap;

use asyncflow_core::id::{ShardId, TypeName};

use crate::{Store, backend::Backend, error::StoreError};

/// SQLite reads every page of the file to tell it: about a second for this much.
const SQLITE_FILE_BYTES_MAX: i64 = 4 << 30;

impl Store {
    /// Bytes on disk of each shard's tables with their indexes. An estimate: InnoDB counts anew
    /// when a tenth of a table has changed. A shard that is not in the answer is not told of, as
    /// are all of them in a SQLite file of more than 4 GiB or a SQLite without `dbstat`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn shard_sizes(&self) -> Result<HashMap<ShardId, i64>, StoreError> {
        let rows = match self.backend() {
            Backend::Sqlite if self.sqlite_file_bytes().await? > SQLITE_FILE_BYTES_MAX => {
                return Ok(HashMap::new());
            }
            backend => match self.sql(table_sizes(backend)).all(self.reader()).await {
                Err(StoreError::NoSuchTable(_)) if backend == Backend::Sqlite => Vec::new(),
                rows => rows?,
            },
        };
        let mut sizes: HashMap<ShardId, i64> = HashMap::new();
        for row in rows {
            let (table, bytes): (String, i64) =
                (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            if let Some(shard) = shard_of(&table) {
                *sizes.entry(shard).or_default() += bytes;
            }
        }
        Ok(sizes)
    }

    async fn sqlite_file_bytes(&self) -> Result<i64, StoreError> {
        let text = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
        let row = self.sql(text).one(self.reader()).await?;
        Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default())
    }
}

/// Name and bytes of every table. The names are not filtered here: there are hardly any others.
const fn table_sizes(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => {
            "SELECT m.tbl_name, SUM(s.pgsize) FROM dbstat s \
             JOIN sqlite_schema m ON m.name = s.name WHERE s.aggregate = TRUE GROUP BY m.tbl_name"
        }
        Backend::Mysql => {
            "SELECT table_name, CAST(data_length + index_length AS SIGNED) \
             FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND data_length IS NOT NULL"
        }
        Backend::Postgres => {
            "SELECT relname::text, pg_total_relation_size(oid) FROM pg_class \
             WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        }
    }
}

/// The shard that a table belongs to, also while it is being dropped.
fn shard_of(table: &str) -> Option<ShardId> {
    let moved = ["drop_", "gone_"].iter().find_map(|prefix| table.strip_prefix(prefix));
    let table = moved.unwrap_or(table);
    let name = ["t_", "a_", "l_"].iter().find_map(|prefix| table.strip_prefix(prefix))?;
    let (task_type, number) = name.rsplit_once('_')?;
    Some(ShardId { task_type: TypeName::new(task_type).ok()?, number: number.parse().ok()? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_table_of_a_shard_is_known_as_its() {
        let shard = ShardId { task_type: TypeName::new("a_b").unwrap(), number: 12 };
        for table in [shard.task_table(), shard.attempt_table(), shard.label_table()] {
            assert_eq!(shard_of(&table), Some(shard.clone()), "{table}");
            assert_eq!(shard_of(&format!("drop_{table}")), Some(shard.clone()), "{table}");
            assert_eq!(shard_of(&format!("gone_{table}")), Some(shard.clone()), "{table}");
        }
        for other in ["task_types", "task_counts", "t_", "t_x", "t_x_y", "x_train_1", "shards"] {
            assert_eq!(shard_of(other), None, "{other}");
        }
    }
}
