//! For the fuzz targets: the readers of what programs, shims and former workers have written.

pub use crate::{
    events::{
        Event, LINE_BYTES_MAX, Line, LineSplitter, PROBLEM_BYTES_MAX, is_about_waiting, parse,
    },
    journal::entry::{KINDS, decode, encode},
    shim::{ExitRecord, Order, ShimRecord},
};
