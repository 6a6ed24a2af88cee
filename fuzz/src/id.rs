//! An id that is read is printed as it was: there is one text for each, and no alias.

use std::fmt::Display;

use asyncflow_core::{
    etag,
    id::{OperationId, ScheduleId, TaskId, TypeName, WorkflowId},
    schedule::action::Run,
};

/// Reads a text as each of them.
pub fn check(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    let is = [
        same(text, text.parse::<TaskId>().ok()),
        same(text, text.parse::<WorkflowId>().ok()),
        same(text, text.parse::<OperationId>().ok()),
        same(text, text.parse::<ScheduleId>().ok()),
    ];
    let kinds = is.iter().filter(|is| **is).count();
    assert!(kinds <= 1, "{text:?} is {kinds} things at once");
    let is_run = same(text, text.parse::<Run>().ok());
    assert_eq!(is_run, is[0] || is[1], "{text:?} as what a schedule has made");
    if same(text, TypeName::new(text).ok()) {
        assert_eq!(kinds, 0, "{text:?} is the name of a type too");
    }
    same(text, etag::parse(text).map(etag::of));
}

fn same(text: &str, read: Option<impl Display>) -> bool {
    let printed = read.map(|id| id.to_string());
    if let Some(printed) = &printed {
        assert_eq!(printed, text);
    }
    printed.is_some()
}
