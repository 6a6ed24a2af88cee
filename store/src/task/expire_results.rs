//! Removes the results of tasks that ended long ago, while the tasks stay.

use std::collections::BTreeMap;

use asyncflow_core::{
    event::Event,
    id::{ShardId, TaskId, TypeName},
    state::TaskState,
};

use super::{ApplyError, Mark, apply::Item, guard::Guard};
use crate::{Store, error::StoreError, leader::LeaderFence};

/// The last task that was looked at of each shard. The walk goes on behind it, so that what was
/// done is not walked again; without marks it begins anew, which costs time and nothing else.
pub type ResultMarks = BTreeMap<ShardId, Mark>;

/// What one step of the walk did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpiredResults {
    /// How many results went.
    pub expired: u64,
    /// Whether a shard has more tasks to look at.
    pub more: bool,
}

impl Store {
    /// Removes the results of a type's tasks that succeeded before `before_ms`, oldest first: looks
    /// at most at `limit` tasks of each shard behind its mark, and moves the marks. With a fence,
    /// only while that leader leads.
    ///
    /// Not cancel safe for the marks of the shard at hand, which is then looked at again.
    ///
    /// # Errors
    /// `NotLeader`; those of the database. The marks of shards that were done have moved.
    pub async fn expire_results(
        &self,
        task_type: &TypeName,
        before_ms: i64,
        marks: &mut ResultMarks,
        limit: u32,
        fence: Option<&LeaderFence>,
    ) -> Result<ExpiredResults, StoreError> {
        let shards = self.readable_shards(Some(task_type)).await?;
        marks.retain(|shard, _| shard.task_type != *task_type || shards.contains(shard));
        let mut done = ExpiredResults::default();
        for shard in shards {
            let page = match self.finished(&shard, before_ms, marks.get(&shard), limit).await {
                // It was dropped since the registry was read.
                Err(StoreError::NoSuchTable(_)) => continue,
                page => page?,
            };
            let Some(last) = page.last() else { continue };
            done.more |= page.len() == limit as usize;
            let mark = (last.order_time_ms, last.key);
            let items = page.into_iter().filter(|task| task.has_result).map(|task| Item {
                id: TaskId { shard: shard.clone(), key: task.key },
                event: Event::ExpireResult,
                // It may have been retried, and have another result by now.
                guard: Guard::FinishedBefore(before_ms),
            });
            for answer in self.apply_items(items.collect(), fence).await {
                match answer {
                    Ok(_) => done.expired += 1,
                    Err(ApplyError::Store(error)) => return Err(error),
                    Err(_) => {}
                }
            }
            marks.insert(shard, mark);
        }
        Ok(done)
    }

    async fn finished(
        &self,
        shard: &ShardId,
        before_ms: i64,
        mark: Option<&Mark>,
        limit: u32,
    ) -> Result<Vec<Finished>, StoreError> {
        let (table, state) = (shard.task_table(), TaskState::Succeeded.code());
        let has_result = "CASE WHEN result IS NULL THEN 0 ELSE 1 END";
        let mut sql = self.sql(&format!(
            "SELECT id, order_time, {has_result} FROM {table} WHERE state = {state} \
             AND order_time < "
        ));
        sql.bind(before_ms);
        if let Some((order_time_ms, key)) = mark {
            sql.push(" AND order_time >= ").bind(*order_time_ms);
            sql.push(" AND (order_time > ").bind(*order_time_ms);
            sql.push(" OR id > ").bind(*key).push(")");
        }
        sql.push(" ORDER BY order_time, id LIMIT ").bind(i64::from(limit));
        let rows = sql.all(self.reader()).await?;
        rows.iter()
            .map(|row| {
                Ok(Finished {
                    key: row.try_get_by_index(0)?,
                    order_time_ms: row.try_get_by_index(1)?,
                    has_result: row.try_get_by_index::<i32>(2)? == 1,
                })
            })
            .collect()
    }
}

struct Finished {
    key: i64,
    order_time_ms: i64,
    has_result: bool,
}
