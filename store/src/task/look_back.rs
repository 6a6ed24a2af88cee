//! Looks for tasks ahead of the place to which claims have come.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_core::{
    id::{ShardId, TypeName},
    resources::NEEDS,
    state::TaskState,
};

use super::candidates::{END, Mark};
use crate::{Store, error::StoreError, sql::Sql};

/// Tasks that need more than a slot: they wait ahead of the marks, as the caller knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetAside {
    pub keys: BTreeMap<ShardId, BTreeSet<i64>>,
    /// There are more than it knows; it does not want to hear of those now.
    pub is_cut: bool,
}

fn push_up_to(sql: &mut Sql, mark: Mark) {
    if mark != END {
        sql.push(" AND order_time <= ").bind(mark.0);
        sql.push(" AND (order_time < ").bind(mark.0);
        sql.push(" OR id <= ").bind(mark.1).push(")");
    }
}

/// Only those that need no more than a slot.
fn push_not_needy(sql: &mut Sql) {
    let says = |field: &str| format!("resources LIKE '%\"{field}\":%'");
    let needy: Vec<String> = NEEDS.into_iter().map(says).collect();
    sql.push(&format!(" AND (resources IS NULL OR NOT ({}))", needy.join(" OR ")));
}

impl Store {
    /// For each shard in which something can be claimed ahead of its mark, but for what was set
    /// aside, a mark that stands before all of that. Reads without locks, and beside what is
    /// claimed meanwhile; shards without a mark are left to the claims, which begin at their start.
    ///
    /// # Errors
    /// As for every verb.
    pub async fn look_back(
        &self,
        task_type: &TypeName,
        marks: &BTreeMap<ShardId, Mark>,
        aside: &SetAside,
    ) -> Result<BTreeMap<ShardId, Mark>, StoreError> {
        match self.look_at_shards(task_type, marks, aside).await {
            Err(StoreError::NoSuchTable(_)) => {
                self.shard_cache().forget(task_type);
                self.look_at_shards(task_type, marks, aside).await
            }
            found => found,
        }
    }

    async fn look_at_shards(
        &self,
        task_type: &TypeName,
        marks: &BTreeMap<ShardId, Mark>,
        aside: &SetAside,
    ) -> Result<BTreeMap<ShardId, Mark>, StoreError> {
        let shards = self.shards_of(task_type).await?;
        let looks = self.active(&shards).filter_map(|shard| marks.get_key_value(&shard.id));
        let is_plain =
            |(shard, _): &(&ShardId, _)| aside.is_cut || !aside.keys.contains_key(*shard);
        let (looks, among): (Vec<(&ShardId, &Mark)>, Vec<_>) = looks.partition(is_plain);
        let mut others = BTreeMap::new();
        for (shard, mark) in among {
            let first = self.first_unknown(shard, *mark, &aside.keys[shard]).await?;
            others.extend(first.map(|order_ms| (shard.clone(), (order_ms - 1, i64::MAX))));
        }
        let first = self.first_of_each(&looks, |sql, (shard, mark)| {
            let (table, pending) = (shard.task_table(), TaskState::Pending.code());
            sql.push(&format!("SELECT order_time FROM {table} WHERE state = {pending}"));
            if aside.is_cut {
                push_not_needy(sql);
            }
            push_up_to(sql, **mark);
            sql.push(" ORDER BY order_time, id");
        });
        let found = first.await?.into_iter().zip(looks);
        let before = |(first, (shard, _)): (Option<i64>, (&ShardId, _))| {
            Some((shard.clone(), (first? - 1, i64::MAX)))
        };
        others.extend(found.filter_map(before));
        Ok(others)
    }

    /// The first task up to a mark that is not among those which were set aside.
    async fn first_unknown(
        &self,
        shard: &ShardId,
        mark: Mark,
        known: &BTreeSet<i64>,
    ) -> Result<Option<i64>, StoreError> {
        let (table, pending) = (shard.task_table(), TaskState::Pending.code());
        let select = format!("SELECT order_time, id FROM {table} WHERE state = {pending}");
        let mut sql = self.sql(&select);
        push_up_to(&mut sql, mark);
        sql.push(" ORDER BY order_time, id LIMIT ").bind(known.len() as i64 + 1);
        for row in sql.all(self.reader()).await? {
            if !known.contains(&row.try_get_by_index(1)?) {
                return Ok(Some(row.try_get_by_index(0)?));
            }
        }
        Ok(None)
    }
}
