//! What schedules are.

use asyncflow_core::{
    id::ScheduleId,
    schedule::{action::Action, spec::Spec},
};
use sea_orm::{ConnectionTrait, QueryResult};
use serde::{Serialize, de::DeserializeOwned};

use super::standing::{self, Standing};
use crate::{Store, error::StoreError};

/// A schedule: what it is and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    pub id: ScheduleId,
    pub user: String,
    /// +1 when somebody changes what it is.
    pub revision: i64,
    pub create_time_ms: i64,
    pub update_time_ms: i64,
    pub spec: Spec,
    /// As the client wrote it.
    pub source: Vec<u8>,
    pub standing: Standing,
}

/// What is made when it fires.
pub(super) struct Definition {
    pub user: String,
    pub spec: Spec,
    pub action: Action,
}

/// The columns that are read of a schedule that is shown, but for its standing.
const SHOWN: &str = "s.id, s.user_name, s.revision, s.create_time_ms, s.update_time_ms, s.spec, \
                     s.source";
const SHOWN_LEN: usize = 7;

/// `SELECT … WHERE`, for schedules that are shown.
pub(super) fn select_shown() -> String {
    let standing = standing::COLUMNS.map(|name| format!("t.{name}")).join(", ");
    format!(
        "SELECT {SHOWN}, {standing} FROM schedules s \
         JOIN schedule_standings t ON t.schedule_id = s.id WHERE "
    )
}

pub(super) fn read_shown(row: &QueryResult) -> Result<Schedule, StoreError> {
    Ok(Schedule {
        id: ScheduleId(row.try_get_by_index(0)?),
        user: row.try_get_by_index(1)?,
        revision: row.try_get_by_index(2)?,
        create_time_ms: row.try_get_by_index(3)?,
        update_time_ms: row.try_get_by_index(4)?,
        spec: decode(&row.try_get_by_index::<Vec<u8>>(5)?)?,
        source: row.try_get_by_index(6)?,
        standing: standing::read(row, SHOWN_LEN)?.1,
    })
}

/// What these schedules make, by their ids. One that cannot be read is told apart from the others.
pub(super) async fn definitions(
    store: &Store,
    db: &impl ConnectionTrait,
    ids: &[i64],
) -> Result<Vec<(i64, Result<Definition, StoreError>)>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    if ids.is_empty() {
        return Ok(found);
    }
    let mut sql = store.sql("SELECT id, user_name, spec, action FROM schedules WHERE ");
    for row in sql.is_in("id", ids).all(db).await? {
        let (user, spec): (String, Vec<u8>) = (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
        let action: Vec<u8> = row.try_get_by_index(3)?;
        let definition = decode(&spec)
            .and_then(|spec| decode(&action).map(|action| Definition { user, spec, action }));
        found.push((row.try_get_by_index(0)?, definition));
    }
    Ok(found)
}

/// The same for one.
pub(super) async fn definition(
    store: &Store,
    db: &impl ConnectionTrait,
    id: ScheduleId,
) -> Result<Option<Definition>, StoreError> {
    let found = definitions(store, db, &[id.0]).await?.pop();
    found.map(|(_, definition)| definition).transpose()
}

pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| StoreError::Corrupt(error.to_string()))
}
