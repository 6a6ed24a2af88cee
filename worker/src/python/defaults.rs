//! What `@task` says of its type: a part of a TaskType, as JSON of the protocol.

use asyncflow_proto::time::{duration, duration_ms};
use asyncflow_sdk::v1::{OptionalRetryPolicy, Resources, TaskType};
use serde::Deserialize;

/// What is left out is not said, and so left to the broker.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Defaults {
    description: Option<String>,
    priority: Option<i32>,
    retry: Retry,
    max_running_time: Option<String>,
    resources: Needs,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Retry {
    max_retries: Option<i32>,
    interval: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Needs {
    gpus: Option<i32>,
    gpu_memory_bytes: Option<i64>,
    cpus: Option<f64>,
    memory_bytes: Option<i64>,
    preemptible: Option<bool>,
}

impl Defaults {
    /// A new type with them.
    pub fn task_type(&self, name: &str) -> TaskType {
        let span = |text: &Option<String>| text.as_deref().and_then(span_ms).map(duration);
        let needs = &self.resources;
        let resources = (*needs != Needs::default()).then(|| Resources {
            gpus: needs.gpus.unwrap_or_default(),
            gpu_memory_bytes: needs.gpu_memory_bytes.unwrap_or_default(),
            cpus: needs.cpus.unwrap_or_default(),
            memory_bytes: needs.memory_bytes.unwrap_or_default(),
            preemptible: needs.preemptible.unwrap_or_default(),
            ..Resources::default()
        });
        let retry = (self.retry != Retry::default()).then(|| OptionalRetryPolicy {
            max_retries: self.retry.max_retries,
            interval: span(&self.retry.interval),
            ..OptionalRetryPolicy::default()
        });
        TaskType {
            name: name.to_owned(),
            description: self.description.clone().unwrap_or_default(),
            priority: self.priority.unwrap_or_default(),
            retry,
            max_running_time: span(&self.max_running_time),
            resources,
            ..TaskType::default()
        }
    }
}

/// Where the type that is there differs from what a module says, for people: `gpus is 0, @task
/// says 2`. What the module does not say may be anything.
pub fn differences(said: &Defaults, there: &TaskType) -> Vec<String> {
    let retry = there.retry.unwrap_or_default();
    let resources = there.resources.clone().unwrap_or_default();
    let needs = &said.resources;
    let ms = |span: Option<_>| span.as_ref().and_then(duration_ms);
    let said_ms = |text: &Option<String>| text.as_deref().and_then(span_ms);
    let lines = [
        line("priority", said.priority, Some(there.priority)),
        line("max_retries", said.retry.max_retries, retry.max_retries),
        line("retry_interval in ms", said_ms(&said.retry.interval), ms(retry.interval)),
        line("max_time in ms", said_ms(&said.max_running_time), ms(there.max_running_time)),
        line("gpus", needs.gpus, Some(resources.gpus)),
        line("gpu_memory", needs.gpu_memory_bytes, Some(resources.gpu_memory_bytes)),
        line("cpus", needs.cpus, Some(resources.cpus)),
        line("memory", needs.memory_bytes, Some(resources.memory_bytes)),
        line("preemptible", needs.preemptible, Some(resources.preemptible)),
    ];
    lines.into_iter().flatten().collect()
}

fn line<T>(name: &str, said: Option<T>, there: Option<T>) -> Option<String>
where
    T: PartialEq + std::fmt::Display,
{
    let said = said?;
    match there {
        Some(there) if there == said => None,
        Some(there) => Some(format!("{name} is {there}, @task says {said}")),
        None => Some(format!("{name} is unset, @task says {said}")),
    }
}

/// Of a duration as the protocol's JSON has it: `43200s`, `0.25s`.
fn span_ms(text: &str) -> Option<i64> {
    let text = text.strip_suffix('s')?;
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let part: String = part.chars().chain("000".chars()).take(3).collect();
    whole.parse::<i64>().ok()?.checked_mul(1_000)?.checked_add(part.parse().ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    fn said() -> Defaults {
        let text = r#"{"name": "train", "description": "Trains.", "priority": 5,
            "retry": {"max_retries": 3, "interval": "0.25s"}, "max_running_time": "43200s",
            "resources": {"gpus": 2, "memory_bytes": 1024, "preemptible": true}}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_type_is_made_as_the_module_says() {
        let made = said().task_type("train");
        assert_eq!((&*made.name, &*made.description, made.priority), ("train", "Trains.", 5));
        let retry = made.retry.unwrap();
        assert_eq!((retry.max_retries, retry.interval), (Some(3), Some(duration(250))));
        assert_eq!(made.max_running_time, Some(duration(43_200_000)));
        let resources = made.resources.unwrap();
        assert_eq!((resources.gpus, resources.memory_bytes), (2, 1_024));
        assert!(resources.preemptible);
        let bare = Defaults::default().task_type("bare");
        assert_eq!(bare, TaskType { name: "bare".to_owned(), ..TaskType::default() });
    }

    #[test]
    fn only_what_the_module_says_can_differ() {
        let mut there = said().task_type("train");
        there.max_crashes = Some(7);
        assert_eq!(differences(&said(), &there), Vec::<String>::new());
        assert_eq!(differences(&Defaults::default(), &there), Vec::<String>::new());
        there.max_running_time = None;
        there.resources = None;
        let expected = [
            "max_time in ms is unset, @task says 43200000",
            "gpus is 0, @task says 2",
            "memory is 0, @task says 1024",
            "preemptible is false, @task says true",
        ];
        assert_eq!(differences(&said(), &there), expected);
    }
}
