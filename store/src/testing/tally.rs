//! What tests have done to processes and their connections, in one file for all of them.

use std::{fs::OpenOptions, io::Write};

/// Names the file; without it nothing is written.
const VARIABLE: &str = "ASYNCFLOW_TEST_TALLY";

/// Adds a line: one fault, by its kind. `sort FILE | uniq -c` counts.
///
/// # Panics
/// When it cannot be written: a count that is too small would be a lie.
pub fn tally(fault: &str) {
    let Some(file) = std::env::var_os(VARIABLE) else { return };
    let open = OpenOptions::new().append(true).create(true).open(file);
    let written = open.and_then(|mut file| file.write_all(format!("{fault}\n").as_bytes()));
    written.unwrap_or_else(|error| panic!("{VARIABLE}: {error}"));
}
