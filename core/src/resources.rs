//! What a task needs on its host, and how it behaves there.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

/// What a task needs on its host. The default is a slot, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// GPUs that nobody else uses meanwhile, all on one host.
    #[serde(skip_serializing_if = "is_default")]
    pub gpus: i32,
    /// Memory of a GPU that others use too; 0 where `gpus` is not.
    #[serde(skip_serializing_if = "is_default")]
    pub gpu_memory_bytes: i64,
    /// Thousandths of cores.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_millis: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub memory_bytes: i64,
    /// A GPU will do whose model contains this, in any case.
    #[serde(skip_serializing_if = "is_default")]
    pub gpu_model: String,
    /// Each GPU must have so much memory in all.
    #[serde(skip_serializing_if = "is_default")]
    pub gpu_memory_min_bytes: i64,
    /// Only on this host.
    #[serde(skip_serializing_if = "is_default")]
    pub host: String,
    /// Only by workers with these labels.
    #[serde(skip_serializing_if = "is_default")]
    pub worker_labels: BTreeMap<String, String>,
    /// It may be asked to make room for others.
    #[serde(skip_serializing_if = "is_default")]
    pub preemptible: bool,
    /// It is stopped when it uses a GPU that it was not given.
    #[serde(skip_serializing_if = "is_default")]
    pub stop_on_trespass: bool,
    /// People work on its GPUs by hand.
    #[serde(skip_serializing_if = "is_default")]
    pub interactive: bool,
    /// It is stopped when its GPUs were idle for so long; 0 = never.
    #[serde(skip_serializing_if = "is_default")]
    pub gpu_idle_ms: i64,
    /// It was handed over by this host, and goes to another one unless there is none for it, or it
    /// has waited for long. Until it begins; no client says so.
    #[serde(skip_serializing_if = "is_default")]
    pub avoid_host: String,
}

/// The fields that make a task need more than a slot, as they stand in its text.
pub const NEEDS: [&str; 7] = [
    "gpus",
    "gpu_memory_bytes",
    "cpu_millis",
    "memory_bytes",
    "host",
    "worker_labels",
    "avoid_host",
];

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Resources {
    /// What is left out of it comes from `base`, the task type's. Whole GPUs and a share of one
    /// exclude each other, so either of them replaces both.
    pub fn over(&self, base: &Self) -> Self {
        fn or<T: Clone + Default + PartialEq>(mine: &T, base: &T) -> T {
            if is_default(mine) { base.clone() } else { mine.clone() }
        }
        let gpus = (self.gpus, self.gpu_memory_bytes);
        let (gpus, gpu_memory_bytes) = or(&gpus, &(base.gpus, base.gpu_memory_bytes));
        Self {
            gpus,
            gpu_memory_bytes,
            cpu_millis: or(&self.cpu_millis, &base.cpu_millis),
            memory_bytes: or(&self.memory_bytes, &base.memory_bytes),
            gpu_model: or(&self.gpu_model, &base.gpu_model),
            gpu_memory_min_bytes: or(&self.gpu_memory_min_bytes, &base.gpu_memory_min_bytes),
            host: or(&self.host, &base.host),
            worker_labels: or(&self.worker_labels, &base.worker_labels),
            preemptible: self.preemptible || base.preemptible,
            stop_on_trespass: self.stop_on_trespass || base.stop_on_trespass,
            interactive: self.interactive || base.interactive,
            gpu_idle_ms: or(&self.gpu_idle_ms, &base.gpu_idle_ms),
            avoid_host: self.avoid_host.clone(),
        }
    }

    /// What a task has that asks for `own` and whose type has `base`; `None` for a slot alone.
    pub fn of_task(own: Option<&Self>, base: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let merged = match (own, base) {
            (None, base) => return base.cloned(),
            (Some(own), None) => own.clone(),
            (Some(own), Some(base)) => own.over(base),
        };
        (merged != Self::default()).then(|| Arc::new(merged))
    }

    /// The same without a host to avoid.
    pub fn without_avoided_host(of_task: Option<Arc<Self>>) -> Option<Arc<Self>> {
        let mut needs = of_task?;
        if !needs.avoid_host.is_empty() {
            Arc::make_mut(&mut needs).avoid_host.clear();
        }
        (*needs != Self::default()).then_some(needs)
    }

    /// Whether it uses GPUs, or a share of one.
    pub fn uses_gpus(&self) -> bool {
        self.gpus > 0 || self.gpu_memory_bytes > 0
    }

    /// Whether a GPU of this model, with so much memory in all, will do.
    pub fn suits_gpu(&self, model: &str, memory_bytes: i64) -> bool {
        let wanted = self.gpu_model.to_lowercase();
        memory_bytes >= self.gpu_memory_min_bytes.max(self.gpu_memory_bytes)
            && (wanted.is_empty() || model.to_lowercase().contains(&wanted))
    }

    /// Whether it needs more than any slot, so that it has to be looked where it goes.
    pub fn is_needy(&self) -> bool {
        self.uses_gpus()
            || self.cpu_millis > 0
            || self.memory_bytes > 0
            || !self.host.is_empty()
            || !self.worker_labels.is_empty()
            || !self.avoid_host.is_empty()
    }

    /// The text that is stored; equal ones give equal texts.
    pub fn to_json(&self) -> String {
        // Numbers, texts and maps with text keys always encode.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_gpus_of_a_task_replace_the_share_of_its_type() {
        let base = Resources { gpu_memory_bytes: 1 << 30, cpu_millis: 500, ..Resources::default() };
        let own = Resources { gpus: 2, preemptible: true, ..Resources::default() };
        let merged = own.over(&base);
        assert_eq!((merged.gpus, merged.gpu_memory_bytes, merged.cpu_millis), (2, 0, 500));
        assert!(merged.preemptible);
        let merged = Resources { memory_bytes: 7, ..Resources::default() }.over(&base);
        assert_eq!((merged.gpus, merged.gpu_memory_bytes, merged.memory_bytes), (0, 1 << 30, 7));
    }

    #[test]
    fn a_task_without_needs_has_none() {
        assert_eq!(Resources::of_task(Some(&Resources::default()), None), None);
        let base = Arc::new(Resources { gpus: 1, ..Resources::default() });
        assert_eq!(Resources::of_task(None, Some(&base)), Some(base));
    }

    #[test]
    fn how_it_behaves_is_no_need() {
        let behaves = Resources { preemptible: true, gpu_idle_ms: 1, ..Resources::default() };
        assert!(!behaves.is_needy());
        assert!(Resources { avoid_host: "a".into(), ..behaves.clone() }.is_needy());
        assert!(Resources { cpu_millis: 1, ..behaves }.is_needy());
    }

    #[test]
    fn the_stored_text_tells_whether_it_needs_more_than_a_slot() {
        let labels = BTreeMap::from([("host".into(), "a\"gpus\":1".into())]);
        let all = Resources::default();
        for resources in [
            Resources { gpus: 1, ..all.clone() },
            Resources { gpu_memory_bytes: 1, ..all.clone() },
            Resources { cpu_millis: 1, ..all.clone() },
            Resources { memory_bytes: 1, ..all.clone() },
            Resources { host: "a".into(), ..all.clone() },
            Resources { worker_labels: labels, ..all.clone() },
            Resources { avoid_host: "a".into(), ..all.clone() },
            Resources { gpu_model: "a\"gpus\":1".into(), gpu_idle_ms: 1, ..all.clone() },
            Resources { gpu_memory_min_bytes: 1, preemptible: true, ..all.clone() },
            Resources { stop_on_trespass: true, interactive: true, ..all.clone() },
        ] {
            let text = resources.to_json();
            let tells = NEEDS.iter().any(|field| text.contains(&format!("\"{field}\":")));
            assert_eq!(tells, resources.is_needy(), "{text}");
        }
    }

    #[test]
    fn survives_being_stored() {
        let resources = Resources {
            gpus: 1,
            worker_labels: BTreeMap::from([("room".into(), "3".into())]),
            ..Resources::default()
        };
        let text = resources.to_json();
        assert_eq!(text, r#"{"gpus":1,"worker_labels":{"room":"3"}}"#);
        assert_eq!(serde_json::from_str::<Resources>(&text).ok(), Some(resources));
    }
}
