//! From the flags of lists to the protocol's filter.

use crate::{error::CliError, task::spec::Pair, time, view::task::state_name};
use asyncflow_proto::v1::TaskState;
use prost_types::Timestamp;

/// States as people type them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State(pub TaskState);

impl State {
    /// Reads a state in any case.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = format!("TASK_STATE_{}", text.to_ascii_uppercase());
        TaskState::from_str_name(&name)
            .filter(|state| *state != TaskState::Unspecified)
            .map(Self)
            .ok_or_else(|| format!("it must be one of {}", Self::names()))
    }

    fn names() -> String {
        let names: Vec<String> = (1..=9).map(|state| state_name(state).to_lowercase()).collect();
        names.join(", ")
    }
}

/// Flags that choose tasks.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Filter")]
pub struct FilterArgs {
    /// Only in this state; may be repeated
    #[arg(long = "state", short = 's', value_name = "STATE", value_parser = State::parse)]
    states: Vec<State>,
    /// Only of this type
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    task_type: Option<String>,
    /// Only of this user
    #[arg(long, short = 'u')]
    user: Option<String>,
    /// Only with this label; may be repeated
    #[arg(long = "label", short = 'l', value_name = "KEY=VALUE", value_parser = Pair::parse)]
    labels: Vec<Pair>,
    /// A filter in the server's language, joined with the others by AND
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
}

/// Flags that choose tasks by the time of their creation.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Filter")]
pub struct CreatedArgs {
    /// Only created at or after: RFC 3339, or a span back from now such as 2h
    #[arg(long, value_name = "TIME", value_parser = parse_back)]
    since: Option<Timestamp>,
    /// Only created before: RFC 3339, or a span back from now such as 2h
    #[arg(long, value_name = "TIME", value_parser = parse_back)]
    until: Option<Timestamp>,
}

impl FilterArgs {
    pub fn is_empty(&self) -> bool {
        self.text(&CreatedArgs::default()).is_empty()
    }

    /// The whole filter; empty when nothing was asked for.
    pub fn text(&self, created: &CreatedArgs) -> String {
        let mut parts = Vec::new();
        if !self.states.is_empty() {
            let states: Vec<String> = self
                .states
                .iter()
                .map(|state| format!("state = {}", state_name(state.0.into())))
                .collect();
            parts.push(format!("({})", states.join(" OR ")));
        }
        let equal = |field: &str, value: &str| format!("{field} = {}", quoted(value));
        parts.extend(self.task_type.iter().map(|name| equal("task_type", name)));
        parts.extend(self.user.iter().map(|user| equal("user", user)));
        let labels = self.labels.iter();
        parts.extend(labels.map(|label| equal(&format!("labels.{}", label.key), &label.value)));
        parts.extend(created.since.iter().map(|at| format!("create_time >= \"{at}\"")));
        parts.extend(created.until.iter().map(|at| format!("create_time < \"{at}\"")));
        parts.extend(self.filter.clone());
        parts.join(" AND ")
    }
}

/// A value in quotes, whatever it holds.
pub fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\""))
}

/// Reads an RFC 3339 time, or a span back from now.
pub fn parse_back(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = time::parse_time(text) {
        return Ok(time);
    }
    let span = time::parse_span(text).map_err(|_| {
        "write it as RFC 3339, e.g. 2026-01-31T18:00:00Z, or as a span back from now, e.g. 2h"
            .to_owned()
    })?;
    Ok(time::before_now(&span))
}

/// So many are asked for: one more than are shown tells that there are more. `--limit 0` means all.
pub fn limit(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit.saturating_add(1) }
}

/// The page to ask for when `wanted` more are wanted, at most 1,000.
pub fn page_size(wanted: usize) -> Result<i32, CliError> {
    i32::try_from(wanted.clamp(1, 1_000)).map_err(|error| CliError::Usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn flags_become_one_filter_and_values_stay_values() {
        let args = FilterArgs {
            states: vec![State::parse("running").unwrap(), State::parse("FAILED").unwrap()],
            task_type: Some("train".into()),
            user: Some("o\"x\\ OR state = RUNNING".into()),
            labels: vec![Pair::parse("team=vision lab").unwrap()],
            filter: None,
        };
        let since = time::parse_time("2026-01-01T00:00:00Z").unwrap();
        let created = CreatedArgs { since: Some(since), until: None };
        assert_eq!(
            args.text(&created),
            "(state = RUNNING OR state = FAILED) AND task_type = \"train\" \
             AND user = \"o\\\"x\\\\ OR state = RUNNING\" AND labels.team = \"vision lab\" \
             AND create_time >= \"2026-01-01T00:00:00Z\""
        );
        assert!(FilterArgs::default().is_empty());
    }

    #[test]
    fn an_unknown_state_is_answered_with_all_states() {
        let error = State::parse("done").unwrap_err();
        assert!(error.contains("succeeded") && error.contains("pending"), "{error}");
        assert!(State::parse("unspecified").is_err());
    }
}
