//! One verb, one file, and a test that calls it over a real connection.

use crate::source::{SourceFile, Violation};

const VERBS: &str = "broker/src/rpc/";
const TESTS: [&str; 2] = ["broker/tests/", "tests/tests/system/"];

pub fn check(files: &[SourceFile]) -> Vec<Violation> {
    let is_test = |file: &&SourceFile| TESTS.iter().any(|folder| file.path.starts_with(folder));
    let called = |verb: &str| {
        let called_in = |file: &SourceFile| !file.find(&[".", verb, "("], true).is_empty();
        files.iter().filter(is_test).any(called_in)
    };
    let mut found = Vec::new();
    for file in files {
        // `rpc/<noun>/<verb>.rs`; what lies beside the nouns are the services.
        let Some((_, verb)) = file.path.strip_prefix(VERBS).and_then(|path| path.split_once('/'))
        else {
            continue;
        };
        let verb = verb.trim_end_matches(".rs");
        if !called(verb) {
            found.push(
                file.violation(1, format!("no test below {} calls {verb}", TESTS.join(", "))),
            );
        }
    }
    found
}

#[test]
fn finds_a_verb_that_no_test_calls() {
    let verb = SourceFile::parse("broker/src/rpc/task/get_task.rs", "fn get_task() {}");
    let service = SourceFile::parse("broker/src/rpc/broker_service.rs", "fn f() { x.get_task(1) }");
    let test = SourceFile::parse("tests/tests/system/a.rs", "fn f() { broker.get_task(1); }");
    assert_eq!(check(&[verb, service]).len(), 1);
    let verb = SourceFile::parse("broker/src/rpc/task/get_task.rs", "fn get_task() {}");
    assert_eq!(check(&[verb, test]).len(), 0);
}
