//! Reads schedules.

use asyncflow_core::id::ScheduleId;

use super::row::{Schedule, read_shown, select_shown};
use crate::{Store, error::StoreError};

impl Store {
    /// The schedule with this id.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn get_schedule(&self, id: ScheduleId) -> Result<Option<Schedule>, StoreError> {
        let mut sql = self.sql(&select_shown());
        sql.push("s.id = ").bind(id.0);
        sql.one(self.reader()).await?.as_ref().map(read_shown).transpose()
    }

    /// At most `limit` schedules of a user, or of everybody, newest first, older than `before`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list_schedules(
        &self,
        user: Option<&str>,
        before: Option<ScheduleId>,
        limit: u32,
    ) -> Result<Vec<Schedule>, StoreError> {
        let mut sql = self.sql(&select_shown());
        sql.push("s.id < ").bind(before.map_or(i64::MAX, |before| before.0));
        if let Some(user) = user {
            sql.push(" AND s.user_name = ").bind(user);
        }
        sql.push(" ORDER BY s.id DESC LIMIT ").bind(i64::from(limit));
        sql.all(self.reader()).await?.iter().map(read_shown).collect()
    }
}
