//! Makes, renames and drops a shard's tables, under a guard and with little patience.
//!
//! DDL of PostgreSQL and SQLite is transactional: the guard is checked in its transaction. That of
//! MySQL and MariaDB commits by itself, so there all DDL of a shard goes through one connection
//! that holds a named lock of the server, and the guard is checked under it. A process that was
//! stopped in between still has the lock, and everybody else leaves the shard alone until then;
//! when the server has given the stopped one up, its connection is dead and its DDL with it. That
//! connection is never replaced by another: it is pinned by a transaction, which the DDL commits.

use std::time::Duration;

use asyncflow_core::{id::ShardId, shard::ShardState};
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, QueryResult,
    TransactionTrait,
};

use crate::{
    Store,
    backend::{Backend, for_update},
    connect::mysql_with,
    error::{StoreError, TimedOut},
    leader::{LeaderFence, check_epoch, check_fence},
    sql::Sql,
};

/// How long DDL waits for those who use the table. Everybody else queues behind it meanwhile.
const LOCK_WAIT_S: u64 = 1;
/// How long PostgreSQL's autovacuum may take to give way.
const VACUUM_WAIT_S: u64 = 3;
/// MySQL's own default, as good as for ever.
const LOCK_WAIT_S_DEFAULT: u64 = 86_400;
/// The server gives up a connection that holds the lock and is silent for so long.
const SILENCE_S_MAX: u64 = 10;
/// The same while tables are made, for which the creates of a new task type wait.
const CREATING_SILENCE_S_MAX: u64 = 2;
/// How long a DDL statement may take once it has the table: dropping frees gigabytes.
const STATEMENT_TIME_MAX: Duration = Duration::from_secs(60);

/// What must hold at the moment at which a shard's tables are changed.
#[derive(Clone, Copy)]
pub(super) enum Guard<'a> {
    /// This leader leads; otherwise `NotLeader`.
    Led(&'a LeaderFence),
    /// The registry says that the tables are being made; otherwise `Conflict`.
    Creating(&'a ShardId),
}

impl Guard<'_> {
    /// How long the right to change the tables is waited for while another process has it.
    const fn wait_s(self) -> u64 {
        match self {
            Self::Led(_) => 0,
            Self::Creating(_) => LOCK_WAIT_S,
        }
    }

    /// Where a test stops a process that has checked it.
    const fn fault_point(self) -> &'static str {
        match self {
            Self::Led(_) => "ddl.checked",
            Self::Creating(_) => "roll.checked",
        }
    }

    const fn silence_s_max(self) -> u64 {
        match self {
            Self::Led(_) => SILENCE_S_MAX,
            Self::Creating(_) => CREATING_SILENCE_S_MAX,
        }
    }

    /// Checks it for the rest of the transaction.
    async fn check_in(self, store: &Store, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        match self {
            Self::Led(fence) => check_fence(store, tx, fence).await,
            Self::Creating(shard) => {
                let mut sql = look_at(store, shard);
                sql.push(for_update(store.backend()));
                refuse_unless_creating(store, sql.one(tx).await?)
            }
        }
    }

    /// Checks it for this moment.
    async fn check(self, store: &Store, tx: &DatabaseTransaction) -> Result<(), StoreError> {
        match self {
            Self::Led(fence) => check_epoch(store, tx, fence).await,
            Self::Creating(shard) => {
                refuse_unless_creating(store, look_at(store, shard).one(tx).await?)
            }
        }
    }
}

fn look_at(store: &Store, shard: &ShardId) -> Sql {
    let mut sql = store.sql("SELECT state, version FROM shards WHERE task_type = ");
    sql.bind(shard.task_type.as_str()).push(" AND number = ").bind(shard.number);
    sql
}

fn refuse_unless_creating(store: &Store, row: Option<QueryResult>) -> Result<(), StoreError> {
    let row = row.ok_or(StoreError::NotFound)?;
    let state: i16 = row.try_get_by_index(0)?;
    if state == ShardState::Creating.code() || store.is_off("roll.looks_again") {
        return Ok(());
    }
    Err(StoreError::Conflict { current: row.try_get_by_index(1)? })
}

/// The right to change a shard's tables. Dropping it gives it back.
pub(super) struct Ddl<'a> {
    store: &'a Store,
    guard: Guard<'a>,
    /// MySQL's.
    connection: Option<Pinned>,
}

/// One connection and no other. A pool makes a new one in the place of one that died, and that one
/// would neither hold the lock nor have checked anything.
struct Pinned {
    tx: DatabaseTransaction,
    pool: DatabaseConnection,
}

impl<'a> Ddl<'a> {
    /// Takes it; `None` while another process has it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(
        store: &'a Store,
        shard: &ShardId,
        guard: Guard<'a>,
    ) -> Result<Option<Self>, StoreError> {
        if store.backend() != Backend::Mysql {
            return Ok(Some(Self { store, guard, connection: None }));
        }
        let mut one = mysql_with(store.options(), &mysql_session(store, guard));
        one.max_connections(1);
        let pool = Database::connect(one).await?;
        let tx = pool.begin().await?;
        // Lock names are short and shared by all databases of the server.
        let mut sql = store.sql("SELECT GET_LOCK(MD5(CONCAT(DATABASE(), ");
        sql.bind(shard.task_table()).push(&format!(")), {})", guard.wait_s()));
        let row = sql.one(&tx).await?;
        let taken: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
        let ddl = Self { store, guard, connection: Some(Pinned { tx, pool }) };
        Ok(if taken == Some(1) { Some(ddl) } else { None })
    }

    /// Gives the three tables other names, all of them or none, if the guard still holds.
    ///
    /// # Errors
    /// As [`Ddl::run`].
    pub async fn rename(&self, from: &[String; 3], to: &[String; 3]) -> Result<(), StoreError> {
        let pairs = from.iter().zip(to);
        if self.store.backend() == Backend::Mysql {
            let pairs: Vec<_> = pairs.map(|(from, to)| format!("{from} TO {to}")).collect();
            return self.run(&[format!("RENAME TABLE {}", pairs.join(", "))]).await;
        }
        let rename = |(from, to)| format!("ALTER TABLE {from} RENAME TO {to}");
        self.run_on(from, &pairs.map(rename).collect::<Vec<_>>()).await
    }

    /// Drops a table that is there, if the guard still holds.
    ///
    /// # Errors
    /// As [`Ddl::run`].
    pub async fn drop(&self, table: &str) -> Result<(), StoreError> {
        self.run_on(&[table.to_owned()], &[format!("DROP TABLE {table}")]).await
    }

    /// Runs statements if the guard still holds.
    ///
    /// # Errors
    /// `NotLeader`, `Conflict`; `Contended` when somebody used a table for longer than a second;
    /// those of the database.
    pub async fn run(&self, statements: &[String]) -> Result<(), StoreError> {
        self.run_on(&[], statements).await
    }

    /// The same on tables that a vacuum may be at.
    async fn run_on(&self, tables: &[String], statements: &[String]) -> Result<(), StoreError> {
        match &self.connection {
            Some(Pinned { tx, .. }) => {
                self.guard.check(self.store, tx).await?;
                self.store.fault_point(self.guard.fault_point()).await;
                execute(tx, statements).await
            }
            None => {
                let context = (self.guard, tables, statements);
                self.store
                    .transact_once(
                        &context,
                        STATEMENT_TIME_MAX,
                        |store, tx, (guard, tables, statements)| {
                            Box::pin(async move {
                                limit(store, tx, *guard).await?;
                                end_vacuums(store, tx, tables).await?;
                                be_impatient(store, tx).await?;
                                guard.check_in(store, tx).await?;
                                store.fault_point(guard.fault_point()).await;
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
        let Some(Pinned { tx, pool }) = self.connection else { return };
        drop(tx);
        if let Err(error) = pool.close().await {
            tracing::debug!(%error, "closing the connection for DDL");
        }
    }
}

/// PostgreSQL's autovacuum gives way to whoever has waited for its table for a second
/// (`deadlock_timeout`), which is as long as our patience. So it is waited for with a lock that is
/// in nobody else's way.
async fn end_vacuums(
    store: &Store,
    tx: &DatabaseTransaction,
    tables: &[String],
) -> Result<(), StoreError> {
    if store.backend() == Backend::Postgres && !tables.is_empty() {
        let wait = format!("SET LOCAL lock_timeout = '{VACUUM_WAIT_S}s'");
        tx.execute_unprepared(&wait).await?;
        let lock = format!("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE", tables.join(", "));
        tx.execute_unprepared(&lock).await?;
    }
    Ok(())
}

/// The wait for a table is short; MySQL's connection has that from its beginning.
async fn be_impatient(store: &Store, tx: &DatabaseTransaction) -> Result<(), StoreError> {
    if store.backend() == Backend::Postgres {
        let wait = format!("SET LOCAL lock_timeout = '{}s'", lock_wait_s(store));
        tx.execute_unprepared(&wait).await?;
    }
    Ok(())
}

/// How long PostgreSQL bears with this transaction, before it takes any lock.
async fn limit(
    store: &Store,
    tx: &DatabaseTransaction,
    guard: Guard<'_>,
) -> Result<(), StoreError> {
    if store.backend() == Backend::Postgres {
        let limits = format!(
            "SET LOCAL idle_in_transaction_session_timeout = '{}s'; \
             SET LOCAL statement_timeout = '{}s'",
            guard.silence_s_max(),
            STATEMENT_TIME_MAX.as_secs()
        );
        tx.execute_unprepared(&limits).await?;
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
fn mysql_session(store: &Store, guard: Guard<'_>) -> String {
    let (wait_s, silence_s) = (lock_wait_s(store), guard.silence_s_max());
    format!("SET SESSION lock_wait_timeout = {wait_s}, wait_timeout = {silence_s}")
}

fn lock_wait_s(store: &Store) -> u64 {
    if store.is_off("drop.lock_timeout") { LOCK_WAIT_S_DEFAULT } else { LOCK_WAIT_S }
}
