//! What a task needs on its host.

use std::collections::BTreeMap;

use super::{at::At, label, number, text, time};
use crate::{
    limits::{
        GPU_IDLE_MS_MIN, GPU_MODEL_BYTES_MAX, HOST_BYTES_MAX, TASK_CPUS_MAX, TASK_GPUS_MAX,
        TASK_MEMORY_BYTES_MAX,
    },
    resources::Resources,
    violation::Violations,
};

/// What is needed, as it came in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourcesInput {
    pub gpus: i32,
    pub gpu_memory_bytes: i64,
    pub cpus: f64,
    pub memory_bytes: i64,
    pub gpu_model: String,
    pub gpu_memory_min_bytes: i64,
    pub host: String,
    pub worker_labels: BTreeMap<String, String>,
    pub preemptible: bool,
    pub stop_on_trespass: bool,
    pub interactive: bool,
    pub gpu_idle_ms: Option<i64>,
}

impl ResourcesInput {
    /// Notes everything that is wrong with it; its fields stand at `at`.
    pub fn check(&self, at: At<'_>, violations: &mut Violations) {
        number::in_range(self.gpus, 0..=TASK_GPUS_MAX, at.field("gpus"), violations);
        let bytes = [
            ("gpu_memory_bytes", self.gpu_memory_bytes),
            ("memory_bytes", self.memory_bytes),
            ("gpu_memory_min_bytes", self.gpu_memory_min_bytes),
        ];
        for (field, value) in bytes {
            number::in_range(value, 0..=TASK_MEMORY_BYTES_MAX, at.field(field), violations);
        }
        if self.gpus > 0 && self.gpu_memory_bytes > 0 {
            let what = "not together with gpus: whole GPUs, or a share of one";
            violations.add(at.field("gpu_memory_bytes"), what);
        }
        // NaN lies in no range.
        if !(0.0..=TASK_CPUS_MAX).contains(&self.cpus) {
            let what = format!("{} is out of range; 0 to {TASK_CPUS_MAX}", self.cpus);
            violations.add(at.field("cpus"), what);
        }
        text::line(&self.gpu_model, GPU_MODEL_BYTES_MAX, at.field("gpu_model"), violations);
        text::line(&self.host, HOST_BYTES_MAX, at.field("host"), violations);
        label::labels(&self.worker_labels, at.field("worker_labels"), violations);
        if let Some(idle_ms) = self.gpu_idle_ms {
            let at = at.field("gpu_idle_timeout");
            if (1..GPU_IDLE_MS_MIN).contains(&idle_ms) {
                violations.add(at, format!("{idle_ms} ms is out of range; 1 s to 365 days"));
            } else {
                time::duration(idle_ms, at, violations);
            }
        }
    }

    /// The same in the units of the domain, checked before. Less than a thousandth of a core is
    /// one.
    pub fn into_resources(self) -> Resources {
        Resources {
            gpus: self.gpus,
            gpu_memory_bytes: self.gpu_memory_bytes,
            cpu_millis: (self.cpus * 1_000.0).ceil() as i64,
            memory_bytes: self.memory_bytes,
            gpu_model: self.gpu_model,
            gpu_memory_min_bytes: self.gpu_memory_min_bytes,
            host: self.host,
            worker_labels: self.worker_labels,
            preemptible: self.preemptible,
            stop_on_trespass: self.stop_on_trespass,
            interactive: self.interactive,
            gpu_idle_ms: self.gpu_idle_ms.unwrap_or(0),
            avoid_host: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn fields(input: &ResourcesInput) -> Vec<String> {
        let mut violations = Violations::new();
        input.check(At::REQUEST.field("resources"), &mut violations);
        let list = violations.into_list().into_iter();
        list.map(|violation| violation.field.replace("resources.", "")).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let bad = ResourcesInput {
            gpus: 65,
            gpu_memory_bytes: 1,
            cpus: f64::NAN,
            memory_bytes: -1,
            gpu_model: "x".repeat(65),
            gpu_memory_min_bytes: i64::MAX,
            host: "a\nb".into(),
            worker_labels: BTreeMap::from([("Bad Key".into(), String::new())]),
            gpu_idle_ms: Some(999),
            ..ResourcesInput::default()
        };
        let wanted = [
            "gpus",
            "memory_bytes",
            "gpu_memory_min_bytes",
            "gpu_memory_bytes",
            "cpus",
            "gpu_model",
            "host",
            "worker_labels[0].key",
            "gpu_idle_timeout",
        ];
        assert_eq!(fields(&bad), wanted);
        for cpus in [-0.1, 10_000.1, f64::INFINITY] {
            assert_eq!(fields(&ResourcesInput { cpus, ..ResourcesInput::default() }), ["cpus"]);
        }
    }

    #[test]
    fn cores_are_counted_in_thousandths() {
        let input = ResourcesInput { gpus: 64, cpus: 0.0005, ..ResourcesInput::default() };
        assert!(fields(&input).is_empty());
        assert_eq!(input.into_resources().cpu_millis, 1);
        let input = ResourcesInput { cpus: 10_000.0, ..ResourcesInput::default() };
        assert!(fields(&input).is_empty());
        assert_eq!(input.into_resources().cpu_millis, 10_000_000);
    }
}
