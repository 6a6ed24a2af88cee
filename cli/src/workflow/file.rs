//! The file that describes a workflow, in YAML or JSON.

use crate::{
    error::CliError,
    source_file::SourceFile,
    task::file::{Task, content},
};
use asyncflow_proto::v1::{
    self, EdgeCondition, WorkflowChain, WorkflowChord, WorkflowFlow, WorkflowGroup, WorkflowMap,
    WorkflowNode, WorkflowSpec, workflow_node::Work,
};
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Where a file of a workflow is described.
const HELP: &str = "docs/guide/workflows.md shows how it is written, `asyncflow workflow schema` \
                    lets an editor check it";

/// A workflow of asyncflow: tasks that wait for each other.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "asyncflow workflow")]
pub struct WorkflowFile {
    /// What people call it; at most 128 bytes.
    #[serde(default)]
    name: String,
    /// Who owns it; without it, who creates it.
    #[serde(default)]
    user: String,
    /// At most 32.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// What its first nodes get: any value; a text is passed on as it is.
    input: Option<Value>,
    /// What becomes of the whole when a part does not succeed.
    policy: Option<Policy>,
    /// At least one; 10,000 at most, members of groups counted.
    #[schemars(length(min = 1))]
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Policy {
    /// The rest is cancelled at once, and the whole fails.
    FailFast,
    /// The rest goes on where it can; the whole fails when all has ended.
    Continue,
    /// The whole succeeds if so many parts do.
    AtLeast(#[schemars(range(min = 1))] u32),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum When {
    /// All that it depends on succeeded.
    AllSucceeded,
    /// All ended, however.
    AllDone,
    /// One succeeded; it does not wait for the others.
    AnySucceeded,
    /// One failed; it does not wait for the others.
    AnyFailed,
    /// One was cancelled; it does not wait for the others.
    AnyCancelled,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = does_one_thing)]
struct Node {
    /// Unique among its neighbours: 1 to 64 characters of A-Z a-z 0-9 . _ -
    #[serde(default)]
    name: String,
    /// Names of other nodes of the same list.
    #[serde(default)]
    depends_on: Vec<String>,
    /// How those have to end that it depends on.
    when: Option<When>,
    /// An expression (CEL) that must hold when its turn has come; otherwise it is skipped.
    #[serde(default)]
    run_if: String,
    /// An expression (CEL) for what it gets; for a command, a map of `args` and `environment`.
    #[serde(default)]
    input: String,
    /// One task.
    task: Option<Task>,
    /// One after the other: each gets the result of the one before it.
    chain: Option<Vec<Node>>,
    /// Side by side. The result is the list of their results.
    group: Option<Fan>,
    /// Side by side, and when all have ended well, one more, exactly once.
    chord: Option<Chord>,
    /// The same for each item of a list.
    map: Option<Map>,
    /// Nodes that wait for each other.
    flow: Option<Flow>,
}

/// What a node can do, by the names of the fields.
pub const WORKS: [&str; 6] = ["task", "chain", "group", "chord", "map", "flow"];

/// Which the types do not say.
fn does_one_thing(schema: &mut Schema) {
    let one = WORKS.map(|work| {
        let given = json!({ "not": { "type": "null" } });
        json!({ "required": [work], "properties": { work: given } })
    });
    schema.insert("oneOf".to_owned(), json!(one));
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fan {
    /// At least one.
    #[schemars(length(min = 1))]
    members: Vec<Node>,
    /// Most of them that run at once; 0 = any number.
    #[serde(default)]
    #[schemars(range(min = 0))]
    max_parallel: i32,
    /// What becomes of it when a part does not succeed.
    policy: Option<Policy>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Chord {
    /// At least one.
    #[schemars(length(min = 1))]
    members: Vec<Node>,
    /// Gets the list of their results.
    callback: Box<Node>,
    /// Most of them that run at once; 0 = any number.
    #[serde(default)]
    #[schemars(range(min = 0))]
    max_parallel: i32,
    /// What becomes of it when a part does not succeed.
    policy: Option<Policy>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Map {
    /// An expression (CEL) for the list, e.g. `input.files` or `prev`.
    over: String,
    /// What is done for each; without an `input` of its own it gets the item.
    each: Box<Node>,
    /// What is done when all have ended well, with the list of their results.
    reduce: Option<Box<Node>>,
    /// Most of them that run at once; 0 = any number.
    #[serde(default)]
    #[schemars(range(min = 0))]
    max_parallel: i32,
    /// What becomes of it when a part does not succeed.
    policy: Option<Policy>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Flow {
    /// At least one.
    #[schemars(length(min = 1))]
    nodes: Vec<Node>,
    /// What becomes of it when a part does not succeed.
    policy: Option<Policy>,
}

impl WorkflowFile {
    /// Takes what a file says.
    pub fn of(source: &SourceFile) -> Result<Self, CliError> {
        source.parse("workflow", HELP)
    }

    /// Takes another input than that of the file: JSON, or else a text.
    pub fn give(&mut self, input: &str) {
        let text = || Value::String(input.to_owned());
        self.input = Some(serde_json::from_str(input).unwrap_or_else(|_| text()));
    }

    /// What is asked for.
    pub fn spec(self) -> Result<WorkflowSpec, CliError> {
        Ok(WorkflowSpec {
            name: self.name,
            user: self.user,
            labels: self.labels,
            input: self.input.map(content),
            nodes: nodes(self.nodes)?,
            policy: self.policy.map(Into::into),
        })
    }
}

fn nodes(nodes: Vec<Node>) -> Result<Vec<WorkflowNode>, CliError> {
    nodes.into_iter().map(node).collect()
}

fn node(node: Node) -> Result<WorkflowNode, CliError> {
    let name = node.name;
    let mut works = Vec::<Result<Work, CliError>>::new();
    works.extend(node.task.map(|task| Ok(Work::Task(task.spec()))));
    works.extend(node.chain.map(|steps| Ok(Work::Chain(WorkflowChain { steps: nodes(steps)? }))));
    works.extend(node.group.map(|fan| Ok(Work::Group(group(fan)?))));
    works.extend(node.chord.map(|fan| Ok(Work::Chord(Box::new(chord(fan)?)))));
    works.extend(node.map.map(|fan| Ok(Work::Map(Box::new(map(fan)?)))));
    works.extend(node.flow.map(|flow| Ok(Work::Flow(self::flow(flow)?))));
    if works.len() > 1 {
        let what = format!("does several things; it can do one of {}", WORKS.join(", "));
        return Err(CliError::Usage(format!("the node {name:?} {what}")));
    }
    Ok(WorkflowNode {
        name,
        depends_on: node.depends_on,
        when: node.when.map_or(EdgeCondition::Unspecified, Into::into).into(),
        run_if: node.run_if,
        input: node.input,
        work: works.pop().transpose()?,
    })
}

fn group(fan: Fan) -> Result<WorkflowGroup, CliError> {
    Ok(WorkflowGroup {
        members: nodes(fan.members)?,
        max_parallel: fan.max_parallel,
        policy: fan.policy.map(Into::into),
    })
}

fn chord(fan: Chord) -> Result<WorkflowChord, CliError> {
    Ok(WorkflowChord {
        members: nodes(fan.members)?,
        callback: Some(Box::new(node(*fan.callback)?)),
        max_parallel: fan.max_parallel,
        policy: fan.policy.map(Into::into),
    })
}

fn map(fan: Map) -> Result<WorkflowMap, CliError> {
    let reduce = fan.reduce.map(|reduce| node(*reduce)).transpose()?;
    Ok(WorkflowMap {
        over: fan.over,
        each: Some(Box::new(node(*fan.each)?)),
        reduce: reduce.map(Box::new),
        max_parallel: fan.max_parallel,
        policy: fan.policy.map(Into::into),
    })
}

fn flow(flow: Flow) -> Result<WorkflowFlow, CliError> {
    Ok(WorkflowFlow { nodes: nodes(flow.nodes)?, policy: flow.policy.map(Into::into) })
}

impl From<Policy> for v1::FailurePolicy {
    fn from(policy: Policy) -> Self {
        use v1::failure_policy::Policy as Kind;
        let policy = match policy {
            Policy::FailFast => None,
            Policy::Continue => Some(Kind::Continue(true)),
            Policy::AtLeast(least) => Some(Kind::AtLeast(least)),
        };
        Self { policy }
    }
}

impl From<When> for EdgeCondition {
    fn from(when: When) -> Self {
        match when {
            When::AllSucceeded => Self::AllSucceeded,
            When::AllDone => Self::AllDone,
            When::AnySucceeded => Self::AnySucceeded,
            When::AnyFailed => Self::AnyFailed,
            When::AnyCancelled => Self::AnyCancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::source_file::parse;

    #[test]
    fn a_file_says_it_all() {
        let file = parse::<WorkflowFile>(
            r#"
            name: digits
            input: {epochs: 3}
            policy: {at_least: 2}
            nodes:
              - name: train
                chord:
                  max_parallel: 2
                  policy: continue
                  members:
                    - task: {command: [python3, train.py, --lr, "0.1"], max_time: 1h}
                    - chain:
                        - task: {type: prepare, payload: [1, 2]}
                        - task: {type: train}
                  callback:
                    when: all_done
                    task: {type: best}
              - name: report
                depends_on: [train]
                run_if: prev.accuracy > 0.9
                task: {type: report, payload: hello, max_retries: 0}
            "#,
        );
        let spec = file.unwrap().spec().unwrap();
        assert_eq!(spec.nodes.len(), 2);
        assert_eq!(spec.input.as_ref().unwrap().data, r#"{"epochs":3}"#);
        let Some(Work::Chord(chord)) = &spec.nodes[0].work else { panic!("{spec:?}") };
        assert_eq!((chord.members.len(), chord.max_parallel), (2, 2));
        let Some(Work::Task(task)) = &chord.members[0].work else { panic!("{chord:?}") };
        let command = task.command.as_ref().unwrap();
        assert_eq!((task.task_type.as_str(), command.args.len()), ("command", 3));
        let Some(Work::Task(task)) = &spec.nodes[1].work else { panic!() };
        assert_eq!(task.payload.as_ref().unwrap().data, "hello");
    }

    #[test]
    fn what_is_wrong_is_told() {
        let unknown = parse::<WorkflowFile>("nodes: []\ncolour: red").unwrap_err();
        assert!(unknown.to_string().contains("colour"), "{unknown}");
        let two = "nodes: [{name: x, task: {type: a}, chain: []}]";
        let two = parse::<WorkflowFile>(two).unwrap().spec().unwrap_err();
        assert!(two.to_string().contains("several things"), "{two}");
    }
}
