//! Transactions that stand open in the database, whoever began them.

use std::time::Duration;

use crate::{Store, backend::Backend, error::StoreError};

/// One line for each transaction of this database, on MariaDB and MySQL of the whole server, that
/// has been open for so long: its session and what that does. Whole seconds count. None on SQLite,
/// which does not tell.
///
/// # Errors
/// Those of the database.
pub async fn open_transactions(
    store: &Store,
    at_least: Duration,
) -> Result<Vec<String>, StoreError> {
    let text = match store.backend() {
        Backend::Sqlite => return Ok(Vec::new()),
        // What a session does is there while it does something.
        Backend::Mysql => {
            "SELECT CONCAT('session ', trx_mysql_thread_id, ' ', COALESCE(trx_query, 'is idle')) \
             FROM information_schema.innodb_trx WHERE TIMESTAMPDIFF(SECOND, trx_started, NOW()) >= "
        }
        Backend::Postgres => {
            "SELECT CONCAT('session ', pid, ' is ', state, ': ', query) FROM pg_stat_activity \
             WHERE datname = current_database() AND backend_type = 'client backend' \
             AND pid <> pg_backend_pid() \
             AND EXTRACT(EPOCH FROM clock_timestamp() - xact_start) >= "
        }
    };
    let seconds = i64::try_from(at_least.as_secs()).unwrap_or(i64::MAX);
    let rows = store.sql(text).bind(seconds).all(store.reader()).await?;
    Ok(rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?)
}
