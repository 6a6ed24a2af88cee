//! What must not stay behind: unfinished code, switched-off tests, panics, `unsafe`.

use crate::source::{SourceFile, Violation};

pub fn check(file: &SourceFile) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut forbid = |pattern: &[&str], message: &str| {
        for line in file.find(pattern, true) {
            found.push(file.violation(line, message));
        }
    };
    for name in ["todo", "unimplemented", "dbg"] {
        forbid(&[name, "!", "("], &format!("{name}! is a leftover"));
    }
    forbid(&["#", "[", "ignore"], "a test that is switched off: repair it or delete it");
    let level = |name: &str| matches!(name, "allow" | "expect");
    for window in file.tokens.windows(4) {
        let opens = |at: usize| {
            window[at].text == "[" && level(&window[at + 1].text) && window[at + 2].text == "("
        };
        if opens(1) && window[0].text != "]" && !attribute_has_reason(file, window[1].line) {
            found.push(file.violation(window[1].line, "a lint is silenced without a reason"));
        }
    }
    for line in glob_reexports(file) {
        found.push(file.violation(line, "a glob re-export hides where a name comes from"));
    }
    found
}

/// Whether the attribute that starts at `line` says `reason = …` before it ends.
fn attribute_has_reason(file: &SourceFile, line: usize) -> bool {
    let from = file.tokens.iter().position(|t| t.line == line && t.text == "[").unwrap_or(0);
    file.tokens[from..].iter().take_while(|token| token.text != "]").any(|t| t.text == "reason")
}

fn glob_reexports(file: &SourceFile) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, token) in file.tokens.iter().enumerate() {
        if token.text == "pub" && file.tokens.get(at + 1).is_some_and(|t| t.text == "use") {
            let path = file.tokens[at..].iter().take_while(|t| t.text != ";");
            found.extend(path.filter(|t| t.text == "*").map(|t| t.line));
        }
    }
    found
}

pub fn check_panics(file: &SourceFile) -> Vec<Violation> {
    let mut found = Vec::new();
    for line in file.find(&[".", "unwrap", "(", ")"], false) {
        found.push(file.violation(line, "unwrap() outside a test"));
    }
    // Clippy denies an expect() without `#[expect(clippy::expect_used, reason = …)]`; here it
    // must also say which invariant it relies on.
    for (at, window) in file.tokens.windows(4).enumerate() {
        let [dot, name, open, text] = window else { continue };
        let call = dot.text == "." && name.text == "expect" && open.text == "(";
        let literal = text.text.starts_with('"');
        if call && literal && !dot.in_test && !text.text.starts_with("\"invariant: ") {
            let line = file.tokens[at].line;
            found.push(file.violation(line, "expect() must read \"invariant: …\""));
        }
    }
    let may = ["worker/src/process", "store/src/nodelay.rs"];
    let may = may.iter().any(|path| file.path.starts_with(path));
    for line in if may { Vec::new() } else { file.find(&["unsafe"], true) } {
        let lint = file.text.lines().nth(line - 1).is_some_and(|l| l.contains("unsafe_code"));
        if !lint {
            found.push(file.violation(line, "unsafe outside its two places"));
        }
    }
    found
}

#[test]
fn finds_leftovers() {
    let count = |text: &str| check(&SourceFile::parse("core/src/a.rs", text)).len();
    assert_eq!(count("fn f() { todo!() }"), 1);
    assert_eq!(count("fn f() { unimplemented!(\"x\") }"), 1);
    assert_eq!(count("fn f() { dbg!(1); }"), 1);
    assert_eq!(count("#[test] #[ignore] fn f() {}"), 1);
    assert_eq!(count("#[test] #[ignore = \"slow\"] fn f() {}"), 1);
    assert_eq!(count("pub use a::b::*;"), 1);
    assert_eq!(count("use super::*;"), 0);
    assert_eq!(count("#[allow(dead_code)] fn f() {}"), 1);
    assert_eq!(count("#![allow(dead_code)]"), 1);
    assert_eq!(count("#[allow(dead_code, reason = \"why\")] fn f() {}"), 0);
}

#[test]
fn finds_panics() {
    let count = |path: &str, text: &str| check_panics(&SourceFile::parse(path, text)).len();
    assert_eq!(count("core/src/a.rs", "fn f() { x.unwrap(); }"), 1);
    assert_eq!(count("core/src/a.rs", "fn f() { m!(x.unwrap()); }"), 1);
    assert_eq!(count("core/src/a.rs", "fn f() { x.unwrap_or(1); }"), 0);
    assert_eq!(count("core/src/a.rs", "#[test] fn f() { x.unwrap(); }"), 0);
    assert_eq!(count("core/src/a.rs", "fn f() { x.expect(\"it works\"); }"), 1);
    assert_eq!(count("core/src/a.rs", "fn f() { x.expect(\"invariant: checked above\"); }"), 0);
    assert_eq!(count("core/src/a.rs", "fn f() { unsafe { g() } }"), 1);
    assert_eq!(count("worker/src/process/spawn.rs", "fn f() { unsafe { g() } }"), 0);
}
