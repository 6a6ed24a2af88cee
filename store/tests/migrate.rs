//! Databases of older versions become like new ones.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::Arc;

use asyncflow_core::{create::NewTask, id::TypeName};
use asyncflow_store::{
    Create, Parts, Store, StoreOptions,
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

/// As a version before the step `m0004` left it: a task knew of no workflow.
async fn tasks_of_before_are_parts_of_no_workflow(url: &str) {
    let store = Store::connect(&StoreOptions::new(url)).await.unwrap();
    store.migrate().await.unwrap();
    let name: TypeName = "work".parse().unwrap();
    let task_type = Arc::new(store.ensure_type(&name).await.unwrap());
    let new = NewTask { name: "old".into(), ..NewTask::new(name, "ann") };
    let created = store.insert(vec![Create { new, task_type }]).await.remove(0).unwrap();
    let db = Database::connect(url).await.unwrap();
    for statement in [
        "ALTER TABLE t_work_1 DROP COLUMN workflow_key",
        "ALTER TABLE t_work_1 DROP COLUMN workflow_place",
        // Of the step `m0008`, which tells tasks and types what they need.
        "ALTER TABLE t_work_1 DROP COLUMN resources",
        "ALTER TABLE task_types DROP COLUMN resources",
        "DELETE FROM seaql_migrations WHERE version = 'm0008_resources'",
        "DROP TABLE workflows",
        "DELETE FROM seaql_migrations WHERE version = 'm0004_workflows'",
    ] {
        db.execute_unprepared(statement).await.unwrap();
    }
    store.migrate().await.unwrap();
    // What a connection had prepared before is of the other table.
    store.close().await;
    let store = Store::connect(&StoreOptions::new(url)).await.unwrap();
    let task = store.get(&created.task.id, Parts::NONE).await.unwrap().task;
    assert_eq!((task.name.as_str(), task.member, task.resources), ("old", None, None));
    assert!(store.list_workflows(None, None, 10).await.unwrap().is_empty());
    store.close().await;
}

#[tokio::test]
async fn on_sqlite() {
    the_index_on_the_user_is_made_anew(&SqliteFile::new().url()).await;
    tasks_of_before_are_parts_of_no_workflow(&SqliteFile::new().url()).await;
}

#[tokio::test]
async fn on_mariadb() {
    the_index_on_the_user_is_made_anew(&fresh_database(mariadb()).await).await;
    tasks_of_before_are_parts_of_no_workflow(&fresh_database(mariadb()).await).await;
}

#[tokio::test]
async fn on_postgres() {
    the_index_on_the_user_is_made_anew(&fresh_database(postgres()).await).await;
    tasks_of_before_are_parts_of_no_workflow(&fresh_database(postgres()).await).await;
}
