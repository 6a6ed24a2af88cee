//! What a task needs on its host.

use super::{bytes_for_people, pairs};
use crate::time;
use asyncflow_proto::v1::Resources;
use serde::Serialize;
use std::collections::BTreeMap;

/// See the protocol's `Resources`.
#[derive(Debug, Serialize)]
pub struct ResourcesView {
    gpus: i32,
    gpu_memory_bytes: i64,
    cpus: f64,
    memory_bytes: i64,
    gpu_model: String,
    gpu_memory_min_bytes: i64,
    host: String,
    worker_labels: BTreeMap<String, String>,
    preemptible: bool,
    stop_on_trespass: bool,
    interactive: bool,
    gpu_idle_timeout: Option<String>,
}

impl From<Resources> for ResourcesView {
    fn from(resources: Resources) -> Self {
        Self {
            gpus: resources.gpus,
            gpu_memory_bytes: resources.gpu_memory_bytes,
            cpus: resources.cpus,
            memory_bytes: resources.memory_bytes,
            gpu_model: resources.gpu_model,
            gpu_memory_min_bytes: resources.gpu_memory_min_bytes,
            host: resources.host,
            worker_labels: resources.worker_labels,
            preemptible: resources.preemptible,
            stop_on_trespass: resources.stop_on_trespass,
            interactive: resources.interactive,
            gpu_idle_timeout: time::span_text(resources.gpu_idle_timeout.as_ref()),
        }
    }
}

impl ResourcesView {
    /// `2 GPUs (A100, 40.0 GiB or more), 4 cores, on anna, preemptible`
    pub fn for_people(&self) -> String {
        let mut kind = Vec::new();
        if !self.gpu_model.is_empty() {
            kind.push(self.gpu_model.clone());
        }
        if self.gpu_memory_min_bytes > 0 {
            kind.push(format!("{} or more", bytes_for_people(self.gpu_memory_min_bytes)));
        }
        let kind = if kind.is_empty() { String::new() } else { format!(" ({})", kind.join(", ")) };
        let mut parts = Vec::new();
        match self.gpus {
            0 if self.gpu_memory_bytes > 0 => {
                parts.push(format!("{} of a GPU{kind}", bytes_for_people(self.gpu_memory_bytes)));
            }
            0 => {}
            1 => parts.push(format!("1 GPU{kind}")),
            count => parts.push(format!("{count} GPUs{kind}")),
        }
        if self.cpus > 0.0 {
            parts.push(format!("{} cores", self.cpus));
        }
        if self.memory_bytes > 0 {
            parts.push(format!("{} of memory", bytes_for_people(self.memory_bytes)));
        }
        if !self.host.is_empty() {
            parts.push(format!("on {}", self.host));
        }
        if !self.worker_labels.is_empty() {
            parts.push(format!("by workers with {}", pairs(&self.worker_labels)));
        }
        let idle = self.gpu_idle_timeout.as_deref().map(time::text_for_people);
        parts.extend(idle.map(|idle| format!("stopped when idle for {idle}")));
        for (is_so, what) in [
            (self.preemptible, "preemptible"),
            (self.stop_on_trespass, "stopped when it trespasses"),
            (self.interactive, "interactive"),
        ] {
            parts.extend(is_so.then(|| what.to_owned()));
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_told_in_a_line() {
        let resources = Resources {
            gpus: 2,
            gpu_model: "A100".into(),
            gpu_memory_min_bytes: 40 << 30,
            cpus: 4.0,
            host: "anna".into(),
            preemptible: true,
            ..Resources::default()
        };
        let text = ResourcesView::from(resources).for_people();
        assert_eq!(text, "2 GPUs (A100, 40.0 GiB or more), 4 cores, on anna, preemptible");
        let share = Resources { gpu_memory_bytes: 10 << 30, ..Resources::default() };
        assert_eq!(ResourcesView::from(share).for_people(), "10.0 GiB of a GPU");
    }
}
