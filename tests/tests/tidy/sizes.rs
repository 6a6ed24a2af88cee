//! Sizes, and names that say nothing.

use crate::source::{SourceFile, Violation};

const FILE_LINES_MAX: usize = 500;
/// A service of the protocol is a list, and its messages may not move to another file.
const PROTO_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 100;

/// A module of such a name is where things go that nobody has thought about.
const BUCKETS: [&str; 8] =
    ["common", "util", "utils", "misc", "types", "helper", "helpers", "shared"];

pub fn check(file: &SourceFile) -> Vec<Violation> {
    let mut found = Vec::new();
    let lines = file.text.lines().count();
    let is_proto = file.path.ends_with(".proto");
    let most = if is_proto { PROTO_LINES_MAX } else { FILE_LINES_MAX };
    if lines > most {
        found.push(file.violation(1, format!("{lines} lines; at most {most}")));
    }
    for (index, line) in file.text.lines().enumerate() {
        let chars = line.chars().count();
        if chars > LINE_CHARS_MAX {
            let message = format!("{chars} characters; at most {LINE_CHARS_MAX}");
            found.push(file.violation(index + 1, message));
        }
    }
    for (name, first, last) in &file.functions {
        let lines = last - first + 1;
        if lines > FUNCTION_LINES_MAX {
            let message = format!("fn {name} has {lines} lines; at most {FUNCTION_LINES_MAX}");
            found.push(file.violation(*first, message));
        }
    }
    found
}

pub fn check_names(file: &SourceFile) -> Vec<Violation> {
    let bucket = |part: &&str| BUCKETS.contains(&part.split('.').next().unwrap_or_default());
    let name = file.path.split('/').find(bucket);
    name.map(|part| file.violation(1, format!("{part} says nothing"))).into_iter().collect()
}

#[test]
fn finds_what_is_too_long() {
    let count = |text: &str| check(&SourceFile::parse("core/src/a.rs", text)).len();
    assert_eq!(count(&"// fine\n".repeat(500)), 0);
    assert_eq!(count(&"// long\n".repeat(501)), 1);
    let protocol = |lines| check(&SourceFile::parse("proto/a.proto", &"// a\n".repeat(lines)));
    assert_eq!((protocol(700).len(), protocol(701).len()), (0, 1));
    assert_eq!(count(&format!("// {}\n", "x".repeat(97))), 0);
    assert_eq!(count(&format!("// {}\n", "x".repeat(98))), 1);
    let function = |lines: usize| format!("fn f() {{\n{}}}\n", "g();\n".repeat(lines - 2));
    assert_eq!(count(&function(70)), 0);
    assert_eq!(count(&function(71)), 1);
    let method = |lines: usize| format!("impl A {{ {} }}", function(lines));
    assert_eq!(count(&method(71)), 1);
}

#[test]
fn finds_buckets() {
    let count = |path: &str| check_names(&SourceFile::parse(path, "")).len();
    assert_eq!(count("core/src/utils.rs"), 1);
    assert_eq!(count("core/src/common/mod.rs"), 1);
    assert_eq!(count("core/src/task_type.rs"), 0);
}
