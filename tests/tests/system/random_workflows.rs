//! Random graphs through real brokers and workers of the SDK: what ran, in which order, and what
//! became of each node and of the whole. The rules are written down here once more, by themselves,
//! so that an error in the domain is not an error of the test.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use asyncflow_proto::v1::{
    EdgeCondition, FailurePolicy, GetWorkflowResponse, TaskSpec, WorkflowNode, WorkflowNodeState,
    WorkflowNodeStatus, WorkflowSpec, WorkflowState, failure_policy::Policy, workflow_node::Work,
};
use asyncflow_sdk::worker::HandlerError;
use asyncflow_store::testing::Dice;
use asyncflow_tests::{Backend, Cluster, PATIENCE, Shape};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::handlers::{self, Function, Worker};

const WORKFLOWS: u64 = 30;
const NODES_MAX: u64 = 8;

#[derive(Clone, Debug)]
struct Node {
    needs: Vec<usize>,
    when: EdgeCondition,
    /// What its condition says, if it has one.
    run_if: Option<bool>,
    succeeds: bool,
    takes_ms: u64,
}

#[derive(Clone, Debug)]
struct Graph {
    nodes: Vec<Node>,
    policy: Option<Policy>,
}

fn random_graph(seed: u64) -> Graph {
    const WHEN: [EdgeCondition; 5] = [
        EdgeCondition::AllSucceeded,
        EdgeCondition::AllDone,
        EdgeCondition::AnySucceeded,
        EdgeCondition::AnyFailed,
        EdgeCondition::AnyCancelled,
    ];
    let mut dice = Dice::of(seed);
    let count = 2 + dice.roll(NODES_MAX - 1);
    let mut nodes = Vec::new();
    for at in 0..count {
        let mut needs: Vec<usize> = (0..at as usize).filter(|_| dice.one_in(2)).collect();
        needs.truncate(3);
        // Half of them as most workflows have it.
        let when =
            if needs.is_empty() || dice.one_in(2) { WHEN[0] } else { WHEN[dice.roll(5) as usize] };
        nodes.push(Node {
            needs,
            when,
            run_if: dice.one_in(5).then(|| dice.one_in(2)),
            succeeds: !dice.one_in(4),
            takes_ms: dice.roll(30),
        });
    }
    let policy = match dice.roll(3) {
        0 => None,
        1 => Some(Policy::Continue(true)),
        _ => Some(Policy::AtLeast(1 + dice.roll(count) as u32)),
    };
    Graph { nodes, policy }
}

impl Graph {
    fn spec(&self, seed: u64) -> WorkflowSpec {
        let name = |at: usize| format!("n{at}");
        let node = |(at, node): (usize, &Node)| {
            let payload = json!({
                "seed": seed, "node": at, "succeeds": node.succeeds, "takes_ms": node.takes_ms,
            });
            let task = TaskSpec {
                task_type: "part".to_owned(),
                payload: Some(handlers::json(&payload)),
                ..Default::default()
            };
            WorkflowNode {
                name: name(at),
                depends_on: node.needs.iter().copied().map(name).collect(),
                when: node.when.into(),
                run_if: node
                    .run_if
                    .map(|holds| format!("input.yes == {holds}"))
                    .unwrap_or_default(),
                work: Some(Work::Task(task)),
                ..Default::default()
            }
        };
        WorkflowSpec {
            name: format!("random-{seed}"),
            input: Some(handlers::json(&json!({ "yes": true }))),
            nodes: self.nodes.iter().enumerate().map(node).collect(),
            policy: self.policy.map(|policy| FailurePolicy { policy: Some(policy) }),
            ..Default::default()
        }
    }
}

/// When a node ran, as places in one order of everything that happened.
#[derive(Clone, Copy, Debug, Default)]
struct Ran {
    times: usize,
    began: usize,
    /// `None`: it was dropped on the way, because it was cancelled.
    ended: Option<usize>,
}

/// Everything that happened, in its order.
#[derive(Default)]
struct Diary(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    count: usize,
    /// By the seed of the workflow and the node.
    ran: HashMap<(u64, usize), Ran>,
}

impl Diary {
    fn note(&self, of: (u64, usize), write: impl FnOnce(&mut Ran, usize)) {
        let mut entries = self.0.lock().unwrap();
        entries.count += 1;
        let now = entries.count;
        write(entries.ran.entry(of).or_default(), now);
    }

    fn of(&self, seed: u64, node: usize) -> Ran {
        self.0.lock().unwrap().ran.get(&(seed, node)).copied().unwrap_or_default()
    }
}

fn part(diary: &Arc<Diary>) -> Function {
    let diary = Arc::clone(diary);
    Function::new(move |payload: Value, _| {
        let diary = Arc::clone(&diary);
        async move {
            let number = |field: &str| payload[field].as_u64().unwrap();
            let of = (number("seed"), number("node") as usize);
            diary.note(of, |ran, now| {
                ran.times += 1;
                ran.began = now;
            });
            tokio::time::sleep(Duration::from_millis(number("takes_ms"))).await;
            diary.note(of, |ran, now| ran.ended = Some(now));
            match payload["succeeds"].as_bool().unwrap() {
                true => Ok(json!(of.1)),
                false => Err(HandlerError::permanent("it is told to fail")),
            }
        }
    })
}

/// One workflow that is over, and what happened in it.
struct Ended<'a> {
    seed: u64,
    graph: &'a Graph,
    nodes: &'a [WorkflowNodeStatus],
    diary: &'a Diary,
}

impl Ended<'_> {
    fn state(&self, at: usize) -> WorkflowNodeState {
        self.nodes[at].state()
    }

    fn count(&self, state: WorkflowNodeState) -> usize {
        self.nodes.iter().filter(|node| node.state() == state).count()
    }

    /// Whether the node's turn could come by what became of those that it waits for.
    fn may_begin(&self, at: usize) -> bool {
        use WorkflowNodeState::{Cancelled, Failed, Succeeded};
        let Node { needs, when, .. } = &self.graph.nodes[at];
        let any = |state| needs.iter().any(|need| self.state(*need) == state);
        needs.is_empty()
            || match when {
                EdgeCondition::AllDone => true,
                EdgeCondition::AnySucceeded => any(Succeeded),
                EdgeCondition::AnyFailed => any(Failed),
                EdgeCondition::AnyCancelled => any(Cancelled),
                _ => needs.iter().all(|need| self.state(*need) == Succeeded),
            }
    }

    /// What had to have ended before this one began.
    fn check_order(&self, at: usize) {
        use WorkflowNodeState::{Cancelled, Failed, Succeeded};
        let Node { needs, when, .. } = &self.graph.nodes[at];
        let began = self.diary.of(self.seed, at).began;
        let ended_before =
            |need: &usize| self.diary.of(self.seed, *need).ended.is_some_and(|ended| ended < began);
        let one_of = |state| {
            let mut such = needs.iter().filter(|need| self.state(**need) == state);
            such.any(ended_before)
        };
        let holds = needs.is_empty()
            || match when {
                // One that was cancelled may have been dropped.
                EdgeCondition::AllDone => needs.iter().all(|need| {
                    let ran = self.diary.of(self.seed, *need);
                    ran.times == 0 || self.state(*need) == Cancelled || ended_before(need)
                }),
                EdgeCondition::AnySucceeded => one_of(Succeeded),
                EdgeCondition::AnyFailed => one_of(Failed),
                EdgeCondition::AnyCancelled => true,
                _ => needs.iter().all(ended_before),
            };
        assert!(holds, "n{at} began too early: {self:?}");
    }

    fn check_node(&self, at: usize) {
        use WorkflowNodeState::{Cancelled, Failed, Skipped, Succeeded};
        let node = &self.graph.nodes[at];
        let ran = self.diary.of(self.seed, at);
        assert!(ran.times <= 1, "n{at} ran {} times: {self:?}", ran.times);
        let condition = node.run_if != Some(false);
        match self.state(at) {
            Succeeded | Failed => {
                assert_eq!(ran.times, 1, "n{at} has an end and did not run: {self:?}");
                assert_eq!(self.state(at) == Succeeded, node.succeeds, "n{at}: {self:?}");
            }
            Skipped => {
                assert_eq!(ran.times, 0, "n{at} was skipped and ran: {self:?}");
                assert!(!condition || !self.may_begin(at), "n{at} was passed over: {self:?}");
            }
            Cancelled => {
                let is_given_up = !matches!(self.graph.policy, Some(Policy::Continue(_)));
                assert!(is_given_up, "n{at} was cancelled: {self:?}");
            }
            other => panic!("n{at} is {other:?}, and the whole is over: {self:?}"),
        }
        if ran.times > 0 {
            assert!(condition, "n{at} ran against its condition: {self:?}");
            assert!(self.may_begin(at), "n{at} ran out of turn: {self:?}");
            self.check_order(at);
        }
    }

    fn check_whole(&self, state: WorkflowState) {
        use WorkflowNodeState::{Cancelled, Failed, Succeeded};
        let expected = match self.graph.policy {
            Some(Policy::AtLeast(least)) => {
                let least = usize::try_from(least).unwrap().min(self.nodes.len());
                match self.count(Succeeded) >= least {
                    true => WorkflowState::Succeeded,
                    false => WorkflowState::Failed,
                }
            }
            _ if self.count(Failed) > 0 => WorkflowState::Failed,
            _ if self.count(Cancelled) > 0 => WorkflowState::Cancelled,
            _ => WorkflowState::Succeeded,
        };
        assert_eq!(state, expected, "{self:?}");
        // Nobody cancelled it: what is cancelled was given up.
        assert!(self.count(Cancelled) == 0 || state == WorkflowState::Failed, "{self:?}");
    }
}

impl std::fmt::Debug for Ended<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "seed {}, policy {:?}", self.seed, self.graph.policy)?;
        for (at, node) in self.graph.nodes.iter().enumerate() {
            let ran = self.diary.of(self.seed, at);
            writeln!(f, "  n{at} is {:?}: {node:?} {ran:?}", self.state(at))?;
        }
        Ok(())
    }
}

fn check(seed: u64, graph: &Graph, answer: &GetWorkflowResponse, diary: &Diary) {
    use WorkflowNodeState::{Cancelled, Failed, Skipped, Succeeded};
    let ended = Ended { seed, graph, nodes: &answer.nodes, diary };
    assert_eq!(answer.nodes.len(), graph.nodes.len());
    (0..graph.nodes.len()).for_each(|at| ended.check_node(at));
    let workflow = answer.workflow.as_ref().unwrap();
    ended.check_whole(workflow.state());
    let tally = workflow.ended.unwrap();
    let told = [tally.succeeded, tally.failed, tally.cancelled, tally.skipped];
    let seen = [Succeeded, Failed, Cancelled, Skipped].map(|state| ended.count(state) as i32);
    assert_eq!(told, seen, "{ended:?}");
}

async fn random_graphs_keep_the_rules(backend: Backend) {
    let cluster =
        Cluster::start(backend, Shape { brokers: 2, workers: 0, ..Shape::default() }).await;
    let diary = Arc::new(Diary::default());
    let workers: Vec<Worker> =
        (0..2).map(|n| Worker::start(&cluster, n, 6, [("part", part(&diary))])).collect();
    let graphs: Vec<(u64, Graph)> =
        (1..=WORKFLOWS).map(|seed| (seed, random_graph(seed))).collect();
    let running = graphs.iter().map(|(seed, graph)| {
        let (here, there) = (cluster.client(0), cluster.client(1));
        async move {
            let id = here.create_workflow(graph.spec(*seed)).await.unwrap().id;
            there.wait_workflow(&id, None).await.unwrap();
            there.workflow(&id).await.unwrap()
        }
    });
    let answers = tokio::time::timeout(PATIENCE, join_all(running)).await;
    let answers = answers.unwrap_or_else(|_| panic!("they go on: {}", cluster.logs()));
    // What was told to stop has stopped, and says no more.
    for worker in workers {
        worker.stop().await;
    }
    for ((seed, graph), answer) in graphs.iter().zip(&answers) {
        check(*seed, graph, answer, &diary);
    }
    let count =
        |state| answers.iter().flat_map(|answer| &answer.nodes).filter(move |n| n.state() == state);
    for state in [
        WorkflowNodeState::Succeeded,
        WorkflowNodeState::Failed,
        WorkflowNodeState::Cancelled,
        WorkflowNodeState::Skipped,
    ] {
        assert!(count(state).count() >= 5, "the graphs are too tame: few are {state:?}");
    }
}
on_each_database!(random_graphs_keep_the_rules);
