//! An attempt.

use super::{bytes_for_people, enum_name, task::FailureView};
use crate::{
    output::{Look, View},
    time,
};
use asyncflow_proto::v1::{Attempt, AttemptOutcome, AttemptUsage};
use prost_types::Timestamp;
use serde::Serialize;

/// See the protocol's `Attempt`; `outcome` is `RUNNING` until it ends.
#[derive(Debug, Serialize)]
pub struct AttemptView {
    task_id: String,
    attempt: i32,
    run: i32,
    worker_id: String,
    stage: String,
    outcome: String,
    failure: Option<FailureView>,
    exit_code: Option<i32>,
    claim_time: Option<String>,
    start_time: Option<String>,
    end_time: Option<String>,
    usage: Option<UsageView>,
    #[serde(skip)]
    start: Option<Timestamp>,
    #[serde(skip)]
    end: Option<Timestamp>,
}

/// See the protocol's `AttemptUsage`.
#[derive(Debug, Default, Serialize)]
struct UsageView {
    host: String,
    gpus: Vec<String>,
    gpu_seconds: f64,
    gpu_utilization_percent: f64,
    gpu_memory_peak_bytes: i64,
    cpu_seconds: f64,
    memory_peak_bytes: i64,
    code_commit: String,
    code_changed: bool,
    log_dropped_bytes: i64,
}

impl From<AttemptUsage> for UsageView {
    fn from(usage: AttemptUsage) -> Self {
        Self {
            host: usage.host,
            gpus: usage.gpus,
            gpu_seconds: usage.gpu_seconds,
            gpu_utilization_percent: usage.gpu_utilization_percent,
            gpu_memory_peak_bytes: usage.gpu_memory_peak_bytes,
            cpu_seconds: usage.cpu_seconds,
            memory_peak_bytes: usage.memory_peak_bytes,
            code_commit: usage.code_commit,
            code_changed: usage.code_changed,
            log_dropped_bytes: usage.log_dropped_bytes,
        }
    }
}

impl UsageView {
    /// `2 for 3m 20s`, the GPUs' times added up.
    fn gpus(&self) -> String {
        match self.gpus.len() {
            0 => String::new(),
            count => format!("{count} for {}", seconds(self.gpu_seconds)),
        }
    }

    /// Main memory, and that of a GPU.
    fn memory(&self) -> String {
        let shown = |bytes: i64| (bytes > 0).then(|| bytes_for_people(bytes));
        let gpu = shown(self.gpu_memory_peak_bytes).map(|bytes| format!("GPU {bytes}"));
        let parts: Vec<_> = shown(self.memory_peak_bytes).into_iter().chain(gpu).collect();
        parts.join(", ")
    }

    fn code(&self) -> &'static str {
        match (self.code_commit.as_str(), self.code_changed) {
            ("", _) => "",
            (_, true) => "changed",
            (_, false) => "as submitted",
        }
    }

    fn commit(&self) -> String {
        self.code_commit.get(..12).unwrap_or(&self.code_commit).to_owned()
    }
}

fn seconds(seconds: f64) -> String {
    let ms = if seconds < 60.0 { (seconds.fract() * 1e3) as i32 } else { 0 };
    let nanos = ms * 1_000_000;
    time::span_for_people(&prost_types::Duration { seconds: seconds as i64, nanos })
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        let known = AttemptOutcome::try_from(attempt.outcome).map_err(|_| attempt.outcome);
        let outcome = match known {
            Ok(AttemptOutcome::Unspecified) => "RUNNING".to_owned(),
            known => enum_name(known.map(|known| known.as_str_name()), "ATTEMPT_OUTCOME_"),
        };
        Self {
            task_id: attempt.task_id,
            attempt: attempt.attempt,
            run: attempt.run,
            worker_id: attempt.worker_id,
            stage: attempt.stage,
            outcome,
            failure: attempt.failure.map(Into::into),
            exit_code: attempt.exit_code,
            claim_time: time::rfc3339(attempt.claim_time.as_ref()),
            start_time: time::rfc3339(attempt.start_time.as_ref()),
            end_time: time::rfc3339(attempt.end_time.as_ref()),
            usage: attempt.usage.map(Into::into),
            start: attempt.start_time,
            end: attempt.end_time,
        }
    }
}

impl AttemptView {
    /// Why it failed, and what is missing of its log.
    fn remarks(&self) -> String {
        let failure = self.failure.as_ref().map(FailureView::for_people);
        let dropped = self.usage.as_ref().map_or(0, |usage| usage.log_dropped_bytes);
        let dropped =
            (dropped > 0).then(|| format!("{} of its log were dropped", bytes_for_people(dropped)));
        failure.into_iter().chain(dropped).collect::<Vec<_>>().join("; ")
    }
}

impl View for AttemptView {
    const COLUMNS: &'static [&'static str] = &[
        "ATTEMPT", "RUN", "WORKER", "HOST", "STAGE", "OUTCOME", "EXIT", "STARTED", "RAN FOR",
        "GPUS", "MEMORY", "CODE", "FAILURE",
    ];

    fn id(&self) -> String {
        self.attempt.to_string()
    }

    fn row(&self, look: Look) -> Vec<String> {
        let usage = self.usage.as_ref();
        vec![
            self.attempt.to_string(),
            self.run.to_string(),
            self.worker_id.clone(),
            usage.map(|usage| usage.host.clone()).unwrap_or_default(),
            self.stage.clone(),
            look.palette.state(&self.outcome),
            self.exit_code.map(|code| code.to_string()).unwrap_or_default(),
            time::relative(self.start.as_ref(), look.now_ms),
            time::elapsed(self.start.as_ref(), self.end.as_ref(), look.now_ms),
            usage.map(UsageView::gpus).unwrap_or_default(),
            usage.map(UsageView::memory).unwrap_or_default(),
            usage.map(UsageView::code).unwrap_or_default().to_owned(),
            self.remarks(),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let names =
            ["attempt", "run", "worker", "host", "stage", "outcome", "exit code", "started"];
        let names = names.into_iter().chain(["ran for", "GPUs", "memory", "code", "failure"]);
        let usage = self.usage.as_ref();
        let more = [
            ("commit", usage.map(UsageView::commit).unwrap_or_default()),
            ("GPU ids", usage.map(|usage| usage.gpus.join(", ")).unwrap_or_default()),
        ];
        names.zip(self.row(look)).chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_without_an_outcome_still_runs() {
        let json = serde_json::json!(AttemptView::from(Attempt {
            attempt: 2,
            exit_code: Some(-9),
            ..Attempt::default()
        }));
        assert_eq!(json["outcome"], "RUNNING");
        assert_eq!(json["exit_code"], -9);
        let usage = UsageView::from(AttemptUsage {
            gpus: vec!["GPU-a".to_owned(), "GPU-b".to_owned()],
            gpu_seconds: 200.0,
            memory_peak_bytes: 3 << 30,
            gpu_memory_peak_bytes: 1 << 30,
            code_commit: "0123456789abcdef".to_owned(),
            code_changed: true,
            ..AttemptUsage::default()
        });
        assert!(usage.gpus().starts_with("2 for 3m"), "{}", usage.gpus());
        assert_eq!(usage.memory(), "3.0 GiB, GPU 1.0 GiB");
        assert_eq!((usage.code(), usage.commit().as_str()), ("changed", "0123456789ab"));
        let unknown = UsageView::default();
        assert_eq!((unknown.gpus(), unknown.memory(), unknown.code()), Default::default());
        let usage = AttemptUsage { log_dropped_bytes: 15 << 20, ..AttemptUsage::default() };
        let view = AttemptView::from(Attempt { usage: Some(usage), ..Attempt::default() });
        assert_eq!(view.remarks(), "15.0 MiB of its log were dropped");
        let lost = AttemptOutcome::Lost.into();
        let view = AttemptView::from(Attempt { outcome: lost, ..Attempt::default() });
        assert_eq!(view.outcome, "LOST");
    }
}
