//! Workflows beside plain tasks: a chord of many members, a chain of many links, and a map over a
//! long list, with the memory that it takes.

use super::{
    backlog,
    deployment::Deployment,
    drain::{By, DrainPlan, Drained},
    report::{Measured, Report},
    scenario::Settings,
};
use crate::{brokers::in_time, clock::Stopwatch, error::BenchError};
use asyncflow_proto::v1::{
    Content, CreateWorkflowRequest, WorkflowChain, WorkflowChord, WorkflowMap, WorkflowNode,
    WorkflowSpec, workflow_node::Work,
};
use clap::Args;
use serde::Serialize;

/// Members of a chord, and plain tasks beside them, drained; the links of a chain; a long map
#[derive(Args, Debug, Serialize)]
pub struct WorkflowArgs {
    /// Members of the chord, and as many plain tasks; at most 9,999
    #[arg(long, value_name = "N", default_value_t = 9_000)]
    members: u64,
    /// Links of the chain; at most 1,000
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    links: u64,
    /// Items of the map; at most 100,000
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    items: u64,
    /// Workers that drain the chord, each a session on a connection of its own
    #[arg(long, value_name = "W", default_value_t = 4)]
    workers: usize,
    /// Tasks that a worker runs at once
    #[arg(long, value_name = "S", default_value_t = 250)]
    slots: u16,
    #[command(flatten)]
    #[serde(flatten)]
    settings: Settings,
}

const TYPE: &str = "load_flow";

impl WorkflowArgs {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub async fn run(&self, on: &Deployment, report: &mut Report) -> Result<(), BenchError> {
        let types = [TYPE.to_owned()];
        on.make_types(&types, self.settings.shape.context_bytes).await?;
        let many = self.plan(self.workers, self.slots);
        backlog::make(&on.brokers, &types, self.members, self.settings.shape).await?;
        tell("plain", many.drain(&on.brokers, &types, self.members).await?, report)?;

        // As the chord does: the others are made while the first ones are drained.
        let made = backlog::make(&on.brokers, &types, self.members, self.settings.shape);
        let (made, drained) = tokio::join!(made, many.drain(&on.brokers, &types, self.members));
        made?;
        tell("plain, made meanwhile", drained?, report)?;

        let started = Stopwatch::start();
        create(on, "chord", self.chord()).await?;
        let made = Measured::without_latencies("create a chord", self.members, started.elapsed());
        report.add(made)?;
        tell("chord", many.drain(&on.brokers, &types, self.members + 1).await?, report)?;

        create(on, "chain", self.chain()).await?;
        let one = self.plan(1, 4);
        tell("chain", one.drain(&on.brokers, &types, self.links).await?, report)?;
        self.map(on, &types, report).await
    }

    /// With the most memory that the brokers had until then, and until the last item was drained.
    async fn map(
        &self,
        on: &Deployment,
        types: &[String],
        report: &mut Report,
    ) -> Result<(), BenchError> {
        if self.items == 0 {
            return Ok(());
        }
        let list: Vec<u64> = (0..self.items).collect();
        let over = serde_json::to_vec(&list).map_err(|e| BenchError::Other(e.to_string()))?;
        let each = WorkflowNode { input: "item".to_owned(), ..self.node() };
        let map = WorkflowMap {
            over: "input".to_owned(),
            each: Some(Box::new(each)),
            ..WorkflowMap::default()
        };
        let node = WorkflowNode {
            name: "map".to_owned(),
            work: Some(Work::Map(Box::new(map))),
            ..WorkflowNode::default()
        };
        let input = Some(Content { data: over.into(), content_type: "application/json".into() });
        let spec = WorkflowSpec { nodes: vec![node], input, ..WorkflowSpec::default() };
        let before = on.memory_peak()?;
        let request = CreateWorkflowRequest { workflow: Some(spec), ..Default::default() };
        on.brokers.owner(0)?.create_workflow(in_time(request)).await?;
        let many = self.plan(self.workers, self.slots);
        let Drained { count, elapsed } = many.drain(&on.brokers, types, self.items).await?;
        let mut measured = Measured::without_latencies("map", count, elapsed);
        if let (Some(before), Some(after)) = (before, on.memory_peak()?) {
            measured.more.insert("broker_memory_peak_bytes_before", before.into());
            measured.more.insert("broker_memory_peak_bytes", after.into());
        }
        report.add(measured)
    }

    fn plan(&self, workers: usize, slots: u16) -> DrainPlan {
        DrainPlan { count: None, workers, slots, by: By::Sdk }
    }

    fn node(&self) -> WorkflowNode {
        let task = self.settings.shape.request(TYPE).task;
        WorkflowNode { work: task.map(Work::Task), ..WorkflowNode::default() }
    }

    fn chord(&self) -> Work {
        Work::Chord(Box::new(WorkflowChord {
            members: (0..self.members).map(|_| self.node()).collect(),
            callback: Some(Box::new(self.node())),
            ..WorkflowChord::default()
        }))
    }

    fn chain(&self) -> Work {
        Work::Chain(WorkflowChain { steps: (0..self.links).map(|_| self.node()).collect() })
    }
}

async fn create(on: &Deployment, name: &str, work: Work) -> Result<(), BenchError> {
    let node = WorkflowNode { name: name.to_owned(), work: Some(work), ..WorkflowNode::default() };
    let spec = WorkflowSpec { nodes: vec![node], ..WorkflowSpec::default() };
    let request = CreateWorkflowRequest { workflow: Some(spec), ..Default::default() };
    on.brokers.owner(0)?.create_workflow(in_time(request)).await?;
    Ok(())
}

fn tell(measure: &str, drained: Drained, report: &mut Report) -> Result<(), BenchError> {
    let Drained { count, elapsed } = drained;
    report.add(Measured::without_latencies(measure, count, elapsed))
}
