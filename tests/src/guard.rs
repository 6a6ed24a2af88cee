//! Scenarios that are played with and without a guard.

use crate::{Backend, Cluster, Shape};

/// What a scenario saw: nothing wrong, or a fault.
pub type Seen = Result<(), &'static str>;

/// Runs a scenario, which is told what guards it has to do without.
pub async fn play(
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

/// Two tests for each database. A scenario runs real processes and says what it saw: that all was
/// well, or the fault. With every guard in its place it has to be well; with the guards switched
/// off in those very processes the same scenario has to see the fault, or it would be worth
/// nothing.
#[macro_export]
macro_rules! with_and_without_its_guard {
    ($scenario:ident, $shape:expr, off $guards:expr, $fault:literal) => {
        $crate::with_and_without_its_guard!(
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

                    async fn play(off: &[&str]) -> $crate::Seen {
                        let backend = $crate::Backend::$backend;
                        Box::pin($crate::guard::play(backend, $shape, off, $scenario)).await
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
