//! Workflows, as clients write them and as they see them.

use asyncflow_core::{
    limits::FLOW_NESTING_MAX,
    validate::{
        at::At,
        workflow::{FanInput, NodeInput, WorkInput, WorkflowInput, new_workflow as check},
    },
    violation::Violations,
    workflow::{
        definition::NewWorkflow,
        graph::{Policy, When},
        progress::Tally,
    },
};
use asyncflow_proto::{time::timestamp, v1};
use asyncflow_store::{ItemIs, Workflow, WorkflowItem, WorkflowNode};
use v1::{failure_policy, workflow_item, workflow_node::Work};

use super::{new_task, task};

/// The node that a task's plain children are.
const CHILDREN_NODE: &str = "children";

/// Whose call it is.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub user: &'a str,
    pub trace_id: &'a str,
    pub now_ms: i64,
}

/// The workflow that a request asks for, checked.
pub fn new_workflow(
    request: v1::CreateWorkflowRequest,
    call: Call<'_>,
    at: At<'_>,
    violations: &mut Violations,
) -> Option<NewWorkflow> {
    let at_spec = at.field("workflow");
    let Some(spec) = request.workflow else {
        violations.add(at_spec, "must be given");
        return None;
    };
    let user = if spec.user.is_empty() { call.user.to_owned() } else { spec.user };
    let call = Call { user: &user, ..call };
    let nodes = nodes_input(spec.nodes, call, at_spec, 0, violations);
    let input = WorkflowInput {
        name: spec.name,
        labels: spec.labels,
        input: task::content_from_proto(spec.input.unwrap_or_default()),
        nodes,
        policy: policy(spec.policy),
        request_id: Some(request.request_id).filter(|id| !id.is_empty()),
        trace_id: call.trace_id.to_owned(),
        user: user.clone(),
    };
    check(input, at, call.now_ms, violations)
}

/// The workflow that a task makes of others, checked.
pub fn children(
    request: v1::CreateChildTasksRequest,
    call: Call<'_>,
    at: At<'_>,
    violations: &mut Violations,
) -> Option<NewWorkflow> {
    let is_flow = !request.nodes.is_empty();
    if is_flow != request.tasks.is_empty() {
        violations.add(at.field("tasks"), "either tasks or nodes must be given");
        return None;
    }
    let nodes = if is_flow {
        if request.max_parallel != 0 || request.policy.is_some() {
            let what = "max_parallel and policy are those of tasks; nodes have their own";
            violations.add(at.field("max_parallel"), what);
        }
        nodes_input(request.nodes, call, at, 0, violations)
    } else {
        let member = |task| v1::WorkflowNode { work: Some(Work::Task(task)), ..Default::default() };
        let members = request.tasks.into_iter().map(member).collect();
        let members = list_input(members, call, at.field("tasks"), 0, violations);
        let continues = v1::FailurePolicy { policy: Some(failure_policy::Policy::Continue(true)) };
        let policy = request.policy.unwrap_or(continues);
        let work = WorkInput::Group(fan(members, request.max_parallel, Some(policy)));
        vec![NodeInput { name: CHILDREN_NODE.into(), work, ..NodeInput::default() }]
    };
    let input = WorkflowInput {
        user: call.user.to_owned(),
        input: task::content_from_proto(request.input.unwrap_or_default()),
        nodes,
        policy: Policy::Continue,
        trace_id: call.trace_id.to_owned(),
        ..WorkflowInput::default()
    };
    check(input, at, call.now_ms, violations)
}

fn nodes_input(
    nodes: Vec<v1::WorkflowNode>,
    call: Call<'_>,
    at: At<'_>,
    level: usize,
    violations: &mut Violations,
) -> Vec<NodeInput> {
    let list = at.field("nodes");
    list_input(nodes, call, list, level, violations)
}

fn list_input(
    nodes: Vec<v1::WorkflowNode>,
    call: Call<'_>,
    list: At<'_>,
    level: usize,
    violations: &mut Violations,
) -> Vec<NodeInput> {
    let numbered = nodes.into_iter().enumerate();
    numbered.map(|(at, node)| node_input(node, call, list.item(at), level, violations)).collect()
}

/// A node with all that is in it. What nests too deep is left out here, and refused by the check.
fn node_input(
    node: v1::WorkflowNode,
    call: Call<'_>,
    at: At<'_>,
    level: usize,
    violations: &mut Violations,
) -> NodeInput {
    let work = match node.work {
        Some(_) if level > 2 * FLOW_NESTING_MAX => {
            violations.add(at, format!("nests deeper than {FLOW_NESTING_MAX} levels"));
            WorkInput::Missing
        }
        None => WorkInput::Missing,
        Some(work) => work_input(work, call, at, level + 1, violations),
    };
    NodeInput {
        name: node.name,
        depends_on: node.depends_on,
        when: when(node.when),
        run_if: node.run_if,
        input: node.input,
        work,
    }
}

fn work_input(
    work: Work,
    call: Call<'_>,
    at: At<'_>,
    level: usize,
    violations: &mut Violations,
) -> WorkInput {
    match work {
        Work::Task(spec) => {
            let request = v1::CreateTaskRequest { task: Some(spec), ..Default::default() };
            let input = new_task::input(request, call.user, call.trace_id, at, violations);
            WorkInput::Task(Box::new(input))
        }
        Work::Chain(chain) => {
            let (at, list) = (at.field("chain"), chain.steps);
            WorkInput::Chain(list_input(list, call, at.field("steps"), level, violations))
        }
        Work::Group(group) => {
            let at = at.field("group");
            let members = list_input(group.members, call, at.field("members"), level, violations);
            WorkInput::Group(fan(members, group.max_parallel, group.policy))
        }
        Work::Chord(chord) => {
            let chord = *chord;
            let at = at.field("chord");
            let members = list_input(chord.members, call, at.field("members"), level, violations);
            let callback = chord.callback.map(|node| *node).unwrap_or_default();
            let callback = node_input(callback, call, at.field("callback"), level, violations);
            let fan = fan(members, chord.max_parallel, chord.policy);
            WorkInput::Chord(fan, Box::new(callback))
        }
        Work::Map(map) => {
            let map = *map;
            let at = at.field("map");
            let mut one = |node: Option<Box<v1::WorkflowNode>>, field: &'static str| {
                node.map(|node| node_input(*node, call, at.field(field), level, violations))
            };
            let each = one(map.each, "each");
            let reduce = one(map.reduce, "reduce").map(Box::new);
            let each = fan(each.into_iter().collect(), map.max_parallel, map.policy);
            WorkInput::Map { over: map.over, each, reduce }
        }
        Work::Flow(flow) => {
            let nodes = nodes_input(flow.nodes, call, at.field("flow"), level, violations);
            WorkInput::Flow { nodes, policy: policy(flow.policy) }
        }
    }
}

fn fan(members: Vec<NodeInput>, parallel_max: i32, of: Option<v1::FailurePolicy>) -> FanInput {
    FanInput { members, parallel_max, policy: policy(of) }
}

fn policy(policy: Option<v1::FailurePolicy>) -> Policy {
    match policy.and_then(|policy| policy.policy) {
        Some(failure_policy::Policy::Continue(true)) => Policy::Continue,
        Some(failure_policy::Policy::AtLeast(least)) => Policy::AtLeast(least),
        Some(failure_policy::Policy::Continue(false)) | None => Policy::FailFast,
    }
}

fn when(number: i32) -> When {
    match v1::EdgeCondition::try_from(number).unwrap_or_default() {
        v1::EdgeCondition::Unspecified | v1::EdgeCondition::AllSucceeded => When::AllSucceeded,
        v1::EdgeCondition::AllDone => When::AllDone,
        v1::EdgeCondition::AnySucceeded => When::AnySucceeded,
        v1::EdgeCondition::AnyFailed => When::AnyFailed,
        v1::EdgeCondition::AnyCancelled => When::AnyCancelled,
    }
}

fn when_to_proto(when: When) -> v1::EdgeCondition {
    match when {
        When::AllSucceeded => v1::EdgeCondition::AllSucceeded,
        When::AllDone => v1::EdgeCondition::AllDone,
        When::AnySucceeded => v1::EdgeCondition::AnySucceeded,
        When::AnyFailed => v1::EdgeCondition::AnyFailed,
        When::AnyCancelled => v1::EdgeCondition::AnyCancelled,
    }
}

/// A workflow without its nodes.
pub fn to_proto(workflow: Workflow) -> v1::Workflow {
    v1::Workflow {
        id: workflow.id.to_string(),
        name: workflow.name,
        user: workflow.user,
        labels: workflow.labels,
        // The numbers are those of the protocol.
        state: workflow.progress.state.code().into(),
        node_count: count(workflow.nodes),
        ended: Some(tally(workflow.progress.nodes)),
        message: workflow.message.unwrap_or_default(),
        parent_workflow_id: workflow.parent.map(|p| p.workflow.to_string()).unwrap_or_default(),
        create_time: Some(timestamp(workflow.create_time_ms)),
        update_time: Some(timestamp(workflow.update_time_ms)),
        finish_time: workflow.finish_time_ms.map(timestamp),
        trace_id: workflow.trace_id,
    }
}

/// The nodes of a workflow.
pub fn nodes(nodes: &[WorkflowNode]) -> Vec<v1::WorkflowNodeStatus> {
    let name = |at: &u32| nodes.get(*at as usize).map(|node| node.name.clone());
    let status = |node: &WorkflowNode| v1::WorkflowNodeStatus {
        name: node.name.clone(),
        depends_on: node.needs.iter().filter_map(name).collect(),
        when: when_to_proto(node.when).into(),
        state: node.progress.state.code().into(),
        item_count: count(node.progress.items),
        started_count: count(node.progress.started),
        ended: Some(tally(node.progress.ended)),
        message: node.message.clone().unwrap_or_default(),
    };
    nodes.iter().map(status).collect()
}

/// An item; `names` are those of the nodes.
pub fn item(item: WorkflowItem, names: &[String]) -> v1::WorkflowItem {
    let is = match item.is {
        ItemIs::Task(_, Some(row)) => workflow_item::Item::Task(task::basic(*row)),
        ItemIs::Task(id, None) => {
            workflow_item::Item::Task(v1::Task { id: id.to_string(), ..Default::default() })
        }
        ItemIs::Workflow(id) => workflow_item::Item::WorkflowId(id.to_string()),
    };
    v1::WorkflowItem {
        node: names.get(item.member.node as usize).cloned().unwrap_or_default(),
        index: count(item.member.item),
        item: Some(is),
    }
}

fn tally(tally: Tally) -> v1::WorkflowTally {
    v1::WorkflowTally {
        succeeded: count(tally.succeeded),
        failed: count(tally.failed),
        cancelled: count(tally.cancelled),
        skipped: count(tally.skipped),
    }
}

fn count(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use asyncflow_core::workflow::progress::{NodeState, WorkflowState};

    #[test]
    fn the_numbers_of_states_are_those_of_the_protocol() {
        let plain = |name: &str| name.replace('_', "").to_lowercase();
        for known in WorkflowState::ALL {
            let proto = v1::WorkflowState::try_from(i32::from(known.code()));
            let name = proto.map(|state| plain(state.as_str_name()));
            assert_eq!(name, Ok(format!("workflowstate{known:?}").to_lowercase()));
        }
        for known in NodeState::ALL {
            let proto = v1::WorkflowNodeState::try_from(i32::from(known.code()));
            let name = proto.map(|state| plain(state.as_str_name()));
            assert_eq!(name, Ok(format!("workflownodestate{known:?}").to_lowercase()));
        }
    }
}
