//! Lists tasks, paged by key and merged over shards; never OFFSET, never COUNT(*).
//!
//! Newest first. A list by state without user or label is sorted by `(order_time, id)`, newest
//! first, because that is the order of the only index which finds the rows of a state; every other
//! list is sorted by id, which is the time of creation.

use asyncflow_core::{
    filter::Filter,
    id::{ShardId, first_key_at},
    page::PagePosition,
    task::FullTask,
};

use super::row::{self, Parts};
use crate::{Store, error::StoreError, sql::Sql};

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub tasks: Vec<FullTask>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<PagePosition>,
}

impl Store {
    /// At most `limit` tasks that match `filter`, from behind `after`, the `next` of the
    /// page before with the same filter.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list(
        &self,
        filter: &Filter,
        after: Option<&PagePosition>,
        limit: u32,
        parts: Parts,
    ) -> Result<Page, StoreError> {
        match self.list_shards_merged(filter, after, limit, parts).await {
            // A shard was dropped between the look at the registry and the look into its table.
            Err(StoreError::NoSuchTable(_)) => {
                if let Some(task_type) = &filter.task_type {
                    self.shard_cache().forget(task_type);
                }
                self.list_shards_merged(filter, after, limit, parts).await
            }
            page => page,
        }
    }

    async fn list_shards_merged(
        &self,
        filter: &Filter,
        after: Option<&PagePosition>,
        limit: u32,
        parts: Parts,
    ) -> Result<Page, StoreError> {
        let by_state = is_by_state(filter);
        let wanted = i64::from(limit) + 1;
        let mut tasks = Vec::new();
        for shard in self.readable_shards(filter.task_type.as_ref()).await? {
            let codes: Vec<i16> = filter.states.iter().map(|state| state.code()).collect();
            // One look per state, because an index gives no order over several of them.
            let looks = if by_state { codes.chunks(1).collect() } else { vec![&codes[..]] };
            for states in looks {
                let mut sql = self.list_query(filter, &shard, states, parts);
                push_after(&mut sql, after, &shard, by_state);
                sql.push(match (by_state, filter.labels.is_empty()) {
                    (true, _) => " ORDER BY t.order_time DESC, t.id DESC LIMIT ",
                    (false, true) => " ORDER BY t.id DESC LIMIT ",
                    (false, false) => " ORDER BY l.task_key DESC LIMIT ",
                });
                sql.bind(wanted);
                for found in sql.all(self.reader()).await? {
                    tasks.push(row::read_task(&found, 0, &shard, parts)?);
                }
            }
        }
        tasks.sort_by_cached_key(|full| sort_key(full, by_state));
        let more = tasks.len() > limit as usize;
        tasks.truncate(limit as usize);
        let next = tasks.last().filter(|_| more).map(|full| PagePosition {
            key: full.task.id.key,
            order_time_ms: by_state.then_some(full.task.order_time_ms),
            task_type: full.task.id.task_type().to_string(),
            shard: full.task.id.shard.number,
        });
        Ok(Page { tasks, next })
    }

    fn list_query(&self, filter: &Filter, shard: &ShardId, states: &[i16], parts: Parts) -> Sql {
        let columns = row::columns("t.", parts);
        let tasks = shard.task_table();
        let mut sql = self.sql(&format!("SELECT {columns} FROM "));
        let mut labels = filter.labels.iter();
        if let Some((name, value)) = labels.next() {
            let table = shard.label_table();
            sql.push(&format!("{table} l JOIN {tasks} t ON t.id = l.task_key WHERE l.name = "));
            sql.bind(name.as_str()).push(" AND l.value = ").bind(value.as_str());
        } else {
            sql.push(&format!("{tasks} t WHERE 1 = 1"));
        }
        for (name, value) in labels {
            let table = shard.label_table();
            sql.push(&format!(" AND EXISTS (SELECT 1 FROM {table} m WHERE m.task_key = t.id"));
            sql.push(" AND m.name = ").bind(name.as_str());
            sql.push(" AND m.value = ").bind(value.as_str()).push(")");
        }
        if let [state] = states {
            sql.push(&format!(" AND t.state = {state}"));
        } else if !states.is_empty() {
            sql.push(" AND ").is_in("t.state", states);
        }
        if let Some(user) = &filter.user {
            sql.push(" AND t.user_name = ").bind(user.as_str());
        }
        if let Some(from_ms) = filter.created_from_ms {
            sql.push(" AND t.id >= ").bind(first_key_at(from_ms));
        }
        if let Some(before_ms) = filter.created_before_ms {
            sql.push(" AND t.id < ").bind(first_key_at(before_ms));
        }
        sql
    }
}

fn is_by_state(filter: &Filter) -> bool {
    !filter.states.is_empty() && filter.user.is_none() && filter.labels.is_empty()
}

/// Descending by place, then ascending by shard for tasks that share one.
fn sort_key(full: &FullTask, by_state: bool) -> (std::cmp::Reverse<(i64, i64)>, ShardId) {
    let task = &full.task;
    let order_ms = if by_state { task.order_time_ms } else { 0 };
    (std::cmp::Reverse((order_ms, task.id.key)), task.id.shard.clone())
}

/// Only what comes behind `after`. A shard that sorts behind that of `after` may still have a task
/// with the very same place.
fn push_after(sql: &mut Sql, after: Option<&PagePosition>, shard: &ShardId, by_state: bool) {
    let Some(after) = after else { return };
    let behind = (shard.task_type.as_str(), shard.number) > (&*after.task_type, after.shard);
    let below = if behind { " <= " } else { " < " };
    if by_state {
        let order_time_ms = after.order_time_ms.unwrap_or_default();
        sql.push(" AND t.order_time <= ").bind(order_time_ms);
        sql.push(" AND (t.order_time < ").bind(order_time_ms);
        sql.push(" OR t.id").push(below).bind(after.key).push(")");
    } else {
        sql.push(" AND t.id").push(below).bind(after.key);
    }
}
