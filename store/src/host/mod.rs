//! Hosts: what workers last told of theirs, and what is wanted of them.
//!
//! Reports and the bodies of orders are the caller's bytes: nothing here looks into them.

mod leave;
mod list;
mod orders;
mod report;

use asyncflow_core::host::OrderName;

pub(crate) use leave::{close_drained, left};
pub(crate) use orders::forget;

use crate::worker::WorkerRow;

/// A host, as its worker told of it last.
#[derive(Clone, Debug, PartialEq)]
pub struct HostRow {
    pub worker: WorkerRow,
    /// As it was given to [`crate::Store::report_host`]; `None` before the first.
    pub report: Option<Vec<u8>>,
    pub report_time_ms: Option<i64>,
}

/// Something that is wanted of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostOrder {
    pub name: OrderName,
    pub body: Vec<u8>,
    /// When it was given, or, if that was later, when the host's worker left.
    pub create_time_ms: i64,
}
