//! Request ids: which task a request has made, so that a repeated one gets the same.

use std::collections::BTreeMap;

use asyncflow_core::{create::NewTask, id::TaskId};
use sea_orm::DatabaseTransaction;

use crate::{
    Store,
    error::StoreError,
    sql::{InsertInto, insert_rows},
};

/// By user and request id: the digest of the request, and its task. In the order of the table's
/// key, in which everybody writes it.
pub(crate) type Requests<'a> = BTreeMap<(&'a str, &'a str), (i64, TaskId)>;

impl Store {
    /// The task that a request made: for reading back after an unknown outcome.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find_request(
        &self,
        user: &str,
        request_id: &str,
    ) -> Result<Option<TaskId>, StoreError> {
        let mut sql = self.sql("SELECT task_id FROM request_dedup WHERE user_name = ");
        sql.bind(user).push(" AND request_id = ").bind(request_id);
        let row = sql.one(self.reader()).await?;
        row.map(|row| parse_id(row.try_get_by_index(0)?)).transpose()
    }
}

fn parse_id(text: String) -> Result<TaskId, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("the task id {text:?}")))
}

/// Which of the new tasks' requests were made before, one SELECT per user.
pub(crate) async fn known<'a>(
    store: &Store,
    tx: &DatabaseTransaction,
    news: impl Iterator<Item = &'a NewTask> + Send,
) -> Result<Requests<'a>, StoreError> {
    let mut known = Requests::new();
    let mut by_user: BTreeMap<&str, BTreeMap<&str, ()>> = BTreeMap::new();
    for new in news {
        if let Some(request_id) = &new.request_id {
            by_user.entry(&new.user).or_default().insert(request_id, ());
        }
    }
    for (user, asked) in by_user {
        let ids: Vec<&str> = asked.keys().copied().collect();
        let mut sql = store.sql("SELECT request_id, digest, task_id FROM request_dedup WHERE ");
        sql.push("user_name = ").bind(user).push(" AND ").is_in("request_id", &ids);
        for row in sql.all(tx).await? {
            let request_id: String = row.try_get_by_index(0)?;
            let id = parse_id(row.try_get_by_index(2)?)?;
            if let Some((asked, ())) = asked.get_key_value(request_id.as_str()) {
                known.insert((user, *asked), (row.try_get_by_index(1)?, id));
            }
        }
    }
    Ok(known)
}

/// Notes what requests have made. One that somebody else has noted meanwhile is a duplicate key.
pub(crate) async fn note(
    store: &Store,
    tx: &DatabaseTransaction,
    requests: Requests<'_>,
    now_ms: i64,
) -> Result<(), StoreError> {
    if store.is_off("insert.notes_requests") {
        return Ok(());
    }
    let columns = ["user_name", "request_id", "digest", "task_id", "create_time_ms"];
    let rows = requests.into_iter().map(|((user, request_id), (digest, id))| {
        vec![user.into(), request_id.into(), digest.into(), id.to_string().into(), now_ms.into()]
    });
    insert_rows(store, tx, InsertInto { table: "request_dedup", columns: &columns, or: "" }, rows)
        .await
}
