//! kill -9 of the governor between each two steps of a roll and of a drop: another one finishes
//! what was begun, no create fails meanwhile, and every task is run.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use asyncflow_proto::v1::{
    ShardState::{Creating, Dropping, Gone, Open},
    TaskType, UpdateTaskTypeRequest,
};
use asyncflow_sdk::Client;
use asyncflow_tests::{Cluster, Governor, Seen, Shape, Stopwatch, sh, until, within};
use prost_types::FieldMask;
use tokio::task::JoinSet;

use super::run_one;

const SHAPE: Shape = Shape { governors: 2, ..Shape::SMALL };
/// Long after the next leader has looked.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);

async fn in_the_middle_of_a_roll(cluster: &mut Cluster, off: &[&str]) -> Seen {
    cluster.switch_off(off);
    let creator = Creator::begin(cluster).await;
    for point in ["roll.registered", "roll.checked", "roll.created", "roll.opened"] {
        let (leader, governor) = leader(cluster).await;
        governor.until_filled().await;
        let number = governor.shards().await.len() as i32 + 1;
        let stop = cluster.governors[leader].faults().stop_at(point);
        let rolling = tokio::spawn(async move { governor.try_roll().await });
        stop.reached().await;
        cluster.governors[leader].kill();
        stop.go_on();
        assert!(rolling.await.unwrap().is_err());

        let (next, governor) = self::leader(cluster).await;
        assert_ne!(next, leader);
        let states = until("there is a newer shard", || async {
            let states = governor.shard_states().await;
            (states.len() as i32 >= number && states.last() == Some(&Open)).then_some(states)
        })
        .await;
        if states.contains(&Creating) {
            return Err("a shard that was half made is left behind");
        }
        assert_eq!(states.len() as i32, number, "{point}: {states:?}");
        assert_eq!(states.iter().filter(|state| **state == Open).count(), 1, "{states:?}");
        cluster.governors[leader].restart();
    }
    creator.end("rolls").await;
    Ok(())
}
with_and_without_its_guard!(
    in_the_middle_of_a_roll,
    SHAPE,
    off & ["roll.goes_on"],
    "a shard that was half made is left behind"
);

/// Drained shards are dropped as soon as that is found, because their type keeps nothing.
async fn in_the_middle_of_a_drop(cluster: &mut Cluster, off: &[&str]) -> Seen {
    cluster.switch_off(off);
    let creator = Creator::begin(cluster).await;
    keep_nothing(&cluster.client(0)).await;
    for point in [
        "drop.begun",
        "ddl.checked",
        "drop.renamed",
        "drop.allowed",
        "drop.one_table",
        "drop.dropped",
    ] {
        let (leader, governor) = leader(cluster).await;
        governor.until_filled().await;
        let stop = cluster.governors[leader].faults().stop_at(point);
        let number = governor.roll().await - 1;
        stop.reached().await;
        cluster.governors[leader].kill();
        stop.go_on();

        let (next, governor) = self::leader(cluster).await;
        assert_ne!(next, leader);
        let gone = within(PATIENCE, || async {
            (governor.shard(number).await.state() == Gone).then_some(())
        })
        .await;
        if gone.is_none() && governor.shard(number).await.state() == Dropping {
            return Err("a drop that was begun is left behind");
        }
        governor.until_state(number, Gone).await;
        cluster.governors[leader].restart();
    }
    creator.end("drops").await;
    Ok(())
}
with_and_without_its_guard!(
    in_the_middle_of_a_drop,
    SHAPE,
    off & ["drop.goes_on"],
    "a drop that was begun is left behind"
);

async fn leader(cluster: &Cluster) -> (usize, Governor) {
    let leader = cluster.leader().await;
    (leader, cluster.governor(leader).await)
}

async fn keep_nothing(client: &Client) {
    let task_type = TaskType {
        name: "command".to_owned(),
        retention: Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 }),
        ..TaskType::default()
    };
    let update_mask = Some(FieldMask { paths: vec!["retention".to_owned()] });
    let request = UpdateTaskTypeRequest { task_type: Some(task_type), update_mask };
    client.update_type(request).await.unwrap();
}

/// Creates tasks one after the other for as long as it is wanted; none is tried twice. Ends with
/// its value.
struct Creator {
    /// Each task that is run writes its id here.
    file: PathBuf,
    wanted: Arc<AtomicBool>,
    creating: JoinSet<(HashSet<String>, Duration)>,
}

impl Creator {
    async fn begin(cluster: &Cluster) -> Self {
        run_one(&cluster.client(0)).await;
        let client = cluster.client_without_retries(0);
        let file = cluster.scratch().join("were-run");
        let script = format!("echo $ASYNCFLOW_TASK_ID >> {}", file.display());
        let wanted = Arc::new(AtomicBool::new(true));
        let still_wanted = wanted.clone();
        let mut creating = JoinSet::new();
        creating.spawn(async move {
            let (mut ids, mut longest) = (HashSet::new(), Duration::ZERO);
            while still_wanted.load(Ordering::Relaxed) {
                let asked = Stopwatch::start();
                ids.insert(client.create(sh(&script)).await.expect("no create fails").id);
                longest = longest.max(asked.elapsed());
                tokio::time::sleep(PAUSE).await;
            }
            (ids, longest)
        });
        Self { file, wanted, creating }
    }

    async fn end(mut self, during: &str) {
        self.wanted.store(false, Ordering::Relaxed);
        let (ids, longest) = self.creating.join_next().await.unwrap().unwrap();
        until("every task has been run", || async {
            let file = std::fs::read_to_string(&self.file).unwrap_or_default();
            let were_run: HashSet<&str> = file.lines().collect();
            ids.iter().all(|id| were_run.contains(id.as_str())).then_some(())
        })
        .await;
        println!("{} creates during {during}, the longest took {longest:?}", ids.len());
    }
}
