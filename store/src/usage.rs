//! What users have used: added up by day in the transaction that ends an attempt.

use std::collections::BTreeMap;

use asyncflow_core::usage::{DECAYED_DAYS_MAX, UserUsage, day, weight};
use sea_orm::DatabaseTransaction;

use crate::{
    Store,
    backend::{or_add_each, sum},
    error::StoreError,
    sql::{InsertInto, insert_rows},
};

/// What a user uses on a day is spread over so many rows, so that two transactions seldom want the
/// same one.
const SLOTS: i16 = 4;
const KEY: &str = "day_number, user_name, slot";

/// What users have used, by their names.
pub type UsageByUser = BTreeMap<String, UserUsage>;

impl Store {
    /// What users have used in attempts that ended on the day of `from_ms` or later; of one user or
    /// of all.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn usage(&self, from_ms: i64, user: Option<&str>) -> Result<UsageByUser, StoreError> {
        let backend = self.backend();
        let [gpu, cpu, attempts] = ["gpu_ms", "cpu_ms", "attempts"].map(|name| sum(backend, name));
        let mut sql = self.sql(&format!(
            "SELECT user_name, {gpu}, {cpu}, {attempts} FROM user_usage WHERE day_number >= "
        ));
        sql.bind(day(from_ms));
        if let Some(user) = user {
            sql.push(" AND user_name = ").bind(user);
        }
        let rows = sql.push(" GROUP BY user_name").all(self.reader()).await?;
        let read = |row: &sea_orm::QueryResult| {
            let gpu_ms = row.try_get_by_index(1)?;
            let (cpu_ms, attempts) = (row.try_get_by_index(2)?, row.try_get_by_index(3)?);
            Ok((row.try_get_by_index(0)?, UserUsage { gpu_ms, cpu_ms, attempts }))
        };
        rows.iter().map(read).collect()
    }

    /// GPU-seconds of all users who have used any lately, of which half is forgotten every week:
    /// what fair shares go by. Reads a few rows for each user and day; keep it for a while.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn decayed_gpu_seconds(&self) -> Result<BTreeMap<String, f64>, StoreError> {
        let today = day(self.now_ms().await?);
        let gpu = sum(self.backend(), "gpu_ms");
        let mut sql = self.sql(&format!(
            "SELECT user_name, day_number, {gpu} FROM user_usage WHERE day_number > "
        ));
        sql.bind(today.saturating_sub(DECAYED_DAYS_MAX));
        sql.push(" AND gpu_ms > 0 GROUP BY user_name, day_number");
        let mut decayed = BTreeMap::new();
        for row in sql.all(self.reader()).await? {
            let gpu_ms: i64 = row.try_get_by_index(2)?;
            let seconds = gpu_ms as f64 / 1_000.0 * weight(row.try_get_by_index(1)?, today);
            *decayed.entry(row.try_get_by_index(0)?).or_default() += seconds;
        }
        Ok(decayed)
    }
}

/// Adds what attempts have used that ended now.
pub(crate) async fn add(
    store: &Store,
    tx: &DatabaseTransaction,
    used: UsageByUser,
    now_ms: i64,
) -> Result<(), StoreError> {
    let slot: i16 = rand::random_range(0..SLOTS);
    let rows = used.into_iter().map(|(user, of)| {
        vec![
            day(now_ms).into(),
            user.into(),
            slot.into(),
            of.gpu_ms.into(),
            of.cpu_ms.into(),
            of.attempts.into(),
        ]
    });
    let or = or_add_each(store.backend(), "user_usage", KEY, &["gpu_ms", "cpu_ms", "attempts"]);
    let columns = &["day_number", "user_name", "slot", "gpu_ms", "cpu_ms", "attempts"];
    insert_rows(store, tx, InsertInto { table: "user_usage", columns, or: &or }, rows).await
}
