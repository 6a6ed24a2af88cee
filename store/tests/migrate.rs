//! Databases of older versions become like new ones.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use asyncflow_core::id::TypeName;
use asyncflow_store::{
    Store, StoreOptions,
    testing::{SqliteFile, fresh_database, mariadb, postgres},
};
use sea_orm::{ConnectionTrait, Database, DbBackend};

/// As a version before the step `m0003` left it: with the state in the index on the user.
async fn the_index_on_the_user_is_made_anew(url: &str) {
    let store = Store::connect(&StoreOptions::new(url)).await.unwrap();
    store.migrate().await.unwrap();
    let name: TypeName = "work".parse().unwrap();
    store.ensure_type(&name).await.unwrap();
    store.open_shard(&name).await.unwrap();
    let db = Database::connect(url).await.unwrap();
    let run = async |text: &str| db.execute_unprepared(text).await;
    let on = if db.get_database_backend() == DbBackend::MySql { " ON t_work_1" } else { "" };
    run(&format!("DROP INDEX t_work_1_owner{on}")).await.unwrap();
    run("CREATE INDEX t_work_1_user ON t_work_1 (user_name, state, id)").await.unwrap();
    // A shard that was dropped has a row and no tables.
    run("INSERT INTO shards (task_type, number, state, version, create_time_ms, update_time_ms) \
         VALUES ('gone', 1, 5, 1, 1, 1)")
    .await
    .unwrap();
    run("DELETE FROM seaql_migrations WHERE version = 'm0003_owner_index'").await.unwrap();

    store.migrate().await.unwrap();
    assert!(run(&format!("DROP INDEX t_work_1_user{on}")).await.is_err(), "the old index is gone");
    run(&format!("DROP INDEX t_work_1_owner{on}")).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn on_sqlite() {
    the_index_on_the_user_is_made_anew(&SqliteFile::new().url()).await;
}

#[tokio::test]
async fn on_mariadb() {
    the_index_on_the_user_is_made_anew(&fresh_database(mariadb()).await).await;
}

#[tokio::test]
async fn on_postgres() {
    the_index_on_the_user_is_made_anew(&fresh_database(postgres()).await).await;
}
