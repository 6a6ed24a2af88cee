//! The habits of this repository, kept by a test: sizes, leftovers, names, and above all who may
//! import what. `docs/ARCHITECTURE.md` says why; the messages here say where.
//!
//! Each rule is a plain function from sources to violations, and each is shown to fail on a small
//! bad sample beside it. There is no list of exceptions: an offender is repaired, not listed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod edges;
mod leftovers;
mod links;
mod manifests;
mod sizes;
mod source;
mod verbs;

use std::path::PathBuf;

use source::{SourceFile, Violation};

/// Fails with every violation at once, one a line.
fn assert_tidy(violations: Vec<Violation>) {
    assert!(
        violations.is_empty(),
        "{} violations:\n{}",
        violations.len(),
        violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    );
}

fn assert_each(rule: impl Fn(&SourceFile) -> Vec<Violation>) {
    assert_tidy(source::repository().iter().flat_map(rule).collect());
}

#[test]
fn files_functions_and_lines_are_short() {
    assert_each(sizes::check);
}

#[test]
fn no_bucket_modules() {
    assert_each(sizes::check_names);
}

#[test]
fn no_leftovers() {
    assert_each(leftovers::check);
}

#[test]
fn no_panics_and_no_unsafe_outside_their_places() {
    assert_each(leftovers::check_panics);
}

#[test]
fn clocks_are_read_in_clock_modules_only() {
    assert_each(edges::check_clocks);
}

#[test]
fn the_core_is_pure() {
    assert_each(edges::check_core);
}

#[test]
fn sql_stays_in_the_store() {
    assert_each(edges::check_sql);
}

#[test]
fn redis_stays_behind_locks_and_wakes() {
    assert_each(edges::check_redis);
}

#[test]
fn a_status_is_built_in_one_file_of_a_crate() {
    assert_tidy(edges::check_status(source::repository()));
}

#[test]
fn the_client_half_of_the_cli_knows_only_the_protocol() {
    assert_each(edges::check_cli);
}

#[test]
fn crates_import_only_what_they_may() {
    assert_tidy(manifests::check(&manifests::repository()));
}

#[test]
fn every_crate_has_its_place_in_the_layers() {
    assert_tidy(manifests::check_members(&manifests::members()));
}

#[test]
fn links_lead_somewhere() {
    assert_tidy(links::repository().iter().flat_map(|(p, text)| links::check(p, text)).collect());
}

#[test]
fn tests_that_pages_name_are_there() {
    let names = links::names(source::repository());
    let check = |(page, text): &(PathBuf, String)| links::check_tests(page, text, &names);
    assert_tidy(links::repository().iter().flat_map(check).collect());
}

#[test]
fn every_verb_is_called_by_a_test() {
    assert_tidy(verbs::check(source::repository()));
}
