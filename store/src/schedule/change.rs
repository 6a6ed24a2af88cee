//! Changes, pauses, resumes and deletes schedules.

use asyncflow_core::{
    id::ScheduleId,
    schedule::{
        ScheduleState,
        action::Action,
        spec::{Spec, Times},
    },
};
use sea_orm::DatabaseTransaction;

use super::{
    create::weigh,
    row::{definition, encode},
    standing::{self, Standing},
};
use crate::{Store, error::StoreError};

/// What a schedule is from now on.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleChange {
    pub name: String,
    pub spec: Spec,
    pub action: Action,
    pub source: Vec<u8>,
}

/// Why a schedule was not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("there is no such schedule")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is done to a schedule, and when.
struct Deed<'a> {
    id: ScheduleId,
    kind: Kind<'a>,
    now_ms: i64,
}

enum Kind<'a> {
    Update { change: &'a ScheduleChange, revision: i64 },
    Pause,
    Resume,
    Delete { revision: Option<i64> },
}

impl Store {
    /// Changes what a schedule is; it fires next at the first of its times that is still to come.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when `revision` is not the one in force; those of the database.
    pub async fn update_schedule(
        &self,
        id: ScheduleId,
        revision: i64,
        change: &ScheduleChange,
    ) -> Result<(), ScheduleError> {
        self.do_to_schedule(id, Kind::Update { change, revision }).await
    }

    /// Pauses a schedule, unless it is paused or over already. It forgets what is queued.
    ///
    /// # Errors
    /// `NotFound`; those of the database.
    pub async fn pause_schedule(&self, id: ScheduleId) -> Result<(), ScheduleError> {
        self.do_to_schedule(id, Kind::Pause).await
    }

    /// Lets a paused schedule fire again, from the first of its times that is still to come.
    ///
    /// # Errors
    /// `NotFound`; those of the database.
    pub async fn resume_schedule(&self, id: ScheduleId) -> Result<(), ScheduleError> {
        self.do_to_schedule(id, Kind::Resume).await
    }

    /// Deletes a schedule; what it has made stays.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when `revision` is given and is not the one in force; those of the
    /// database.
    pub async fn delete_schedule(
        &self,
        id: ScheduleId,
        revision: Option<i64>,
    ) -> Result<(), ScheduleError> {
        self.do_to_schedule(id, Kind::Delete { revision }).await
    }

    async fn do_to_schedule(&self, id: ScheduleId, kind: Kind<'_>) -> Result<(), ScheduleError> {
        let deed = Deed { id, kind, now_ms: self.now_ms().await? };
        let done = self
            .transact(&deed, |store, tx, deed| Box::pin(do_once(store, tx, deed)))
            .await
            .map_err(StoreError::exhausted)?;
        if done { Ok(()) } else { Err(ScheduleError::NotFound) }
    }
}

/// Whether there is such a schedule.
async fn do_once(
    store: &Store,
    tx: &DatabaseTransaction,
    deed: &Deed<'_>,
) -> Result<bool, StoreError> {
    let Deed { id, kind, now_ms } = deed;
    let Some(mut standing) = standing::lock_one(store, tx, *id).await? else { return Ok(false) };
    match kind {
        Kind::Update { change, revision } => {
            check_revision(store, tx, *id, *revision).await?;
            update(store, tx, *id, change, *now_ms, &mut standing).await?;
        }
        Kind::Pause if standing.state == ScheduleState::Active || standing.queued_ms.is_some() => {
            standing.state = ScheduleState::Paused;
            go_on(store, tx, *id, *now_ms, &mut standing).await?;
        }
        Kind::Resume if standing.state == ScheduleState::Paused => {
            standing.state = ScheduleState::Active;
            go_on(store, tx, *id, *now_ms, &mut standing).await?;
        }
        Kind::Pause | Kind::Resume => return Ok(true),
        Kind::Delete { revision } => {
            if let Some(revision) = revision {
                check_revision(store, tx, *id, *revision).await?;
            }
            for (table, key) in [("schedules", "id"), ("schedule_standings", "schedule_id")] {
                let mut sql = store.sql(&format!("DELETE FROM {table} WHERE {key} = "));
                sql.bind(id.0).run(tx).await?;
            }
            return Ok(true);
        }
    }
    standing::put(store, tx, &[(id.0, &standing)]).await?;
    Ok(true)
}

async fn check_revision(
    store: &Store,
    tx: &DatabaseTransaction,
    id: ScheduleId,
    revision: i64,
) -> Result<(), StoreError> {
    let mut sql = store.sql("SELECT revision FROM schedules WHERE id = ");
    let row = sql.bind(id.0).one(tx).await?.ok_or(StoreError::NotFound)?;
    let current: i64 = row.try_get_by_index(0)?;
    if current == revision { Ok(()) } else { Err(StoreError::Conflict { current }) }
}

async fn go_on(
    store: &Store,
    tx: &DatabaseTransaction,
    id: ScheduleId,
    now_ms: i64,
    standing: &mut Standing,
) -> Result<(), StoreError> {
    let definition = definition(store, tx, id).await?.ok_or(StoreError::NotFound)?;
    let times = Times::new(&definition.spec).map_err(StoreError::Corrupt)?;
    standing.go_on(id, &definition.spec, times.next_after(now_ms));
    Ok(())
}

async fn update(
    store: &Store,
    tx: &DatabaseTransaction,
    id: ScheduleId,
    change: &ScheduleChange,
    now_ms: i64,
    standing: &mut Standing,
) -> Result<(), StoreError> {
    let times = Times::new(&change.spec).map_err(StoreError::Corrupt)?;
    let (spec, action) = (encode(&change.spec)?, encode(&change.action)?);
    (standing.bytes, standing.cost) = weigh(&change.action, &spec, &action);
    // A fire time that is due already is not lost by a change that does not concern it.
    let before = definition(store, tx, id).await?.ok_or(StoreError::NotFound)?;
    let keeps = before.spec.has_times_of(&change.spec);
    let next_ms = standing.next_ms.filter(|_| keeps).or_else(|| times.next_after(now_ms));
    standing.go_on(id, &change.spec, next_ms);
    let mut sql = store.sql("UPDATE schedules SET revision = revision + 1, name = ");
    sql.bind(change.name.as_str()).push(", update_time_ms = ").bind(now_ms);
    sql.push(", spec = ").bind(spec).push(", action = ").bind(action);
    sql.push(", source = ").bind(change.source.clone());
    sql.push(" WHERE id = ").bind(id.0).run(tx).await?;
    Ok(())
}
