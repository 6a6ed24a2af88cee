//! What follows when a part of a workflow has ended: which nodes start, which are not needed, and
//! whether the whole is over.
//!
//! It is pure, as [`crate::transition`] is for a task. The store locks the workflow, gives what it
//! knows of a few nodes, says what happened, and writes what comes back. A [`Run`] asks for the
//! nodes that it needs besides, so that a workflow of thousands is not read for each of its tasks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    graph::{Graph, When},
    progress::{NodeProgress, NodeState, Outcome, Progress, Tally, WorkflowState},
};

/// Most items of a node that are started at once: what is more is started by [`Run::go_on`].
pub const STARTS_MAX: u32 = 1_000;

/// What is to be done besides writing what has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The node's turn has come: look at its condition and its input, then call [`Run::begin`] or
    /// [`Run::end`].
    Begin { node: u32 },
    /// Start the items `from..to` of the node.
    Start { node: u32, from: u32, to: u32 },
    /// More items of the node could be started than one transaction should: call [`Run::go_on`]
    /// in another.
    GoOn { node: u32 },
    /// Cancel what runs of the node.
    Stop { node: u32 },
    /// Find those items of the node that did not succeed, and call [`Run::again`] with them.
    Again { node: u32 },
    /// The node begins anew: what its items were is forgotten.
    Forget { node: u32 },
}

/// A workflow under change.
pub struct Run<'a, W> {
    graph: &'a Graph<W>,
    progress: Progress,
    nodes: BTreeMap<u32, NodeProgress>,
    changed: BTreeSet<u32>,
    todo: VecDeque<Todo>,
    effects: Vec<Effect>,
}

enum Todo {
    /// Tell those who wait for it.
    Tell { node: u32, outcome: Outcome },
    /// Give up what has not started.
    GiveUp,
}

/// What a [`Run`] has made of a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    pub progress: Progress,
    /// The nodes that changed, as they are now.
    pub nodes: Vec<(u32, NodeProgress)>,
}

impl<'a, W> Run<'a, W> {
    /// Goes on from what is stored; nodes are given by [`know`](Self::know).
    pub fn new(graph: &'a Graph<W>, progress: Progress) -> Self {
        Self {
            graph,
            progress,
            nodes: BTreeMap::new(),
            changed: BTreeSet::new(),
            todo: VecDeque::new(),
            effects: Vec::new(),
        }
    }

    /// A workflow that begins: its first nodes are ready. An empty one is over.
    pub fn first(graph: &'a Graph<W>) -> Self {
        let mut run = Self::new(graph, Progress::default());
        run.know(graph.nodes().map(|(at, _)| (at, NodeProgress::default())));
        run.changed = run.nodes.keys().copied().collect();
        let roots: Vec<u32> =
            graph.nodes().filter(|(_, node)| node.needs.is_empty()).map(|(at, _)| at).collect();
        roots.into_iter().for_each(|at| run.turn(at));
        run.conclude();
        run
    }

    /// Nodes as they are stored; those that are known already stay as they are.
    pub fn know(&mut self, nodes: impl IntoIterator<Item = (u32, NodeProgress)>) {
        for (at, node) in nodes {
            self.nodes.entry(at).or_insert(node);
        }
    }

    /// A node that is known.
    pub fn node(&self, at: u32) -> Option<&NodeProgress> {
        self.nodes.get(&at)
    }

    /// Whether the rest of a node's items is being stopped.
    pub fn is_stopping(&self, at: u32) -> bool {
        self.nodes.get(&at).is_some_and(|node| node.state == NodeState::Stopping)
    }

    /// Where the whole is.
    pub fn state(&self) -> WorkflowState {
        self.progress.state
    }

    /// Items of a node have ended, which must be known. What follows is found by
    /// [`proceed`](Self::proceed).
    pub fn items_ended(&mut self, at: u32, tally: Tally) {
        let Some(node) = self.change(at) else { return };
        node.ended.add(tally);
        self.look_at_items(at);
    }

    /// A node whose turn had come has so many items, one if it is a single task.
    pub fn begin(&mut self, at: u32, items: u32) {
        if self.is_given_up(at) {
            return self.finish(at, Outcome::Cancelled);
        }
        let Some(node) = self.change(at) else { return };
        node.items = items;
        self.look_at_items(at);
    }

    /// A node whose turn had come is not run: its condition did not hold, or its input could not be
    /// made.
    pub fn end(&mut self, at: u32, outcome: Outcome) {
        self.finish(at, if self.is_given_up(at) { Outcome::Cancelled } else { outcome });
    }

    /// Items of a node from this number on, which were to be started, were not; call
    /// [`go_on`](Self::go_on) in another transaction.
    pub fn hold_back(&mut self, at: u32, from: u32) {
        if let Some(node) = self.change(at) {
            node.started = from;
        }
    }

    /// Starts more items of a node, which must be known.
    pub fn go_on(&mut self, at: u32) {
        self.look_at_items(at);
    }

    /// Somebody cancels the whole. Nothing if it is over, or is being stopped already: one that has
    /// failed stays so.
    pub fn cancel(&mut self) {
        if self.progress.state == WorkflowState::Running {
            self.progress.state = WorkflowState::Cancelling;
            self.todo.push_back(Todo::GiveUp);
        }
    }

    /// Takes up a workflow that is over and did not succeed, all nodes of which must be known. What
    /// failed or was cancelled runs again, and so does what depends on it; what succeeded is kept.
    /// A node whose predecessors are kept goes on with the same tasks; any other begins anew.
    pub fn retry(&mut self) {
        let again = self.to_be_retried();
        self.progress.state = WorkflowState::Running;
        for &at in self.graph.order() {
            let graph_node = self.graph.node(at);
            let mut needs = Tally::default();
            for need in graph_node.needs.iter().filter(|need| !again.contains(need)) {
                let state = self.nodes.get(need).map_or(NodeState::Waiting, |node| node.state);
                state.outcome().into_iter().for_each(|outcome| needs.add(Tally::of(outcome, 1)));
            }
            let is_again = again.contains(&at);
            let is_alone = !graph_node.needs.iter().any(|need| again.contains(need));
            let Some(node) = self.change(at) else { continue };
            node.needs = needs;
            if !is_again {
                continue;
            }
            if is_alone && node.items > 0 {
                node.state = NodeState::Running;
                self.effects.push(Effect::Again { node: at });
                continue;
            }
            let had_begun = node.items > 0;
            *node = NodeProgress { needs, ..NodeProgress::default() };
            if had_begun {
                self.effects.push(Effect::Forget { node: at });
            }
        }
        self.progress.nodes = Tally::default();
        let ended = self.nodes.values().filter_map(|node| node.state.outcome());
        for outcome in ended.collect::<Vec<_>>() {
            self.progress.nodes.add(Tally::of(outcome, 1));
        }
        for at in again {
            if self.graph.node(at).needs.is_empty() && self.is_waiting(at) {
                self.turn(at);
            } else {
                self.judge(at);
            }
        }
    }

    /// What failed or was cancelled, and what depends on it.
    fn to_be_retried(&self) -> BTreeSet<u32> {
        let mut again = BTreeSet::new();
        for &at in self.graph.order() {
            let (graph_node, state) = (self.graph.node(at), self.nodes.get(&at).map(|n| n.state));
            let kept_success = |need: &&u32| {
                let state = self.nodes.get(need).map(|node| node.state);
                !again.contains(*need) && state == Some(NodeState::Succeeded)
            };
            let depends = graph_node.needs.iter().any(|need| again.contains(need));
            let is_enough = graph_node.when == When::AnySucceeded
                && state == Some(NodeState::Succeeded)
                && graph_node.needs.iter().any(|need| kept_success(&need));
            let did_not = matches!(state, Some(NodeState::Failed | NodeState::Cancelled));
            if did_not || depends && !is_enough {
                again.insert(at);
            }
        }
        again
    }

    /// The items of a node that run again; the others have succeeded, or need not run.
    pub fn again(&mut self, at: u32, items: Vec<u32>) {
        let Some(node) = self.change(at) else { return };
        let kept = node.items - items.len() as u32;
        let skipped = node.ended.skipped.min(kept);
        node.ended = Tally { succeeded: kept - skipped, skipped, ..Tally::default() };
        node.started = kept;
        node.again = items;
        self.look_at_items(at);
    }

    /// Finds what follows. Answers the nodes that it needs to know before it can go on; none when
    /// it is done.
    pub fn proceed(&mut self) -> Vec<u32> {
        while let Some(next) = self.todo.front() {
            let needed = match next {
                Todo::Tell { node, .. } => self.unknown(self.graph.successors(*node).iter()),
                Todo::GiveUp => self.unknown((0..self.graph.len()).collect::<Vec<_>>().iter()),
            };
            if !needed.is_empty() {
                return needed;
            }
            match self.todo.pop_front() {
                Some(Todo::Tell { node, outcome }) => self.tell(node, outcome),
                Some(Todo::GiveUp) => self.give_up(),
                None => {}
            }
        }
        self.conclude();
        Vec::new()
    }

    /// What is to be done since the last call.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What is to be written.
    pub fn into_changes(self) -> Changes {
        let changed = self.changed.iter().filter_map(|at| Some((*at, self.nodes.get(at)?.clone())));
        Changes { progress: self.progress, nodes: changed.collect() }
    }

    fn is_waiting(&self, at: u32) -> bool {
        self.nodes.get(&at).is_some_and(|node| node.state == NodeState::Waiting)
    }

    fn unknown<'n>(&self, nodes: impl Iterator<Item = &'n u32>) -> Vec<u32> {
        nodes.copied().filter(|at| !self.nodes.contains_key(at)).collect()
    }

    fn change(&mut self, at: u32) -> Option<&mut NodeProgress> {
        let node = self.nodes.get_mut(&at)?;
        self.changed.insert(at);
        Some(node)
    }

    /// What follows from the counts of a node that was started: more items, an end to the others,
    /// its own end.
    fn look_at_items(&mut self, at: u32) {
        let graph_node = self.graph.node(at);
        let Some(mut node) = self.nodes.get(&at).cloned() else { return };
        if !matches!(node.state, NodeState::Running | NodeState::Stopping) {
            return;
        }
        let broken = node.ended.breaks(graph_node.policy, node.items);
        if node.state == NodeState::Running && broken {
            self.stop_items(at, &mut node);
        }
        if node.ended.ended() == node.items {
            let outcome = node.ended.outcome(graph_node.policy);
            self.put(at, node);
            return self.finish(at, outcome);
        }
        let room = node.room(graph_node);
        if room > 0 {
            let (from, to) = (node.started, node.started + room.min(STARTS_MAX));
            node.started = to;
            self.effects.push(Effect::Start { node: at, from, to });
            if room > STARTS_MAX {
                self.effects.push(Effect::GoOn { node: at });
            }
        }
        self.put(at, node);
    }

    /// Those that were not started never will be.
    fn stop_items(&mut self, at: u32, node: &mut NodeProgress) {
        node.state = NodeState::Stopping;
        node.ended.add(Tally::of(Outcome::Cancelled, node.items - node.started));
        if node.ended.ended() < node.items {
            self.effects.push(Effect::Stop { node: at });
        }
        node.started = node.items;
    }

    fn put(&mut self, at: u32, node: NodeProgress) {
        if let Some(kept) = self.change(at) {
            *kept = node;
        }
    }

    fn finish(&mut self, at: u32, outcome: Outcome) {
        let Some(node) = self.change(at) else { return };
        node.state = outcome.into();
        self.progress.nodes.add(Tally::of(outcome, 1));
        self.todo.push_back(Todo::Tell { node: at, outcome });
        let is_running = self.progress.state == WorkflowState::Running;
        if is_running && self.progress.nodes.breaks(self.graph.policy(), self.graph.len()) {
            self.progress.state = WorkflowState::Failing;
            self.todo.push_back(Todo::GiveUp);
        }
    }

    fn tell(&mut self, at: u32, outcome: Outcome) {
        for &next in self.graph.successors(at) {
            if let Some(node) = self.change(next) {
                node.needs.add(Tally::of(outcome, 1));
            }
            self.judge(next);
        }
    }

    /// Whether a waiting node's turn has come, or never will.
    fn judge(&mut self, at: u32) {
        let Some(node) = self.nodes.get(&at).filter(|node| node.state == NodeState::Waiting) else {
            return;
        };
        let (graph_node, needs) = (self.graph.node(at), node.needs);
        if self.is_given_up(at) {
            return self.finish(at, Outcome::Cancelled);
        }
        let all_ended = needs.ended() as usize == graph_node.needs.len();
        let (is_due, is_hopeless) = match graph_node.when {
            When::AllSucceeded => {
                (all_ended && needs.succeeded == needs.ended(), needs.succeeded < needs.ended())
            }
            When::AllDone => (all_ended, false),
            When::AnySucceeded => (needs.succeeded > 0, all_ended),
            When::AnyFailed => (needs.failed > 0, all_ended),
            When::AnyCancelled => (needs.cancelled > 0, all_ended),
        };
        if is_due {
            self.turn(at);
        } else if is_hopeless {
            self.finish(at, Outcome::Skipped);
        }
    }

    fn turn(&mut self, at: u32) {
        if let Some(node) = self.change(at) {
            node.state = NodeState::Running;
            self.effects.push(Effect::Begin { node: at });
        }
    }

    /// Whether the rest is given up, and the node with it: it does not deal with trouble.
    fn is_given_up(&self, at: u32) -> bool {
        self.progress.state.is_stopping() && !self.graph.node(at).when.is_for_trouble()
    }

    /// Nothing more starts but what deals with the trouble; what runs is stopped.
    fn give_up(&mut self) {
        for at in (0..self.graph.len()).filter(|at| self.is_given_up(*at)).collect::<Vec<_>>() {
            let Some(mut node) = self.nodes.get(&at).cloned() else { continue };
            match node.state {
                NodeState::Waiting => self.finish(at, Outcome::Cancelled),
                // One without items is about to begin, and then learns of it.
                NodeState::Running if node.items > 0 => {
                    self.stop_items(at, &mut node);
                    self.put(at, node);
                    self.look_at_items(at);
                }
                _ => {}
            }
        }
    }

    /// The whole is over when all nodes are.
    fn conclude(&mut self) {
        let over = self.progress.nodes.ended() == self.graph.len() && self.todo.is_empty();
        if !over || self.progress.state.is_terminal() {
            return;
        }
        self.progress.state = match self.progress.state {
            WorkflowState::Cancelling => WorkflowState::Cancelled,
            WorkflowState::Failing => WorkflowState::Failed,
            _ => match self.progress.nodes.outcome(self.graph.policy()) {
                Outcome::Succeeded | Outcome::Skipped => WorkflowState::Succeeded,
                Outcome::Failed | Outcome::Cancelled => WorkflowState::Failed,
            },
        };
    }
}
