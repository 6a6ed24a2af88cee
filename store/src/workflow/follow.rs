//! What follows in a workflow when a part of it has ended.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use asyncflow_core::{
    id::{ShardId, TaskId, WorkflowId},
    limits::MESSAGE_BYTES_MAX,
    state::TaskState,
    task::{Member, Task},
    validate::text,
    workflow::{
        definition::Work,
        progress::{Outcome, Progress, Tally, WorkflowState},
        run::{Effect, Run},
    },
};
use futures::{FutureExt, future::BoxFuture};
use sea_orm::DatabaseTransaction;

use super::{
    again::{self, retry_tasks},
    birth::{Birth, child},
    children::children_ended,
    items::{self, Is},
    known::{KnownFlow, encode, flow_of},
    left::Left,
    lists,
    make::Making,
    row::{self, Rest, Workflow},
    start::{Before, Ready},
};
use crate::{Store, error::StoreError, ledger::Ledger};

/// What one transaction makes, until it leaves the rest to others: so many tasks.
const TASKS_MAX: usize = 500;
/// A workflow that is an item of another is as much work as so many tasks, and one for each node.
const TASKS_PER_FLOW: usize = 10;
/// So many tasks that one waits for are as much work as a task.
const WAITS_PER_TASK: usize = 5;
/// So many steps of an expression are as much work as a task.
const STEPS_PER_TASK: usize = 1_000;

/// What was made and what is left to be done when the transaction is committed.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// The tasks that were made.
    pub made: Vec<Task>,
    pub left: Vec<Left>,
}

/// What happened to a workflow that is there.
#[derive(Clone, Debug)]
pub(crate) enum Happened {
    /// An item of the node; why it failed, for people.
    Ended {
        node: u32,
        outcome: Outcome,
        why: Option<String>,
    },
    GoOn {
        node: u32,
    },
    Cancel,
    Retry,
}

/// How the tasks of this transaction ended that are parts of workflows.
pub(crate) fn ended<'a>(
    tasks: impl Iterator<Item = (&'a Task, &'a Task)>,
) -> Vec<(WorkflowId, Happened)> {
    let ended = tasks.filter_map(|(before, after)| {
        let member = after.member.filter(|_| !before.state.is_terminal())?;
        let outcome = match after.state {
            TaskState::Succeeded => Outcome::Succeeded,
            TaskState::Failed => Outcome::Failed,
            TaskState::Cancelled => Outcome::Cancelled,
            _ => return None,
        };
        let failure = after.failure.as_ref().filter(|_| outcome != Outcome::Succeeded);
        let was = if outcome == Outcome::Cancelled { " was cancelled" } else { "" };
        let why = failure.map(|failure| format!("task {}{was}: {}", after.id, failure.message));
        Some((member.workflow, Happened::Ended { node: member.node, outcome, why }))
    });
    ended.collect()
}

/// Does what follows, in the transaction in which it happened.
pub(crate) async fn follow(
    store: &Store,
    tx: &DatabaseTransaction,
    happened: Vec<(WorkflowId, Happened)>,
    now_ms: i64,
    ledger: &mut Ledger,
) -> Result<Followed, StoreError> {
    let mut follow = Follow::new(store, tx, now_ms, ledger);
    for (id, happened) in happened {
        follow.jobs.entry(Reverse(id)).or_default().push(happened);
    }
    follow.run().await
}

/// Makes a workflow, and what it begins with.
pub(crate) async fn bear(
    store: &Store,
    tx: &DatabaseTransaction,
    birth: Birth,
    now_ms: i64,
    ledger: &mut Ledger,
) -> Result<Followed, StoreError> {
    let mut follow = Follow::new(store, tx, now_ms, ledger);
    follow.bear(birth).await?;
    follow.run().await
}

struct Follow<'a> {
    store: &'a Store,
    tx: &'a DatabaseTransaction,
    now_ms: i64,
    ledger: &'a mut Ledger,
    /// The youngest first.
    jobs: BTreeMap<Reverse<WorkflowId>, Vec<Happened>>,
    /// What was made so far, in tasks.
    spent: usize,
    making: Making,
    /// Tasks whose children may all have ended.
    parents: BTreeSet<TaskId>,
    /// Tasks that run again.
    again: BTreeMap<ShardId, Vec<i64>>,
    left: Vec<Left>,
}

impl<'a> Follow<'a> {
    fn new(
        store: &'a Store,
        tx: &'a DatabaseTransaction,
        now_ms: i64,
        ledger: &'a mut Ledger,
    ) -> Self {
        Self {
            store,
            tx,
            now_ms,
            ledger,
            jobs: BTreeMap::new(),
            spent: 0,
            making: Making::new(now_ms),
            parents: BTreeSet::new(),
            again: BTreeMap::new(),
            left: Vec::new(),
        }
    }

    async fn run(mut self) -> Result<Followed, StoreError> {
        while let Some((Reverse(id), happened)) = self.jobs.pop_first() {
            self.go_on(id, &happened).await?;
        }
        let mut made = self.making.insert(self.store, self.tx, self.ledger).await?;
        for (shard, keys) in self.again {
            made.extend(retry_tasks(self.store, self.tx, &shard, keys, self.ledger).await?);
        }
        for parent in self.parents {
            let now_ms = self.now_ms;
            let released = children_ended(self.store, self.tx, parent, now_ms, self.ledger).await?;
            made.extend(released.changed);
            self.left.extend(released.left);
        }
        Ok(Followed { made, left: self.left })
    }

    /// It may bear others, so deep as definitions nest.
    fn bear(&mut self, birth: Birth) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let Birth { mut workflow, flow, input, request_id, digest } = birth;
            let definition = encode(&flow)?;
            let bytes = definition.len() + input.data.len();
            let rest =
                Rest { request_id: request_id.as_deref(), digest, definition, input: &input };
            row::insert(self.store, self.tx, &workflow, rest).await?;
            let flow = Arc::new(KnownFlow::new(flow, input, bytes)?);
            self.store.flows().put(workflow.id, &flow);
            let run = Run::first(&flow.graph);
            self.drive(run, &mut workflow, &flow, BTreeMap::new()).await
        }
        .boxed()
    }

    async fn go_on(&mut self, id: WorkflowId, happened: &[Happened]) -> Result<(), StoreError> {
        let Some(mut workflow) = row::lock(self.store, self.tx, id).await? else { return Ok(()) };
        let is_retry = happened.iter().any(|happened| matches!(happened, Happened::Retry));
        let (state, is_over) = (workflow.progress.state, workflow.progress.state.is_terminal());
        if is_over != is_retry || state == WorkflowState::Succeeded {
            return Ok(());
        }
        let flow = flow_of(self.store, self.tx, id).await?;
        let mut tallies: BTreeMap<u32, Tally> = BTreeMap::new();
        let mut said = BTreeMap::new();
        let mut run = Run::new(&flow.graph, workflow.progress);
        for happened in happened {
            match happened {
                Happened::Ended { node, outcome, why } => {
                    tallies.entry(*node).or_default().add(Tally::of(*outcome, 1));
                    // What is cancelled with the whole needs no reason.
                    let is_news = *outcome == Outcome::Failed || state == WorkflowState::Running;
                    if let Some(why) = why.as_ref().filter(|_| is_news) {
                        said.entry(*node).or_insert_with(|| why.clone());
                    }
                }
                Happened::GoOn { node } => {
                    tallies.entry(*node).or_default();
                }
                Happened::Cancel => run.cancel(),
                Happened::Retry => {
                    let all: Vec<u32> = (0..flow.graph.len()).collect();
                    self.read_nodes(&mut run, id, &all).await?;
                    run.retry();
                    row::say_nothing(self.store, self.tx, id).await?;
                    (workflow.finish_time_ms, workflow.message) = (None, None);
                }
            }
        }
        let numbers: Vec<u32> = tallies.keys().copied().collect();
        self.read_nodes(&mut run, id, &numbers).await?;
        self.store.fault_point("workflow.read").await;
        // What is said of the first failure stays.
        let is_first = |tally: Tally| tally.failed + tally.cancelled == 0;
        said.retain(|node, _| run.node(*node).is_some_and(|node| is_first(node.ended)));
        tallies.into_iter().for_each(|(node, tally)| run.items_ended(node, tally));
        self.drive(run, &mut workflow, &flow, said).await
    }

    async fn read_nodes(
        &self,
        run: &mut Run<'_, Work>,
        id: WorkflowId,
        numbers: &[u32],
    ) -> Result<(), StoreError> {
        let nodes = row::nodes(self.store, self.tx, id, Some(numbers)).await?;
        run.know(nodes.into_iter().map(|(number, node, _)| (number, node)));
        match numbers.iter().find(|number| run.node(**number).is_none()) {
            Some(number) => Err(StoreError::Corrupt(format!("node {number} of {id} is gone"))),
            None => Ok(()),
        }
    }

    /// Until nothing follows any more; then it is written.
    async fn drive(
        &mut self,
        mut run: Run<'_, Work>,
        workflow: &mut Workflow,
        flow: &KnownFlow,
        mut said: BTreeMap<u32, String>,
    ) -> Result<(), StoreError> {
        let mut started = Vec::new();
        loop {
            loop {
                let wanted = run.proceed();
                if wanted.is_empty() {
                    break;
                }
                self.read_nodes(&mut run, workflow.id, &wanted).await?;
            }
            let effects = run.effects();
            if effects.is_empty() {
                break;
            }
            let id = workflow.id;
            for effect in effects {
                match effect {
                    Effect::Begin { node } => {
                        self.begin(&mut run, workflow, flow, node, &mut said).await?;
                    }
                    // It was given up since its turn came.
                    Effect::Start { node, from, to } if run.is_stopping(node) => {
                        run.items_ended(node, Tally::of(Outcome::Cancelled, to - from));
                    }
                    Effect::Start { node, from, to } => {
                        let items = Items { node, from, to };
                        let made =
                            self.start(&run, workflow, flow, items, (&said, &mut started)).await?;
                        if let Some(from) = made.held_back {
                            run.hold_back(node, from);
                            self.left.push(Left::GoOn { workflow: id, node });
                        }
                        if let Some((failed, what)) = made.failed {
                            said.insert(node, what);
                            run.items_ended(node, Tally::of(Outcome::Failed, failed));
                        }
                    }
                    Effect::Again { node } => {
                        let items = run.node(node).map_or(0, |node| node.items);
                        let again = again::items(self.store, self.tx, id, node, items).await?;
                        run.again(node, again);
                    }
                    Effect::Forget { node } => {
                        items::forget(self.store, self.tx, id, node).await?;
                    }
                    Effect::Stop { node } => self.left.push(Left::Stop { workflow: id, node }),
                    Effect::GoOn { node } => self.left.push(Left::GoOn { workflow: id, node }),
                }
            }
        }
        let changes = run.into_changes();
        row::put_nodes(self.store, self.tx, workflow.id, &changes.nodes).await?;
        said.values_mut().for_each(|what| *what = text::cut(what, MESSAGE_BYTES_MAX));
        for (node, what) in &said {
            row::say(self.store, self.tx, workflow.id, *node, what).await?;
        }
        items::insert(self.store, self.tx, &started).await?;
        self.write(workflow, changes.progress, flow, said).await
    }

    async fn begin(
        &mut self,
        run: &mut Run<'_, Work>,
        workflow: &Workflow,
        flow: &KnownFlow,
        node: u32,
        said: &mut BTreeMap<u32, String>,
    ) -> Result<(), StoreError> {
        let of = (node, &*said);
        let mut before = Before::new(self.store, self.tx, workflow, flow, run, of);
        let answer = match before.is_wanted().await? {
            Ok(false) => {
                run.end(node, Outcome::Skipped);
                return Ok(());
            }
            Ok(true) => before.list().await?,
            Err(what) => Err(what),
        };
        match answer {
            Ok(Some(list)) => {
                lists::keep(self.store, self.tx, workflow.id, node, &list).await?;
                run.begin(node, list.len() as u32);
            }
            Ok(None) => run.begin(node, flow.items(node)),
            Err(what) => {
                said.insert(node, what);
                run.end(node, Outcome::Failed);
            }
        }
        Ok(())
    }

    /// Makes tasks and workflows for items, as many as one transaction should.
    async fn start(
        &mut self,
        run: &Run<'_, Work>,
        workflow: &Workflow,
        flow: &KnownFlow,
        Items { node, from, to }: Items,
        (said, started): (&BTreeMap<u32, String>, &mut Vec<(Member, Is)>),
    ) -> Result<Made, StoreError> {
        let mut before = Before::new(self.store, self.tx, workflow, flow, run, (node, said));
        let progress = run.node(node).cloned().unwrap_or_default();
        let most = to.min(from.saturating_add(TASKS_MAX as u32));
        let wanted = (from..most).map(|number| progress.item(number)).collect();
        let list = match before.items(&wanted).await? {
            Ok(list) => list,
            Err(what) => {
                return Ok(Made { failed: Some((to - from, what)), held_back: None });
            }
        };
        let mut failed: Option<(u32, String)> = None;
        let again = match progress.again.is_empty() {
            true => BTreeMap::new(),
            false => again::known(self.store, self.tx, workflow.id, node, &progress.again).await?,
        };
        for number in from..to {
            if self.spent >= TASKS_MAX || number >= most {
                return Ok(Made { failed, held_back: Some(number) });
            }
            let item = progress.item(number);
            let member = Member { workflow: workflow.id, node, item };
            match again.get(&item) {
                Some(Is::Task(task)) => {
                    self.spent += 1;
                    self.again.entry(task.shard.clone()).or_default().push(task.key);
                    continue;
                }
                Some(Is::Workflow(child)) => {
                    self.spent += TASKS_PER_FLOW;
                    self.jobs.entry(Reverse(*child)).or_default().push(Happened::Retry);
                    continue;
                }
                None => {}
            }
            let value = list.as_ref().and_then(|list| list.get(item));
            let looked_at = before.item(item, value).await?;
            self.spent += 1 + before.take_steps() / STEPS_PER_TASK;
            let made = match looked_at {
                Ok(Ready::Task(task)) => {
                    self.spent += task.after.len() / WAITS_PER_TASK;
                    let made = self.making.make(self.store, self.tx, *task, member, self.ledger);
                    made.await?.map(Is::Task)
                }
                Ok(Ready::Flow(flow, input)) => {
                    let id = WorkflowId(self.store.next_key(self.now_ms));
                    self.spent += TASKS_PER_FLOW + flow.nodes.len();
                    self.bear(child(id, workflow, member, flow, input, self.now_ms)).await?;
                    Ok(Is::Workflow(id))
                }
                Err(what) => Err(what),
            };
            match made {
                Ok(is) => started.push((member, is)),
                Err(what) => {
                    let (count, first) =
                        failed.take().unwrap_or((0, format!("item {item}: {what}")));
                    failed = Some((count + 1, first));
                }
            }
        }
        Ok(Made { failed, held_back: None })
    }

    async fn write(
        &mut self,
        workflow: &mut Workflow,
        progress: Progress,
        flow: &KnownFlow,
        said: BTreeMap<u32, String>,
    ) -> Result<(), StoreError> {
        workflow.progress = progress;
        workflow.revision += 1;
        workflow.update_time_ms = self.now_ms;
        if let Some((node, what)) = said.into_iter().next() {
            let name = &flow.graph.node(node).name;
            let message = text::cut(&format!("{name}: {what}"), MESSAGE_BYTES_MAX);
            workflow.message.get_or_insert(message);
        }
        let state = progress.state;
        if state.is_terminal() {
            workflow.finish_time_ms = Some(self.now_ms);
        }
        if state == WorkflowState::Succeeded {
            workflow.message = None;
        }
        row::update(self.store, self.tx, workflow).await?;
        self.ledger.workflow_changed(workflow.id, state);
        let outcome = match state {
            WorkflowState::Succeeded => Outcome::Succeeded,
            WorkflowState::Failed => Outcome::Failed,
            WorkflowState::Cancelled => Outcome::Cancelled,
            _ => return Ok(()),
        };
        self.parents.extend(workflow.parent_task.clone());
        if let Some(Member { workflow: parent, node, .. }) = workflow.parent {
            let why = workflow.message.as_ref().filter(|_| outcome == Outcome::Failed);
            let why = why.map(|message| format!("{}: {message}", workflow.id));
            let happened = Happened::Ended { node, outcome, why };
            self.jobs.entry(Reverse(parent)).or_default().push(happened);
        }
        Ok(())
    }
}

/// What has become of items that were to be started.
struct Made {
    /// For how many nothing could be made, and why, for people.
    failed: Option<(u32, String)>,
    /// Those from this number on are left to another transaction.
    held_back: Option<u32>,
}

/// The items `from..to` of a node.
struct Items {
    node: u32,
    from: u32,
    to: u32,
}
