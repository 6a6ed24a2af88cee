//! What a database server has done since it was started, to be compared before and after a load.

use std::time::Duration;

use sea_orm::QueryResult;

use crate::{Store, backend::Backend, error::StoreError};

/// How long PostgreSQL's sessions may keep their statistics (`dead_rows`, `statements`) to
/// themselves after they fell idle.
pub const STATISTICS_LAG: Duration = Duration::from_millis(10_500);

/// Totals of the whole server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerWork {
    /// MariaDB, MySQL: COMMIT statements. PostgreSQL: transactions that wrote.
    pub commits: i64,
    /// Written into the redo log, or the WAL.
    pub log_bytes: i64,
    /// PostgreSQL: row versions that an UPDATE or a DELETE has left to the vacuum, in all tables of
    /// this database. 0 elsewhere.
    pub dead_rows: i64,
    /// MariaDB, MySQL: statements of clients. PostgreSQL: transactions of this database, a
    /// statement by itself being one.
    pub statements: i64,
}

impl ServerWork {
    /// What was done since an earlier look.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            commits: self.commits - earlier.commits,
            log_bytes: self.log_bytes - earlier.log_bytes,
            dead_rows: self.dead_rows - earlier.dead_rows,
            statements: self.statements - earlier.statements,
        }
    }
}

/// Asks the server; `None` on SQLite, where there is no server that counts.
///
/// # Errors
/// Those of the database.
pub async fn server_work(store: &Store) -> Result<Option<ServerWork>, StoreError> {
    match store.backend() {
        Backend::Sqlite => Ok(None),
        Backend::Mysql => mysql(store).await.map(Some),
        Backend::Postgres => postgres(store).await.map(Some),
    }
}

async fn mysql(store: &Store) -> Result<ServerWork, StoreError> {
    let names = "'Com_commit', 'Innodb_os_log_written', 'Questions'";
    let text = format!("SHOW GLOBAL STATUS WHERE Variable_name IN ({names})");
    let mut work = ServerWork::default();
    for row in store.sql(&text).all(store.reader()).await? {
        let name: String = row.try_get_by_index(0)?;
        let value = number(&row)?;
        match name.as_str() {
            "Com_commit" => work.commits = value,
            "Innodb_os_log_written" => work.log_bytes = value,
            _ => work.statements = value,
        }
    }
    Ok(work)
}

fn number(row: &QueryResult) -> Result<i64, StoreError> {
    let text: String = row.try_get_by_index(1)?;
    text.parse().map_err(|_| StoreError::Corrupt(format!("a counter of the server reads {text}")))
}

async fn postgres(store: &Store) -> Result<ServerWork, StoreError> {
    let mut sql = store.sql(
        "SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT), \
         CAST(pg_current_wal_insert_lsn() - '0/0' AS BIGINT), \
         CAST((SELECT COALESCE(SUM(n_tup_upd + n_tup_del), 0) FROM pg_stat_all_tables) AS BIGINT), \
         xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()",
    );
    let row = sql.one(store.reader()).await?.ok_or(StoreError::NotFound)?;
    Ok(ServerWork {
        commits: row.try_get_by_index(0)?,
        log_bytes: row.try_get_by_index(1)?,
        dead_rows: row.try_get_by_index(2)?,
        statements: row.try_get_by_index(3)?,
    })
}
