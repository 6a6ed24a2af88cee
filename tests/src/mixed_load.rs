//! Mixed load under random faults, judged by the checker: clients create, read, cancel, retry and
//! delete through proxies, while one fault follows another, of every kind.
//!
//! What happens by chance follows from a seed, as far as the machine lets two runs be alike.

mod clients;
mod faults;
pub mod program;
mod scene;
mod spent;

use std::time::Duration;

use crate::{
    Backend, Stopwatch,
    checker::{Least, Verdict, verdict},
};

use scene::Scene;
pub use spent::{Spent, grown};

/// Less says nothing.
const OPERATIONS_MIN: usize = 150;

/// What is played.
#[derive(Clone, Copy, Debug)]
pub struct Play<'a> {
    pub backend: Backend,
    pub seed: u64,
    /// Guards that are off in all brokers and governors: planted bugs.
    pub off: &'a [&'a str],
    /// Each fault is played once, and then all of them again until so much time is over.
    pub at_least: Duration,
    /// The first broker, governor and worker are never killed, so that it can be seen whether they
    /// grow.
    pub spares_the_first: bool,
}

/// Plays it, and judges the whole of it. With it comes what the first broker, governor and worker
/// held after each round of faults.
///
/// # Panics
/// When the cluster does not start, or does not come back.
pub async fn play(play: Play<'_>) -> (Verdict, Vec<Spent>) {
    let began = Stopwatch::start();
    let mut scene = Scene::start(play.backend, play.seed).await;
    println!("everything runs after {:?}", began.elapsed());
    scene.cluster.switch_off(play.off);
    let clients = scene.send_clients(play.seed);
    let mut spent = Vec::new();
    for round in 0.. {
        faults::all_of_them(&mut scene, play.seed + round, play.spares_the_first).await;
        spent.push(scene.spent(began.elapsed()));
        if began.elapsed() >= play.at_least {
            break;
        }
    }
    clients.stop().await;
    println!("all faults are over after {:?}", began.elapsed());
    let history = scene.over().await;
    println!("everything has ended after {:?}", began.elapsed());
    let least = Least { operations: OPERATIONS_MIN, faults: faults::kinds(play.backend).len() };
    let found = verdict(&history, least);
    if let Verdict::Violated(violations) = &found {
        violations.iter().take(20).for_each(|violation| eprintln!("{violation}"));
        eprintln!("faults: {:#?}", history.faults);
    }
    (found, spent)
}
