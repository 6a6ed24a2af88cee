//! The file that describes a workflow, in YAML or JSON.

use crate::{error::CliError, time};
use asyncflow_proto::v1::{
    self, Command, Content, EdgeCondition, OptionalRetryPolicy, TaskSpec, WorkflowChain,
    WorkflowChord, WorkflowFlow, WorkflowGroup, WorkflowMap, WorkflowNode, WorkflowSpec,
    workflow_node::Work,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::{collections::BTreeMap, path::Path};

/// Values in a file, and how deep they nest.
const NODES_MAX: usize = 5_000_000;
const DEPTH_MAX: usize = 200;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowFile {
    #[serde(default)]
    name: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Any value; a text is passed on as it is.
    input: Option<Value>,
    policy: Option<Policy>,
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Policy {
    FailFast,
    Continue,
    AtLeast(u32),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum When {
    AllSucceeded,
    AllDone,
    AnySucceeded,
    AnyFailed,
    AnyCancelled,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    #[serde(default)]
    name: String,
    #[serde(default)]
    depends_on: Vec<String>,
    when: Option<When>,
    #[serde(default)]
    run_if: String,
    #[serde(default)]
    input: String,
    task: Option<Task>,
    chain: Option<Vec<Node>>,
    group: Option<Fan>,
    chord: Option<Chord>,
    map: Option<Map>,
    flow: Option<Flow>,
}

/// What a task is asked to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    #[serde(rename = "type")]
    task_type: Option<String>,
    #[serde(default)]
    name: String,
    priority: Option<i32>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Any value; a text is passed on as it is.
    payload: Option<Value>,
    /// The program and its arguments.
    command: Option<Vec<String>>,
    #[serde(default)]
    working_directory: String,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    max_retries: Option<i32>,
    retry_interval: Option<String>,
    max_retry_interval: Option<String>,
    max_time: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fan {
    members: Vec<Node>,
    #[serde(default)]
    max_parallel: i32,
    policy: Option<Policy>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chord {
    members: Vec<Node>,
    callback: Box<Node>,
    #[serde(default)]
    max_parallel: i32,
    policy: Option<Policy>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    over: String,
    each: Box<Node>,
    reduce: Option<Box<Node>>,
    #[serde(default)]
    max_parallel: i32,
    policy: Option<Policy>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flow {
    nodes: Vec<Node>,
    policy: Option<Policy>,
}

impl WorkflowFile {
    /// Reads a file; `-` is standard input.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        read(path, "workflow")
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

/// Reads a file in YAML or JSON; `-` is standard input. `kind` is what it should be.
pub fn read<T: DeserializeOwned>(path: &Path, kind: &str) -> Result<T, CliError> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|error| CliError::file(path, &error))?;
    parse(&text).map_err(|what| CliError::Usage(format!("{} is no {kind}: {what}", path.display())))
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    // The broker has limits of its own, which it tells in words of workflows.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: NODES_MAX,
            max_events: NODES_MAX,
            max_depth: DEPTH_MAX,
        },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

fn nodes(nodes: Vec<Node>) -> Result<Vec<WorkflowNode>, CliError> {
    nodes.into_iter().map(node).collect()
}

fn node(node: Node) -> Result<WorkflowNode, CliError> {
    let name = node.name;
    let mut works = Vec::new();
    works.extend(node.task.map(|task| task.spec().map(Work::Task)));
    works.extend(node.chain.map(|steps| Ok(Work::Chain(WorkflowChain { steps: nodes(steps)? }))));
    works.extend(node.group.map(|fan| Ok(Work::Group(group(fan)?))));
    works.extend(node.chord.map(|fan| Ok(Work::Chord(Box::new(chord(fan)?)))));
    works.extend(node.map.map(|fan| Ok(Work::Map(Box::new(map(fan)?)))));
    works.extend(node.flow.map(|flow| Ok(Work::Flow(self::flow(flow)?))));
    if works.len() > 1 {
        let what = "does several things; it can do one of task, chain, group, chord, map, flow";
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

impl Task {
    /// What is asked for.
    pub fn spec(self) -> Result<TaskSpec, CliError> {
        let span = |text: Option<String>| {
            let read = |text: String| {
                time::parse_span(&text).map_err(|what| CliError::Usage(format!("{text:?}: {what}")))
            };
            text.map(read).transpose()
        };
        let retry = OptionalRetryPolicy {
            max_retries: self.max_retries,
            interval: span(self.retry_interval)?,
            max_interval: span(self.max_retry_interval)?,
        };
        let is_command = self.command.is_some();
        let command = self.command.map(|words| {
            let mut words = words.into_iter();
            Command {
                program: words.next().unwrap_or_default(),
                args: words.collect(),
                working_directory: self.working_directory,
                environment: self.environment,
            }
        });
        let default_type = if is_command { crate::run::DEFAULT_TYPE } else { "" };
        Ok(TaskSpec {
            task_type: self.task_type.unwrap_or_else(|| default_type.to_owned()),
            name: self.name,
            priority: self.priority,
            labels: self.labels,
            payload: self.payload.map(content),
            command,
            retry: (retry != OptionalRetryPolicy::default()).then_some(retry),
            max_running_time: span(self.max_time)?,
            ..TaskSpec::default()
        })
    }
}

fn content(value: Value) -> Content {
    match value {
        Value::String(text) => {
            Content { data: text.into(), content_type: "text/plain; charset=utf-8".into() }
        }
        value => {
            Content { data: value.to_string().into(), content_type: "application/json".into() }
        }
    }
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
        assert!(unknown.contains("colour"), "{unknown}");
        let two = "nodes: [{name: x, task: {type: a}, chain: []}]";
        let two = parse::<WorkflowFile>(two).unwrap().spec().unwrap_err();
        assert!(two.to_string().contains("several things"), "{two}");
    }
}
