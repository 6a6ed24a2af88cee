//! Random workflows, run in random order: what runs and how it ends is what a plain reading of the
//! graph says.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_core::workflow::{
    graph::{Graph, Node, Policy, When},
    progress::{NodeProgress, NodeState, Outcome, Progress, Tally, WorkflowState},
    run::{Effect, Run, STARTS_MAX},
};
use proptest::prelude::*;

const WHENS: [When; 5] =
    [When::AllSucceeded, When::AllDone, When::AnySucceeded, When::AnyFailed, When::AnyCancelled];

/// What a node does once it is started: how each of its items ends, or that it is left out.
#[derive(Clone, Debug)]
struct Script {
    items: Vec<Outcome>,
    left_out: bool,
}

fn script() -> impl Strategy<Value = Script> {
    let outcome = prop_oneof![
        6 => Just(Outcome::Succeeded),
        2 => Just(Outcome::Failed),
        1 => Just(Outcome::Cancelled),
    ];
    let left_out = prop_oneof![9 => Just(false), 1 => Just(true)];
    (proptest::collection::vec(outcome, 0..5), left_out)
        .prop_map(|(items, left_out)| Script { items, left_out })
}

fn node() -> impl Strategy<Value = Node<Script>> {
    let policy = prop_oneof![
        Just(Policy::FailFast),
        Just(Policy::Continue),
        (0..4_u32).prop_map(Policy::AtLeast)
    ];
    let needs = proptest::collection::btree_set(0..12_u32, 0..4);
    (script(), needs, 0..5_usize, policy, 0..3_u32).prop_map(
        |(work, needs, when, policy, parallel_max)| Node {
            name: String::new(),
            needs: needs.into_iter().collect(),
            when: WHENS[when],
            policy,
            parallel_max,
            work,
        },
    )
}

fn graph(policy: impl Strategy<Value = Policy>) -> impl Strategy<Value = Graph<Script>> {
    (proptest::collection::vec(node(), 1..12), policy).prop_map(|(mut nodes, policy)| {
        for (at, node) in nodes.iter_mut().enumerate() {
            node.name = format!("n{at}");
            node.needs.retain(|need| (*need as usize) < at);
        }
        Graph::new(nodes, policy).unwrap()
    })
}

/// The stored workflow, and what the outside world does with it.
struct World<'a> {
    graph: &'a Graph<Script>,
    progress: Progress,
    nodes: BTreeMap<u32, NodeProgress>,
    /// Items that run.
    running: BTreeSet<(u32, u32)>,
    begun: BTreeSet<u32>,
    /// Nodes that were begun when the rest had been given up.
    begun_in_trouble: BTreeSet<u32>,
    to_go_on: BTreeSet<u32>,
    /// How items ended that are not forgotten.
    outcomes: BTreeMap<(u32, u32), Outcome>,
    /// It was retried: whatever runs now succeeds.
    is_retried: bool,
    /// Most items that one transaction starts, and how many this one may.
    starts_max: u32,
    starts_left: u32,
}

impl<'a> World<'a> {
    fn start(graph: &'a Graph<Script>, starts_max: u32) -> Self {
        let mut world = Self {
            graph,
            progress: Progress::default(),
            nodes: BTreeMap::new(),
            running: BTreeSet::new(),
            begun: BTreeSet::new(),
            begun_in_trouble: BTreeSet::new(),
            to_go_on: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            is_retried: false,
            starts_max,
            starts_left: 0,
        };
        world.finish(Run::first(graph));
        assert_eq!(world.nodes.len(), graph.len() as usize, "all nodes are written at first");
        world
    }

    /// What the store does: nodes are read when they are asked for, and not before.
    fn change(&mut self, nodes: &[u32], change: impl FnOnce(&mut Run<'a, Script>)) {
        let mut run = Run::new(self.graph, self.progress);
        run.know(nodes.iter().map(|at| (*at, self.nodes[at].clone())));
        change(&mut run);
        self.finish(run);
    }

    fn finish(&mut self, mut run: Run<'a, Script>) {
        self.starts_left = self.starts_max;
        loop {
            loop {
                let wanted = run.proceed();
                if wanted.is_empty() {
                    break;
                }
                run.know(wanted.iter().map(|at| (*at, self.nodes[at].clone())));
            }
            let effects = run.effects();
            if effects.is_empty() {
                break;
            }
            effects.into_iter().for_each(|effect| self.carry_out(&mut run, effect));
        }
        let changes = run.into_changes();
        self.progress = changes.progress;
        self.nodes.extend(changes.nodes);
        self.check();
    }

    fn carry_out(&mut self, run: &mut Run<'a, Script>, effect: Effect) {
        match effect {
            Effect::Begin { node } => {
                assert!(self.begun.insert(node), "node {node} begins once in a run");
                if run.state().is_stopping() {
                    self.begun_in_trouble.insert(node);
                }
                let script = &self.graph.node(node).work;
                if script.left_out {
                    run.end(node, Outcome::Skipped);
                } else {
                    run.begin(node, script.items.len() as u32);
                }
            }
            Effect::Start { node, from, to } if run.is_stopping(node) => {
                run.items_ended(node, Tally::of(Outcome::Cancelled, to - from));
            }
            Effect::Start { node, from, to } => {
                for number in from..to {
                    if self.starts_left == 0 {
                        run.hold_back(node, number);
                        self.to_go_on.insert(node);
                        return;
                    }
                    self.starts_left -= 1;
                    let item = (node, run.node(node).unwrap().item(number));
                    let had_ended = self.outcomes.get(&item);
                    assert_ne!(had_ended, Some(&Outcome::Succeeded), "what succeeded is kept");
                    assert!(self.is_retried || had_ended.is_none(), "an item starts once");
                    assert!(self.running.insert(item), "an item runs once at a time");
                }
            }
            // What was told to stop ends in its own time, here as any other.
            Effect::Stop { .. } => {}
            Effect::GoOn { node } => {
                self.to_go_on.insert(node);
            }
            Effect::Again { node } => {
                let items = 0..self.graph.node(node).work.items.len() as u32;
                let succeeded =
                    |item: &u32| self.outcomes.get(&(node, *item)) == Some(&Outcome::Succeeded);
                run.again(node, items.filter(|item| !succeeded(item)).collect());
            }
            Effect::Forget { node } => {
                self.outcomes.retain(|(of, _), _| *of != node);
            }
        }
    }

    /// Some of the running items end at once, as in a batch.
    fn step(&mut self, pick: u64) {
        let mut ended: BTreeMap<u32, Tally> = BTreeMap::new();
        let count = 1 + pick as usize % 3;
        for turn in 0..count.min(self.running.len()) {
            let at = (pick >> (8 * turn)) as usize % self.running.len();
            let item = *self.running.iter().nth(at).unwrap();
            self.running.remove(&item);
            let scripted = self.graph.node(item.0).work.items[item.1 as usize];
            let outcome = if self.is_retried { Outcome::Succeeded } else { scripted };
            self.outcomes.insert(item, outcome);
            ended.entry(item.0).or_default().add(Tally::of(outcome, 1));
        }
        let nodes: Vec<u32> = ended.keys().copied().collect();
        self.change(&nodes, |run| {
            ended.into_iter().for_each(|(node, tally)| run.items_ended(node, tally));
        });
    }

    /// Takes it up again; all nodes are read.
    fn retry(&mut self) {
        self.is_retried = true;
        let all: Vec<u32> = self.nodes.keys().copied().collect();
        let kept: BTreeMap<u32, NodeProgress> = self.nodes.clone();
        let again: BTreeSet<u32> = {
            let mut run = Run::new(self.graph, self.progress);
            run.know(kept.clone());
            run.retry();
            let changed = run.into_changes().nodes.into_iter();
            changed.filter(|(at, node)| node.state != kept[at].state).map(|(at, _)| at).collect()
        };
        self.begun.retain(|at| !again.contains(at));
        self.change(&all, Run::retry);
    }

    fn check(&self) {
        let mut nodes = Tally::default();
        for (at, node) in &self.nodes {
            let running = self.running.range((*at, 0)..(*at + 1, 0)).count() as u32;
            let graph_node = self.graph.node(*at);
            if let Some(outcome) = node.state.outcome() {
                nodes.add(Tally::of(outcome, 1));
                assert_eq!(running, 0, "node {at} ended, so its items did");
            }
            let most =
                if graph_node.parallel_max == 0 { u32::MAX } else { graph_node.parallel_max };
            assert!(running <= most, "node {at} runs {running} items of {most}");
            let of_needs = graph_node.needs.iter().filter_map(|need| {
                self.nodes[need].state.outcome().map(|outcome| Tally::of(outcome, 1))
            });
            let mut needs = Tally::default();
            of_needs.for_each(|tally| needs.add(tally));
            assert_eq!(node.needs, needs, "node {at} knows what it waits for");
            if node.state == NodeState::Waiting {
                assert!(!self.begun.contains(at));
            }
        }
        assert_eq!(self.progress.nodes, nodes, "the whole agrees with its parts");
        let over = nodes.ended() == self.graph.len();
        assert_eq!(self.progress.state.is_terminal(), over, "it is over when all parts are");
    }

    /// What was left to other transactions; says whether there was any.
    fn go_on(&mut self) -> bool {
        let Some(node) = self.to_go_on.pop_first() else { return false };
        self.change(&[node], |run| run.go_on(node));
        true
    }

    fn run(
        graph: &'a Graph<Script>,
        picks: &[u64],
        cancel_at: Option<usize>,
        starts_max: u32,
    ) -> Self {
        let mut world = Self::start(graph, starts_max);
        let mut picks = picks.iter().cycle();
        for step in 0.. {
            if cancel_at == Some(step) {
                world.change(&[], Run::cancel);
            }
            let pick = *picks.next().unwrap();
            if !pick.is_multiple_of(3) && world.go_on() {
                continue;
            }
            if !world.running.is_empty() {
                world.step(pick);
            } else if !world.go_on() {
                break;
            }
        }
        assert!(world.progress.state.is_terminal(), "it comes to an end: {:?}", world.nodes);
        world
    }
}

/// How a node ends by what it waits for, when nothing is ever given up.
fn expected(graph: &Graph<Script>) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (_, node) in graph.nodes() {
        let needs: Vec<Outcome> = node.needs.iter().map(|at| outcomes[*at as usize]).collect();
        let any = |outcome| needs.contains(&outcome);
        let runs = needs.is_empty()
            || match node.when {
                When::AllSucceeded => needs.iter().all(|need| *need == Outcome::Succeeded),
                When::AllDone => true,
                When::AnySucceeded => any(Outcome::Succeeded),
                When::AnyFailed => any(Outcome::Failed),
                When::AnyCancelled => any(Outcome::Cancelled),
            };
        outcomes.push(if !runs || node.work.left_out { Outcome::Skipped } else { whole(node) });
    }
    outcomes
}

/// How a node with several items ends. Under these policies that does not depend on their order.
fn whole(node: &Node<Script>) -> Outcome {
    let items = &node.work.items;
    let count = |outcome| items.iter().filter(|item| **item == outcome).count() as u32;
    match node.policy {
        Policy::AtLeast(least) if count(Outcome::Succeeded) >= least.min(items.len() as u32) => {
            Outcome::Succeeded
        }
        Policy::AtLeast(_) => Outcome::Failed,
        _ if count(Outcome::Failed) > 0 => Outcome::Failed,
        _ if count(Outcome::Cancelled) > 0 => Outcome::Cancelled,
        _ => Outcome::Succeeded,
    }
}

/// Whether the way in which a node ends depends on which of its items ends first: one that is
/// cancelled stops the others before they fail.
fn depends_on_order(graph: &Graph<Script>) -> bool {
    graph.nodes().any(|(_, node)| {
        let items = &node.work.items;
        node.policy == Policy::FailFast
            && items.contains(&Outcome::Failed)
            && items.contains(&Outcome::Cancelled)
    })
}

proptest! {
    #[test]
    fn without_giving_up_each_node_ends_as_the_graph_says(
        graph in graph(Just(Policy::Continue)),
        picks in proptest::collection::vec(any::<u64>(), 1..40),
        starts_max in 1..6_u32,
    ) {
        prop_assume!(!depends_on_order(&graph));
        let world = World::run(&graph, &picks, None, starts_max);
        let outcomes: Vec<Outcome> =
            world.nodes.values().map(|node| node.state.outcome().unwrap()).collect();
        let expected = expected(&graph);
        prop_assert_eq!(&outcomes, &expected);
        let bad = |outcome: &Outcome| matches!(outcome, Outcome::Failed | Outcome::Cancelled);
        let state = if expected.iter().any(bad) {
            WorkflowState::Failed
        } else {
            WorkflowState::Succeeded
        };
        prop_assert_eq!(world.progress.state, state);
    }

    #[test]
    fn after_a_failure_nothing_begins_but_what_deals_with_it(
        graph in graph(prop_oneof![
            Just(Policy::FailFast),
            (0..6_u32).prop_map(Policy::AtLeast),
        ]),
        picks in proptest::collection::vec(any::<u64>(), 1..40),
        starts_max in 1..6_u32,
    ) {
        let world = World::run(&graph, &picks, None, starts_max);
        for at in &world.begun_in_trouble {
            let ended = world.nodes[at].state;
            let when = graph.node(*at).when;
            prop_assert!(when.is_for_trouble() || ended == NodeState::Cancelled, "{at}: {when:?}");
        }
        let nodes = world.progress.nodes;
        let well = match graph.policy() {
            Policy::AtLeast(least) => nodes.succeeded >= least.min(graph.len()),
            _ => nodes.failed + nodes.cancelled == 0,
        };
        let state = if well { WorkflowState::Succeeded } else { WorkflowState::Failed };
        prop_assert_eq!(world.progress.state, state);
    }

    #[test]
    fn a_cancelled_workflow_is_over_when_what_ran_has_stopped(
        graph in graph(Just(Policy::Continue)),
        picks in proptest::collection::vec(any::<u64>(), 1..40),
        starts_max in 1..6_u32,
        cancel_at in 0..8_usize,
    ) {
        let mut over_before = true;
        let mut world = World::start(&graph, starts_max);
        for step in 0.. {
            if step == cancel_at {
                over_before = world.progress.state.is_terminal();
                world.change(&[], Run::cancel);
            }
            if !world.running.is_empty() {
                world.step(picks[step % picks.len()]);
            } else if !world.go_on() && step >= cancel_at {
                break;
            }
        }
        let is_cancelled = world.progress.state == WorkflowState::Cancelled;
        prop_assert!(world.progress.state.is_terminal());
        prop_assert_eq!(is_cancelled, !over_before);
    }
}

proptest! {
    #[test]
    fn a_retry_runs_what_did_not_succeed_and_keeps_the_rest(
        graph in graph(prop_oneof![
            Just(Policy::Continue),
            Just(Policy::FailFast),
            (0..6_u32).prop_map(Policy::AtLeast),
        ]),
        picks in proptest::collection::vec(any::<u64>(), 1..40),
        starts_max in 1..6_u32,
        cancel_at in proptest::option::of(0..6_usize),
    ) {
        let mut world = World::run(&graph, &picks, cancel_at, starts_max);
        if world.progress.state == WorkflowState::Succeeded {
            return Ok(());
        }
        let before: BTreeMap<u32, NodeState> =
            world.nodes.iter().map(|(at, node)| (*at, node.state)).collect();
        world.retry();
        for step in 0.. {
            if !world.running.is_empty() {
                world.step(picks[step % picks.len()]);
            } else if !world.go_on() {
                break;
            }
        }
        prop_assert!(world.progress.state.is_terminal(), "{:?}", world.nodes);
        // So many as it asks for may be more than there are that have to run.
        if matches!(graph.policy(), Policy::AtLeast(_)) {
            return Ok(());
        }
        prop_assert_eq!(world.progress.state, WorkflowState::Succeeded);
        for (at, node) in &world.nodes {
            let ended = node.state;
            prop_assert!(
                matches!(ended, NodeState::Succeeded | NodeState::Skipped),
                "{at}: {ended:?} after {before:?}"
            );
        }
    }
}

fn fan(items: usize, parallel_max: u32, policy: Policy) -> Graph<Script> {
    let work = Script { items: vec![Outcome::Succeeded; items], left_out: false };
    let after = Script { items: vec![Outcome::Succeeded], left_out: false };
    let node = |name: &str, needs: Vec<u32>, work| Node {
        name: name.into(),
        needs,
        when: When::default(),
        policy,
        parallel_max,
        work,
    };
    let nodes = vec![node("members", vec![], work), node("callback", vec![0], after)];
    Graph::new(nodes, Policy::FailFast).unwrap()
}

#[test]
fn a_large_fan_starts_in_portions_and_its_callback_once() {
    let graph = fan(2_500, 0, Policy::FailFast);
    let mut world = World::start(&graph, u32::MAX);
    assert_eq!(world.running.len(), STARTS_MAX as usize);
    while let Some(node) = world.to_go_on.pop_first() {
        world.change(&[node], |run| run.go_on(node));
    }
    assert_eq!(world.running.len(), 2_500, "all of them, although none has ended");
    while !world.running.is_empty() {
        world.step(2);
    }
    assert_eq!(world.progress.state, WorkflowState::Succeeded);
    assert_eq!(world.begun.len(), 2);
}

#[test]
fn a_chain_that_is_skipped_is_skipped_in_one_go() {
    let script = |left_out| Script { items: vec![Outcome::Succeeded], left_out };
    let nodes = (0..1_000_u32).map(|at| Node {
        name: format!("n{at}"),
        needs: at.checked_sub(1).into_iter().collect(),
        when: When::default(),
        policy: Policy::default(),
        parallel_max: 0,
        work: script(at == 0),
    });
    let graph = Graph::new(nodes.collect(), Policy::FailFast).unwrap();
    let world = World::start(&graph, u32::MAX);
    assert_eq!(world.progress.nodes, Tally::of(Outcome::Skipped, 1_000));
    assert_eq!(world.progress.state, WorkflowState::Succeeded);
}
