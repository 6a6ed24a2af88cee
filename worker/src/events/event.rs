//! One line → one event.

use std::{collections::BTreeMap, time::Duration};

use asyncflow_sdk::{
    v1::{Content, WaitFor},
    worker::HandOver,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

const STAGE_BYTES_MAX: usize = 64;
const CONTENT_TYPE_BYTES_MAX: usize = 128;
const METRICS_MAX: usize = 32;
/// What is said of a bad line, which may be 64 KiB of an event's made-up name.
pub const PROBLEM_BYTES_MAX: usize = 512;
/// A broker refuses a longer wait, and the attempt would end without a reason.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a line asks for.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// Save stage, context, or both together.
    Save {
        /// The stage that is done.
        stage: Option<String>,
        /// The new context.
        context: Option<Content>,
    },
    /// Percent and message.
    Progress(Option<f64>, Option<String>),
    /// Latest values.
    Metrics(BTreeMap<String, f64>),
    /// What is recorded if the program exits with 0.
    Result(Content),
    /// What it waits for if the program exits with 85.
    Wait(WaitFor),
    /// It gives itself away when the program exits.
    HandOver(HandOver),
    /// Why it fails, if it then does.
    Failure(FailureNote),
}

/// What a program says of its own failure; the exit code says whether it has failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FailureNote {
    /// For people; may be empty.
    pub message: String,
    /// Wait at least this long before the next attempt.
    pub retry_after: Option<Duration>,
}

impl Event {
    /// Whether it changes only what this process knows, which the next one has to be told again.
    pub fn is_only_remembered(&self) -> bool {
        !matches!(self, Self::Save { .. } | Self::Progress(..) | Self::Metrics(_))
    }
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Wire {
    Stage {
        stage: String,
    },
    Progress {
        percent: Option<f64>,
        message: Option<String>,
    },
    Metrics {
        values: BTreeMap<String, f64>,
    },
    Context(WireContent),
    Result(WireContent),
    Wait {
        #[serde(default)]
        children: bool,
        #[serde(default)]
        signals: Vec<String>,
    },
    #[serde(rename = "hand_over")]
    HandOver(WireHandOver),
    Failure {
        #[serde(default)]
        message: String,
        retry_after_s: Option<f64>,
    },
}

#[derive(Deserialize)]
struct WireHandOver {
    #[serde(flatten)]
    content: WireContent,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct WireContent {
    /// `null` is data too.
    #[serde(default, deserialize_with = "present")]
    data: Option<Value>,
    base64: Option<String>,
    content_type: Option<String>,
    stage: Option<String>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Whether it is a line about waiting, right or wrong.
pub fn is_about_waiting(line: &[u8]) -> bool {
    let line: Option<Value> = serde_json::from_slice(line).ok();
    line.is_some_and(|line| line["event"] == "wait")
}

/// `None` for an empty line.
///
/// # Errors
/// What is wrong with the line, for people: a line of at most [`PROBLEM_BYTES_MAX`] bytes.
pub fn parse(line: &[u8]) -> Result<Option<Event>, String> {
    read(line).map_err(|problem| {
        let end = problem.floor_char_boundary(PROBLEM_BYTES_MAX);
        problem[..end].replace(char::is_control, " ")
    })
}

fn read(line: &[u8]) -> Result<Option<Event>, String> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let wire: Wire = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let event = match wire {
        Wire::Stage { stage } => Event::Save { stage: Some(checked_stage(stage)?), context: None },
        Wire::Progress { percent, message } => {
            if percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
                return Err("percent must be 0 to 100".to_owned());
            }
            Event::Progress(percent, message)
        }
        Wire::Metrics { values } => {
            if values.is_empty() || values.len() > METRICS_MAX {
                return Err(format!("values must have 1 to {METRICS_MAX} entries"));
            }
            Event::Metrics(values)
        }
        Wire::Context(content) => {
            let stage = content.stage.clone().map(checked_stage).transpose()?;
            Event::Save { stage, context: Some(content_of(content)?) }
        }
        Wire::Result(content) => Event::Result(content_of(content)?),
        Wire::Wait { children, signals } if !children && signals.is_empty() => {
            return Err("it needs signals or children to wait for".to_owned());
        }
        Wire::HandOver(WireHandOver { content, message }) => {
            let given = content.data.is_some() || content.base64.is_some();
            let context = given.then(|| content_of(content)).transpose()?;
            Event::HandOver(HandOver { context, message })
        }
        Wire::Wait { children, signals } => Event::Wait(WaitFor { children, signals }),
        Wire::Failure { message, retry_after_s } => {
            let retry_after = retry_after_s.map(checked_wait).transpose()?;
            Event::Failure(FailureNote { message, retry_after })
        }
    };
    Ok(Some(event))
}

fn checked_wait(seconds: f64) -> Result<Duration, String> {
    let wait = Duration::try_from_secs_f64(seconds).ok().filter(|wait| *wait <= RETRY_AFTER_MAX);
    wait.ok_or_else(|| format!("retry_after_s must be 0 to {}", RETRY_AFTER_MAX.as_secs()))
}

fn checked_stage(stage: String) -> Result<String, String> {
    if stage.is_empty() || stage.len() > STAGE_BYTES_MAX || stage.contains(char::is_control) {
        return Err(format!("stage must be a line of 1 to {STAGE_BYTES_MAX} bytes"));
    }
    Ok(stage)
}

fn content_of(wire: WireContent) -> Result<Content, String> {
    let (data, default_type) = match (wire.data, wire.base64) {
        (Some(data), None) => (data.to_string().into_bytes(), "application/json"),
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text).map_err(|error| format!("base64: {error}"))?;
            (bytes, "")
        }
        _ => return Err("it needs either data or base64".to_owned()),
    };
    let content_type = wire.content_type.unwrap_or_else(|| default_type.to_owned());
    // A broker refuses such a result as a whole, and the attempt would end without one.
    if content_type.len() > CONTENT_TYPE_BYTES_MAX || content_type.contains(char::is_control) {
        let most = CONTENT_TYPE_BYTES_MAX;
        return Err(format!("content_type must be a line of at most {most} bytes"));
    }
    Ok(Content { data: data.into(), content_type })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use std::time::Duration;

    use super::{Content, Event, FailureNote, HandOver, parse};

    fn content(data: &'static str, content_type: &str) -> Content {
        Content { data: data.into(), content_type: content_type.to_owned() }
    }

    #[test]
    fn every_event_of_the_protocol_is_understood() {
        for (line, expected) in [
            (
                r#"{"event":"stage","stage":"train"}"#,
                Event::Save { stage: Some("train".to_owned()), context: None },
            ),
            (
                r#"{"event":"progress","percent":12.5,"message":"epoch 3/30"}"#,
                Event::Progress(Some(12.5), Some("epoch 3/30".to_owned())),
            ),
            (
                r#"{"event":"metrics","values":{"loss":0.3}}"#,
                Event::Metrics([("loss".to_owned(), 0.3)].into()),
            ),
            (
                r#"{"event":"context","data":{"epoch":3},"stage":"train"}"#,
                Event::Save {
                    stage: Some("train".to_owned()),
                    context: Some(content(r#"{"epoch":3}"#, "application/json")),
                },
            ),
            (
                r#"{"event":"context","data":null}"#,
                Event::Save { stage: None, context: Some(content("null", "application/json")) },
            ),
            (
                r#"{"event":"result","base64":"aGk=","content_type":"text/plain"}"#,
                Event::Result(content("hi", "text/plain")),
            ),
        ] {
            assert_eq!(parse(line.as_bytes()).unwrap(), Some(expected), "{line}");
        }
        assert_eq!(parse(b"  \r").unwrap(), None);
        for (line, message, wait_ms) in [
            (r#"{"event":"failure","message":"bad data"}"#, "bad data", None),
            (r#"{"event":"failure","message":"busy","retry_after_s":2.5}"#, "busy", Some(2500)),
            (r#"{"event":"failure","retry_after_s":0}"#, "", Some(0)),
        ] {
            let retry_after = wait_ms.map(Duration::from_millis);
            let note = FailureNote { message: message.to_owned(), retry_after };
            assert_eq!(parse(line.as_bytes()).unwrap(), Some(Event::Failure(note)), "{line}");
        }
        let given = |context, message: &str| {
            Some(Event::HandOver(HandOver { context, message: message.to_owned() }))
        };
        for (line, expected) in [
            (r#"{"event":"hand_over"}"#, given(None, "")),
            (
                r#"{"event":"hand_over","data":{"offset":100000},"message":"full"}"#,
                given(Some(content(r#"{"offset":100000}"#, "application/json")), "full"),
            ),
            (r#"{"event":"hand_over","base64":"aGk="}"#, given(Some(content("hi", "")), "")),
        ] {
            assert_eq!(parse(line.as_bytes()).unwrap(), expected, "{line}");
        }
    }

    /// They go into the SYSTEM log of the task, and as the reason of a failure into its row.
    #[test]
    fn what_is_said_of_a_bad_line_is_one_short_line() {
        let event = format!(r#"{{"event":"dance\nof {}"}}"#, "x".repeat(60_000));
        let problem = parse(event.as_bytes()).unwrap_err();
        assert!(problem.starts_with("unknown variant `dance of xxx"), "{problem}");
        assert!(problem.len() <= super::PROBLEM_BYTES_MAX, "{} bytes", problem.len());
        assert!(!problem.contains(char::is_control), "{problem}");
    }

    #[test]
    fn bad_lines_are_errors() {
        let deep = format!(r#"{{"event":"result","data":{}"#, "[".repeat(100_000));
        for line in [
            &b"\xff\xfe\x00"[..],
            b"{\"event\":\"stage\",\"stage\":\"tr",
            b"{\"event\":\"stage\",\"stage\":\"\"}",
            b"{\"event\":\"unknown\"}",
            b"{\"event\":\"progress\",\"percent\":101}",
            b"{\"event\":\"progress\",\"percent\":\"half\"}",
            b"{\"event\":\"metrics\",\"values\":{}}",
            b"{\"event\":\"stage\",\"stage\":\"a\\nb\"}",
            b"{\"event\":\"result\",\"data\":1,\"content_type\":\"a\\nb\"}",
            b"{\"event\":\"result\"}",
            b"{\"event\":\"hand_over\",\"data\":1,\"base64\":\"aGk=\"}",
            b"{\"event\":\"result\",\"data\":1,\"base64\":\"aGk=\"}",
            b"{\"event\":\"result\",\"base64\":\"???\"}",
            b"{\"event\":\"failure\",\"retry_after_s\":-1}",
            b"{\"event\":\"failure\",\"retry_after_s\":1e300}",
            b"{\"event\":\"failure\",\"message\":7}",
            b"[]",
            deep.as_bytes(),
        ] {
            assert!(
                parse(line).is_err(),
                "{:?}",
                String::from_utf8_lossy(&line[..20.min(line.len())])
            );
        }
    }
}
