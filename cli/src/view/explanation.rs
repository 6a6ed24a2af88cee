//! Why a task is where it is.

use super::{enum_name, gpu::ProcessView, task::TaskView};
use crate::{
    output::{Look, View},
    time,
};
use asyncflow_proto::{
    time::timestamp_ms,
    v1::{ExplainTaskResponse, Explanation, ExplanationKind},
};
use prost_types::Timestamp;
use serde::Serialize;

/// See the protocol's `ExplainTaskResponse`.
#[derive(Debug, Serialize)]
pub struct ExplanationView {
    task_id: String,
    summary: String,
    explanations: Vec<Part>,
    queue_position: Option<i32>,
    earliest_start_time: Option<String>,
    task: Option<TaskView>,
    #[serde(skip)]
    earliest: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Part {
    kind: String,
    message: String,
    host: String,
    worker_id: String,
    gpu: String,
    process: Option<ProcessView>,
    task_id: String,
    user: String,
}

impl From<Explanation> for Part {
    fn from(part: Explanation) -> Self {
        let known = ExplanationKind::try_from(part.kind).map(|kind| kind.as_str_name());
        Self {
            kind: enum_name(known.map_err(|_| part.kind), "EXPLANATION_KIND_"),
            message: part.message,
            host: part.host,
            worker_id: part.worker_id,
            gpu: part.gpu,
            process: part.process.as_ref().map(Into::into),
            task_id: part.task_id,
            user: part.user,
        }
    }
}

impl ExplanationView {
    pub fn new(task_id: String, answer: ExplainTaskResponse) -> Self {
        Self {
            task_id,
            summary: answer.summary,
            explanations: answer.explanations.into_iter().map(Into::into).collect(),
            queue_position: answer.queue_position,
            earliest_start_time: time::rfc3339(answer.earliest_start_time.as_ref()),
            task: answer.task.map(Into::into),
            earliest: answer.earliest_start_time,
        }
    }

    /// The sentence, and below it what it is made from.
    pub fn lines(&self, look: Look) -> Vec<String> {
        let mut lines = vec![look.palette.bold(&self.summary)];
        // A single part says what the sentence says.
        if self.explanations.len() > 1 {
            lines.extend(self.explanations.iter().map(|part| format!("  - {}", part.message)));
        }
        lines.extend(self.queue().map(|text| format!("  {text}")));
        lines.extend(self.start(look).map(|text| format!("  {text}")));
        lines
    }

    fn queue(&self) -> Option<String> {
        self.queue_position.map(|before| match before {
            0 => "it is the first in its queue".to_owned(),
            1 => "1 task is before it".to_owned(),
            _ => format!("{before} tasks are before it"),
        })
    }

    /// A time that has come already says nothing about when its turn comes.
    fn start(&self, look: Look) -> Option<String> {
        let is_ahead = |time: &&Timestamp| timestamp_ms(time).is_some_and(|ms| ms > look.now_ms);
        let earliest = self.earliest.as_ref().filter(is_ahead)?;
        let when = time::relative(Some(earliest), look.now_ms);
        Some(format!("it starts {when} at the earliest, if tasks end by their limits"))
    }
}

impl View for ExplanationView {
    const COLUMNS: &'static [&'static str] = &["ID", "WHY"];

    fn id(&self) -> String {
        self.task_id.clone()
    }

    fn row(&self, _: Look) -> Vec<String> {
        vec![self.task_id.clone(), self.summary.clone()]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        vec![("id", self.task_id.clone()), ("why", self.lines(look).join("\n"))]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::style::Palette;
    use asyncflow_proto::time::timestamp;

    #[test]
    fn the_sentence_comes_first_and_parts_only_when_they_say_more() {
        let look = Look { palette: Palette::off(), now_ms: 1_000_000 };
        let part = |message: &str| Explanation {
            kind: ExplanationKind::TooLittleFree.into(),
            message: message.to_owned(),
            ..Explanation::default()
        };
        let mut answer = ExplainTaskResponse {
            summary: "waiting for 4 GPUs on one host: anna has 3 free".to_owned(),
            explanations: vec![part("anna has 3 free")],
            ..ExplainTaskResponse::default()
        };
        let lines = |answer: &ExplainTaskResponse| {
            ExplanationView::new("t-1-x".to_owned(), answer.clone()).lines(look)
        };
        assert_eq!(lines(&answer), [answer.summary.as_str()]);
        answer.explanations.push(part("berta has 1 free"));
        answer.queue_position = Some(3);
        answer.earliest_start_time = Some(timestamp(1_000_000 + 7_200_000));
        assert_eq!(
            lines(&answer)[1..],
            [
                "  - anna has 3 free",
                "  - berta has 1 free",
                "  3 tasks are before it",
                "  it starts in 2h at the earliest, if tasks end by their limits",
            ]
        );
        let mut past = answer.clone();
        past.earliest_start_time = Some(timestamp(999_000));
        assert_eq!(lines(&past).last().unwrap(), "  3 tasks are before it");
        let view = ExplanationView::new("t-1-x".to_owned(), answer);
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(json["explanations"][0]["kind"], "TOO_LITTLE_FREE");
        assert_eq!(json["queue_position"], 3);
    }
}
