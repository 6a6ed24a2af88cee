//! One verb, one file, one test of that name.

use crate::source::{SourceFile, Violation};

const VERBS: &str = "broker/src/rpc/task/";
const TESTS: &str = "tests/tests/it/";

pub fn check(files: &[SourceFile]) -> Vec<Violation> {
    let tested = |verb: &str| {
        let (file, folder) =
            (format!("{TESTS}{verb}"), format!("{TESTS}{}/", verb.replace(".rs", "")));
        files.iter().any(|other| other.path == file || other.path.starts_with(&folder))
    };
    let verbs = files.iter().filter_map(|file| Some((file, file.path.strip_prefix(VERBS)?)));
    verbs
        .filter(|(_, verb)| *verb != "mod.rs" && !tested(verb))
        .map(|(file, verb)| file.violation(1, format!("there is no {TESTS}{verb}")))
        .collect()
}

#[test]
fn finds_a_verb_without_a_test() {
    let count = |paths: &[&str]| {
        let files: Vec<_> = paths.iter().map(|path| SourceFile::parse(path, "")).collect();
        check(&files).len()
    };
    assert_eq!(count(&["broker/src/rpc/task/get_task.rs"]), 1);
    assert_eq!(count(&["broker/src/rpc/task/get_task.rs", "tests/tests/it/get_task.rs"]), 0);
    assert_eq!(count(&["broker/src/rpc/task/mod.rs"]), 0);
}
