//! A database in which other transactions always seem to be in the way: a trigger fails every
//! second change of a task with the number that the database has for it. What fails is the
//! statement, and the transaction is left as it is. Also one whose disk seems to be full. Not on
//! SQLite, which has no such numbers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::Arc;

use asyncflow_core::{
    create::NewTask,
    event::{Event, TaskPatch},
    id::{TaskId, TypeName},
    task_type::TaskType,
};
use asyncflow_store::{
    ApplyError, Backend, Create, Parts, Store, StoreError, StoreOptions,
    testing::{Server, fresh_database, mariadb, postgres},
};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};

/// So often a transaction fails that succeeds at last.
const FAILURES: i64 = 3;
/// As often as the store tries one.
const TRIES: i64 = 6;

/// A store with two tasks that are to be changed in different ways, by two statements.
struct Scene {
    store: Store,
    changes: Vec<(TaskId, Event)>,
    database: DatabaseConnection,
}

impl Scene {
    async fn new(server: &Server) -> Self {
        let url = fresh_database(server).await;
        let store = Store::connect(&StoreOptions::new(&url)).await.unwrap();
        store.migrate().await.unwrap();
        let name = TypeName::new("work").unwrap();
        let task_type = Arc::new(TaskType::with_defaults(name.clone(), 0));
        let new = NewTask::new(name, "ann");
        let create = || Create { new: new.clone(), task_type: Arc::clone(&task_type) };
        let created = store.insert(vec![create(), create()]).await;
        let ids = created.into_iter().map(|created| created.unwrap().task.id);
        let patch = TaskPatch { priority: Some(7), ..TaskPatch::default() };
        let changes = ids.zip([Event::Pause, Event::Update(patch)]).collect();
        let database = Database::connect(&url).await.unwrap();
        Self { store, changes, database }
    }

    async fn changes_fail_as_in_an_outage(&self, code: &str) {
        for answer in self.store.apply(self.changes.clone()).await {
            let Err(ApplyError::Store(error)) = answer else { panic!("{code}: {answer:?}") };
            assert!(matches!(error, StoreError::Unavailable { .. }), "{code}: {error}");
        }
        assert_eq!(self.revisions().await, [1, 1], "{code}");
    }

    /// From now on every second change fails with this code, so many times.
    async fn contend(&self, code: &str, failures: i64) {
        let table = self.changes[0].0.shard.task_table();
        let fails = format!("turn % 2 = 0 AND turn <= {}", 2 * failures);
        let statements = match self.store.backend() {
            Backend::Postgres => vec![
                format!(
                    "CREATE FUNCTION contend() RETURNS trigger LANGUAGE plpgsql AS $$ \
                     DECLARE turn BIGINT := nextval('turns'); BEGIN \
                     IF {fails} THEN RAISE 'in the way' USING ERRCODE = '{code}'; END IF; \
                     RETURN NEW; END $$"
                ),
                format!(
                    "CREATE TRIGGER contend BEFORE UPDATE ON {table} FOR EACH ROW \
                     EXECUTE FUNCTION contend()"
                ),
            ],
            _ => vec![format!(
                "CREATE TRIGGER contend BEFORE UPDATE ON {table} FOR EACH ROW BEGIN \
                 DECLARE turn BIGINT DEFAULT NEXTVAL(turns); \
                 IF {fails} THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {code}; END IF; END"
            )],
        };
        // A sequence counts on whatever becomes of the transaction.
        self.database.execute_unprepared("CREATE SEQUENCE turns").await.unwrap();
        for statement in statements {
            self.database.execute_unprepared(&statement).await.unwrap();
        }
    }

    /// How many changes were tried since.
    async fn tried(&self) -> i64 {
        let sql = match self.store.backend() {
            Backend::Postgres => "SELECT nextval('turns')",
            _ => "SELECT NEXTVAL(turns)",
        };
        let statement = Statement::from_string(self.database.get_database_backend(), sql);
        let row = self.database.query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index::<i64>(0).unwrap() - 1
    }

    async fn revisions(&self) -> Vec<i64> {
        let ids: Vec<_> = self.changes.iter().map(|(id, _)| id.clone()).collect();
        let found = self.store.get_many(&ids, Parts::NONE).await.unwrap();
        found.into_iter().map(|full| full.unwrap().task.revision).collect()
    }
}

/// Whatever the database rolls back by itself, all or nothing: none of the statements counts twice.
async fn the_whole_is_repeated(server: &Server, code: &str) {
    let scene = Scene::new(server).await;
    scene.contend(code, FAILURES).await;
    for answer in scene.store.apply(scene.changes.clone()).await {
        answer.unwrap();
    }
    assert_eq!(scene.revisions().await, [2, 2], "{code}");
    assert_eq!(scene.tried().await, 2 * (FAILURES + 1), "{code}");
    scene.store.close().await;
}

async fn it_is_not_repeated_for_ever(server: &Server, code: &str) {
    let scene = Scene::new(server).await;
    scene.contend(code, 1_000).await;
    scene.changes_fail_as_in_an_outage(code).await;
    assert_eq!(scene.tried().await, 2 * TRIES, "{code}");
    scene.store.close().await;
}

/// Nobody is in the way then, and nothing is wrong with what is written: there will be room again.
async fn a_full_disk_is_an_outage(server: &Server, code: &str) {
    let scene = Scene::new(server).await;
    scene.contend(code, 1).await;
    scene.changes_fail_as_in_an_outage(code).await;
    scene.store.close().await;
}

/// Also "the table is full", as InnoDB calls a file that finds no room to grow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_an_outage_on_mariadb() {
    for code in ["1021", "1114"] {
        a_full_disk_is_an_outage(mariadb(), code).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_an_outage_on_postgres() {
    a_full_disk_is_an_outage(postgres(), "53100").await;
}

/// Record has changed since last read, deadlock, and a wait for a lock that has ended, which rolls
/// back the statement only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_are_repeated_as_a_whole_on_mariadb() {
    for code in ["1020", "1213", "1205"] {
        the_whole_is_repeated(mariadb(), code).await;
        it_is_not_repeated_for_ever(mariadb(), code).await;
    }
}

/// Serialization failure, deadlock, and a lock that is not to be had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_are_repeated_as_a_whole_on_postgres() {
    for code in ["40001", "40P01", "55P03"] {
        the_whole_is_repeated(postgres(), code).await;
        it_is_not_repeated_for_ever(postgres(), code).await;
    }
}
