//! Who leads: one row with holder, epoch and expiry, by the database's clock.

use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult};

use crate::{
    Store,
    backend::{for_update, now_sql, or_ignore},
    error::StoreError,
};

/// The governor's row; there is one leadership so far.
const NAME: &str = "governor";

/// Proof of leadership: a transaction that carries it is refused once another epoch has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderFence {
    pub holder: String,
    /// +1 at every change of the leader.
    pub epoch: i64,
}

/// The row as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    pub holder: String,
    pub epoch: i64,
    /// In the database's Unix milliseconds.
    pub expire_time_ms: i64,
    /// The database's clock when it was read.
    pub now_ms: i64,
}

impl Store {
    /// Takes the leadership if it is free or has run out; `None` while somebody else leads. A
    /// holder that leads already gets a new epoch, so that its former self is fenced off.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn try_lead(
        &self,
        holder: &str,
        ttl_ms: i64,
    ) -> Result<Option<LeaderFence>, StoreError> {
        let asked = (holder, ttl_ms);
        self.transact(&asked, |store, tx, (holder, ttl_ms)| {
            Box::pin(try_lead_once(store, tx, holder, *ttl_ms))
        })
        .await
    }

    /// Leads for another `ttl_ms`.
    ///
    /// # Errors
    /// `NotLeader` when somebody else does, or when the lease ran out and was taken; those of the
    /// database.
    pub async fn renew(&self, fence: &LeaderFence, ttl_ms: i64) -> Result<(), StoreError> {
        let now = now_sql(self.backend());
        let mut sql = self.sql(&format!("UPDATE leader SET expire_time_ms = {now} + "));
        sql.bind(ttl_ms);
        self.change_led(sql, fence).await
    }

    /// Gives the leadership up, so that nobody waits for it to run out.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn resign(&self, fence: &LeaderFence) -> Result<(), StoreError> {
        let sql = self.sql("UPDATE leader SET expire_time_ms = 0");
        self.change_led(sql, fence).await
    }

    async fn change_led(
        &self,
        mut sql: crate::sql::Sql,
        fence: &LeaderFence,
    ) -> Result<(), StoreError> {
        sql.push(" WHERE name = ").bind(NAME).push(" AND epoch = ").bind(fence.epoch);
        sql.push(" AND holder = ").bind(fence.holder.as_str());
        let met = self
            .transact(&sql, |_, tx, sql| Box::pin(async move { sql.clone().run(tx).await }))
            .await?;
        if met == 1 { Ok(()) } else { Err(StoreError::NotLeader) }
    }

    /// Who leads or led last; `None` before the first leader.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn get_leader(&self) -> Result<Option<Leader>, StoreError> {
        let now = now_sql(self.backend());
        let mut sql = self
            .sql(&format!("SELECT holder, epoch, expire_time_ms, {now} FROM leader WHERE name = "));
        sql.bind(NAME);
        let Some(row) = sql.one(self.reader()).await? else { return Ok(None) };
        Ok(Some(Leader {
            holder: row.try_get_by_index(0)?,
            epoch: row.try_get_by_index(1)?,
            expire_time_ms: row.try_get_by_index(2)?,
            now_ms: row.try_get_by_index(3)?,
        }))
    }
}

async fn try_lead_once(
    store: &Store,
    tx: &DatabaseTransaction,
    holder: &str,
    ttl_ms: i64,
) -> Result<Option<LeaderFence>, StoreError> {
    let mut sql = store.sql("INSERT INTO leader (name, holder, epoch, expire_time_ms) VALUES ");
    sql.tuple([NAME.into(), holder.into(), 0_i64.into(), 0_i64.into()]);
    sql.push(&or_ignore(store.backend(), "name", "name")).run(tx).await?;
    let now = now_sql(store.backend());
    let mut sql = store
        .sql(&format!("SELECT holder, epoch, expire_time_ms, {now} FROM leader WHERE name = "));
    sql.bind(NAME).push(for_update(store.backend()));
    let row = sql.one(tx).await?.ok_or(StoreError::NotFound)?;
    let (leads, epoch): (String, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    let (expire_time_ms, now_ms): (i64, i64) = (row.try_get_by_index(2)?, row.try_get_by_index(3)?);
    if leads != holder && expire_time_ms >= now_ms {
        return Ok(None);
    }
    let fence = LeaderFence { holder: holder.to_owned(), epoch: epoch + 1 };
    let mut sql = store.sql("UPDATE leader SET holder = ");
    sql.bind(holder).push(", epoch = ").bind(fence.epoch);
    sql.push(", expire_time_ms = ").bind(now_ms + ttl_ms);
    sql.push(" WHERE name = ").bind(NAME).run(tx).await?;
    Ok(Some(fence))
}

/// Locks the leader's row for the rest of the transaction and refuses another epoch.
pub(crate) async fn check_fence(
    store: &Store,
    tx: &DatabaseTransaction,
    fence: &LeaderFence,
) -> Result<(), StoreError> {
    let mut sql = store.sql("SELECT holder, epoch FROM leader WHERE name = ");
    sql.bind(NAME).push(for_update(store.backend()));
    refuse_another(store, sql.one(tx).await?, fence)?;
    store.fault_point("leader.fenced").await;
    Ok(())
}

/// Refuses another epoch than the one in force at this moment; for statements that no transaction
/// can hold together.
pub(crate) async fn check_epoch(
    store: &Store,
    db: &impl ConnectionTrait,
    fence: &LeaderFence,
) -> Result<(), StoreError> {
    let mut sql = store.sql("SELECT holder, epoch FROM leader WHERE name = ");
    sql.bind(NAME);
    refuse_another(store, sql.one(db).await?, fence)
}

fn refuse_another(
    store: &Store,
    row: Option<QueryResult>,
    fence: &LeaderFence,
) -> Result<(), StoreError> {
    let Some(row) = row else { return Err(StoreError::NotLeader) };
    let (holder, epoch): (String, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    let in_force = holder == fence.holder && epoch == fence.epoch;
    if in_force || store.is_off("leader.epoch") { Ok(()) } else { Err(StoreError::NotLeader) }
}
