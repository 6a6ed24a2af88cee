//! How a scenario becomes a test for each database.

/// One test for each database: `on_each_database!(scenario)` runs `scenario(Backend)`, and
/// `on_each_database!(scenario: sqlite Sqlite, postgres Postgres)` on those that are named.
#[macro_export]
macro_rules! on_each_database {
    ($scenario:ident) => {
        $crate::on_each_database!($scenario: sqlite Sqlite, mariadb MariaDb, postgres Postgres);
    };
    ($scenario:ident: $($name:ident $backend:ident),+) => {
        mod $scenario {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    Box::pin(super::$scenario($crate::Backend::$backend)).await;
                }
            )+
        }
    };
}
