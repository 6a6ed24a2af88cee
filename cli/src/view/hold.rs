//! GPUs that are held for work by hand.

use crate::{
    hold::Place,
    output::{Look, View},
    time,
};
use asyncflow_proto::{
    time::{duration_ms, timestamp, timestamp_ms},
    v1::Task,
};
use prost_types::Duration;
use serde::Serialize;
use std::collections::BTreeMap;

/// What is held, and what uses it.
#[derive(Debug, Serialize)]
pub struct HoldView {
    task_id: String,
    host: String,
    worker_id: String,
    gpus: Vec<String>,
    environment: BTreeMap<&'static str, String>,
    until: Option<String>,
    #[serde(skip)]
    names: Vec<String>,
}

impl HoldView {
    pub fn new(task: &Task, place: Place, span: &Duration) -> Self {
        let start = task.start_time.as_ref().and_then(timestamp_ms);
        let until = start.zip(duration_ms(span)).map(|(start, span)| timestamp(start + span));
        let indices: Vec<String> = place.gpus.iter().map(|gpu| gpu.index.to_string()).collect();
        let indices = indices.join(",");
        let environment = if place.provider == "amd" {
            BTreeMap::from([("ROCR_VISIBLE_DEVICES", indices)])
        } else {
            BTreeMap::from([
                ("CUDA_DEVICE_ORDER", "PCI_BUS_ID".to_owned()),
                ("CUDA_VISIBLE_DEVICES", indices),
            ])
        };
        let name = |gpu: &asyncflow_proto::v1::Gpu| {
            format!("GPU {} ({})", gpu.index, gpu.model).replace(" ()", "")
        };
        Self {
            task_id: task.id.clone(),
            worker_id: place.worker_id,
            environment,
            until: time::rfc3339(until.as_ref()),
            names: place.gpus.iter().map(name).collect(),
            gpus: place.gpus.into_iter().map(|gpu| gpu.uuid).collect(),
            host: place.host,
        }
    }

    /// For a shell.
    pub fn exports(&self) -> Vec<String> {
        self.environment.iter().map(|(name, value)| format!("export {name}={value}")).collect()
    }

    /// `GPU 0 (A100) of anna, yours until 2026-01-31T18:00:00Z`
    pub fn told(&self) -> String {
        let until = self.until.as_deref().unwrap_or("it ends");
        format!("{} of {}, yours until {until}", self.names.join(", "), self.host)
    }
}

impl View for HoldView {
    const COLUMNS: &'static [&'static str] = &["ID", "HOST", "GPUS", "UNTIL"];

    fn id(&self) -> String {
        self.task_id.clone()
    }

    fn row(&self, _: Look) -> Vec<String> {
        let until = self.until.clone().unwrap_or_default();
        vec![self.task_id.clone(), self.host.clone(), self.names.join(", "), until]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        ["id", "host", "GPUs", "until"].into_iter().zip(self.row(look)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use asyncflow_proto::v1::Gpu;

    fn held(provider: &str) -> HoldView {
        let gpu = |index| Gpu { index, model: "A100".to_owned(), ..Gpu::default() };
        let place = Place {
            host: "anna".to_owned(),
            worker_id: "w".to_owned(),
            provider: provider.to_owned(),
            gpus: vec![gpu(1), gpu(3)],
        };
        let task = Task { start_time: Some(timestamp(1_000)), ..Task::default() };
        HoldView::new(&task, place, &Duration { seconds: 7_200, nanos: 0 })
    }

    #[test]
    fn a_shell_gets_what_the_driver_reads() {
        assert_eq!(
            held("nvml").exports(),
            ["export CUDA_DEVICE_ORDER=PCI_BUS_ID", "export CUDA_VISIBLE_DEVICES=1,3"]
        );
        assert_eq!(held("amd").exports(), ["export ROCR_VISIBLE_DEVICES=1,3"]);
        let told = "GPU 1 (A100), GPU 3 (A100) of anna, yours until 1970-01-01T02:00:01Z";
        assert_eq!(held("nvml").told(), told);
    }
}
