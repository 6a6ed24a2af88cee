//! The claim and the settle go by the indexes that were made for them, as the databases' own
//! counters tell.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use asyncflow_core::{
    create::NewTask,
    event::{Event, Fence, Settle},
    id::{ShardId, TypeName},
    task_type::TaskType,
};
use asyncflow_store::{
    ClaimRequest, CountFilter, Create, Mark, Store, StoreOptions, Taker,
    testing::{fresh_database, mariadb, postgres},
};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};

const TASKS: usize = 6_000;

/// The counters of the shared server count everybody's statements.
static COUNTERS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn open(url: &str) -> (Store, DatabaseConnection) {
    let store = Store::connect(&StoreOptions::new(url)).await.unwrap();
    store.migrate().await.unwrap();
    (store, Database::connect(url).await.unwrap())
}

async fn fill(store: &Store, tasks: usize) {
    let name = TypeName::new("work").unwrap();
    let task_type = Arc::new(TaskType::with_defaults(name.clone(), 0));
    let new = NewTask::new(name, "ann");
    let create = Create { new, task_type };
    for at in (0..tasks).step_by(500) {
        let answers = store.insert(vec![create.clone(); (tasks - at).min(500)]).await;
        assert!(answers.iter().all(Result::is_ok));
    }
}

fn claim_of(limit: u32, after: BTreeMap<ShardId, Mark>) -> ClaimRequest {
    let taker = Taker {
        worker_id: "w".into(),
        session_id: 1,
        acquire_id: String::new(),
        want: limit,
        lease_ttl_ms: None,
        takes_only_commands: false,
    };
    let task_type = TypeName::new("work").unwrap();
    ClaimRequest {
        task_type,
        limit,
        takers: vec![taker],
        is_alone: false,
        bytes_max: usize::MAX,
        after,
        handout_ttl_ms: 10_000,
    }
}

/// Claims and completes with marks, as a broker does.
async fn work(store: &Store, rounds: usize, limit: u32) {
    let mut after = BTreeMap::new();
    for _ in 0..rounds {
        let claimed = store.claim(&claim_of(limit, after)).await.unwrap();
        assert_eq!(claimed.leased.len(), limit as usize);
        after = claimed.marks;
        let events = claimed.leased.into_iter().map(|leased| {
            let task = leased.task.task;
            let fence = Fence { attempt: task.attempt, session_id: 1 };
            let settle = Settle::complete(None);
            (task.id, Event::Settle { fence, settle, digest: 1, exit_code: Some(0), usage: None })
        });
        let answers = store.apply(events.collect()).await;
        assert!(answers.iter().all(Result::is_ok));
    }
}

async fn number(db: &DatabaseConnection, sql: &str, column: usize) -> i64 {
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    match row.try_get_by_index::<i64>(column) {
        Ok(number) => number,
        Err(_) => row.try_get_by_index::<String>(column).unwrap().parse().unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_claims_by_the_partial_index_and_settles_by_key() {
    let (store, db) = open(&fresh_database(postgres()).await).await;
    fill(&store, TASKS).await;
    db.execute_unprepared("ANALYZE t_work_1").await.unwrap();
    postgres_goes_by_index(store, db).await;
}

/// A type that fills faster than autovacuum looks at it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_does_so_without_statistics_too() {
    let (store, db) = open(&fresh_database(postgres()).await).await;
    store.ensure_type(&TypeName::new("work").unwrap()).await.unwrap();
    store.open_shard(&TypeName::new("work").unwrap()).await.unwrap();
    let never = "ALTER TABLE t_work_1 SET (autovacuum_enabled = off)";
    db.execute_unprepared(never).await.unwrap();
    fill(&store, TASKS).await;
    postgres_goes_by_index(store, db).await;
}

async fn postgres_goes_by_index(store: Store, db: DatabaseConnection) {
    // Rows, not scans: making an index counts as a scan, of an empty table.
    let table =
        "SELECT COALESCE(seq_tup_read, 0) FROM pg_stat_user_tables WHERE relname = 't_work_1'";
    let index = |name| {
        format!(
            "SELECT COALESCE(idx_scan, 0) FROM pg_stat_user_indexes WHERE indexrelname = '{name}'"
        )
    };
    let states = number(&db, &index("t_work_1_state"), 0).await;
    // More rounds than it takes PostgreSQL to think of a generic plan.
    let rounds = 12;
    work(&store, rounds, 200).await;
    // Counters are reported by the sessions within a second or so.
    while number(&db, &index("t_work_1_ready"), 0).await < rounds as i64 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(number(&db, table, 0).await, 0, "a scan of the whole table");
    assert_eq!(number(&db, &index("t_work_1_state"), 0).await, states, "a settle by state");
    store.close().await;
}

/// Compiling a query takes longer than any of ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_counts_without_compiling_the_query() {
    let url = fresh_database(postgres()).await;
    let (filling, db) = open(&url).await;
    fill(&filling, 100).await;
    filling.close().await;
    let name = url.rsplit('/').next().unwrap();
    for setting in ["session_preload_libraries = auto_explain", "auto_explain.log_min_duration = 0"]
    {
        db.execute_unprepared(&format!("ALTER DATABASE {name} SET {setting}")).await.unwrap();
    }
    let (store, _) = open(&url).await;
    let task_type = Some(TypeName::new("work").unwrap());
    let counts = store.counts(&CountFilter { task_type, ..CountFilter::default() }).await.unwrap();
    assert_eq!(counts.len(), 1);
    // The server writes a plan down before it answers.
    let log = postgres().process().log();
    assert!(log.contains("Query Text: SELECT c.task_type, c.user_name"), "no plan in {log}");
    assert!(!log.contains("JIT:"), "a query was compiled: {log}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_claims_without_a_sort_or_a_scan() {
    let _alone = COUNTERS.lock().await;
    let (store, db) = open(&fresh_database(mariadb()).await).await;
    fill(&store, TASKS).await;
    db.execute_unprepared("ANALYZE TABLE t_work_1").await.unwrap();
    let status = |name| format!("SHOW GLOBAL STATUS LIKE '{name}'");
    let counters = ["Sort_merge_passes", "Sort_scan", "Select_scan", "Handler_read_rnd_next"];
    let mut before = Vec::new();
    for name in counters {
        before.push(number(&db, &status(name), 1).await);
    }
    work(&store, 12, 200).await;
    // SHOW itself and the small tables scan a little; the 6,000 rows never.
    let scanned = number(&db, &status("Handler_read_rnd_next"), 1).await - before[3];
    assert!(scanned < TASKS as i64, "{scanned} rows were read by scanning");
    let sorted = number(&db, &status("Sort_scan"), 1).await - before[1];
    assert_eq!(sorted, 0, "a sort of a scanned table");
    store.close().await;
}

/// Nine shards that hold nothing to claim cost one statement together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_shards_cost_a_claim_one_statement() {
    let _alone = COUNTERS.lock().await;
    let (store, db) = open(&fresh_database(mariadb()).await).await;
    let name = TypeName::new("work").unwrap();
    let mut selects = Vec::new();
    for shards in 1..=10 {
        fill(&store, 30).await;
        let mut fewest = i64::MAX;
        // The registry and the type are read again every other second; not by all three.
        for _ in 0..3 {
            let before = number(&db, "SHOW GLOBAL STATUS LIKE 'Com_select'", 1).await;
            let claimed = store.claim(&claim_of(10, BTreeMap::new())).await.unwrap();
            assert_eq!(claimed.leased.len(), 10);
            let after = number(&db, "SHOW GLOBAL STATUS LIKE 'Com_select'", 1).await;
            fewest = fewest.min(after - before);
        }
        selects.push(fewest);
        if shards < 10 {
            store.roll_shard(&name, None).await.unwrap();
        }
    }
    let expected: Vec<i64> = (0..10).map(|at| selects[0] + i64::from(at > 0)).collect();
    assert_eq!(selects, expected, "SELECTs of a claim over 1 to 10 shards");
    store.close().await;
}
