//! The faults, one after the other, in an order and against targets that the dice choose.

use std::time::Duration;

use asyncflow_store::testing::{Dice, Server};

use crate::{
    Backend, Cluster, LEASE,
    checker::Fault,
    proxy::{CutAfter, Direction, Flow, Proxy},
    redis,
};

use super::scene::{Scene, WORKERS};

/// Between two faults.
const PAUSE: Duration = Duration::from_millis(250);
/// Longer than a lease and two looks, so that what a worker held is run by another meanwhile.
const LONG: Duration = LEASE.saturating_add(Duration::from_secs(3));
/// Longer than a lease.
const AWAY: Duration = LEASE.saturating_add(Duration::from_secs(1));
/// Shorter than a lease.
const SHORT: Duration = Duration::from_millis(800);

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// kill -9 and restart.
    WorkerKilled,
    /// SIGSTOP beyond its lease.
    WorkerStopped,
    /// Nothing passes between worker and brokers beyond its lease, or only one way, and what was
    /// under way arrives late or is lost.
    WorkerCutOff,
    BrokerKilled,
    /// SIGSTOP for less than a lease.
    BrokerStopped,
    /// The one that leads.
    GovernorKilled,
    /// Connections of clients are reset, and cut in the middle of an answer.
    ClientsCutOff,
    /// All of them, longer than a lease.
    BrokersAway,
    /// It forgets locks and wake-ups.
    RedisFlushed,
    /// kill -9 and restart, longer than a lease.
    RedisKilled,
    /// SIGSTOP beyond a lease.
    RedisStopped,
    /// kill -9 and restart, longer than a lease.
    DatabaseKilled,
    /// SIGSTOP beyond a lease.
    DatabaseStopped,
}

const KINDS: [What; 13] = [
    What::WorkerKilled,
    What::WorkerStopped,
    What::WorkerCutOff,
    What::BrokerKilled,
    What::BrokerStopped,
    What::GovernorKilled,
    What::ClientsCutOff,
    What::BrokersAway,
    What::RedisFlushed,
    What::RedisKilled,
    What::RedisStopped,
    What::DatabaseKilled,
    What::DatabaseStopped,
];

/// What can happen with this database; SQLite has no server. Each is played once.
pub fn kinds(backend: Backend) -> Vec<What> {
    let of_a_server = [What::DatabaseKilled, What::DatabaseStopped];
    let can_be = |kind: &What| backend != Backend::Sqlite || !of_a_server.contains(kind);
    KINDS.into_iter().filter(can_be).collect()
}

/// Plays each once, and writes down when. Those who are to be spared are stopped and cut off, but
/// not killed.
pub async fn all_of_them(scene: &mut Scene, seed: u64, spares_the_first: bool) {
    let mut dice = Dice::of(seed);
    let mut kinds = kinds(scene.backend);
    dice.shuffle(&mut kinds);
    for kind in kinds {
        tokio::time::sleep(PAUSE).await;
        let from_ms = scene.now_ms().await;
        let kills = [What::WorkerKilled, What::BrokerKilled].contains(&kind);
        let target = if spares_the_first && kills { 1 } else { dice.roll(2) as usize };
        if spares_the_first && [What::BrokersAway, What::GovernorKilled].contains(&kind) {
            continue;
        }
        let workers = match kind {
            What::WorkerKilled | What::WorkerStopped | What::WorkerCutOff => {
                vec![format!("worker-{}", target % WORKERS)]
            }
            _ => Vec::new(),
        };
        play(scene, kind, target, &mut dice).await;
        let (what, to_ms) = (format!("{kind:?} {target}"), scene.now_ms().await);
        scene.faults.push(Fault { what, workers, from_ms, to_ms });
    }
}

async fn play(scene: &mut Scene, kind: What, target: usize, dice: &mut Dice) {
    let cluster = &mut scene.cluster;
    match kind {
        What::WorkerKilled => {
            cluster.workers[target].kill();
            tokio::time::sleep(if dice.one_in(2) { SHORT } else { LONG }).await;
            cluster.workers[target].restart();
        }
        What::WorkerStopped => {
            cluster.workers[target].process().signal("STOP");
            tokio::time::sleep(LONG).await;
            cluster.workers[target].process().signal("CONT");
        }
        What::WorkerCutOff => cut_off(&scene.links[target], dice).await,
        What::BrokerKilled => {
            cluster.brokers[target].kill();
            tokio::time::sleep(SHORT).await;
            cluster.brokers[target].restart();
            cluster.until_broker_answers(target).await;
        }
        What::BrokerStopped => {
            cluster.brokers[target].process().signal("STOP");
            tokio::time::sleep(SHORT).await;
            cluster.brokers[target].process().signal("CONT");
        }
        What::GovernorKilled => {
            let leader = cluster.leader().await;
            cluster.governors[leader].kill();
            tokio::time::sleep(SHORT).await;
            cluster.governors[leader].restart();
        }
        What::ClientsCutOff => cut_clients(&scene.doors, dice).await,
        What::BrokersAway => {
            cluster.brokers.iter_mut().for_each(|broker| broker.kill());
            tokio::time::sleep(AWAY).await;
            cluster.brokers.iter_mut().for_each(|broker| broker.restart());
            for n in 0..scene.doors.len() {
                cluster.until_broker_answers(n).await;
            }
        }
        What::RedisFlushed => {
            redis::told(server_of_redis(cluster), "FLUSHALL");
        }
        What::RedisKilled => away(server_of_redis(cluster)).await,
        What::RedisStopped => silent(server_of_redis(cluster)).await,
        What::DatabaseKilled => away(cluster.server()).await,
        What::DatabaseStopped => silent(cluster.server()).await,
    }
}

fn server_of_redis(cluster: &mut Cluster) -> &mut Server {
    cluster.redis.as_mut().unwrap()
}

async fn away(server: &mut Server) {
    server.process().kill();
    tokio::time::sleep(AWAY).await;
    server.restart();
}

async fn silent(server: &mut Server) {
    server.process().signal_family("STOP");
    tokio::time::sleep(AWAY).await;
    server.process().signal_family("CONT");
}

async fn cut_off(links: &[Proxy], dice: &mut Dice) {
    let way = dice.roll(3);
    for link in links {
        match way {
            0 => link.set_both(Flow::Hold),
            1 => link.set(Direction::Down, Flow::Swallow),
            _ => link.blackhole(),
        }
    }
    tokio::time::sleep(LONG).await;
    links.iter().for_each(Proxy::heal);
}

async fn cut_clients(doors: &[Proxy], dice: &mut Dice) {
    for door in doors {
        door.cut_after(Direction::Down, CutAfter::Bytes(1 + dice.roll(200) as usize));
        door.set(Direction::Down, Flow::Delay(Duration::from_millis(20)));
    }
    for door in doors {
        // The clients may have nothing to say to it for a while.
        let _ = tokio::time::timeout(SHORT, door.until_cut(1)).await;
        door.heal();
        door.reset();
    }
}
