//! `speculate`: gives twins to tasks that run for much longer than is usual.
//!
//! Only tasks of types that say so, and only if a live worker on another host takes them. What is
//! usual is the median of a task's finished siblings in a node of a workflow, or of the last tasks
//! of its type. And it cancels the twins of tasks that have ended, where a broker that died should
//! have done so.

use super::{Duty, DutyContext, every_type::all_types};
use crate::{clock::millis, config::GovernorConfig};
use asyncflow_core::{
    id::WorkflowId, speculation::Speculation, state::TaskState, task_type::TaskType,
};
use asyncflow_store::{CountFilter, RunningTask, Store, StoreError, Straggler, Twin};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

/// Live twins of all types; when there are so many no more are made.
const TWINS_MAX: u32 = 10_000;
/// Running tasks that a run looks at, of each shard. They are others each time.
const RUNNING_MAX: u32 = 5_000;
/// Ended tasks that tell what is usual.
const SAMPLE_MAX: u32 = 200;
/// Nodes of workflows whose ended tasks a run looks at, for each type.
const NODES_MAX: usize = 50;
/// Workers per page.
const WORKERS_PAGE: u32 = 500;
/// A worker is alive when it was heard of within so many heartbeats.
const ALIVE_HEARTBEATS: i64 = 3;
/// "Every type" in a worker's registration.
const EVERY_TYPE: &str = "*";

/// See the module.
pub(crate) struct Speculate {
    interval: Duration,
    silence_ms: i64,
}

impl Speculate {
    pub fn new(config: &GovernorConfig) -> Self {
        let heartbeat = Duration::from_millis(config.lease.heartbeat_interval_ms);
        Self {
            interval: Duration::from_millis(config.duties.speculate_interval_ms),
            silence_ms: millis(heartbeat).saturating_mul(ALIVE_HEARTBEATS),
        }
    }
}

#[async_trait::async_trait]
impl Duty for Speculate {
    fn name(&self) -> &'static str {
        "speculate"
    }

    fn description(&self) -> &'static str {
        "runs tasks a second time, on another host, that take much longer than is usual"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn run(&mut self, cx: &DutyContext) -> Result<u64, StoreError> {
        let live = cx.store.live_twins(TWINS_MAX).await?;
        let (mut done, mut failed) = (cx.store.tend_twins(&live).await?, None);
        let types = all_types(&cx.store).await?;
        let types = types.iter().filter(|of| of.speculation.is_some() && !of.paused);
        if live.len() >= TWINS_MAX as usize {
            return Ok(done);
        }
        let mut hosts = None;
        for task_type in types {
            if hosts.is_none() {
                hosts = Some(Hosts::read(&cx.store, self.silence_ms).await?);
            }
            let Some(hosts) = &hosts else { break };
            match make_twins(cx, task_type, hosts, &live).await {
                Ok(made) => done += made,
                Err(error @ (StoreError::Unavailable { .. } | StoreError::NotLeader)) => {
                    return Err(error);
                }
                // One type that cannot be read must not keep the others from it.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(done), Err)
    }
}

/// Where workers are, and what they take.
#[derive(Default)]
struct Hosts {
    /// By worker and session, the draining and the silent among them.
    of_workers: HashMap<(String, i64), String>,
    /// The hosts of live workers by type.
    by_type: BTreeMap<String, BTreeSet<String>>,
    /// Those of live workers that take commands of all types.
    by_commands: BTreeSet<String>,
}

impl Hosts {
    async fn read(store: &Store, silence_ms: i64) -> Result<Self, StoreError> {
        let alive_from_ms = store.now_ms().await?.saturating_sub(silence_ms);
        let (mut hosts, mut after) = (Self::default(), None::<String>);
        loop {
            let page = store.list_workers(after.as_deref(), WORKERS_PAGE).await?;
            let is_last = page.len() < WORKERS_PAGE as usize;
            after = page.last().map(|worker| worker.registration.worker_id.clone());
            for worker in page {
                let host = worker.host().to_owned();
                if worker.seen_time_ms >= alive_from_ms && !worker.draining {
                    for task_type in &worker.registration.task_types {
                        hosts.by_type.entry(task_type.clone()).or_default().insert(host.clone());
                    }
                    if worker.registration.takes_commands {
                        hosts.by_commands.insert(host.clone());
                    }
                }
                let key = (worker.registration.worker_id, worker.session_id);
                hosts.of_workers.insert(key, host);
            }
            if is_last {
                return Ok(hosts);
            }
        }
    }

    /// The host that a task runs on, if another one takes tasks of its type, too.
    fn to_avoid(&self, of: &TaskType, task: &RunningTask) -> Option<&str> {
        let host = self.of_workers.get(&(task.worker_id.clone(), task.session_id))?;
        let names = [of.name.as_str(), EVERY_TYPE];
        let by_name = names.iter().filter_map(|name| self.by_type.get(*name));
        let others = by_name.chain(of.has_commands.then_some(&self.by_commands)).flatten();
        others.into_iter().any(|other| other != host).then_some(host.as_str())
    }
}

/// How many twins were made for a type.
async fn make_twins(
    cx: &DutyContext,
    task_type: &TaskType,
    hosts: &Hosts,
    live: &[Twin],
) -> Result<u64, StoreError> {
    let Some(speculation) = task_type.speculation else { return Ok(0) };
    let store = &cx.store;
    let live = live.iter().filter(|twin| twin.original.task_type() == &task_type.name).count();
    let room = speculation.room(running_count(store, task_type).await?, live);
    if room == 0 {
        return Ok(0);
    }
    let now_ms = store.now_ms().await?;
    let since_ms = |task: &RunningTask| now_ms.saturating_sub(task.start_time_ms);
    let mut old = store.running_tasks(&task_type.name, RUNNING_MAX).await?;
    old.retain(|task| {
        speculation.may_be_late(since_ms(task))
            && is_fit(task)
            && hosts.to_avoid(task_type, task).is_some()
    });
    if old.is_empty() {
        return Ok(0);
    }
    without_twinned(store, &mut old).await?;
    let usual = Usual::read(store, task_type, speculation, &old).await?;
    let old = old.iter().map(|task| (task, since_ms(task), usual.of(task)));
    let mut made = 0;
    for task in speculation.stragglers(old, room) {
        let Some(host) = hosts.to_avoid(task_type, task) else { continue };
        let RunningTask { id, run, attempt, .. } = task.clone();
        let straggler = Straggler { id, run, attempt, host: host.to_owned() };
        if let Some(twin) = store.make_twin(&straggler, &cx.fence).await? {
            tracing::info!(task_id = %straggler.id, twin_id = %twin.id, host,
                trace_id = twin.trace_id, "made a twin of a straggler");
            made += 1;
        }
    }
    metrics::counter!("asyncflow_governor_twins_total").increment(made);
    Ok(made)
}

/// What it has made itself, or was told, its twin would not have.
fn is_fit(task: &RunningTask) -> bool {
    !task.ties.twin && !task.ties.children && !task.ties.signalled
}

async fn running_count(store: &Store, task_type: &TaskType) -> Result<i64, StoreError> {
    let states = vec![TaskState::Running];
    let filter = CountFilter { task_type: Some(task_type.name.clone()), user: None, states };
    Ok(store.counts(&filter).await?.iter().map(|count| count.tasks).sum())
}

/// Leaves out those that have had a twin in this run.
async fn without_twinned(store: &Store, tasks: &mut Vec<RunningTask>) -> Result<(), StoreError> {
    let twinned = tasks.iter().filter(|task| task.ties.twinned).map(|task| task.id.clone());
    let twinned = store.twinned(&twinned.collect::<Vec<_>>()).await?;
    tasks.retain(|task| !twinned.contains(&(task.id.clone(), task.run)));
    Ok(())
}

/// How long tasks usually take.
struct Usual {
    of_type: Option<i64>,
    of_nodes: BTreeMap<(WorkflowId, u32), i64>,
}

impl Usual {
    async fn read(
        store: &Store,
        task_type: &TaskType,
        speculation: Speculation,
        tasks: &[RunningTask],
    ) -> Result<Self, StoreError> {
        let mut took_ms = store.took_ms(&task_type.name, SAMPLE_MAX).await?;
        let of_type = speculation.usual_ms(&mut took_ms);
        let members = tasks.iter().filter_map(|task| task.member);
        let nodes: BTreeSet<_> = members.map(|member| (member.workflow, member.node)).collect();
        let mut of_nodes = BTreeMap::new();
        for (workflow, node) in nodes.into_iter().take(NODES_MAX) {
            let mut took_ms = store.siblings_took_ms(workflow, node, SAMPLE_MAX).await?;
            if let Some(usual_ms) = speculation.usual_ms(&mut took_ms) {
                of_nodes.insert((workflow, node), usual_ms);
            }
        }
        Ok(Self { of_type, of_nodes })
    }

    fn of(&self, task: &RunningTask) -> Option<i64> {
        let node = task.member.map(|member| (member.workflow, member.node));
        let of_node = node.and_then(|node| self.of_nodes.get(&node).copied());
        of_node.or(self.of_type)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::testing::{Bed, LONG_MS, SESSION};
    use asyncflow_core::{event::Event, id::TaskId};
    use asyncflow_store::{Registration, StoreOptions};

    const SPECULATION: Speculation =
        Speculation { factor_permille: 1_500, min_sample: 2, max_percent: 50, min_running_ms: 1 };

    /// A worker whose session the store gives; the other tests of this crate have one of their own.
    async fn register(bed: &Bed, host: &str) -> (String, i64) {
        let registration = Registration {
            worker_id: format!("w-{host}"),
            incarnation: "1".into(),
            host: host.into(),
            task_types: vec!["train".into()],
            slots: 1,
            ..Registration::default()
        };
        let session_id = bed.store.register_worker(&registration).await.unwrap().session_id;
        (registration.worker_id, session_id)
    }

    /// A task that runs on a worker.
    async fn running(bed: &Bed, (worker_id, session_id): &(String, i64)) -> TaskId {
        let id = bed.new_task("train", None).await;
        let (worker_id, session_id) = (worker_id.clone(), *session_id);
        let claim = Event::Claim { worker_id, session_id, handout_ttl_ms: LONG_MS };
        let attempt = bed.apply(&id, claim).await.attempt;
        let fence = asyncflow_core::event::Fence { attempt, session_id };
        bed.apply(&id, Event::Start { fence, lease_ttl_ms: LONG_MS }).await;
        id
    }

    /// By the database's clock, which nobody here can move.
    async fn until_late(bed: &Bed, id: &TaskId) {
        let start_ms = bed.task(id).await.unwrap().start_time_ms.unwrap();
        while bed.store.now_ms().await.unwrap() < start_ms + 200 {
            tokio::task::yield_now().await;
        }
    }

    async fn twin_of(bed: &Bed, id: &TaskId) -> Option<TaskId> {
        bed.store.twin_of(&bed.task(id).await.unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_straggler_gets_a_twin_if_another_host_takes_it() {
        for bed in Bed::everywhere().await {
            let (lead, mut speculate) = (bed.lead("g1").await, Speculate::new(&bed.config()));
            bed.set_type("train", |of| of.speculation = Some(SPECULATION)).await;
            let slow = register(&bed, "slow").await;
            let late = running(&bed, &slow).await;
            until_late(&bed, &late).await;
            register(&bed, "fast").await;
            assert_eq!(bed.run(&mut speculate, &lead).await.unwrap(), 0, "nothing is usual yet");
            for _ in 0..2 {
                let id = bed.new_task("train", None).await;
                bed.complete(&id).await;
            }
            bed.store.update_type(late.task_type(), None, |of| of.paused = true).await.unwrap();
            assert_eq!(bed.run(&mut speculate, &lead).await.unwrap(), 0, "it is held back");
            bed.store.update_type(late.task_type(), None, |of| of.paused = false).await.unwrap();
            assert_eq!(bed.run(&mut speculate, &lead).await.unwrap(), 1);
            let twin = twin_of(&bed, &late).await.unwrap();
            assert_eq!(bed.run(&mut speculate, &lead).await.unwrap(), 0, "one for a run");
            // It is cancelled by whoever looks, if nobody else did.
            bed.apply(&late, Event::Cancel { message: String::new() }).await;
            assert!(bed.task(&twin).await.unwrap().state.is_terminal());
        }
    }

    #[tokio::test]
    async fn a_twin_whose_broker_died_is_cancelled() {
        let bed = Bed::sqlite().await;
        let (lead, mut speculate) = (bed.lead("g1").await, Speculate::new(&bed.config()));
        let late = running(&bed, &register(&bed, "slow").await).await;
        let straggler = Straggler { id: late.clone(), run: 0, attempt: 1, host: "slow".into() };
        let twin = bed.store.make_twin(&straggler, &lead).await.unwrap().unwrap();
        assert_eq!(bed.run(&mut speculate, &lead).await.unwrap(), 0, "it is of use");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("workflow.carries_out.off"), "").unwrap();
        let fault_dir = Some(dir.path().to_owned());
        let options = StoreOptions { fault_dir, ..StoreOptions::new(bed.url.clone()) };
        let dying = Store::connect(&options).await.unwrap();
        let cancel = Event::Cancel { message: String::new() };
        dying.apply(vec![(late, cancel)]).await.remove(0).unwrap();
        dying.close().await;
        assert_eq!(bed.task(&twin.id).await.unwrap().state, TaskState::Pending);
        assert_eq!(bed.run(&mut speculate, &lead).await.unwrap(), 1);
        assert_eq!(bed.task(&twin.id).await.unwrap().state, TaskState::Cancelled);
        assert_eq!(bed.run(&mut speculate, &lead).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn nobody_gets_a_twin_without_another_host_or_leave() {
        let bed = Bed::sqlite().await;
        let (lead, mut speculate) = (bed.lead("g1").await, Speculate::new(&bed.config()));
        let slow = register(&bed, "slow").await;
        let late = running(&bed, &slow).await;
        until_late(&bed, &late).await;
        for _ in 0..2 {
            let id = bed.new_task("train", None).await;
            bed.complete(&id).await;
        }
        register(&bed, "fast").await;
        assert_eq!(bed.run(&mut speculate, &lead).await.unwrap(), 0, "its type does not say so");
        bed.set_type("train", |of| of.speculation = Some(SPECULATION)).await;
        bed.store.end_session(register(&bed, "fast").await.1).await.unwrap();
        assert_eq!(bed.run(&mut speculate, &lead).await.unwrap(), 0, "there is no other host");
        register(&bed, "fast").await;
        let old = bed.lead("g1").await;
        bed.lead("g2").await;
        let refused = bed.run(&mut speculate, &old).await;
        assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
        assert_eq!(twin_of(&bed, &late).await, None);
    }

    #[tokio::test]
    async fn twins_are_few_and_for_the_worst() {
        let bed = Bed::sqlite().await;
        let (lead, mut speculate) = (bed.lead("g1").await, Speculate::new(&bed.config()));
        bed.set_type("train", |of| of.speculation = Some(SPECULATION)).await;
        for _ in 0..2 {
            let id = bed.new_task("train", None).await;
            bed.complete(&id).await;
        }
        let slow = register(&bed, "slow").await;
        register(&bed, "fast").await;
        let mut late = Vec::new();
        for _ in 0..3 {
            late.push(running(&bed, &slow).await);
            until_late(&bed, &late[late.len() - 1]).await;
        }
        // A half of three, and of those which run the twin is none.
        assert_eq!(bed.run(&mut speculate, &lead).await.unwrap(), 1);
        assert!(twin_of(&bed, &late[0]).await.is_some(), "it runs for the longest time");
        assert_eq!(bed.run(&mut speculate, &lead).await.unwrap(), 0);
        assert_eq!(bed.store.live_twins(9).await.unwrap().len(), 1);
        assert_ne!(slow.1, SESSION);
    }
}
