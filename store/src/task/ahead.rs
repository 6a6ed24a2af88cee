//! Which tasks are taken before one, without reading a whole queue.

use std::{collections::BTreeMap, sync::Arc};

use asyncflow_core::{resources::Resources, state::TaskState, task::Task};

use super::decode_resources;
use crate::{Store, error::StoreError};

/// Tasks that need the same and stand before one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingAhead {
    /// `None` = a slot and nothing else.
    pub resources: Option<Arc<Resources>>,
    pub count: u32,
}

impl Store {
    /// The PENDING tasks of its type that are taken before a task that is PENDING itself, by the
    /// order of claims: those in older shards, and those that stand before it in its own. At most
    /// `most` are looked at. What a claim prefers besides, such as shares of users, is not known
    /// here, nor whether any host could ever run them.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn waiting_ahead(
        &self,
        task: &Task,
        most: u32,
    ) -> Result<Vec<WaitingAhead>, StoreError> {
        let mut found: BTreeMap<Option<String>, u32> = BTreeMap::new();
        for shard in self.active_shards(task.id.task_type()).await? {
            let left = most.saturating_sub(found.values().sum());
            if shard.number > task.id.shard.number || left == 0 {
                break;
            }
            let (table, pending) = (shard.task_table(), TaskState::Pending.code());
            let mut sql = self.sql("SELECT resources, COUNT(*) FROM (");
            sql.push(&format!("SELECT resources FROM {table} WHERE state = {pending}"));
            if shard == task.id.shard {
                // Not compared as a tuple, which MySQL would not turn into a range of the index.
                sql.push(" AND order_time <= ").bind(task.order_time_ms);
                sql.push(" AND (order_time < ").bind(task.order_time_ms);
                sql.push(" OR id < ").bind(task.id.key).push(")");
            }
            sql.push(" ORDER BY order_time, id LIMIT ").bind(i64::from(left));
            let rows = sql.push(") AS ahead GROUP BY resources").all(self.reader()).await;
            let rows = match rows {
                // It was dropped since the list was read: nothing was PENDING there.
                Err(StoreError::NoSuchTable(_)) => continue,
                rows => rows?,
            };
            for row in rows {
                let count: i64 = row.try_get_by_index(1)?;
                let of = found.entry(row.try_get_by_index(0)?).or_default();
                *of = of.saturating_add(u32::try_from(count).unwrap_or(left));
            }
        }
        let decode = |(text, count)| Ok(WaitingAhead { resources: decode_resources(text)?, count });
        found.into_iter().map(decode).collect()
    }
}
