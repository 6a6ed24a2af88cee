//! What is drawn, and which lines show it.

use crate::DatabaseKind;
use serde_json::Value;

/// A setting, and its value as JSON writes it.
type Setting = (&'static str, &'static str);

/// Settings of everything that is drawn; other lines show what something else costs.
const PLAIN: [Setting; 5] = [
    ("broker", "[]"),
    ("brokers", "1"),
    ("redis", "false"),
    ("payload_bytes", "256"),
    ("context_bytes", "0"),
];

/// A measurement that is drawn.
pub struct Panel {
    pub title: &'static str,
    /// How it was made, and its unit.
    pub about: &'static str,
    scenario: &'static str,
    /// What a line of the scenario must have been made with, beside [`PLAIN`].
    settings: &'static [Setting],
    pub field: &'static str,
}

const START: &[Setting] = &[("rate", "200.0"), ("urgent", "0")];

pub const PANELS: [Panel; 8] = [
    Panel {
        title: "CreateTask",
        about: "256 in flight; tasks/s",
        scenario: "create",
        settings: &[("in_flight", "256"), ("rate", "null")],
        field: "per_second",
    },
    Panel {
        title: "BatchCreateTasks",
        about: "of 500, 4 in flight; tasks/s",
        scenario: "batch",
        settings: &[("batch", "500"), ("in_flight", "4")],
        field: "per_second",
    },
    Panel {
        title: "StreamCreateTasks",
        about: "4 streams; tasks/s",
        scenario: "stream",
        settings: &[("streams", "4")],
        field: "per_second",
    },
    Panel {
        title: "Drain",
        about: "4 workers of 250 slots; tasks/s",
        scenario: "drain",
        settings: &[("by", "\"sdk\""), ("workers", "4"), ("slots", "250")],
        field: "per_second",
    },
    Panel {
        title: "Drain of 1 type",
        about: "as many workers; tasks/s",
        scenario: "types",
        settings: &[("types", "1"), ("by", "\"sdk\""), ("workers", "4"), ("slots", "250")],
        field: "per_second",
    },
    Panel {
        title: "Drain of 100 types",
        about: "as many workers; tasks/s",
        scenario: "types",
        settings: &[("types", "100"), ("by", "\"sdk\""), ("workers", "4"), ("slots", "250")],
        field: "per_second",
    },
    Panel {
        title: "Create to handler, p50",
        about: "200 tasks/s; ms",
        scenario: "start",
        settings: START,
        field: "p50_ms",
    },
    Panel {
        title: "Create to handler, p99",
        about: "200 tasks/s; ms",
        scenario: "start",
        settings: START,
        field: "p99_ms",
    },
];

impl Panel {
    /// Its line of a database; the last one, as it may have been measured again.
    pub fn find<'a>(&self, lines: &'a [Value], kind: DatabaseKind) -> Option<&'a Value> {
        let is =
            |found: &Value, value| serde_json::from_str(value).is_ok_and(|v: Value| v == *found);
        let fits = |line: &&Value| {
            let mut settings = PLAIN.iter().chain(self.settings);
            line["scenario"] == self.scenario
                && line["database"] == kind.name()
                && settings.all(|(key, value)| is(&line["settings"][*key], value))
        };
        lines.iter().rev().find(fits)
    }
}
