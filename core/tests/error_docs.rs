//! Every refusal has its page, and every page its refusal.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use asyncflow_core::error_reason::{ErrorReason, Repeat};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/errors")
}

#[test]
fn the_pages_are_those_of_the_reasons() {
    let pages: BTreeSet<String> = fs::read_dir(folder())
        .expect("docs/errors")
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let reasons: BTreeSet<String> =
        ErrorReason::ALL.iter().map(|reason| format!("{reason}.md")).collect();
    assert_eq!(pages, reasons);
}

#[test]
fn each_page_says_what_the_code_says() {
    for reason in ErrorReason::ALL {
        let page = fs::read_to_string(folder().join(format!("{reason}.md"))).unwrap();
        let repeat = match reason.repeat() {
            Repeat::Pointless => "Repeat: no",
            Repeat::Later => "Repeat: yes",
            Repeat::OutcomeUnknown => "Repeat: it is not known",
        };
        for part in [
            format!("# {reason}\n"),
            format!("Code: `{}`", reason.code().name()),
            repeat.into(),
            reason.meaning().into(),
            "## What to do\n".into(),
            "## Example\n".into(),
        ] {
            assert!(page.contains(&part), "docs/errors/{reason}.md lacks {part:?}");
        }
    }
}

#[test]
fn names_are_unique_and_in_capitals() {
    let names: BTreeSet<&str> = ErrorReason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(names.len(), ErrorReason::ALL.len());
    for name in names {
        assert!(name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{name}");
    }
}
