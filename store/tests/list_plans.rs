//! The first page of a list reads a bounded number of rows, however many there are, as the
//! databases' own counters tell. SQLite has none that another connection could read.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use asyncflow_core::{
    create::NewTask, filter::Filter, id::TypeName, state::TaskState, task_type::TaskType,
};
use asyncflow_store::{
    Create, Parts, Store, StoreOptions,
    testing::{fresh_database, mariadb, postgres},
};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement,
};

const TASKS: usize = 40_000;
/// Most index entries, rows and rows of temporary tables that a first page of 50 may read: a few
/// times the 1,000 entries that a call examines of each condition, and a fifth of the tasks.
const READS_MAX: i64 = 9_000;

async fn fill(store: &Store) {
    let name = TypeName::new("work").unwrap();
    let task_type = Arc::new(TaskType::with_defaults(name.clone(), 0));
    for batch in 0..TASKS / 500 {
        let tasks = (0..500).map(|n| {
            let parity = ["even", "odd"][n % 2].to_owned();
            let labels = [("team", "vision".to_owned()), ("parity", parity)];
            let new = NewTask {
                labels: labels.map(|(name, value)| (name.to_owned(), value)).into(),
                not_before_ms: (batch % 2 == 0).then_some(i64::MAX / 4),
                ..NewTask::new(name.clone(), &format!("user-{}", n % 3))
            };
            Create { new, task_type: task_type.clone() }
        });
        let answers = store.insert(tasks.collect()).await;
        assert!(answers.iter().all(Result::is_ok));
        if batch == TASKS / 1_000 {
            store.roll_shard(&name, None).await.unwrap();
        }
    }
}

fn filters(middle_ms: i64) -> Vec<Filter> {
    use TaskState::{Failed, Pending, Scheduled};
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut filters = Vec::new();
    for user in [None, Some("user-1"), Some("nobody")] {
        for states in [vec![], vec![Pending], vec![Failed], vec![Scheduled, Pending]] {
            for labels in [
                Vec::new(),
                vec![label("team", "vision")],
                vec![label("parity", "odd"), label("team", "vision")],
                vec![label("parity", "neither")],
            ] {
                for created_before_ms in [None, Some(middle_ms)] {
                    let (user, labels) = (user.map(str::to_owned), labels.clone());
                    let states = states.clone();
                    filters.push(Filter {
                        user,
                        states,
                        labels,
                        created_before_ms,
                        task_type: Some(TypeName::new("work").unwrap()),
                        ..Filter::default()
                    });
                }
            }
        }
    }
    filters
}

/// Rows and index entries that MariaDB has read: by key, along an index, and by scanning.
const MARIADB_READS: &str = "SELECT CAST(SUM(VARIABLE_VALUE) AS SIGNED) \
     FROM information_schema.GLOBAL_STATUS \
     WHERE VARIABLE_NAME IN ('HANDLER_READ_KEY', 'HANDLER_READ_NEXT', 'HANDLER_READ_PREV', \
     'HANDLER_READ_RND_NEXT', 'HANDLER_READ_FIRST', 'HANDLER_READ_LAST', 'HANDLER_READ_RND')";

/// The same of PostgreSQL, in this database, by sessions that have ended.
const POSTGRES_READS: &str = "SELECT \
     (SELECT SUM(seq_tup_read) FROM pg_stat_user_tables)::bigint \
     + (SELECT SUM(idx_tup_read) FROM pg_stat_user_indexes)::bigint";

async fn number(db: &DatabaseConnection, sql: &str) -> i64 {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    db.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// A store of its own, whose sessions have ended when this returns: PostgreSQL's tell what they
/// read when they end, or a second later.
async fn with_store<T>(
    url: &str,
    db: &DatabaseConnection,
    work: impl AsyncFnOnce(&Store) -> T,
) -> T {
    let store = Store::connect(&StoreOptions::new(url)).await.unwrap();
    let done = work(&store).await;
    store.close().await;
    let sessions = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()";
    while db.get_database_backend() == DbBackend::Postgres && number(db, sessions).await > 1 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    done
}

async fn a_page_reads_a_bounded_number_of_rows(url: &str, reads: &str) {
    let mut one = ConnectOptions::new(url);
    one.max_connections(1);
    let db = Database::connect(one).await.unwrap();
    let middle_ms = with_store(url, &db, async |store| {
        store.migrate().await.unwrap();
        fill(store).await;
        let newest = store.list(&Filter::default(), None, 1, Parts::NONE).await.unwrap();
        newest.tasks[0].task.create_time_ms - 1
    });
    let mut over = Vec::new();
    for filter in filters(middle_ms.await) {
        let before = number(&db, reads).await;
        let list = async |store: &Store| store.list(&filter, None, 50, Parts::LABELS).await;
        with_store(url, &db, list).await.unwrap();
        let read = number(&db, reads).await - before;
        if read > READS_MAX {
            over.push((read, filter));
        }
    }
    assert!(over.is_empty(), "more than {READS_MAX} reads: {over:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_reads_a_bounded_number_of_rows_for_a_page() {
    let url = fresh_database(mariadb()).await;
    a_page_reads_a_bounded_number_of_rows(&url, MARIADB_READS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_reads_a_bounded_number_of_rows_for_a_page() {
    let url = fresh_database(postgres()).await;
    a_page_reads_a_bounded_number_of_rows(&url, POSTGRES_READS).await;
}
