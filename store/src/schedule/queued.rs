//! Fires what waits for the end of the run before it.

use asyncflow_core::schedule::action::Run;

use super::{
    fire::Fired,
    standing::{self, Standing},
};
use crate::{Store, error::StoreError, leader::LeaderFence};

/// The place of a schedule among those with a queued fire time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueuedPlace {
    queued_ms: i64,
    schedule_id: i64,
}

impl Store {
    /// Looks at most `limit` schedules over that have a queued fire time, from the one behind
    /// `after`, and fires it where the run before has ended. Answers where to go on; `None` when
    /// there are no more. Those whose run lives cost nothing but the look.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn fire_queued(
        &self,
        now_ms: i64,
        after: QueuedPlace,
        limit: u32,
        fence: Option<&LeaderFence>,
    ) -> Result<(Fired, Option<QueuedPlace>), StoreError> {
        let columns = standing::COLUMNS.join(", ");
        let mut sql =
            self.sql(&format!("SELECT {columns} FROM schedule_standings WHERE queued_ms >= "));
        sql.bind(after.queued_ms.max(1)).push(" AND (queued_ms > ").bind(after.queued_ms);
        sql.push(" OR schedule_id > ").bind(after.schedule_id);
        sql.push(") ORDER BY queued_ms, schedule_id LIMIT ").bind(i64::from(limit));
        let mut waiting: Vec<(i64, Standing)> = Vec::new();
        for row in sql.all(self.reader()).await? {
            waiting.push(standing::read(&row, 0)?);
        }
        let next = waiting.last().filter(|_| waiting.len() >= limit as usize);
        let next = next.map(|(id, standing)| QueuedPlace {
            queued_ms: standing.queued_ms.unwrap_or_default(),
            schedule_id: *id,
        });
        let last_run = |standing: &Standing| standing.last_run.clone();
        let runs: Vec<Run> = waiting.iter().filter_map(|(_, waits)| last_run(waits)).collect();
        let alive = self.alive(&runs).await?;
        waiting.retain(|(_, waits)| last_run(waits).is_none_or(|run| !alive.contains(&run)));
        Ok((self.look_at(waiting, now_ms, fence).await?, next))
    }
}
