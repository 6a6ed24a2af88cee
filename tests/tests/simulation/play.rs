//! One play: the hosts on their network, what the plan does to them, and the verdict.

use std::{sync::Arc, time::Duration};

use asyncflow_sdk::v1::worker_service_server::WorkerServiceServer;
use asyncflow_store::testing::Dice;
use rand::SeedableRng;
use serde::{Deserialize, Serialize};
use tonic::transport::Server;
use turmoil::Sim;

use super::{
    broker::Broker,
    broker_service::Owners,
    bug::Bug,
    client,
    database::Database,
    governor,
    history::{Fact, History, hash, line},
    judge, network,
    plan::{CLIENT, Fault, GOVERNOR, Plan, broker_name},
    scene::Scene,
    shared_dice::SharedDice,
    times::BEAT_MS,
    worker,
};

const TICK: Duration = Duration::from_millis(20);
/// After the last fault everything must have come to its end within this time.
const END_MS_MAX: u64 = 120_000;
/// What comes late may come until then.
const LATE_MS: u64 = 4_000;

/// What came of a play.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub seed: u64,
    pub hash: u64,
    pub simulated_ms: u64,
    pub faults: usize,
    pub counts: judge::Counts,
    pub violations: Vec<String>,
}

/// Plays a seed in this process, of which it must be the only one: the randomness and the clocks of
/// the whole process are the seed's from now on.
pub fn play(seed: u64, bug: Option<Bug>, is_told: bool) -> Report {
    mad_turmoil::rand::set_rng(rand::rngs::StdRng::seed_from_u64(seed));
    let _clocks = mad_turmoil::time::SimClocksGuard::init();
    // On a thread of its own, whose thread-locals are new.
    let played = std::thread::spawn(move || play_here(seed, bug, is_told)).join();
    played.unwrap_or_else(|_| Report {
        seed,
        violations: vec!["the play panicked".to_owned()],
        ..Report::default()
    })
}

fn play_here(seed: u64, bug: Option<Bug>, is_told: bool) -> Report {
    network::connect_by_it();
    let plan = Plan::of(&mut Dice::of(seed));
    let history = Arc::new(History::default());
    let database = Arc::new(Database::new(history.clone(), bug, &plan));
    let scene = Arc::new(Scene::new(database, SharedDice::of(!seed), plan));
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .simulation_duration(Duration::from_secs(3_600))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(scene.plan.latency_ms_max))
        .tcp_capacity(1_024)
        .build();
    let ended = set_up(&mut sim, &scene).and_then(|()| run(&mut sim, &scene));
    let simulated_ms = sim.elapsed().as_millis() as u64;
    let is_over = scene.is_over();
    let rows = scene.database.rows();
    drop(sim);
    let facts = history.take();
    if is_told {
        facts.iter().for_each(|(at_ms, fact)| println!("{}", line(*at_ms, fact)));
    }
    let (counts, mut violations) = judge::judge(&facts, &rows);
    if let Err(error) = ended {
        violations.push(format!("a host failed: {error}"));
    }
    if !is_over {
        let open = rows.iter().filter(|row| !row.task.state.is_terminal());
        let open: Vec<_> = open.map(|row| format!("{} {}", row.task.id, row.task.state)).collect();
        violations.push(format!("not at its end {END_MS_MAX} ms after the last fault: {open:?}"));
    }
    let faults = scene.plan.faults.len() / 2;
    Report { seed, hash: hash(&facts), simulated_ms, faults, counts, violations }
}

fn set_up(sim: &mut Sim<'_>, scene: &Arc<Scene>) -> turmoil::Result {
    for number in 0..scene.plan.brokers {
        let scene = scene.clone();
        let name = broker_name(number);
        sim.host(name.as_str(), move || serve(scene.clone(), broker_name(number)));
    }
    let database = scene.database.clone();
    sim.host(GOVERNOR, move || governor::run(database.clone()));
    for plan in scene.plan.workers.clone() {
        let scene = scene.clone();
        let name = plan.name.clone();
        sim.host(name.as_str(), move || worker::run(scene.clone(), plan.clone()));
    }
    sim.client(CLIENT, client::run(scene.clone()));
    Ok(())
}

async fn serve(scene: Arc<Scene>, name: String) -> turmoil::Result {
    let database = scene.database.clone();
    let broker = Broker { database: database.clone(), dice: scene.dice.clone() };
    let incoming = network::accepted().await?;
    tokio::spawn(async move {
        loop {
            if !database.is_away() {
                database.beat(&name);
            }
            tokio::time::sleep(Duration::from_millis(BEAT_MS)).await;
        }
    });
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .add_service(WorkerServiceServer::new(broker.clone()))
        .add_service(Owners(broker))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

/// Steps until all is over, and a little further.
fn run(sim: &mut Sim<'_>, scene: &Scene) -> turmoil::Result {
    let mut faults = scene.plan.faults.iter().peekable();
    let mut over_ms = None;
    loop {
        let now_ms = sim.elapsed().as_millis() as u64;
        while let Some((_, fault)) = faults.next_if(|(at_ms, _)| *at_ms <= now_ms) {
            scene.database.note(Fact::Fault(format!("{fault:?}")));
            inflict(sim, scene, fault);
        }
        sim.step()?;
        if faults.peek().is_some() {
            continue;
        }
        over_ms = if scene.is_over() { over_ms.or(Some(now_ms)) } else { None };
        let is_late = over_ms.is_some_and(|over_ms| now_ms >= over_ms + LATE_MS);
        if is_late || now_ms > scene.plan.heal_ms + END_MS_MAX {
            return Ok(());
        }
    }
}

fn inflict(sim: &mut Sim<'_>, scene: &Scene, fault: &Fault) {
    match fault {
        Fault::Crash(host) => sim.crash(host.as_str()),
        Fault::Start(host) => sim.bounce(host.as_str()),
        Fault::Partition(a, b) => sim.partition(a.as_str(), b.as_str()),
        Fault::PartitionOneWay(from, to) => sim.partition_oneway(from.as_str(), to.as_str()),
        Fault::Repair(a, b) => sim.repair(a.as_str(), b.as_str()),
        Fault::Hold(a, b) => sim.hold(a.as_str(), b.as_str()),
        Fault::Release(a, b) => sim.release(a.as_str(), b.as_str()),
        Fault::CutOff(worker) => {
            each_broker(scene, |broker| sim.partition(worker.as_str(), broker))
        }
        Fault::Stall(worker) => each_broker(scene, |broker| sim.hold(worker.as_str(), broker)),
        Fault::Reach(worker) => each_broker(scene, |broker| {
            sim.repair(worker.as_str(), broker);
            sim.release(worker.as_str(), broker);
        }),
        Fault::DatabaseAway => scene.database.set_away(true),
        Fault::DatabaseBack => scene.database.set_away(false),
    }
}

fn each_broker(scene: &Scene, mut inflict: impl FnMut(&str)) {
    (0..scene.plan.brokers).for_each(|number| inflict(&broker_name(number)));
}
