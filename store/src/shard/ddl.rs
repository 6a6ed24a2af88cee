//! Renames and drops a shard's tables, under the leader's fence and with little patience.
//!
//! DDL of PostgreSQL and SQLite is transactional: the epoch is checked in its transaction. That of
//! MySQL and MariaDB commits by itself, so there all DDL of a shard goes through one connection
//! that holds a named lock of the server, and the epoch is checked under it. A governor that was
//! stopped in between still has the lock, and its successor leaves the shard alone until then; when
//! the server has given the stopped one up, its connection is dead and its DDL with it.

use std::time::Duration;

use asyncflow_core::id::ShardId;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction};

use crate::{
    Store,
    backend::Backend,
    connect::mysql_with,
    error::{StoreError, TimedOut},
    leader::{LeaderFence, check_epoch, check_fence},
};

/// How long DDL waits for those who use the table. Everybody else queues behind it meanwhile.
const LOCK_WAIT_S: u64 = 1;
/// MySQL's own default, as good as for ever.
const LOCK_WAIT_S_DEFAULT: u64 = 86_400;
/// The server gives up a connection that holds the lock and is silent for so long.
const SILENCE_S_MAX: u64 = 10;
/// How long a DDL statement may take once it has the table: dropping frees gigabytes.
const STATEMENT_TIME_MAX: Duration = Duration::from_secs(60);

/// The right to change a shard's tables. Dropping it gives it back.
pub(super) struct Ddl<'a> {
    store: &'a Store,
    fence: &'a LeaderFence,
    /// MySQL's.
    connection: Option<DatabaseConnection>,
}

impl<'a> Ddl<'a> {
    /// Takes it; `None` while another process has it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(
        store: &'a Store,
        shard: &ShardId,
        fence: &'a LeaderFence,
    ) -> Result<Option<Self>, StoreError> {
        if store.backend() != Backend::Mysql {
            return Ok(Some(Self { store, fence, connection: None }));
        }
        let mut one = mysql_with(store.options(), &mysql_session(store));
        one.max_connections(1);
        let connection = Database::connect(one).await?;
        // Lock names are short and shared by all databases of the server.
        let mut sql = store.sql("SELECT GET_LOCK(MD5(CONCAT(DATABASE(), ");
        sql.bind(shard.task_table()).push(")), 0)");
        let row = sql.one(&connection).await?;
        let taken: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
        let ddl = Self { store, fence, connection: Some(connection) };
        Ok(if taken == Some(1) { Some(ddl) } else { None })
    }

    /// Runs statements if the fence is still in force.
    ///
    /// # Errors
    /// `NotLeader`; `Contended` when somebody used a table for longer than a second; those of the
    /// database.
    pub async fn run(&self, statements: &[String]) -> Result<(), StoreError> {
        match &self.connection {
            Some(connection) => {
                check_epoch(self.store, connection, self.fence).await?;
                self.store.fault_point("ddl.checked").await;
                execute(connection, statements).await
            }
            None => {
                let context = (self.fence, statements);
                self.store
                    .transact_once(
                        &context,
                        STATEMENT_TIME_MAX,
                        |store, tx, (fence, statements)| {
                            Box::pin(async move {
                                be_impatient(store, tx).await?;
                                check_fence(store, tx, fence).await?;
                                store.fault_point("ddl.checked").await;
                                execute(tx, statements).await
                            })
                        },
                    )
                    .await
            }
        }
    }

    /// Gives it back and waits until that is done.
    pub async fn end(self) {
        if let Some(connection) = self.connection
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "closing the connection for DDL");
        }
    }
}

/// The wait for a table is short; MySQL's connection has that from its beginning.
async fn be_impatient(store: &Store, tx: &DatabaseTransaction) -> Result<(), StoreError> {
    if store.backend() == Backend::Postgres {
        let statement = format!("SET LOCAL lock_timeout = '{}s'", lock_wait_s(store));
        tx.execute_unprepared(&statement).await?;
        let silence = format!(
            "SET LOCAL idle_in_transaction_session_timeout = '{SILENCE_S_MAX}s'; \
             SET LOCAL statement_timeout = '{}s'",
            STATEMENT_TIME_MAX.as_secs()
        );
        tx.execute_unprepared(&silence).await?;
    }
    Ok(())
}

async fn execute(db: &impl ConnectionTrait, statements: &[String]) -> Result<(), StoreError> {
    for statement in statements {
        match tokio::time::timeout(STATEMENT_TIME_MAX, db.execute_unprepared(statement)).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(StoreError::unavailable(TimedOut)),
        };
    }
    Ok(())
}

/// The session settings of MySQL's connection for DDL.
fn mysql_session(store: &Store) -> String {
    let wait_s = lock_wait_s(store);
    format!("SET SESSION lock_wait_timeout = {wait_s}, wait_timeout = {SILENCE_S_MAX}")
}

fn lock_wait_s(store: &Store) -> u64 {
    if store.is_off("drop.lock_timeout") { LOCK_WAIT_S_DEFAULT } else { LOCK_WAIT_S }
}
