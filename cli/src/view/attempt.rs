//! An attempt.

use super::{enum_name, task::FailureView};
use crate::{
    output::{Look, View},
    time,
};
use asyncflow_proto::v1::{Attempt, AttemptOutcome};
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
    #[serde(skip)]
    start: Option<Timestamp>,
    #[serde(skip)]
    end: Option<Timestamp>,
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
            start: attempt.start_time,
            end: attempt.end_time,
        }
    }
}

impl View for AttemptView {
    const COLUMNS: &'static [&'static str] =
        &["ATTEMPT", "RUN", "WORKER", "STAGE", "OUTCOME", "EXIT", "STARTED", "RAN FOR", "FAILURE"];

    fn id(&self) -> String {
        self.attempt.to_string()
    }

    fn row(&self, look: Look) -> Vec<String> {
        vec![
            self.attempt.to_string(),
            self.run.to_string(),
            self.worker_id.clone(),
            self.stage.clone(),
            look.palette.state(&self.outcome),
            self.exit_code.map(|code| code.to_string()).unwrap_or_default(),
            time::relative(self.start.as_ref(), look.now_ms),
            time::elapsed(self.start.as_ref(), self.end.as_ref(), look.now_ms),
            self.failure.as_ref().map(FailureView::for_people).unwrap_or_default(),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let names = ["attempt", "run", "worker", "stage", "outcome", "exit code", "started"];
        let names = names.into_iter().chain(["ran for", "failure"]);
        names.zip(self.row(look)).collect()
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
        let lost = AttemptOutcome::Lost.into();
        let view = AttemptView::from(Attempt { outcome: lost, ..Attempt::default() });
        assert_eq!(view.outcome, "LOST");
    }
}
