//! A drop does not wait until PostgreSQL has vacuumed what is dropped. A server of its own, because
//! its autovacuum is set to look all the time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::Duration;

use asyncflow_core::{id::TypeName, task::Labels};
use asyncflow_store::{
    DropOutcome, DropTerms, Store, StoreOptions,
    testing::{
        Durability, fill_finished, fresh_database, hurry_autovacuum, set_postgres_storage,
        start_postgres,
    },
};
use sea_orm::{ConnectionTrait, Database, Statement};

const ROWS: usize = 2_000;
/// A nap of a tenth of a second at every page, so that it takes minutes.
const SLOW: &str = "autovacuum_vacuum_insert_threshold = 1, autovacuum_vacuum_cost_limit = 1, \
                    autovacuum_vacuum_cost_delay = 100";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vacuum_gives_way_to_a_drop() {
    let server = start_postgres(Durability::Process);
    let url = fresh_database(&server).await;
    let store = Store::connect(&StoreOptions::new(&url)).await.unwrap();
    store.migrate().await.unwrap();
    let name = TypeName::new("work").unwrap();
    let shard = fill_finished(&store, &name, "ann", &Labels::new(), ROWS).await.unwrap();
    set_postgres_storage(&store, &shard, SLOW).await.unwrap();
    let fence = store.try_lead("g1", 60_000).await.unwrap().unwrap();
    store.roll_shard(&name, Some(&fence)).await.unwrap();
    assert_eq!(store.drain_shards(None, &fence).await.unwrap().drained.len(), 1);

    hurry_autovacuum(&store).await.unwrap();
    let db = Database::connect(&url).await.unwrap();
    let vacuums = "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' \
                   AND query LIKE '%t_work_1%'";
    let vacuums = Statement::from_string(db.get_database_backend(), vacuums);
    while db.query_one_raw(vacuums.clone()).await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let terms = DropTerms { before_ms: i64::MAX, archived: None };
    let dropped = store.drop_shard(&shard, terms, &fence).await.unwrap();
    assert_eq!(dropped, DropOutcome::Dropped { rows: ROWS as i64 });
    store.close().await;
}
