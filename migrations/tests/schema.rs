//! `schema/*.sql` is the sum of the steps, and the steps can be applied twice and at once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{fs, path::Path};

use asyncflow_migrations::{
    ddl::Backend,
    migrate, schema,
    shard::{Names, statements},
};
use sea_orm_migration::sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};

fn full_schema(backend: Backend) -> String {
    let names = Names { tasks: "t_example_1", attempts: "a_example_1", labels: "l_example_1" };
    let mut text = String::from("-- Written by the test `schema`; UPDATE_SCHEMA=1 renews it.\n\n");
    for statement in schema(backend) {
        text += &format!("{statement};\n\n");
    }
    text += "-- The tables of a shard, here shard 1 of the type `example`.\n\n";
    for statement in statements(names, backend) {
        text += &format!("{statement};\n\n");
    }
    text
}

#[test]
fn schema_files_are_the_sum_of_the_steps() {
    for (backend, name) in
        [(Backend::Sqlite, "sqlite"), (Backend::Mysql, "mysql"), (Backend::Postgres, "postgres")]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schema/{name}.sql"));
        let wanted = full_schema(backend);
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            fs::write(&path, &wanted).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap_or_default(), wanted, "{}", path.display());
    }
}

async fn open(path: &Path) -> DatabaseConnection {
    let mut options = ConnectOptions::new(format!("sqlite://{}?mode=rwc", path.display()));
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

#[tokio::test]
async fn migrating_twice_and_at_once_is_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let (first, second) = (open(&path).await, open(&path).await);
    let (one, other) = tokio::join!(migrate(&first), migrate(&second));
    one.unwrap();
    other.unwrap();
    migrate(&first).await.unwrap();
    let names = Names { tasks: "t_x_1", attempts: "a_x_1", labels: "l_x_1" };
    for _ in 0..2 {
        for statement in statements(names, Backend::Sqlite) {
            first.execute_unprepared(&statement).await.unwrap();
        }
    }
}
