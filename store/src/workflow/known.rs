//! Definitions that were read a while ago. They never change.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use asyncflow_core::{
    expression::{Expression, VARIABLES},
    id::WorkflowId,
    task::Content,
    workflow::{
        definition::{Flow, Kind, Work},
        graph::Graph,
    },
};
use sea_orm::ConnectionTrait;
use tokio::task::spawn_blocking;

use crate::{Store, error::StoreError};

/// Definitions of a generation, of which two are kept, weigh so many bytes at most, as they are
/// stored and with their expressions, unless a single one weighs more.
const GENERATION_BYTES_MAX: usize = 32 << 20;
/// What an expression weighs when it has been read, for each byte of its text: `a+b` is three
/// nodes of a tree, of some hundred bytes each.
const EXPRESSION_WEIGHT: usize = 128;

/// What a workflow does.
pub(crate) struct KnownFlow {
    pub graph: Graph<Work>,
    /// The node whose result is that of the whole.
    pub result: Option<u32>,
    pub input: Content,
    bytes: usize,
    expressions: Mutex<HashMap<String, Expression>>,
}

impl KnownFlow {
    pub fn new(flow: Flow, input: Content, bytes: usize) -> Result<Self, StoreError> {
        let (result, bytes) = (flow.result, bytes + weight(&flow));
        let graph = flow.into_graph().map_err(|cycle| StoreError::Corrupt(cycle.to_string()))?;
        Ok(Self { graph, result, input, bytes, expressions: Mutex::default() })
    }

    /// How many items a node has that is no map.
    pub fn items(&self, node: u32) -> u32 {
        match &self.graph.node(node).work.kind {
            Kind::One(_) | Kind::Map { .. } => 1,
            Kind::Group(parts) => parts.len() as u32,
        }
    }

    /// An expression of its nodes, which was checked when it was created.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub async fn expression(&self, source: &str) -> Result<Expression, String> {
        if let Some(expression) = self.expressions().get(source) {
            return Ok(expression.clone());
        }
        let text = source.to_owned();
        let reading = spawn_blocking(move || Expression::parse(&text, &VARIABLES));
        let expression = reading.await.map_err(|_| "it cannot be read".to_owned())??;
        self.expressions().insert(source.to_owned(), expression.clone());
        Ok(expression)
    }

    fn expressions(&self) -> MutexGuard<'_, HashMap<String, Expression>> {
        self.expressions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the expressions of a flow weigh when all of them have been read. Those of flows within it
/// are read as the expressions of workflows of their own.
fn weight(flow: &Flow) -> usize {
    let of = |work: &Work| {
        let (over, parts) = match &work.kind {
            Kind::One(part) => (None, std::slice::from_ref(part)),
            Kind::Group(parts) => (None, &parts[..]),
            Kind::Map { over, part } => (Some(over), std::slice::from_ref(&**part)),
        };
        let inputs = parts.iter().filter_map(|part| part.input.as_ref());
        let sources = inputs.chain(over).chain(&work.run_if);
        sources.map(|source| source.len() * EXPRESSION_WEIGHT).sum::<usize>()
    };
    flow.nodes.iter().map(|node| of(&node.work)).sum()
}

/// The definitions, by their workflows.
#[derive(Default)]
pub(crate) struct KnownFlows(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<WorkflowId, Arc<KnownFlow>>,
    old: HashMap<WorkflowId, Arc<KnownFlow>>,
    young_bytes: usize,
}

impl KnownFlows {
    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, id: WorkflowId) -> Option<Arc<KnownFlow>> {
        let generations = self.lock();
        generations.young.get(&id).or_else(|| generations.old.get(&id)).cloned()
    }

    /// Keeps the definition of a workflow that is stored, or will be by this transaction: its id
    /// is of no other.
    pub fn put(&self, id: WorkflowId, flow: &Arc<KnownFlow>) {
        let mut generations = self.lock();
        if generations.young_bytes + flow.bytes > GENERATION_BYTES_MAX {
            generations.old = mem::take(&mut generations.young);
            generations.young_bytes = 0;
        }
        if generations.young.insert(id, Arc::clone(flow)).is_none() {
            generations.young_bytes += flow.bytes;
        }
    }
}

/// What a workflow does; read with this connection if it is not known.
pub(super) async fn flow_of(
    store: &Store,
    db: &impl ConnectionTrait,
    id: WorkflowId,
) -> Result<Arc<KnownFlow>, StoreError> {
    if let Some(known) = store.flows().get(id) {
        return Ok(known);
    }
    let mut sql = store.sql("SELECT definition, input, input_type FROM workflows WHERE id = ");
    let row = sql.bind(id.0).one(db).await?;
    let row = row.ok_or_else(|| StoreError::Corrupt(format!("{id} is gone")))?;
    let definition: Vec<u8> = row.try_get_by_index(0)?;
    let flow = decode(&definition)?;
    let data: Vec<u8> = row.try_get_by_index(1)?;
    let input = Content { data: data.into(), content_type: row.try_get_by_index(2)? };
    let bytes = definition.len() + input.data.len();
    let known = Arc::new(KnownFlow::new(flow, input, bytes)?);
    store.flows().put(id, &known);
    Ok(known)
}

pub(super) fn encode(flow: &Flow) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(flow).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn decode(definition: &[u8]) -> Result<Flow, StoreError> {
    serde_json::from_slice(definition).map_err(|error| StoreError::Corrupt(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use asyncflow_core::{
        create::NewTask,
        workflow::{
            definition::{Part, Runs},
            graph::{Node, Policy, When},
        },
    };

    use super::*;

    fn known(sources: usize) -> Arc<KnownFlow> {
        let part = |at: usize| Part {
            name: at.to_string(),
            input: Some(format!("prev + {at:0>1000}")),
            runs: Runs::Task(Box::new(NewTask::new("work".parse().unwrap(), "ann"))),
        };
        let kind = Kind::Group((0..sources).map(part).collect());
        let work = Work { run_if: None, kind };
        let nodes = vec![Node {
            name: "a".into(),
            needs: Vec::new(),
            when: When::default(),
            policy: Policy::default(),
            parallel_max: 0,
            work,
        }];
        let flow = Flow { nodes, ..Flow::default() };
        Arc::new(KnownFlow::new(flow, Content::default(), 1_000).unwrap())
    }

    #[test]
    fn expressions_are_weighed_with_their_flow() {
        let flows = KnownFlows::default();
        for id in 0..3 {
            // As much as fits into a generation.
            flows.put(WorkflowId(id), &known(200));
        }
        assert!(flows.get(WorkflowId(0)).is_none());
        assert!(flows.get(WorkflowId(1)).is_some() && flows.get(WorkflowId(2)).is_some());
    }
}
