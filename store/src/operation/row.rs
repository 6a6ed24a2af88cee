//! The rows of operations.

use asyncflow_core::{
    id::OperationId,
    operation::{Issue, NewOperation, OperationKind, OperationState, Tally},
    page::{self, PagePosition},
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult, Value};

use crate::{
    Store,
    backend::for_update,
    error::StoreError,
    sql::{InsertInto, insert_rows},
    task::time_ms,
};

/// An operation as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub id: OperationId,
    pub request: NewOperation,
    pub state: OperationState,
    /// +1 at every write of the row.
    pub revision: i64,
    pub tally: Tally,
    /// Why the first tasks that were not changed were not.
    pub issues: Vec<Issue>,
    /// Why it failed, for people.
    pub error: Option<String>,
    /// Where it goes on.
    pub(super) position: PagePosition,
    /// +1 at every taker: the fence of who carries it out.
    pub epoch: i64,
    /// Who took it last; empty before the first.
    pub holder: String,
    /// The digest of the request.
    pub(super) digest: i64,
    pub create_time_ms: i64,
    pub update_time_ms: i64,
    pub finish_time_ms: Option<i64>,
}

const COLUMNS: [&str; 24] = [
    "id",
    "kind",
    "state",
    "revision",
    "user_name",
    "filter",
    "only_user",
    "changes_max",
    "message",
    "from_start",
    "request_id",
    "digest",
    "cursor_token",
    "matched",
    "changed",
    "skipped",
    "failed",
    "issues",
    "error",
    "epoch",
    "holder",
    "create_time_ms",
    "update_time_ms",
    "finish_time_ms",
];

fn read(row: &QueryResult) -> Result<Operation, StoreError> {
    let id = OperationId(row.try_get_by_index(0)?);
    let (kind, state): (i16, i16) = (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
    let unreadable = |what: &str| StoreError::Corrupt(format!("{what} of {id}"));
    let changes_max: i64 = row.try_get_by_index(7)?;
    let request = NewOperation {
        kind: OperationKind::from_code(kind).ok_or_else(|| unreadable("the kind"))?,
        user: row.try_get_by_index(4)?,
        filter: row.try_get_by_index(5)?,
        only_user: row.try_get_by_index(6)?,
        changes_max: Some(changes_max).filter(|most| *most > 0),
        message: row.try_get_by_index(8)?,
        from_start: row.try_get_by_index::<i16>(9)? != 0,
        request_id: row.try_get_by_index(10)?,
    };
    let issues: String = row.try_get_by_index(17)?;
    Ok(Operation {
        id,
        request,
        state: OperationState::from_code(state).ok_or_else(|| unreadable("the state"))?,
        revision: row.try_get_by_index(3)?,
        digest: row.try_get_by_index(11)?,
        position: page::decode(&row.try_get_by_index::<String>(12)?, id.0)
            .map_err(|_| unreadable("the position"))?,
        tally: Tally {
            matched: row.try_get_by_index(13)?,
            changed: row.try_get_by_index(14)?,
            skipped: row.try_get_by_index(15)?,
            failed: row.try_get_by_index(16)?,
        },
        issues: serde_json::from_str(&issues).map_err(|_| unreadable("the issues"))?,
        error: row.try_get_by_index(18)?,
        epoch: row.try_get_by_index(19)?,
        holder: row.try_get_by_index(20)?,
        create_time_ms: row.try_get_by_index(21)?,
        update_time_ms: row.try_get_by_index(22)?,
        finish_time_ms: time_ms(row.try_get_by_index(23)?),
    })
}

/// A position as it is stored.
pub(super) fn cursor(id: OperationId, position: &PagePosition) -> String {
    page::encode(position, id.0)
}

/// Issues as they are stored.
pub(super) fn issues(issues: &[Issue]) -> Result<String, StoreError> {
    serde_json::to_string(issues).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Inserts a new one, which nobody carries out yet.
///
/// # Errors
/// `Duplicate` when the user has used the request id.
pub(super) async fn insert(
    store: &Store,
    tx: &DatabaseTransaction,
    operation: &Operation,
) -> Result<(), StoreError> {
    let Operation { id, request, tally, .. } = operation;
    let values: Vec<Value> = vec![
        id.0.into(),
        request.kind.code().into(),
        operation.state.code().into(),
        operation.revision.into(),
        request.user.as_str().into(),
        request.filter.as_str().into(),
        request.only_user.clone().into(),
        request.changes_max.unwrap_or_default().into(),
        request.message.as_str().into(),
        i16::from(request.from_start).into(),
        request.request_id.clone().into(),
        operation.digest.into(),
        cursor(*id, &operation.position).into(),
        tally.matched.into(),
        tally.changed.into(),
        tally.skipped.into(),
        tally.failed.into(),
        issues(&operation.issues)?.into(),
        operation.error.clone().into(),
        operation.epoch.into(),
        operation.holder.as_str().into(),
        operation.create_time_ms.into(),
        operation.update_time_ms.into(),
        operation.finish_time_ms.unwrap_or_default().into(),
        0_i64.into(),
    ];
    let mut columns = COLUMNS.to_vec();
    columns.push("lease_until_ms");
    let into = InsertInto { table: "operations", columns: &columns, or: "" };
    insert_rows(store, tx, into, [values]).await
}

/// The operation with this id.
pub(super) async fn find(
    store: &Store,
    db: &impl ConnectionTrait,
    id: OperationId,
) -> Result<Option<Operation>, StoreError> {
    let mut sql = select(store);
    sql.push(" WHERE id = ").bind(id.0);
    sql.one(db).await?.as_ref().map(read).transpose()
}

/// The same, locked for the rest of the transaction.
pub(super) async fn lock(
    store: &Store,
    tx: &DatabaseTransaction,
    id: OperationId,
) -> Result<Option<Operation>, StoreError> {
    let mut sql = select(store);
    sql.push(" WHERE id = ").bind(id.0).push(for_update(store.backend()));
    sql.one(tx).await?.as_ref().map(read).transpose()
}

/// What a user's request made.
pub(super) async fn by_request(
    store: &Store,
    tx: &DatabaseTransaction,
    user: &str,
    request_id: &str,
) -> Result<Option<Operation>, StoreError> {
    let mut sql = select(store);
    sql.push(" WHERE user_name = ").bind(user).push(" AND request_id = ").bind(request_id);
    sql.one(tx).await?.as_ref().map(read).transpose()
}

/// How many operations of a user have not ended.
pub(super) async fn unfinished(
    store: &Store,
    tx: &DatabaseTransaction,
    user: &str,
) -> Result<i64, StoreError> {
    let mut sql = store.sql("SELECT COUNT(*) FROM operations WHERE state = ");
    sql.bind(OperationState::Running.code()).push(" AND user_name = ").bind(user);
    let row = sql.one(tx).await?;
    row.map_or(Ok(0), |row| Ok(row.try_get_by_index(0)?))
}

/// Newest first, from the one before `before`; of one user, or of all.
pub(super) async fn list(
    store: &Store,
    user: Option<&str>,
    before: Option<OperationId>,
    limit: u32,
) -> Result<Vec<Operation>, StoreError> {
    let mut sql = select(store);
    sql.push(" WHERE id < ").bind(before.map_or(i64::MAX, |before| before.0));
    if let Some(user) = user {
        sql.push(" AND user_name = ").bind(user);
    }
    sql.push(" ORDER BY id DESC LIMIT ").bind(i64::from(limit));
    sql.all(store.reader()).await?.iter().map(read).collect()
}

fn select(store: &Store) -> crate::sql::Sql {
    store.sql(&format!("SELECT {} FROM operations", COLUMNS.join(", ")))
}
