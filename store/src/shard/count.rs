//! Counts the rows of shards without counting rows.

use asyncflow_core::{
    id::{ShardId, TypeName},
    state::TaskState,
};

use crate::{Store, backend::sum, error::StoreError, sql::Sql, task::state, task_type::read_name};

/// Shards per statement.
const SHARDS_MAX: usize = 64;

/// How many tasks of a shard are in a state; never 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardCount {
    pub shard: ShardId,
    pub state: TaskState,
    pub tasks: i64,
}

impl Store {
    /// The counts that every transaction keeps up, by shard, of one type or of all.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn shard_counts(
        &self,
        task_type: Option<&TypeName>,
    ) -> Result<Vec<ShardCount>, StoreError> {
        let mut sql = self.counting();
        if let Some(task_type) = task_type {
            sql.push(" AND task_type = ").bind(task_type.as_str());
        }
        self.counted(sql).await
    }

    /// The same of these shards only.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn counts_of(&self, shards: &[&ShardId]) -> Result<Vec<ShardCount>, StoreError> {
        let mut counts = Vec::new();
        for chunk in shards.chunks(SHARDS_MAX) {
            let mut sql = self.counting();
            for (at, shard) in chunk.iter().enumerate() {
                sql.push(if at > 0 { " OR (task_type = " } else { " AND ((task_type = " });
                sql.bind(shard.task_type.as_str()).push(" AND shard = ").bind(shard.number);
                sql.push(")");
            }
            sql.push(")");
            counts.append(&mut self.counted(sql).await?);
        }
        Ok(counts)
    }

    fn counting(&self) -> Sql {
        let n = sum(self.backend(), "n");
        self.sql(&format!("SELECT task_type, shard, state, {n} FROM task_counts WHERE n <> 0"))
    }

    async fn counted(&self, mut sql: Sql) -> Result<Vec<ShardCount>, StoreError> {
        sql.push(" GROUP BY task_type, shard, state ORDER BY task_type, shard, state");
        let mut counts = Vec::new();
        for row in sql.all(self.reader()).await? {
            let tasks: i64 = row.try_get_by_index(3)?;
            if tasks != 0 {
                let task_type = read_name(row.try_get_by_index(0)?)?;
                counts.push(ShardCount {
                    shard: ShardId { task_type, number: row.try_get_by_index(1)? },
                    state: state(row.try_get_by_index(2)?)?,
                    tasks,
                });
            }
        }
        Ok(counts)
    }
}
