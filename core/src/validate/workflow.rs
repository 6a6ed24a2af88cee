//! CreateWorkflow: from what a client writes, with its sugar, to the graph that is stored.
//!
//! A chain, chord or map becomes several nodes of the graph. The last of them has the name that the
//! client gave, so that whoever waits for that name waits for all of it; the others have names
//! behind it, e.g. `train/members`, which no client can give.

mod place;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    at::At,
    content, label,
    new_task::{NewTaskInput, new_task},
    number, text,
};
use crate::{
    create::NewTask,
    expression::Expression,
    limits::{
        FLOW_DEPTH_MAX, FLOW_INPUT_BYTES_MAX, FLOW_ITEMS_MAX, FLOW_NESTING_MAX, FLOW_NODES_MAX,
        NAME_BYTES_MAX, REQUEST_ID_BYTES_MAX, USER_BYTES_MAX,
    },
    task::Content,
    violation::{Violations, shown},
    workflow::{
        callbacks,
        definition::{Flow, Kind, NewWorkflow, Part, Runs, Work},
        graph::{Graph, Node, Policy, When},
    },
};

/// What an expression of a node may name: the workflow's input, what comes before, all nodes that
/// are waited for.
const OF_NODE: [&str; 3] = ["input", "prev", "nodes"];
/// What the input of a task may name besides: what it would get otherwise.
const OF_TASK: [&str; 4] = ["input", "prev", "nodes", "payload"];
/// What the input of an item of a map may name besides.
const OF_ITEM: [&str; 6] = ["input", "prev", "nodes", "payload", "item", "index"];

/// A request for a workflow as it came in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkflowInput {
    /// Already filled in with the caller where the request left it out.
    pub user: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub input: Content,
    pub nodes: Vec<NodeInput>,
    pub policy: Policy,
    /// `None` when the request has none; a blank one is refused.
    pub request_id: Option<String>,
    /// Of the call, which its server has read and checked.
    pub trace_id: String,
}

/// A node as it came in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeInput {
    pub name: String,
    pub depends_on: Vec<String>,
    pub when: When,
    pub run_if: String,
    pub input: String,
    pub work: WorkInput,
}

/// What it is to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum WorkInput {
    #[default]
    Missing,
    Task(Box<NewTaskInput>),
    /// One after the other.
    Chain(Vec<NodeInput>),
    /// Side by side.
    Group(FanInput),
    /// Side by side, and then one.
    Chord(FanInput, Box<NodeInput>),
    /// The same for each item of a list, and then perhaps one.
    Map {
        over: String,
        each: FanInput,
        reduce: Option<Box<NodeInput>>,
    },
    /// Nodes that wait for each other, as a workflow of its own.
    Flow {
        nodes: Vec<NodeInput>,
        policy: Policy,
    },
}

/// Side by side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FanInput {
    pub members: Vec<NodeInput>,
    /// 0 = any number at once.
    pub parallel_max: i32,
    pub policy: Policy,
}

/// Checks a request for a workflow, whose fields are `workflow` and `request_id`.
pub fn new_workflow(
    input: WorkflowInput,
    request: At<'_>,
    now_ms: i64,
    violations: &mut Violations,
) -> Option<NewWorkflow> {
    let at = request.field("workflow");
    text::required_line(&input.user, USER_BYTES_MAX, at.field("user"), violations);
    text::line(&input.name, NAME_BYTES_MAX, at.field("name"), violations);
    label::labels(&input.labels, at.field("labels"), violations);
    content::content(&input.input, FLOW_INPUT_BYTES_MAX, at.field("input"), violations);
    if let Some(request_id) = &input.request_id {
        let at = request.field("request_id");
        text::required_line(request_id, REQUEST_ID_BYTES_MAX, at, violations);
    }
    let mut check =
        Check { user: &input.user, now_ms, violations, nodes: 0, read: BTreeMap::new() };
    let flow = check.flow(input.nodes, input.policy, at, 0);
    Some(NewWorkflow {
        name: input.name,
        labels: input.labels,
        input: input.input,
        flow,
        request_id: input.request_id,
        trace_id: input.trace_id,
        user: input.user,
    })
}

/// What is the same for all of them.
struct Check<'v> {
    user: &'v str,
    now_ms: i64,
    violations: &'v mut Violations,
    /// How many there are so far, on all levels.
    nodes: usize,
    /// The nodes that expressions name which were read already, or what was wrong with them, by
    /// what they may name.
    read: BTreeMap<(usize, String), Result<BTreeSet<String>, String>>,
}

/// A graph under construction: its nodes wait for names.
#[derive(Default)]
struct Draft {
    nodes: Vec<(Node<Work>, Vec<String>)>,
}

/// How the items of a node run.
#[derive(Default)]
struct Fan {
    policy: Policy,
    max: u32,
}

/// Where a node stands among the others, as far as it is not in its own message.
struct Place<'a> {
    at: At<'a>,
    name: String,
    depends_on: Vec<String>,
    when: When,
    level: usize,
}

impl Place<'_> {
    /// Whether this is a node that it waits for, as far as its place tells.
    fn waits_for(&self, name: &str) -> bool {
        let is_trouble = matches!(self.when, When::AnyFailed | When::AnyCancelled);
        let is_within = |of: &String| name.strip_prefix(of).is_some_and(|n| n.starts_with('/'));
        self.depends_on.iter().any(|of| name == of || is_trouble && is_within(of))
    }
}

impl Check<'_> {
    fn flow(&mut self, nodes: Vec<NodeInput>, policy: Policy, at: At<'_>, level: usize) -> Flow {
        let list = at.field("nodes");
        if !self.may_hold(nodes.len(), list, level) {
            return Flow::default();
        }
        self.policy(policy, FLOW_ITEMS_MAX, at.field("policy"));
        self.neighbours(&nodes, list);
        let mut draft = Draft::default();
        for (index, mut node) in nodes.into_iter().enumerate() {
            let depends_on = std::mem::take(&mut node.depends_on);
            let (name, when) = (node.name.clone(), node.when);
            let place = Place { at: list.item(index), name, depends_on, when, level };
            self.node(node, place, &mut draft);
        }
        match Graph::new(draft.into_nodes(), policy) {
            Ok(graph) => {
                let depth = graph.depth();
                if depth > FLOW_DEPTH_MAX {
                    let way = graph.longest_way();
                    let what = format!("{depth} nodes wait for each other in a row: {way}");
                    self.violations.add(list, format!("{what}; at most {FLOW_DEPTH_MAX}"));
                }
                Flow { nodes: graph.into_nodes(), policy, result: None }
            }
            Err(cycle) => {
                self.violations.add(list, cycle.to_string());
                Flow::default()
            }
        }
    }

    /// Whether a list of so many may be looked at.
    fn may_hold(&mut self, count: usize, list: At<'_>, level: usize) -> bool {
        let is_full = self.nodes > FLOW_NODES_MAX;
        self.nodes += count;
        if count == 0 {
            self.violations.add(list, "must not be empty");
        } else if level > FLOW_NESTING_MAX {
            let what = format!("nests deeper than {FLOW_NESTING_MAX} levels");
            self.violations.add(list, what);
        } else if self.nodes <= FLOW_NODES_MAX {
            return true;
        } else if !is_full {
            self.too_many_nodes("members", list);
        }
        false
    }

    /// Those behind are not counted.
    fn too_many_nodes(&mut self, counted: &str, at: At<'_>) {
        let count = self.nodes;
        let what = format!("too many nodes: at least {count}; at most {FLOW_NODES_MAX}");
        self.violations.add(at, format!("{what}, {counted} counted"));
    }

    fn node(&mut self, node: NodeInput, place: Place<'_>, draft: &mut Draft) {
        let at = place.at;
        let run_if = self.expression(&node.run_if, &OF_NODE, at.field("run_if"), &place);
        match node.work {
            WorkInput::Chain(steps) => self.chain(steps, run_if, place, draft),
            WorkInput::Group(fan) => {
                let group = at.field("group");
                let count = Some(fan.members.len());
                let kind = Kind::Group(self.parts(fan.members, group.field("members"), &place));
                let fan = self.fan(fan.policy, fan.parallel_max, count, group);
                draft.add(place, Work { run_if, kind }, fan);
            }
            WorkInput::Chord(fan, callback) => self.chord(fan, *callback, run_if, place, draft),
            WorkInput::Map { over, each, reduce } => {
                self.map((over, each, reduce), run_if, place, draft);
            }
            work => {
                let node = NodeInput { work, input: node.input, ..NodeInput::default() };
                let part = self.part(node, at, &place, &OF_TASK);
                draft.add(place, Work { run_if, kind: Kind::One(part) }, Fan::default());
            }
        }
    }

    fn chain(
        &mut self,
        steps: Vec<NodeInput>,
        run_if: Option<String>,
        place: Place<'_>,
        draft: &mut Draft,
    ) {
        let at = place.at;
        let chain = at.field("chain");
        let list = chain.field("steps");
        if !self.may_hold(steps.len(), list, place.level) {
            return;
        }
        let last = steps.len() - 1;
        let (mut before, mut when) = (place.depends_on, place.when);
        for (index, step) in steps.into_iter().enumerate() {
            let at = list.item(index);
            self.stands_alone(&step, at);
            self.starts_by_its_place(&step, at);
            let label =
                if step.name.is_empty() { (index + 1).to_string() } else { step.name.clone() };
            let name =
                if index == last { place.name.clone() } else { format!("{}/{label}", place.name) };
            let level = place.level;
            let here = Place { at, name: name.clone(), depends_on: before, when, level };
            let first = draft.nodes.len();
            self.node(step, here, draft);
            // The condition of the whole is one of its first step too.
            if index == 0
                && let Some(condition) = &run_if
                && let Some((node, _)) = draft.nodes.get_mut(first)
            {
                node.work.run_if = Some(both(condition, node.work.run_if.as_deref()));
            }
            (before, when) = (vec![name], When::AllSucceeded);
        }
    }

    fn chord(
        &mut self,
        fan: FanInput,
        callback: NodeInput,
        run_if: Option<String>,
        place: Place<'_>,
        draft: &mut Draft,
    ) {
        let at = place.at;
        let chord = at.field("chord");
        let count = Some(fan.members.len());
        let parts = self.parts(fan.members, chord.field("members"), &place);
        let fan = self.fan(fan.policy, fan.parallel_max, count, chord);
        let members = format!("{}/members", place.name);
        let first = (members, Work { run_if, kind: Kind::Group(parts) }, fan);
        self.then(place, first, callback, chord.field("callback"), draft);
    }

    fn map(
        &mut self,
        (over, mut each, reduce): (String, FanInput, Option<Box<NodeInput>>),
        run_if: Option<String>,
        place: Place<'_>,
        draft: &mut Draft,
    ) {
        let at = place.at;
        let map = at.field("map");
        if over.is_empty() {
            self.violations.add(map.field("over"), "must be an expression for a list");
        }
        let over = self.expression(&over, &OF_NODE, map.field("over"), &place).unwrap_or_default();
        let each_node = each.members.pop().unwrap_or_default();
        let part = Box::new(self.part(each_node, map.field("each"), &place, &OF_ITEM));
        let fan = self.fan(each.policy, each.parallel_max, None, map);
        let work = Work { run_if, kind: Kind::Map { over, part } };
        match reduce {
            None => draft.add(place, work, fan),
            Some(reduce) => {
                let first = (format!("{}/items", place.name), work, fan);
                self.then(place, first, *reduce, map.field("reduce"), draft);
            }
        }
    }

    /// A fan under its own name, and then one that has the name of the whole.
    fn then(
        &mut self,
        place: Place<'_>,
        (name, work, fan): (String, Work, Fan),
        next: NodeInput,
        at: At<'_>,
        draft: &mut Draft,
    ) {
        self.stands_alone(&next, at);
        let (level, whole) = (place.level, place.name.clone());
        draft.add(Place { name: name.clone(), ..place }, work, fan);
        let when = next.when;
        self.node(next, Place { at, name: whole, depends_on: vec![name], when, level }, draft);
    }

    fn parts(&mut self, members: Vec<NodeInput>, list: At<'_>, place: &Place<'_>) -> Vec<Part> {
        if !self.may_hold(members.len(), list, place.level) {
            return Vec::new();
        }
        let members = members.into_iter().enumerate();
        let part = |(index, member)| {
            self.stands_alone(&member, list.item(index));
            self.starts_by_its_place(&member, list.item(index));
            self.part(member, list.item(index), place, &OF_TASK)
        };
        members.map(part).collect()
    }

    /// What is run for an item: a task, or whatever else as a workflow of its own. Of one that is
    /// wrong, nothing.
    fn part(&mut self, node: NodeInput, at: At<'_>, place: &Place<'_>, variables: &[&str]) -> Part {
        let level = place.level;
        if !node.name.is_empty() {
            self.name(&node.name, at.field("name"));
        }
        let input = self.expression(&node.input, variables, at.field("input"), place);
        let runs = match node.work {
            WorkInput::Missing => {
                self.violations.add(at, "must be a task, chain, group, chord, map or flow");
                None
            }
            WorkInput::Task(task) => self.task(*task, at),
            WorkInput::Flow { nodes, policy } => {
                Some(Runs::Flow(self.flow(nodes, policy, at.field("flow"), level + 1)))
            }
            work => {
                // The nodes of a flow need names; it is the only one.
                let (name, when) = (String::from("all"), When::AllSucceeded);
                let place = Place { at, name, depends_on: Vec::new(), when, level: level + 1 };
                let mut draft = Draft::default();
                self.node(NodeInput { work, ..NodeInput::default() }, place, &mut draft);
                let last = (draft.nodes.len() as u32).checked_sub(1);
                let (nodes, policy) = (draft.into_nodes(), Policy::FailFast);
                Some(Runs::Flow(Flow { nodes, policy, result: last }))
            }
        };
        Part { name: node.name, input, runs: runs.unwrap_or(Runs::Flow(Flow::default())) }
    }

    fn task(&mut self, task: NewTaskInput, at: At<'_>) -> Option<Runs> {
        if task.user != self.user {
            let what = "must be empty: a task of a workflow is its owner's";
            self.violations.add(at.field("task").field("user"), what);
        }
        let task = new_task(task, at, self.now_ms, self.violations)?;
        let (user, trace_id) = (String::new(), String::new());
        // Each of them is a node, too.
        self.nodes += callbacks::count(&task);
        if self.nodes > FLOW_NODES_MAX {
            self.too_many_nodes("callbacks", at);
        }
        Some(callbacks::runs(NewTask { user, trace_id, ..task }))
    }

    /// A fan of so many parts, if that is known.
    fn fan(&mut self, policy: Policy, parallel_max: i32, parts: Option<usize>, at: At<'_>) -> Fan {
        self.policy(policy, parts.unwrap_or(FLOW_ITEMS_MAX), at.field("policy"));
        Fan { policy, max: self.parallel_max(parallel_max, at) }
    }

    fn policy(&mut self, policy: Policy, parts: usize, at: At<'_>) {
        if let Policy::AtLeast(least) = policy {
            let allowed = 1..=parts.max(1) as i64;
            number::in_range(least, allowed, at.field("at_least"), self.violations);
        }
    }

    fn parallel_max(&mut self, value: i32, at: At<'_>) -> u32 {
        let allowed = 0..=i64::from(i32::MAX);
        number::in_range(value, allowed, at.field("max_parallel"), self.violations);
        value.unsigned_abs()
    }

    fn expression(
        &mut self,
        source: &str,
        variables: &[&str],
        at: At<'_>,
        place: &Place<'_>,
    ) -> Option<String> {
        if source.is_empty() {
            return None;
        }
        // Thousands of nodes may have the same one, and reading takes a while.
        let read = self.read.entry((variables.len(), source.to_owned()));
        let parse = || Expression::parse(source, variables).map(|read| read.nodes().clone());
        match read.or_insert_with(parse) {
            Ok(nodes) => {
                for name in nodes.iter().filter(|name| !place.waits_for(name)) {
                    let what =
                        format!("names the node {}, on which it does not depend", shown(name));
                    self.violations.add(at, what);
                }
                Some(source.to_owned())
            }
            Err(what) => {
                self.violations.add(at, what.clone());
                None
            }
        }
    }
}

impl Draft {
    fn add(&mut self, place: Place<'_>, work: Work, fan: Fan) {
        let Place { name, depends_on, when, .. } = place;
        let Fan { policy, max: parallel_max } = fan;
        let node = Node { name, needs: Vec::new(), when, policy, parallel_max, work };
        self.nodes.push((node, depends_on));
    }

    /// The nodes, with numbers for names. A name that is not there is passed over. Who waits for
    /// trouble in a chain, chord or map waits for that in any node of it, for the last one is only
    /// skipped or cancelled when one before it has failed.
    fn into_nodes(self) -> Vec<Node<Work>> {
        let known: BTreeMap<String, u32> =
            (0..).zip(&self.nodes).map(|(at, (node, _))| (node.name.clone(), at)).collect();
        let numbered = self.nodes.into_iter().map(|(node, waits_for)| {
            let mut needs: BTreeSet<u32> =
                waits_for.iter().filter_map(|name| known.get(name).copied()).collect();
            if matches!(node.when, When::AnyFailed | When::AnyCancelled) {
                for name in &waits_for {
                    let within = format!("{name}/");
                    let behind = known.range(within.clone()..);
                    needs.extend(
                        behind.take_while(|(n, _)| n.starts_with(&within)).map(|(_, at)| *at),
                    );
                }
            }
            Node { needs: needs.into_iter().collect(), ..node }
        });
        numbered.collect()
    }
}

fn both(one: &str, other: Option<&str>) -> String {
    other.map_or_else(|| one.to_owned(), |other| format!("({one}) && ({other})"))
}
