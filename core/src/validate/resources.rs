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
            let shown = short(self.cpus);
            let what = format!("{shown} is out of range; 0 to {TASK_CPUS_MAX} cores");
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

    /// Notes everything that is wrong with it as what the tasks of a type need. A type must ask for
    /// the GPUs that it says something of: there is nobody else who could.
    pub fn check_of_type(&self, at: At<'_>, violations: &mut Violations) {
        self.check(at, violations);
        let needs = self.clone().into_resources();
        gpu_terms(&needs, needs.uses_gpus(), "", at, violations);
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

/// What `asked` says of GPUs must be said of some: it does nothing where none are asked for.
/// `or_where` says for people where else that could have been.
pub fn gpu_terms(
    asked: &Resources,
    uses_gpus: bool,
    or_where: &str,
    at: At<'_>,
    violations: &mut Violations,
) {
    if uses_gpus {
        return;
    }
    let (model, least, idle) = (&asked.gpu_model, asked.gpu_memory_min_bytes, asked.gpu_idle_ms);
    let terms = [
        ("gpu_model", !model.is_empty(), format!("{model:?}")),
        ("gpu_memory_min_bytes", least != 0, format!("{least} bytes")),
        ("gpu_idle_timeout", idle != 0, format!("{idle} ms")),
    ];
    for (field, is_given, value) in terms {
        if is_given {
            let what = format!(
                "{value} does nothing, because no GPUs are asked for{or_where}; \
                 give gpus or gpu_memory_bytes too, or leave this out"
            );
            violations.add(at.field(field), what);
        }
    }
}

/// A number in a few characters, however large it is.
fn short(number: f64) -> String {
    let is_plain = number == 0.0 || (1e-6..1e9).contains(&number.abs());
    if is_plain || !number.is_finite() { number.to_string() } else { format!("{number:e}") }
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
    fn what_is_said_of_gpus_of_a_type_is_said_of_some() {
        let terms = ResourcesInput {
            gpu_model: "A100".into(),
            gpu_memory_min_bytes: 1 << 30,
            gpu_idle_ms: Some(60_000),
            preemptible: true,
            cpus: -1.0,
            ..ResourcesInput::default()
        };
        let of_type = |input: &ResourcesInput| {
            let mut violations = Violations::new();
            input.check_of_type(At::REQUEST, &mut violations);
            violations.into_list()
        };
        let wrong = of_type(&terms);
        let at: Vec<&str> = wrong.iter().map(|wrong| wrong.field.as_str()).collect();
        assert_eq!(at, ["cpus", "gpu_model", "gpu_memory_min_bytes", "gpu_idle_timeout"]);
        let wanted = "\"A100\" does nothing, because no GPUs are asked for; \
                      give gpus or gpu_memory_bytes too, or leave this out";
        assert_eq!(wrong[1].description, wanted);
        let terms = ResourcesInput { cpus: 1.0, ..terms };
        assert!(of_type(&ResourcesInput { gpus: 1, ..terms.clone() }).is_empty());
        assert!(of_type(&ResourcesInput { gpu_memory_bytes: 1, ..terms.clone() }).is_empty());
        assert!(fields(&terms).is_empty(), "a task may leave the GPUs to its type");
    }

    #[test]
    fn numbers_are_shown_short() {
        let shown = [0.0, 2.5, 10_000.1, -1.0, 1e300, f64::NAN, f64::INFINITY].map(short);
        assert_eq!(shown, ["0", "2.5", "10000.1", "-1", "1e300", "NaN", "inf"]);
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
