//! Races around the life of a shard, each with the bug that its guard keeps away.
//!
//! A scenario runs real processes and says what it saw: that all was well, or the fault. With every
//! guard in its place it has to be well; with the guard switched off in those very processes the
//! same scenario has to see the fault, or it would be worth nothing.

use asyncflow_proto::v1::{Task, TaskState};
use asyncflow_sdk::Client;
use asyncflow_tests::{Backend, Cluster, Shape, sh, until};

/// Two tests for each database.
macro_rules! with_and_without_its_guard {
    ($scenario:ident, $shape:expr, off $guards:expr, $fault:literal) => {
        with_and_without_its_guard!(
            $scenario, $shape, off $guards, $fault: sqlite Sqlite, mariadb MariaDb,
            postgres Postgres
        );
    };
    (
        $scenario:ident, $shape:expr, off $guards:expr, $fault:literal:
        $($name:ident $backend:ident),+
    ) => {
        mod $scenario {
            use super::*;
            $(
                mod $name {
                    use super::*;

                    async fn play(off: &[&str]) -> crate::shards::Seen {
                        let backend = asyncflow_tests::Backend::$backend;
                        Box::pin(crate::shards::play(backend, $shape, off, $scenario)).await
                    }

                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn is_well() {
                        assert_eq!(play(&[]).await, Ok(()));
                    }

                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn sees_the_planted_bug() {
                        assert_eq!(play($guards).await, Err($fault));
                    }
                }
            )+
        }
    };
}

mod killed_governor;
mod late_create;
mod live_row_in_a_drop;
mod long_read;
mod old_leader;
mod old_task;
mod repeated_request;
mod stuck_row;
mod two_drops;

/// What a scenario saw: nothing wrong, or a fault.
type Seen = Result<(), &'static str>;

/// Runs a scenario, which is told what guards it has to do without.
async fn play(
    backend: Backend,
    shape: Shape,
    off: &[&str],
    scenario: impl AsyncFnOnce(&mut Cluster, &[&str]) -> Seen,
) -> Seen {
    let mut cluster = Cluster::start(backend, shape).await;
    let seen = scenario(&mut cluster, off).await;
    if seen.is_err() {
        eprintln!("{}", cluster.logs());
    }
    seen
}

/// Longer than a process goes by what it has read of the registry of shards.
const READ_AGAIN_MS: i64 = 2_500;

/// Returns when every process has read the registry as it is now.
async fn until_all_have_read_the_registry(cluster: &Cluster) {
    let store = cluster.store().await;
    until("no shard has changed for a while", || async {
        let now_ms = store.now_ms().await.ok()?;
        let shards = store.list_shards(None).await.ok()?;
        let is_old = |at_ms: i64| now_ms - at_ms > READ_AGAIN_MS;
        shards.iter().all(|shard| is_old(shard.update_time_ms)).then_some(())
    })
    .await;
    store.close().await;
}

/// Creates a task and waits until it has succeeded.
async fn run_one(client: &Client) -> Task {
    let created = client.create(sh("true")).await.unwrap();
    succeeded(client, &created.id).await
}

/// Waits until the task has succeeded.
async fn succeeded(client: &Client, id: &str) -> Task {
    let task = client.wait(id, None).await.unwrap();
    assert_eq!(task.state(), TaskState::Succeeded, "{:?}", task.failure);
    task
}
