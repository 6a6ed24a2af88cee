//! Takes back the tasks of workers that are not heard of: the governor's two looks.

use asyncflow_core::{
    event::Event,
    id::{ShardId, TaskId, TypeName},
    lease::Suspect,
    limits::LEASE_MS_MAX,
    state::TaskState,
};

use super::{Applied, ApplyError, apply::Item, guard::Guard, row};
use crate::{Store, backend::now_sql, error::StoreError, leader::LeaderFence};

impl Store {
    /// At most `limit` tasks per state and shard of a type whose lease has run out by the
    /// database's clock, and as many that it has given before it was set back (see
    /// [`is_out_of_force`](asyncflow_core::lease::is_out_of_force)): the first look. It changes
    /// nothing.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn expired_leases(
        &self,
        task_type: &TypeName,
        limit: u32,
    ) -> Result<Vec<Suspect>, StoreError> {
        let now = now_sql(self.backend());
        let out_of_force = [format!("< {now}"), format!("> {now} + {LEASE_MS_MAX}")];
        let leases = |(shard, state, ends): &(&ShardId, TaskState, &String)| {
            let (table, state) = (shard.task_table(), state.code());
            format!(" FROM {table} WHERE state = {state} AND order_time {ends} ORDER BY order_time")
        };
        let shards = self.active_shards(task_type).await?;
        let looks: Vec<_> = (shards.iter())
            .flat_map(|shard| [TaskState::Running, TaskState::Cancelling].map(|s| (shard, s)))
            .flat_map(|(shard, state)| out_of_force.iter().map(move |ends| (shard, state, ends)))
            .collect();
        let first = self.first_of_each(&looks, |sql, look| {
            sql.push("SELECT order_time").push(&leases(look));
        });
        let found = first.await?.into_iter().zip(looks).filter(|(first, _)| first.is_some());
        let mut suspects = Vec::new();
        for (_, look) in found {
            let mut sql = self.sql("SELECT id, attempt, beats, start_time_ms");
            sql.push(&leases(&look)).push(", id LIMIT ").bind(i64::from(limit));
            for row in sql.all(self.reader()).await? {
                suspects.push(Suspect {
                    id: TaskId { shard: look.0.clone(), key: row.try_get_by_index(0)? },
                    attempt: row.try_get_by_index(1)?,
                    beats: row.try_get_by_index(2)?,
                    // What was not started is taken back at the first look.
                    started: row::time_ms(row.try_get_by_index(3)?).is_some()
                        && !self.is_off("reap.looks_twice"),
                });
            }
        }
        Ok(suspects)
    }

    /// Takes tasks back whose attempt and beats are still those and whose lease is still out of
    /// force by the database's clock; the others answer `MovedOn`. With a fence, only while that
    /// leader leads: otherwise every answer is `Store(NotLeader)`.
    pub async fn reap(
        &self,
        reaps: Vec<Suspect>,
        fence: Option<&LeaderFence>,
    ) -> Vec<Result<Applied, ApplyError>> {
        let items = reaps.into_iter().map(|reap| Item {
            id: reap.id,
            event: Event::LeaseExpired,
            guard: Guard::Silent { attempt: reap.attempt, beats: reap.beats },
        });
        self.apply_items(items.collect(), fence).await
    }
}
