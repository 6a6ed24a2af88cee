//! Digests that tell a repeated call from another call: the first 8 bytes of a SHA-256 over the
//! fields, each with its length before it, under the name of what is digested.
//!
//! They are stored: changing what goes in makes replays that cross an upgrade look like other
//! calls.

use sha2::{Digest as _, Sha256};

use crate::{
    create::NewTask,
    event::{HandOver, RetryHint, Settle},
    filter::Filter,
    operation::NewOperation,
    task::{Content, Labels},
    workflow::definition::NewWorkflow,
};

/// The digest of the call that ends an attempt. Never 0, which stands for "not ended by a call".
pub fn settle(settle: &Settle, exit_code: Option<i32>) -> i64 {
    let digest = Fields::of("settle").int(exit_code.map(i64::from));
    let digest = match settle {
        Settle::Complete { result, .. } => {
            let digest = digest.text("complete").int(Some(i64::from(result.is_some())));
            result.iter().fold(digest, Fields::content)
        }
        Settle::Fail { reason, message, hint } => {
            let (kind, wait_ms) = match hint {
                RetryHint::ByPolicy => ("by policy", None),
                RetryHint::AfterMs(wait_ms) => ("after", Some(*wait_ms)),
                RetryHint::Never => ("never", None),
            };
            let digest = digest.text("fail").int(Some(reason.code().into())).text(message);
            digest.text(kind).int(wait_ms)
        }
        Settle::Release { reason, message, delay_ms, hand_over } => {
            let digest = digest.text("release").int(Some(reason.code().into())).text(message);
            let digest = digest.int(Some(*delay_ms));
            // Which host it is depends on who asks, and what most calls do not have is left out.
            match hand_over {
                HandOver { context: None, avoid_host: None } => digest,
                HandOver { context, avoid_host } => {
                    let digest = digest.int(Some(avoid_host.is_some().into()));
                    context.iter().fold(digest, Fields::content)
                }
            }
        }
        Settle::Wait { until, message, or_fail, .. } => {
            let digest = digest.text("wait").text(message);
            let digest = digest.int(Some(i64::from(until.children)));
            let digest = until.signals.iter().fold(digest, |digest, name| digest.text(name));
            or_fail.iter().fold(digest, |digest, failure| {
                digest.int(Some(failure.reason.code().into())).text(&failure.message)
            })
        }
    };
    digest.finish()
}

/// The digest of a request for a task, without its user and request id, which it is looked up by.
pub fn new_task(new: &NewTask) -> i64 {
    let digest = Fields::of("new task")
        .text(new.task_type.as_str())
        .text(&new.name)
        .int(new.priority.map(i64::from))
        .labels(&new.labels)
        .content(&new.payload)
        .content(&new.context)
        .int(new.retry.max_retries.map(i64::from))
        .int(new.retry.interval_ms)
        .int(new.retry.max_interval_ms)
        .int(new.max_running_ms)
        .int(new.not_before_ms);
    // What most requests do not have is left out of their digests, which are stored.
    let digest = match &new.resources {
        Some(resources) => digest.text("resources").text(&resources.to_json()),
        None => digest,
    };
    if new.is_plain() && new.success_if.is_empty() {
        return digest.finish();
    }
    // Texts and lists always encode.
    let conditions = serde_json::to_string(&(&new.after, &new.signals, &new.callbacks));
    digest.text(&new.success_if).text(&conditions.unwrap_or_default()).finish()
}

/// The digest of a request for a workflow, without its user and request id.
pub fn new_workflow(new: &NewWorkflow) -> i64 {
    // Texts, lists and maps with text keys always encode.
    let flow = serde_json::to_string(&new.flow).unwrap_or_default();
    Fields::of("new workflow")
        .text(&new.name)
        .labels(&new.labels)
        .content(&new.input)
        .text(&flow)
        .finish()
}

/// The digest of a request for an operation, without its user and request id.
pub fn new_operation(new: &NewOperation) -> i64 {
    Fields::of("new operation")
        .int(Some(new.kind.code().into()))
        .text(&new.filter)
        .optional_text(new.only_user.as_deref())
        .int(new.changes_max)
        .text(&new.message)
        .int(Some(new.from_start.into()))
        .finish()
}

/// The digest of a request for a schedule, as its server encodes it, without its request id.
pub fn new_schedule(source: &[u8]) -> i64 {
    Fields::of("new schedule").bytes(source).finish()
}

/// The digest of what a page is a page of: the verb and everything that decides which rows follow
/// which. `of` tells apart the lists of one verb that have no filter, e.g. the task's id.
pub fn list(verb: &str, of: &str, filter: &Filter) -> i64 {
    let mut states: Vec<_> = filter.states.clone();
    states.sort_unstable();
    states.dedup();
    let digest = Fields::of("list").text(verb).text(of);
    let digest = digest.int(Some(states.len() as i64));
    let digest = states.iter().fold(digest, |digest, state| digest.int(Some(state.code().into())));
    let labels: Labels = filter.labels.iter().cloned().collect();
    digest
        .optional_text(filter.task_type.as_ref().map(|name| name.as_str()))
        .optional_text(filter.user.as_deref())
        .labels(&labels)
        .int(filter.created_from_ms)
        .int(filter.created_before_ms)
        .finish()
}

/// Fields under digestion; no two sequences of fields give the same bytes.
struct Fields(Sha256);

impl Fields {
    fn of(domain: &str) -> Self {
        Self(Sha256::new()).text("asyncflow/1").text(domain)
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    fn optional_text(self, text: Option<&str>) -> Self {
        let given = self.int(Some(i64::from(text.is_some())));
        given.text(text.unwrap_or_default())
    }

    fn int(mut self, value: Option<i64>) -> Self {
        self.0.update([u8::from(value.is_some())]);
        self.0.update(value.unwrap_or_default().to_be_bytes());
        self
    }

    fn content(self, content: &Content) -> Self {
        self.bytes(&content.data).text(&content.content_type)
    }

    fn labels(self, labels: &Labels) -> Self {
        let start = self.int(Some(labels.len() as i64));
        labels.iter().fold(start, |digest, (key, value)| digest.text(key).text(value))
    }

    /// Never 0.
    fn finish(self) -> i64 {
        match first_8(&self.0.finalize()) {
            0 => 1,
            digest => digest,
        }
    }
}

/// The checksum of a token's bytes.
pub(crate) fn checksum(bytes: &[u8]) -> i64 {
    Fields::of("checksum").bytes(bytes).finish()
}

fn first_8(bytes: &[u8]) -> i64 {
    bytes.iter().take(8).fold(0_u64, |sum, &byte| (sum << 8) | u64::from(byte)) as i64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{filter, reason::FailureReason};

    /// Stored values: they must not change with the code.
    #[test]
    fn digests_are_stable_and_tell_calls_apart() {
        let complete = Settle::complete(None);
        let empty = Settle::complete(Some(Content::default()));
        let fail = |message: &str, hint| Settle::Fail {
            reason: FailureReason::Error,
            message: message.into(),
            hint,
        };
        let release = |hand_over| Settle::Release {
            reason: FailureReason::HandedOver,
            message: String::new(),
            delay_ms: 0,
            hand_over,
        };
        let context = Some(Content::default());
        let avoid_host = Some("a".to_owned());
        let digests = [
            settle(&Settle::release(FailureReason::Drained, "", 0), None),
            settle(&release(HandOver::default()), None),
            settle(&release(HandOver { context: context.clone(), avoid_host: None }), None),
            settle(&release(HandOver { context: None, avoid_host: avoid_host.clone() }), None),
            settle(&release(HandOver { context, avoid_host }), None),
            settle(&complete, None),
            settle(&complete, Some(0)),
            settle(&empty, None),
            settle(&fail("a", RetryHint::ByPolicy), Some(1)),
            settle(&fail("b", RetryHint::ByPolicy), Some(1)),
            settle(&fail("a", RetryHint::Never), Some(1)),
            settle(&fail("a", RetryHint::AfterMs(0)), Some(1)),
        ];
        let distinct: std::collections::HashSet<_> = digests.into_iter().collect();
        assert_eq!(distinct.len(), digests.len());
        assert_eq!(digests[5], STABLE_COMPLETE);
        assert_eq!(digests[0], STABLE_RELEASE);
    }

    #[test]
    fn a_list_is_known_by_everything_that_it_asks_for() {
        let read = |text: &str| list("ListTasks", "", &filter::parse(text).unwrap());
        let texts = [
            "",
            "state = RUNNING",
            "state = RUNNING OR state = PENDING",
            "user = a",
            "user = b",
            "task_type = a",
            "labels.a = b",
            "labels.a = c",
            "create_time >= \"2026-01-01T00:00:00Z\"",
            "create_time < \"2026-01-01T00:00:00Z\"",
        ];
        let digests: std::collections::HashSet<_> = texts.map(read).into_iter().collect();
        assert_eq!(digests.len(), texts.len());
        assert_eq!(
            read("state = PENDING OR state = RUNNING AND user = a"),
            read("user = a AND (state = RUNNING OR state = PENDING)"),
        );
        let other = list("ListAttempts", "", &Filter::default());
        assert_ne!(read(""), other);
    }

    const STABLE_RELEASE: i64 = 7_200_705_698_149_952_102;
    const STABLE_COMPLETE: i64 = -61_595_967_560_578_535;
}
