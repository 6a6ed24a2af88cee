//! Who may name what: the dependency rules that a manifest alone cannot keep.

use std::collections::BTreeMap;

use crate::source::{SourceFile, Violation};

fn forbid(file: &SourceFile, patterns: &[&[&str]], message: &str) -> Vec<Violation> {
    let lines = patterns.iter().flat_map(|pattern| file.find(pattern, false));
    lines.map(|line| file.violation(line, message)).collect()
}

/// Times that decide anything come from the database; the rest goes through one module of a crate.
pub fn check_clocks(file: &SourceFile) -> Vec<Violation> {
    if file.path.ends_with("/clock.rs") {
        return Vec::new();
    }
    let now = |clock| [clock, ":", ":", "now"];
    let clocks = [now("SystemTime"), now("Instant"), now("Utc"), now("Local")];
    let patterns: Vec<&[&str]> = clocks.iter().map(|pattern| &pattern[..]).collect();
    forbid(file, &patterns, "a clock is read outside clock.rs")
}

/// The domain decides; it never does. What it may import from others is in `manifests.rs`.
pub fn check_core(file: &SourceFile) -> Vec<Violation> {
    if !file.path.starts_with("core/src/") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for module in ["fs", "net", "process", "thread", "env", "io", "os"] {
        found.extend(forbid(file, &[&["std", ":", ":", module]], "the core does no IO"));
    }
    for name in ["SystemTime", "Instant", "async", "println", "eprintln"] {
        found.extend(forbid(file, &[&[name]], "the core has no clock, no IO and is synchronous"));
    }
    found
}

pub fn check_sql(file: &SourceFile) -> Vec<Violation> {
    let at_home = ["store/", "migrations/"].iter().any(|home| file.path.starts_with(home));
    if at_home || !file.is_rust() {
        return Vec::new();
    }
    let statement = |text: &str| {
        let text = text.trim_start_matches(['r', 'b', '#', '"']).trim_start();
        ["SELECT ", "INSERT INTO ", "DELETE FROM ", "CREATE TABLE ", "ALTER TABLE ", "DROP TABLE "]
            .iter()
            .any(|start| text.starts_with(start))
            || (text.starts_with("UPDATE ") && text.contains(" SET "))
    };
    let literals = file.tokens.iter().filter(|token| !token.in_test && token.text.contains('"'));
    let statements = literals.filter(|token| statement(&token.text));
    let mut found: Vec<_> =
        statements.map(|token| file.violation(token.line, "SQL outside the store")).collect();
    for name in ["sea_orm", "sea_query", "sqlx"] {
        found.extend(forbid(file, &[&[name, ":", ":"]], "the database belongs to the store"));
    }
    found
}

/// Redis makes things faster and is never needed, so nobody else may come to need it.
pub fn check_redis(file: &SourceFile) -> Vec<Violation> {
    let at_home = ["store/src/lock", "store/src/wake"].iter().any(|p| file.path.starts_with(p));
    let message = "a Redis type outside store/src/{lock,wake}";
    if at_home { Vec::new() } else { forbid(file, &[&["deadpool_redis"]], message) }
}

const STATUS_CONSTRUCTORS: [&str; 21] = [
    "new",
    "with_details",
    "with_metadata",
    "with_details_and_metadata",
    "with_error_details",
    "with_error_details_vec",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "unauthenticated",
];

/// The crates that answer calls.
const SERVICES: [&str; 4] = ["service", "broker", "governor", "worker"];

/// Errors are mapped to gRPC once, so that each has one code and one reason everywhere.
pub fn check_status(files: &[SourceFile]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut homes: BTreeMap<&str, Vec<&SourceFile>> = BTreeMap::new();
    for file in files.iter().filter(|file| SERVICES.contains(&file.crate_folder())) {
        let mut lines = Vec::new();
        for name in STATUS_CONSTRUCTORS {
            lines.extend(file.find(&["Status", ":", ":", name], false));
        }
        if file.path.ends_with("/status.rs") {
            homes.entry(file.crate_folder()).or_default().push(file);
            continue;
        }
        found.extend(lines.iter().map(|line| file.violation(*line, "a Status outside status.rs")));
    }
    for second in homes.values().flat_map(|files| &files[1..]) {
        found.push(second.violation(1, "a second status.rs in one crate"));
    }
    found
}

/// Which files of the CLI embed the servers; all others are a client like any other.
const CLI_SERVERS: [&str; 3] = ["cli/src/dev", "cli/src/serve", "cli/src/main.rs"];

pub fn check_cli(file: &SourceFile) -> Vec<Violation> {
    let server = CLI_SERVERS.iter().any(|start| file.path.starts_with(start));
    if !file.path.starts_with("cli/src/") || server {
        return Vec::new();
    }
    let crates = ["broker", "governor", "worker", "store", "core"];
    let names = crates.map(|name| format!("asyncflow_{name}"));
    let message = "the client half of the CLI knows the protocol only";
    names.iter().flat_map(|name| forbid(file, &[&[name.as_str()]], message)).collect()
}

#[cfg(test)]
mod samples {
    use super::*;

    fn sample(path: &str, text: &str) -> SourceFile {
        SourceFile::parse(path, text)
    }

    #[test]
    fn finds_clocks() {
        let count = |path, text| check_clocks(&sample(path, text)).len();
        assert_eq!(count("worker/src/a.rs", "fn f() { std::time::Instant::now(); }"), 1);
        assert_eq!(count("worker/src/a.rs", "fn f() { SystemTime::now(); }"), 1);
        assert_eq!(count("worker/src/clock.rs", "fn f() { SystemTime::now(); }"), 0);
    }

    #[test]
    fn finds_io_in_the_core() {
        let count = |path, text| check_core(&sample(path, text)).len();
        assert_eq!(count("core/src/a.rs", "fn f() { std::fs::read(\"x\"); }"), 1);
        assert_eq!(count("core/src/a.rs", "async fn f() {}"), 1);
        assert_eq!(count("core/src/a.rs", "use std::time::SystemTime;"), 1);
        assert_eq!(count("core/src/a.rs", "use std::time::Duration;"), 0);
        assert_eq!(count("store/src/a.rs", "async fn f() {}"), 0);
    }

    #[test]
    fn finds_sql() {
        let count = |path, text| check_sql(&sample(path, text)).len();
        assert_eq!(count("broker/src/a.rs", "const A: &str = \"SELECT 1 FROM t\";"), 1);
        assert_eq!(count("broker/src/a.rs", "const A: &str = r#\"UPDATE t SET a = 1\"#;"), 1);
        assert_eq!(count("broker/src/a.rs", "use sea_orm::DbErr;"), 1);
        assert_eq!(count("broker/src/a.rs", "const A: &str = \"UPDATE the docs\";"), 0);
        assert_eq!(count("store/src/a.rs", "const A: &str = \"SELECT 1 FROM t\";"), 0);
    }

    #[test]
    fn finds_redis() {
        let count = |path| check_redis(&sample(path, "use deadpool_redis::Pool;")).len();
        assert_eq!(count("broker/src/a.rs"), 1);
        assert_eq!(count("store/src/options.rs"), 1);
        assert_eq!(count("store/src/lock/redis.rs"), 0);
    }

    #[test]
    fn finds_statuses() {
        let status = "fn f() -> Status { tonic::Status::not_found(\"x\") }";
        let count = |paths: &[&str]| {
            let files: Vec<_> = paths.iter().map(|path| sample(path, status)).collect();
            check_status(&files).len()
        };
        assert_eq!(count(&["broker/src/rpc/get.rs"]), 1);
        assert_eq!(count(&["broker/src/status.rs"]), 0);
        assert_eq!(count(&["broker/src/status.rs", "governor/src/status.rs"]), 0);
        assert_eq!(count(&["broker/src/status.rs", "broker/src/rpc/status.rs"]), 1);
    }

    #[test]
    fn finds_a_cli_that_knows_too_much() {
        let count = |path, text| check_cli(&sample(path, text)).len();
        assert_eq!(count("cli/src/task/get.rs", "use asyncflow_store::Store;"), 1);
        assert_eq!(count("cli/src/task/get.rs", "use asyncflow_sdk::Client;"), 0);
        assert_eq!(count("cli/src/dev.rs", "use asyncflow_broker::run;"), 0);
    }
}
