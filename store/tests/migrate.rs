//! Databases of older versions become like new ones.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{collections::BTreeMap, sync::Arc};

use asyncflow_core::{
    create::NewTask,
    event::{Event, Fence, RetryHint, Settle},
    host::OrderName,
    id::TypeName,
    reason::FailureReason,
    resources::Resources,
    task::Task,
    usage::AttemptUsage,
};
use asyncflow_store::{
    ClaimRequest, Create, Parts, Registration, Store, StoreOptions, Taker,
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

/// What the steps `m0008` and `m0009` have added is taken away: as a version before them left it.
async fn undo_hosts(url: &str) {
    let db = Database::connect(url).await.unwrap();
    for statement in [
        "ALTER TABLE task_types DROP COLUMN resources",
        "ALTER TABLE t_work_1 DROP COLUMN resources",
        "ALTER TABLE a_work_1 DROP COLUMN usage_info",
        "ALTER TABLE t_old_1 DROP COLUMN resources",
        "ALTER TABLE a_old_1 DROP COLUMN usage_info",
        // The drop of this shard is under way.
        "ALTER TABLE t_old_1 RENAME TO drop_t_old_1",
        "ALTER TABLE a_old_1 RENAME TO drop_a_old_1",
        "ALTER TABLE workers DROP COLUMN report",
        "ALTER TABLE workers DROP COLUMN report_time_ms",
        "DROP TABLE host_orders",
        "DROP TABLE user_usage",
        "DELETE FROM seaql_migrations WHERE version IN ('m0008_resources', 'm0009_hosts')",
        // That of this one is over: it has a row and no tables.
        "INSERT INTO shards (task_type, number, state, version, create_time_ms, update_time_ms) \
         VALUES ('gone', 1, 5, 1, 1, 1)",
    ] {
        db.execute_unprepared(statement).await.expect(statement);
    }
}

async fn new_of_type(store: &Store, new: NewTask) -> Task {
    let task_type = Arc::new(store.ensure_type(&new.task_type).await.unwrap());
    store.insert(vec![Create { new, task_type }]).await.remove(0).unwrap().task
}

async fn apply(store: &Store, task: &Task, event: Event) -> Task {
    store.apply(vec![(task.id.clone(), event)]).await.remove(0).unwrap().task
}

/// Claims the only task that is ready, runs it, and ends it.
async fn run_next(store: &Store, settle: Settle, usage: Option<AttemptUsage>) -> Task {
    let taker = Taker {
        worker_id: "w1".into(),
        session_id: 7,
        acquire_id: String::new(),
        want: 1,
        lease_ttl_ms: None,
        takes_only_commands: false,
    };
    let request = ClaimRequest {
        task_type: "work".parse().unwrap(),
        limit: 10,
        takers: vec![taker],
        is_alone: true,
        bytes_max: usize::MAX,
        after: BTreeMap::new(),
        handout_ttl_ms: 60_000,
    };
    let task = store.claim(&request).await.unwrap().leased.remove(0).task.task;
    let fence = Fence { attempt: task.attempt, session_id: 7 };
    let task = apply(store, &task, Event::Start { fence, lease_ttl_ms: 60_000 }).await;
    let usage = usage.map(Box::new);
    let event = Event::Settle { fence, settle, digest: 1, exit_code: Some(1), usage };
    apply(store, &task, event).await
}

fn failed(message: &str) -> Settle {
    let (reason, message) = (FailureReason::Error, message.to_owned());
    Settle::Fail { reason, message, hint: RetryHint::Never }
}

async fn shards_of_before_take_tasks_that_need_gpus(url: &str) {
    let store = Store::connect(&StoreOptions::new(url)).await.unwrap();
    store.migrate().await.unwrap();
    let (work, old): (TypeName, TypeName) = ("work".parse().unwrap(), "old".parse().unwrap());
    new_of_type(&store, NewTask { name: "ended".into(), ..NewTask::new(work.clone(), "ann") })
        .await;
    let ended = run_next(&store, failed("it broke"), None).await;
    let waits = NewTask { name: "waits".into(), ..NewTask::new(work.clone(), "ann") };
    let waits = new_of_type(&store, waits).await;
    new_of_type(&store, NewTask::new(old, "ann")).await;
    let registration = Registration { worker_id: "w1".into(), ..Registration::default() };
    let session_id = store.register_worker(&registration).await.unwrap().session_id;
    store.close().await;
    undo_hosts(url).await;

    let store = Store::connect(&StoreOptions::new(url)).await.unwrap();
    store.migrate().await.unwrap();
    let read = store.get(&ended.id, Parts::ALL).await.unwrap().task;
    assert_eq!((&read.name, read.state, &read.resources), (&ended.name, ended.state, &None));
    let attempts = store.list_attempts(&ended.id, 0, 10).await.unwrap();
    assert_eq!((attempts.len(), &attempts[0].usage), (1, &None));
    assert_eq!(store.get_type(&work).await.unwrap().unwrap().resources, None);
    let host = store.get_host("w1").await.unwrap().unwrap();
    assert_eq!((host.report, host.report_time_ms), (None, None));
    assert!(store.report_host(session_id, b"told", 0).await.unwrap());
    store.put_orders(&[("w1".to_owned(), OrderName::Cordon, Vec::new())]).await.unwrap();
    assert_eq!(store.list_orders(&["w1".to_owned()]).await.unwrap()["w1"].len(), 1);

    let usage = AttemptUsage { gpu_seconds: 2.0, ..AttemptUsage::default() };
    let ran = run_next(&store, failed("again"), Some(usage.clone())).await;
    assert_eq!(ran.id, waits.id, "what waited before is claimed");
    let attempts = store.list_attempts(&ran.id, 0, 10).await.unwrap();
    assert_eq!(attempts[0].usage.as_deref(), Some(&usage));
    assert_eq!(store.usage(0, None).await.unwrap()["ann"].gpu_ms, 2_000);
    let needs = Resources { gpus: 2, ..Resources::default() };
    let needy = NewTask { resources: Some(needs.clone()), ..NewTask::new(work, "ann") };
    let needy = new_of_type(&store, needy).await;
    assert_eq!(needy.id.shard, waits.id.shard, "in the shard of before");
    let read = store.get(&needy.id, Parts::NONE).await.unwrap().task;
    assert_eq!(read.resources.as_deref(), Some(&needs));
    store.close().await;

    // A drop that is taken back finds its tables as they must be.
    let db = Database::connect(url).await.unwrap();
    for statement in [
        "UPDATE drop_t_old_1 SET resources = NULL",
        "UPDATE drop_a_old_1 SET usage_info = NULL",
        // A step that was cut off at its end is done again.
        "DELETE FROM seaql_migrations WHERE version IN ('m0008_resources', 'm0009_hosts')",
    ] {
        db.execute_unprepared(statement).await.expect(statement);
    }
    let store = Store::connect(&StoreOptions::new(url)).await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(store.list_orders(&["w1".to_owned()]).await.unwrap()["w1"].len(), 1);
    store.close().await;
}

#[tokio::test]
async fn on_sqlite() {
    the_index_on_the_user_is_made_anew(&SqliteFile::new().url()).await;
    tasks_of_before_are_parts_of_no_workflow(&SqliteFile::new().url()).await;
    shards_of_before_take_tasks_that_need_gpus(&SqliteFile::new().url()).await;
}

#[tokio::test]
async fn on_mariadb() {
    the_index_on_the_user_is_made_anew(&fresh_database(mariadb()).await).await;
    tasks_of_before_are_parts_of_no_workflow(&fresh_database(mariadb()).await).await;
    shards_of_before_take_tasks_that_need_gpus(&fresh_database(mariadb()).await).await;
}

#[tokio::test]
async fn on_postgres() {
    the_index_on_the_user_is_made_anew(&fresh_database(postgres()).await).await;
    tasks_of_before_are_parts_of_no_workflow(&fresh_database(postgres()).await).await;
    shards_of_before_take_tasks_that_need_gpus(&fresh_database(postgres()).await).await;
}
