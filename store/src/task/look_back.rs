//! Looks for tasks ahead of the place to which claims have come.

use std::collections::BTreeMap;

use asyncflow_core::{
    id::{ShardId, TypeName},
    state::TaskState,
};

use super::candidates::{END, Mark};
use crate::{Store, error::StoreError};

impl Store {
    /// For each shard in which something can be claimed ahead of its mark, a mark that stands
    /// before all of that. Reads without locks, and beside what is claimed meanwhile; shards
    /// without a mark are left to the claims, which begin at their start.
    ///
    /// # Errors
    /// As for every verb.
    pub async fn look_back(
        &self,
        task_type: &TypeName,
        marks: &BTreeMap<ShardId, Mark>,
    ) -> Result<BTreeMap<ShardId, Mark>, StoreError> {
        match self.look_at_shards(task_type, marks).await {
            Err(StoreError::NoSuchTable(_)) => {
                self.shard_cache().forget(task_type);
                self.look_at_shards(task_type, marks).await
            }
            found => found,
        }
    }

    async fn look_at_shards(
        &self,
        task_type: &TypeName,
        marks: &BTreeMap<ShardId, Mark>,
    ) -> Result<BTreeMap<ShardId, Mark>, StoreError> {
        let shards = self.shards_of(task_type).await?;
        let looks: Vec<(&ShardId, &Mark)> =
            (self.active(&shards)).filter_map(|shard| marks.get_key_value(&shard.id)).collect();
        let first = self.first_of_each(&looks, |sql, (shard, mark)| {
            let (table, pending) = (shard.task_table(), TaskState::Pending.code());
            sql.push(&format!("SELECT order_time FROM {table} WHERE state = {pending}"));
            if **mark != END {
                sql.push(" AND order_time <= ").bind(mark.0);
                sql.push(" AND (order_time < ").bind(mark.0);
                sql.push(" OR id <= ").bind(mark.1).push(")");
            }
            sql.push(" ORDER BY order_time, id");
        });
        let found = first.await?.into_iter().zip(looks);
        let before = |(first, (shard, _)): (Option<i64>, (&ShardId, _))| {
            Some((shard.clone(), (first? - 1, i64::MAX)))
        };
        Ok(found.filter_map(before).collect())
    }
}
