//! The checker is worth what it finds: the same scenario without a guard, and the invariant by
//! which it has to be found out.

use asyncflow_tests::{Backend, checker::Verdict, seed};

/// A bug that shows by chance may keep hidden once.
const TRIES: u64 = 6;

async fn is_found_out(backend: Backend, guard: &str, invariants: &[&str]) {
    let seed = seed();
    for more in 0..TRIES {
        let Verdict::Violated(violations) = super::play(backend, seed + more, &[guard]).await
        else {
            continue;
        };
        let found = violations.iter().find(|one| invariants.contains(&one.invariant));
        if let Some(found) = found {
            println!("{guard} is found out by {} violations: {found}", violations.len());
            return;
        }
    }
    panic!("nothing violates {invariants:?} without {guard}, from seed {seed} on");
}

/// A test for each bug.
macro_rules! is_found_out {
    ($($name:ident: $guard:literal on $backend:ident by $invariants:expr;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                Box::pin(is_found_out(Backend::$backend, $guard, &$invariants)).await;
            }
        )+
    };
}

is_found_out! {
    requests_that_are_not_noted: "insert.notes_requests" on Sqlite by ["I7"];
    one_look_at_a_lease: "reap.looks_twice" on Sqlite by ["I4"];
    a_claim_that_does_not_compare: "update.compares" on Postgres by ["I4"];
    an_attempt_without_its_context: "claim.gives_context" on Sqlite by ["I8"];
}
