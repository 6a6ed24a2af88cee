//! What tasks need on their hosts.

use asyncflow_core::{
    resources::Resources,
    validate::{at::At, resources::ResourcesInput},
    violation::Violations,
};
use asyncflow_proto::{time::duration, v1};

use super::time;

/// What is asked for at `at`.
pub fn input(asked: v1::Resources, at: At<'_>, violations: &mut Violations) -> ResourcesInput {
    let idle = asked.gpu_idle_timeout.as_ref();
    ResourcesInput {
        gpu_idle_ms: time::duration_ms(idle, at.field("gpu_idle_timeout"), violations),
        gpus: asked.gpus,
        gpu_memory_bytes: asked.gpu_memory_bytes,
        cpus: asked.cpus,
        memory_bytes: asked.memory_bytes,
        gpu_model: asked.gpu_model,
        gpu_memory_min_bytes: asked.gpu_memory_min_bytes,
        host: asked.host,
        worker_labels: asked.worker_labels,
        preemptible: asked.preemptible,
        stop_on_trespass: asked.stop_on_trespass,
        interactive: asked.interactive,
    }
}

pub fn to_proto(resources: &Resources) -> v1::Resources {
    v1::Resources {
        gpus: resources.gpus,
        gpu_memory_bytes: resources.gpu_memory_bytes,
        cpus: resources.cpu_millis as f64 / 1_000.0,
        memory_bytes: resources.memory_bytes,
        gpu_model: resources.gpu_model.clone(),
        gpu_memory_min_bytes: resources.gpu_memory_min_bytes,
        host: resources.host.clone(),
        worker_labels: resources.worker_labels.clone(),
        preemptible: resources.preemptible,
        stop_on_trespass: resources.stop_on_trespass,
        interactive: resources.interactive,
        gpu_idle_timeout: (resources.gpu_idle_ms > 0).then(|| duration(resources.gpu_idle_ms)),
    }
}
