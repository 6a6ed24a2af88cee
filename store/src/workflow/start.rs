//! A node whose turn has come: its condition, its items, and what each of them gets.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_core::{
    create::NewTask,
    expression::Variables,
    limits::{FLOW_INPUT_BYTES_MAX, FLOW_ITEMS_MAX},
    task::Content,
    workflow::{
        content,
        definition::{Flow, Kind, Part, Runs, Work},
        input,
        progress::{NodeState, Outcome},
        run::Run,
    },
};
use sea_orm::DatabaseTransaction;
use serde_json::{Value as Json, json};
use tokio::task::spawn_blocking;

use super::{
    known::KnownFlow,
    lists::{self, Items},
    results::{Found, of_nodes},
    row::{self, Workflow},
};
use crate::{Store, error::StoreError};

/// What may be run, or why not, for people.
pub(super) type Answer<T> = Result<T, String>;

/// What a node finds when its turn has come. Results are only read if somebody asks for them.
pub(super) struct Before<'a> {
    store: &'a Store,
    tx: &'a DatabaseTransaction,
    workflow: &'a Workflow,
    flow: &'a KnownFlow,
    run: &'a Run<'a, Work>,
    node: u32,
    /// What this transaction says of nodes, and has not written yet.
    said: &'a BTreeMap<u32, String>,
    found: Option<BTreeMap<u32, Found>>,
    /// What expressions took since it was asked last.
    steps: u64,
}

/// One item, ready to be made.
pub(super) enum Ready {
    Task(Box<NewTask>),
    Flow(Flow, Content),
}

impl<'a> Before<'a> {
    pub fn new(
        store: &'a Store,
        tx: &'a DatabaseTransaction,
        workflow: &'a Workflow,
        flow: &'a KnownFlow,
        run: &'a Run<'a, Work>,
        (node, said): (u32, &'a BTreeMap<u32, String>),
    ) -> Self {
        Self { store, tx, workflow, flow, run, node, said, found: None, steps: 0 }
    }

    /// How many steps expressions took since the last call.
    pub fn take_steps(&mut self) -> usize {
        usize::try_from(std::mem::take(&mut self.steps)).unwrap_or(usize::MAX)
    }

    /// Whether the node's own condition holds.
    pub async fn is_wanted(&mut self) -> Result<Answer<bool>, StoreError> {
        let Some(source) = &self.flow.graph.node(self.node).work.run_if else {
            return Ok(Ok(true));
        };
        let wanted = self.evaluate(source, &[]).await?.and_then(|value| match value {
            Json::Bool(is_wanted) => Ok(is_wanted),
            _ => Err("it is neither true nor false".into()),
        });
        Ok(wanted.map_err(|what| format!("run_if: {what}")))
    }

    /// The list of a map, as far as the node is one.
    pub async fn list(&mut self) -> Result<Answer<Option<Vec<Json>>>, StoreError> {
        let Kind::Map { over, .. } = &self.flow.graph.node(self.node).work.kind else {
            return Ok(Ok(None));
        };
        Ok(match self.evaluate(over, &[]).await? {
            Ok(Json::Array(list)) if list.len() > FLOW_ITEMS_MAX => {
                Err(format!("over: {} items are too many; at most {FLOW_ITEMS_MAX}", list.len()))
            }
            Ok(Json::Array(list)) => Ok(Some(list)),
            Ok(_) => Err("over: it is no list".into()),
            Err(what) => Err(format!("over: {what}")),
        })
    }

    /// These items of a map that has begun; `None` of anything else.
    pub async fn items(
        &mut self,
        wanted: &BTreeSet<u32>,
    ) -> Result<Answer<Option<Items>>, StoreError> {
        if !matches!(self.flow.graph.node(self.node).work.kind, Kind::Map { .. }) {
            return Ok(Ok(None));
        }
        let id = self.workflow.id;
        match lists::read(self.store, self.tx, id, self.node, wanted).await? {
            Some(items) => Ok(Ok(Some(Items::These(items)))),
            None => Ok(self.list().await?.map(|list| list.map(Items::All))),
        }
    }

    /// An item of the node; of a map, with its value.
    pub async fn item(
        &mut self,
        item: u32,
        value: Option<&Json>,
    ) -> Result<Answer<Ready>, StoreError> {
        let flow = self.flow;
        let part: &Part = match &flow.graph.node(self.node).work.kind {
            Kind::One(part) => part,
            Kind::Group(parts) => match parts.get(item as usize) {
                Some(part) => part,
                None => return Ok(Err("it has no such member".into())),
            },
            Kind::Map { part, .. } => part,
        };
        let chosen = match &part.input {
            None => None,
            Some(source) => {
                let mut more = vec![("payload", payload_of(part))];
                if let Some(value) = value {
                    more.extend([("item", value.clone()), ("index", json!(item))]);
                }
                match self.evaluate(source, &more).await? {
                    Ok(value) => Some(value),
                    Err(what) => return Ok(Err(format!("input: {what}"))),
                }
            }
        };
        match &part.runs {
            Runs::Task(task) => {
                let task = NewTask {
                    user: self.workflow.user.clone(),
                    trace_id: self.workflow.trace_id.clone(),
                    ..(**task).clone()
                };
                let made = match (chosen, value) {
                    (Some(chosen), _) => input::with_value(task, &chosen),
                    (None, Some(value)) => input::with_previous(task, content::of_json(value)),
                    // One that has all it needs does not have to wait for results to be read.
                    (None, None) if has_payload(&task) => Ok(task),
                    (None, None) => match self.previous().await? {
                        Ok(previous) => input::with_previous(task, previous),
                        Err(what) => Err(what),
                    },
                };
                Ok(made.map(|task| Ready::Task(Box::new(task))))
            }
            Runs::Flow(flow) => {
                let given = match (chosen, value) {
                    (Some(chosen), _) => Ok(content::of_json(&chosen)),
                    (None, Some(value)) => Ok(content::of_json(value)),
                    (None, None) => self.previous().await?,
                };
                let bytes = given.as_ref().map_or(0, |given| given.data.len());
                if bytes > FLOW_INPUT_BYTES_MAX {
                    let most = FLOW_INPUT_BYTES_MAX;
                    return Ok(Err(format!("its input has {bytes} bytes; at most {most}")));
                }
                Ok(given.map(|given| Ready::Flow(flow.clone(), given)))
            }
        }
    }

    async fn evaluate(
        &mut self,
        source: &str,
        more: &[(&'static str, Json)],
    ) -> Result<Answer<Json>, StoreError> {
        let expression = match self.flow.expression(source).await {
            Ok(expression) => expression,
            Err(what) => return Ok(Err(what)),
        };
        let mut variables = Variables::new();
        if expression.names("input") {
            variables.insert("input", content::to_json(&self.flow.input));
        }
        if expression.names("prev") {
            match self.previous_json().await? {
                Ok(previous) => variables.insert("prev", previous),
                Err(what) => return Ok(Err(what)),
            };
        }
        if expression.names("nodes") {
            match self.nodes().await? {
                Ok(nodes) => variables.insert("nodes", nodes),
                Err(what) => return Ok(Err(what)),
            };
        }
        variables.extend(more.iter().filter(|(name, _)| expression.names(name)).cloned());
        // It may take a while, which is nothing for the threads that serve everybody.
        let evaluating = spawn_blocking(move || expression.evaluate(&variables));
        let evaluated = match evaluating.await {
            Ok(evaluated) => evaluated.map_err(|error| error.to_string()),
            Err(_) => Err("it cannot be followed".to_owned()),
        };
        Ok(evaluated.map(|(value, steps)| {
            self.steps = self.steps.saturating_add(steps);
            value
        }))
    }

    async fn found(&mut self) -> Result<&BTreeMap<u32, Found>, StoreError> {
        if self.found.is_none() {
            let needs = &self.flow.graph.node(self.node).needs;
            self.found = Some(of_nodes(self.store, self.tx, self.workflow.id, needs).await?);
        }
        Ok(self.found.get_or_insert_default())
    }

    /// What came before, as a task without an expression gets it: the result of the one node that
    /// is waited for, as it was left; of several, a map by their names; of none, the input of the
    /// workflow.
    async fn previous(&mut self) -> Result<Answer<Content>, StoreError> {
        if self.flow.graph.node(self.node).needs.is_empty() {
            return Ok(Ok(self.flow.input.clone()));
        }
        let found = self.found().await?;
        if let (1, Some(Found::Content(content))) = (found.len(), found.values().next()) {
            return Ok(Ok(content.clone()));
        }
        let json = self.previous_json().await?;
        Ok(json.map(|json| match json {
            Json::Null => Content::default(),
            json => content::of_json(&json),
        }))
    }

    async fn previous_json(&mut self) -> Result<Answer<Json>, StoreError> {
        let flow = self.flow;
        if flow.graph.node(self.node).needs.is_empty() {
            return Ok(Ok(content::to_json(&flow.input)));
        }
        let found = self.found().await?;
        let mut fields = serde_json::Map::new();
        for (need, found) in found {
            let name = &flow.graph.node(*need).name;
            match found.json() {
                Ok(json) => fields.insert(name.clone(), json),
                Err(why) => return Ok(Err(lost(name, why))),
            };
        }
        let is_one = fields.len() == 1;
        let one = fields.values().next().filter(|_| is_one).cloned();
        Ok(Ok(one.unwrap_or(Json::Object(fields))))
    }

    /// The nodes that are waited for: state, result, and what is said about them.
    async fn nodes(&mut self) -> Result<Answer<Json>, StoreError> {
        let flow = self.flow;
        let needs = &flow.graph.node(self.node).needs;
        let rows = row::nodes(self.store, self.tx, self.workflow.id, Some(needs)).await?;
        let (run, said) = (self.run, self.said);
        let found = self.found().await?;
        let mut nodes = serde_json::Map::new();
        for (at, stored, message) in rows {
            // What has changed in this transaction is not written yet.
            let progress = run.node(at).cloned().unwrap_or(stored);
            let name = &flow.graph.node(at).name;
            let result = match found.get(&at).map(Found::json) {
                Some(Ok(result)) => result,
                Some(Err(why)) => return Ok(Err(lost(name, why))),
                None => Json::Null,
            };
            let ended = progress.ended;
            let node = json!({
                "state": state_name(progress.state),
                "result": result,
                "message": said.get(&at).cloned().or(message).unwrap_or_default(),
                "succeeded": ended.succeeded,
                "failed": ended.failed,
                "cancelled": ended.cancelled,
            });
            nodes.insert(name.clone(), node);
        }
        Ok(Ok(Json::Object(nodes)))
    }
}

fn has_payload(task: &NewTask) -> bool {
    task.payload != Content::default()
        && asyncflow_core::command::Command::from_content(&task.payload).is_none()
}

fn payload_of(part: &Part) -> Json {
    match &part.runs {
        Runs::Task(task) => content::to_json(&task.payload),
        Runs::Flow(_) => Json::Null,
    }
}

fn lost(name: &str, why: &str) -> String {
    format!("the results of {name} {why}")
}

fn state_name(state: NodeState) -> &'static str {
    match state.outcome() {
        None => "RUNNING",
        Some(Outcome::Succeeded) => "SUCCEEDED",
        Some(Outcome::Failed) => "FAILED",
        Some(Outcome::Cancelled) => "CANCELLED",
        Some(Outcome::Skipped) => "SKIPPED",
    }
}
