//! Creates schedules.

use std::sync::atomic::{AtomicU32, Ordering};

use asyncflow_core::{
    digest,
    id::ScheduleId,
    schedule::{
        action::Action,
        spec::{Spec, Times},
    },
};
use sea_orm::{DatabaseTransaction, Value};

use super::{
    row::{Schedule, encode, read_shown, select_shown},
    standing::{self, Standing},
};
use crate::{Store, error::StoreError};

/// A workflow is as much work as so many tasks, and one for each node.
const COST_OF_WORKFLOW: usize = 10;

/// A checked request for a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSchedule {
    pub user: String,
    pub name: String,
    pub spec: Spec,
    pub action: Action,
    /// As the client wrote it; only kept to be shown.
    pub source: Vec<u8>,
    /// Unique per user; `None` = the client does not mind duplicates.
    pub request_id: Option<String>,
    /// When that was, by the database's clock: intervals may be counted from it.
    pub create_time_ms: i64,
}

/// A created schedule, or the one that an earlier call with the same request made.
#[derive(Clone, Debug, PartialEq)]
pub struct CreatedSchedule {
    pub schedule: Schedule,
    pub deduplicated: bool,
}

/// Why a schedule was not created.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CreateScheduleError {
    /// The request id was used for other content.
    #[error("the request id was already used for schedule {0}")]
    RequestIdReused(ScheduleId),
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Request<'a> {
    new: &'a NewSchedule,
    times: Times,
    digest: i64,
    now_ms: i64,
    runs: AtomicU32,
}

impl Store {
    /// Creates a schedule, which fires for the first time after it was asked for.
    ///
    /// Cancel safe, but the outcome is then unknown: repeat it with the same request id.
    ///
    /// # Errors
    /// [`CreateScheduleError`].
    pub async fn create_schedule(
        &self,
        new: &NewSchedule,
    ) -> Result<CreatedSchedule, CreateScheduleError> {
        let times = Times::new(&new.spec).map_err(StoreError::Corrupt)?;
        let (now_ms, digest) = (new.create_time_ms, digest::new_schedule(&new.source));
        let request = Request { new, times, digest, now_ms, runs: AtomicU32::new(0) };
        let (schedule, first) = self
            .transact(&request, |store, tx, request| Box::pin(create_once(store, tx, request)))
            .await
            .map_err(StoreError::exhausted)?;
        match first {
            None => Ok(CreatedSchedule { schedule, deduplicated: false }),
            Some(first) if first == digest => Ok(CreatedSchedule { schedule, deduplicated: true }),
            Some(_) => Err(CreateScheduleError::RequestIdReused(schedule.id)),
        }
    }
}

/// The schedule, and the digest of an earlier request that created it.
async fn create_once(
    store: &Store,
    tx: &DatabaseTransaction,
    request: &Request<'_>,
) -> Result<(Schedule, Option<i64>), StoreError> {
    let Request { new, times, digest, now_ms, runs } = request;
    // Only a duplicate key tells that a request was made before, so only a repetition looks.
    if runs.fetch_add(1, Ordering::Relaxed) > 0
        && let Some(request_id) = &new.request_id
        && let Some(known) = by_request(store, tx, &new.user, request_id).await?
    {
        return Ok(known);
    }
    let id = ScheduleId(store.next_key(*now_ms));
    let (spec, action) = (encode(&new.spec)?, encode(&new.action)?);
    let mut standing = Standing::new();
    (standing.bytes, standing.cost) = weigh(&new.action, &spec, &action);
    standing.go_on(id, &new.spec, times.next_after(*now_ms));
    let values: Vec<Value> = vec![
        id.0.into(),
        new.user.as_str().into(),
        new.name.as_str().into(),
        1_i64.into(),
        new.request_id.clone().into(),
        (*digest).into(),
        (*now_ms).into(),
        (*now_ms).into(),
        spec.into(),
        action.into(),
        new.source.clone().into(),
    ];
    let mut sql = store.sql(
        "INSERT INTO schedules (id, user_name, name, revision, request_id, digest, \
         create_time_ms, update_time_ms, spec, action, source) VALUES ",
    );
    sql.tuple(values).run(tx).await?;
    standing::put(store, tx, &[(id.0, &standing)]).await?;
    let schedule = Schedule {
        id,
        user: new.user.clone(),
        revision: 1,
        create_time_ms: *now_ms,
        update_time_ms: *now_ms,
        spec: new.spec.clone(),
        source: new.source.clone(),
        standing,
    };
    Ok((schedule, None))
}

/// What firing takes: bytes that are read, and work in tasks.
pub(super) fn weigh(of: &Action, spec: &[u8], action: &[u8]) -> (i64, i32) {
    let cost = match of {
        Action::Task(_) => 1,
        Action::Workflow(_) => COST_OF_WORKFLOW + of.nodes(),
    };
    ((spec.len() + action.len()) as i64, i32::try_from(cost).unwrap_or(i32::MAX))
}

async fn by_request(
    store: &Store,
    tx: &DatabaseTransaction,
    user: &str,
    request_id: &str,
) -> Result<Option<(Schedule, Option<i64>)>, StoreError> {
    let mut sql = store.sql("SELECT id, digest FROM schedules WHERE user_name = ");
    sql.bind(user).push(" AND request_id = ").bind(request_id);
    let Some(found) = sql.one(tx).await? else { return Ok(None) };
    let (id, digest): (i64, i64) = (found.try_get_by_index(0)?, found.try_get_by_index(1)?);
    let mut sql = store.sql(&select_shown());
    let row = sql.push("s.id = ").bind(id).one(tx).await?;
    row.as_ref().map(|row| Ok((read_shown(row)?, Some(digest)))).transpose()
}
