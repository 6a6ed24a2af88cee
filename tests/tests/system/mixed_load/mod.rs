//! Mixed load under random faults, judged by the checker: clients create, read, cancel, retry and
//! delete through proxies, while one fault follows another, each of every kind once. The same
//! scenario with a planted bug has to be found out.
//!
//! What happens by chance follows from a seed, which is printed; `ASYNCFLOW_TEST_SEED` plays it
//! again, as far as the machine lets two runs be alike.

mod clients;
mod faults;
mod planted;
mod program;
mod scene;

use asyncflow_tests::{
    Backend, Stopwatch,
    checker::{Least, Verdict, verdict},
    seed,
};

use scene::Scene;

/// Less says nothing.
const LEAST: Least = Least { operations: 150, faults: faults::KINDS.len() };

/// Plays the scenario without these guards and judges it.
async fn play(backend: Backend, seed: u64, off: &[&str]) -> Verdict {
    let began = Stopwatch::start();
    let mut scene = Scene::start(backend, seed).await;
    println!("everything runs after {:?}", began.elapsed());
    scene.cluster.switch_off(off);
    let clients = scene.send_clients(seed);
    faults::all_of_them(&mut scene, seed).await;
    clients.stop().await;
    println!("all faults are over after {:?}", began.elapsed());
    let history = scene.over().await;
    println!("everything has ended after {:?}", began.elapsed());
    let found = verdict(&history, LEAST);
    if let Verdict::Violated(violations) = &found {
        violations.iter().take(20).for_each(|violation| eprintln!("{violation}"));
        eprintln!("faults: {:#?}", history.faults);
    }
    found
}

async fn nothing_is_lost_or_done_twice(backend: Backend) {
    let seed = seed();
    let again = format!(
        "ASYNCFLOW_TEST_SEED={seed} cargo test --workspace --test system -- \
         mixed_load::nothing_is_lost_or_done_twice"
    );
    match play(backend, seed, &[]).await {
        Verdict::Passed(counts) => println!("{backend:?}, seed {seed}: {counts}"),
        Verdict::Violated(violations) => {
            panic!("{backend:?}, {} violations; {again}", violations.len());
        }
        Verdict::Unknown { why, counts } => panic!("{backend:?}: {why} ({counts}); {again}"),
    }
}
on_each_database!(nothing_is_lost_or_done_twice);
