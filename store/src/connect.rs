//! Opening the database: pools, session settings, clock.

use std::{os::unix::fs::OpenOptionsExt, path::Path, sync::Arc, time::Duration};

use asyncflow_core::id::KeyGenerator;
use sea_orm::{
    ConnectOptions, Database, DatabaseConnection,
    sqlx::{
        self, AssertSqlSafe, Connection, Executor, SqliteConnection,
        sqlite::{SqliteAutoVacuum, SqliteJournalMode, SqliteSynchronous},
    },
};

use crate::{
    backend::{Backend, now_sql},
    clock::DatabaseClock,
    error::{StoreError, TimedOut},
    lock::Locks,
    nodelay,
    options::StoreOptions,
    place::Place,
    shard::{ShardCache, Turns},
    sql::Sql,
    task::Leases,
    task_type::TypeCache,
    wake::Wake,
    workflow::{KnownFlows, LeftSender},
};

/// A lock wait ends after this long; the transaction is then repeated.
const LOCK_WAIT_S: u64 = 5;
/// A transaction whose process says nothing for this long is rolled back, or the locks of one that
/// was stopped, or whose host is gone, would keep everybody waiting. MySQL has no such setting.
const IDLE_IN_TRANSACTION_S: u64 = 5;
/// Readers of one SQLite file; more only cost memory.
const SQLITE_READERS_MAX: u32 = 8;
/// Of each connection; taken as it is needed. With the 2 MiB that SQLite has by itself every batch
/// of creates reads and spills pages.
const SQLITE_CACHE_KIB: u32 = 32 << 10;
/// Pages of 4 KiB in the log before it is worked into the file: what is changed again and again
/// meanwhile is written once. SQLite has 1,000 by itself.
const SQLITE_CHECKPOINT_PAGES: u32 = 8_000;
/// Prepared statements kept per connection: every shard has its own texts.
const STATEMENTS_MAX: usize = 384;
/// MySQL, unlike MariaDB, tells sizes of tables that may be a day old unless it is told not to;
/// MariaDB does not read what stands in that comment, nor MySQL what stands in the other one, which
/// is [`IDLE_IN_TRANSACTION_S`].
const MYSQL_SESSION: &str = "SET SESSION innodb_lock_wait_timeout = 5, lock_wait_timeout = 5 \
                             /*!80003 , information_schema_stats_expiry = 0 */ \
                             /*M!100300 , idle_transaction_timeout = 5 */";
/// Older ones can corrupt a WAL that is reset while it is read.
const SQLITE_VERSION_MIN: [u32; 3] = [3, 51, 3];

/// The database, cheap to clone. All verbs are methods of it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    backend: Backend,
    options: StoreOptions,
    writer: DatabaseConnection,
    /// The same as `writer` but on SQLite, where one connection writes and others read.
    reader: DatabaseConnection,
    /// Where the file of SQLite was opened.
    place: Option<Place>,
    clock: DatabaseClock,
    keys: std::sync::Mutex<KeyGenerator>,
    types: TypeCache,
    shards: ShardCache,
    turns: Turns,
    leases: Leases,
    flows: KnownFlows,
    left: LeftSender,
    wake: Wake,
    locks: Locks,
}

impl Store {
    /// Opens the database and, when configured, Redis. Makes no tables, see [`Store::migrate`].
    ///
    /// # Errors
    /// `Options` when the address has an unknown scheme or Redis locks lack an address;
    /// `Unavailable` when the database cannot be reached. Redis may be down.
    pub async fn connect(options: &StoreOptions) -> Result<Self, StoreError> {
        let backend = backend_of(&options.url)?;
        let wake = Wake::new(options, backend)?;
        let (writer, reader) = match backend {
            Backend::Sqlite => sqlite(options).await?,
            Backend::Mysql => {
                let pool = Database::connect(mysql(options)).await?;
                (pool.clone(), pool)
            }
            Backend::Postgres => {
                let pool = Database::connect(postgres(options)).await?;
                (pool.clone(), pool)
            }
        };
        let place = match backend {
            Backend::Sqlite => Place::of(sqlite_path(&options.url)),
            Backend::Mysql | Backend::Postgres => None,
        };
        let locks = Locks::new(options, backend, &writer)?;
        Ok(Self(Arc::new(Inner {
            backend,
            options: options.clone(),
            writer,
            reader,
            place,
            clock: DatabaseClock::default(),
            keys: std::sync::Mutex::new(KeyGenerator::new(rand::random())),
            types: TypeCache::new(&wake),
            shards: ShardCache::new(&wake),
            turns: Turns::default(),
            leases: Leases::default(),
            flows: KnownFlows::default(),
            left: LeftSender::default(),
            wake,
            locks,
        })))
    }

    /// Brings the tables to the newest schema; a no-op when they are there already.
    ///
    /// # Errors
    /// `Unavailable`, or `Refused` when the user may not create tables.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        Ok(asyncflow_migrations::migrate(&self.0.writer).await?)
    }

    /// Whether the database answers and can be written to; for health checks.
    ///
    /// # Errors
    /// `Unavailable` when it does not within 2 seconds.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.check_place()?;
        let look = self.look_at_clock();
        match tokio::time::timeout(Duration::from_secs(2), look).await {
            Ok(outcome) => outcome.map(|_| ()),
            Err(_) => Err(StoreError::unavailable(TimedOut)),
        }
    }

    /// Whether what is committed will be found again: on SQLite, by the path of the file.
    ///
    /// # Errors
    /// `Unavailable` when it will not.
    pub(crate) fn check_place(&self) -> Result<(), StoreError> {
        self.0.place.as_ref().map_or(Ok(()), Place::check)
    }

    /// Which family of databases it is.
    pub fn backend(&self) -> Backend {
        self.0.backend
    }

    /// The address that it was opened with; it may hold a password.
    pub fn url(&self) -> &str {
        &self.0.options.url
    }

    /// The database's clock in Unix milliseconds: a sample of at most 5 seconds ago, carried on by
    /// the monotonic clock. Transactions that decide something ask the database itself.
    ///
    /// # Errors
    /// `Unavailable` when a new sample is needed and the database does not answer.
    pub async fn now_ms(&self) -> Result<i64, StoreError> {
        match self.0.clock.estimate_ms() {
            Some(now_ms) => Ok(now_ms),
            None => self.look_at_clock().await,
        }
    }

    /// The database's clock in Unix milliseconds, asked now.
    ///
    /// # Errors
    /// `Unavailable` when the database does not answer.
    pub async fn look_at_clock(&self) -> Result<i64, StoreError> {
        let mut sql = self.sql(&format!("SELECT {}", now_sql(self.0.backend)));
        let row = sql.one(&self.0.reader).await?;
        let row = row.ok_or_else(|| StoreError::Corrupt("the clock gave no row".into()))?;
        let now_ms = row.try_get_by_index(0)?;
        self.0.clock.heard(now_ms);
        Ok(now_ms)
    }

    /// Closes pools and background tasks. Other clones of the store get errors afterwards. A
    /// connection that does not come back within `call_timeout` is left to the end of the process.
    pub async fn close(&self) {
        self.0.locks.close().await;
        self.0.wake.close().await;
        for pool in [&self.0.reader, &self.0.writer] {
            // A pool waits for each of its connections, and one that was given up while the
            // database hung may never come back.
            let closing = tokio::time::timeout(self.0.options.call_timeout, pool.clone().close());
            match closing.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "closing the pool"),
                Err(_) => tracing::warn!("a connection to the database did not come back"),
            }
        }
    }

    /// Rings and hears wake-ups.
    pub fn wake(&self) -> &Wake {
        &self.0.wake
    }

    /// Locks that thin out contention.
    pub fn locks(&self) -> &Locks {
        &self.0.locks
    }

    pub(crate) fn options(&self) -> &StoreOptions {
        &self.0.options
    }

    pub(crate) fn writer(&self) -> &DatabaseConnection {
        &self.0.writer
    }

    pub(crate) fn reader(&self) -> &DatabaseConnection {
        &self.0.reader
    }

    pub(crate) fn keys(&self) -> &std::sync::Mutex<KeyGenerator> {
        &self.0.keys
    }

    /// A key for a task, a workflow, a schedule or an operation that is made now.
    pub(crate) fn next_key(&self, now_ms: i64) -> i64 {
        self.keys().lock().unwrap_or_else(std::sync::PoisonError::into_inner).next_key(now_ms)
    }

    pub(crate) fn type_cache(&self) -> &TypeCache {
        &self.0.types
    }

    pub(crate) fn shard_cache(&self) -> &ShardCache {
        &self.0.shards
    }

    pub(crate) fn leases(&self) -> &Leases {
        &self.0.leases
    }

    pub(crate) fn flows(&self) -> &KnownFlows {
        &self.0.flows
    }

    pub(crate) fn left(&self) -> &LeftSender {
        &self.0.left
    }

    pub(crate) fn turns(&self) -> &Turns {
        &self.0.turns
    }

    pub(crate) fn sql(&self, text: &str) -> Sql {
        Sql::new(self.0.backend, text, self.0.options.call_timeout)
    }
}

fn backend_of(url: &str) -> Result<Backend, StoreError> {
    match url.split(':').next() {
        Some("sqlite") => Ok(Backend::Sqlite),
        Some("mysql" | "mariadb") => Ok(Backend::Mysql),
        Some("postgres" | "postgresql") => Ok(Backend::Postgres),
        _ => Err(StoreError::Options(
            "a database address starts with sqlite:, mysql:, mariadb: or postgres:".into(),
        )),
    }
}

fn pool_options(options: &StoreOptions, url: &str) -> ConnectOptions {
    let mut pool = ConnectOptions::new(url);
    pool.max_connections(options.max_connections)
        .connect_timeout(options.connect_timeout)
        .acquire_timeout(options.acquire_timeout)
        .idle_timeout(Duration::from_secs(600))
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .test_before_acquire_if_idle_for(Duration::from_secs(30));
    pool
}

async fn sqlite(
    options: &StoreOptions,
) -> Result<(DatabaseConnection, DatabaseConnection), StoreError> {
    let path = sqlite_path(&options.url);
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(StoreError::unavailable)?;
    }
    make_private(path);
    let mut pool = pool_options(options, &options.url);
    pool.max_lifetime(None).idle_timeout(None);
    pool.map_sqlx_sqlite_opts(|sqlite| {
        sqlite
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(LOCK_WAIT_S))
            .foreign_keys(false)
            // So that the room of a dropped shard can be given back; counts for new files only.
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .pragma("cache_size", format!("-{SQLITE_CACHE_KIB}"))
            .pragma("wal_autocheckpoint", SQLITE_CHECKPOINT_PAGES.to_string())
            .statement_cache_capacity(STATEMENTS_MAX)
    });
    pool.map_sqlx_sqlite_pool_opts(|pool| {
        pool.after_release(|connection, _| Box::pin(is_out_of_transactions(connection)))
    });
    let mut one = pool.clone();
    one.max_connections(1);
    let writer = Database::connect(one).await?;
    check_sqlite_version(&writer, options.call_timeout).await?;
    pool.max_connections(options.max_connections.min(SQLITE_READERS_MAX));
    let reader = Database::connect(pool).await?;
    Ok((writer, reader))
}

/// The file that an address of SQLite names.
fn sqlite_path(url: &str) -> &Path {
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
    Path::new(path.split('?').next().unwrap_or(path))
}

/// Tasks have secrets in their environments. Files that SQLite puts beside it are like it. If it
/// cannot be made, SQLite says why.
fn make_private(file: &Path) {
    let _ = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
}

/// Whether a connection that is given back may be used again; else it is closed, which rolls back.
///
/// At some errors, a full disk among them, SQLite rolls back by itself. The ROLLBACK of sqlx is
/// then refused, and it goes on to count a transaction that is not there: what it takes for one
/// inside of that is a SAVEPOINT. After the first of these that fails nothing would be committed
/// any more, though each COMMIT is answered well.
async fn is_out_of_transactions(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if !connection.is_in_transaction() {
        return Ok(true);
    }
    // A rollback may be on its way to the connection's thread, before this.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// The library may be the system's, so its version is not known before it runs.
async fn check_sqlite_version(
    database: &DatabaseConnection,
    time_max: Duration,
) -> Result<(), StoreError> {
    let mut sql = Sql::new(Backend::Sqlite, "SELECT sqlite_version()", time_max);
    let row = sql.one(database).await?;
    let version: String = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default();
    if is_new_enough(&version) {
        return Ok(());
    }
    let [major, minor, patch] = SQLITE_VERSION_MIN;
    let least = format!("{major}.{minor}.{patch}");
    Err(StoreError::Options(format!("SQLite {version} is too old; at least {least} is needed")))
}

fn is_new_enough(version: &str) -> bool {
    version.split('.').map_while(|part| part.parse::<u32>().ok()).ge(SQLITE_VERSION_MIN)
}

fn mysql(options: &StoreOptions) -> ConnectOptions {
    mysql_with(options, MYSQL_SESSION)
}

/// Sessions that are READ COMMITTED and begin with the statement `settings`.
pub(crate) fn mysql_with(options: &StoreOptions, settings: &str) -> ConnectOptions {
    let url = options.url.replacen("mariadb:", "mysql:", 1);
    let mut pool = pool_options(options, &url);
    pool.map_sqlx_mysql_opts(|mysql| mysql.statement_cache_capacity(STATEMENTS_MAX));
    let settings: Arc<str> = settings.into();
    pool.map_sqlx_mysql_pool_opts(move |pool| {
        let settings = Arc::clone(&settings);
        pool.after_connect(move |connection, _| {
            let settings = Arc::clone(&settings);
            Box::pin(async move {
                nodelay::switch_on();
                connection
                    .execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                    .await?;
                connection.execute(AssertSqlSafe(settings.to_string())).await?;
                Ok(())
            })
        })
    });
    pool
}

fn postgres(options: &StoreOptions) -> ConnectOptions {
    let statement_timeout_ms = options.call_timeout.as_millis();
    let mut pool = pool_options(options, &options.url);
    pool.map_sqlx_postgres_opts(move |postgres| {
        postgres
            .options([
                ("lock_timeout", format!("{LOCK_WAIT_S}s")),
                ("statement_timeout", format!("{statement_timeout_ms}ms")),
                ("idle_in_transaction_session_timeout", format!("{IDLE_IN_TRANSACTION_S}s")),
                // The hot paths are each served by an index. Without statistics, before the first
                // ANALYZE of a table that fills fast, the planner may prefer to scan and sort, and
                // a plan that it made while the table was empty would stay.
                ("enable_seqscan", "off".to_owned()),
                ("enable_sort", "off".to_owned()),
                ("plan_cache_mode", "force_custom_plan".to_owned()),
                // A sort that cannot be avoided now looks dear enough to be compiled first, which
                // takes half a second for a sum of some hundred rows.
                ("jit", "off".to_owned()),
            ])
            .statement_cache_capacity(STATEMENTS_MAX)
    });
    pool.map_sqlx_postgres_pool_opts(|pool| {
        pool.after_connect(|_, _| {
            nodelay::switch_on();
            Box::pin(async { Ok(()) })
        })
    });
    pool
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt;

    use super::{is_new_enough, make_private};

    #[test]
    fn a_new_file_is_its_users_alone_and_one_that_is_there_stays_as_it_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mode = || file.path().metadata().unwrap().permissions().mode() & 0o777;
        std::fs::remove_file(file.path()).unwrap();
        make_private(file.path());
        assert_eq!(mode(), 0o600);
        std::fs::write(file.path(), "kept").unwrap();
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o640)).unwrap();
        make_private(file.path());
        assert_eq!((mode(), std::fs::read(file.path()).unwrap()), (0o640, b"kept".to_vec()));
    }

    #[test]
    fn an_old_sqlite_is_refused() {
        for (version, is_enough) in [
            ("3.51.3", true),
            ("3.51.4", true),
            ("3.52.0", true),
            ("4.0", true),
            ("3.51.2", false),
            ("3.9.12", false),
            ("3.51", false),
            ("", false),
        ] {
            assert_eq!(is_new_enough(version), is_enough, "{version}");
        }
    }
}
