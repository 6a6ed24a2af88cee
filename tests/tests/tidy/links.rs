//! Every relative link of a page leads somewhere.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::source::{self, Violation};

pub fn repository() -> Vec<(PathBuf, String)> {
    let pages = source::files(&["md"]);
    pages.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

pub fn check(page: &Path, text: &str) -> Vec<Violation> {
    let folder = page.parent().unwrap();
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for target in targets(line) {
            if !folder.join(target).exists() {
                let message = format!("there is no {target}");
                found.push(Violation::new(&page.display().to_string(), index + 1, message));
            }
        }
    }
    found
}

/// What stands in `](…)`, without the fragment; links to other sites and within the page left out,
/// and what has a blank, which is code.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = links.filter_map(|link| link.split('#').next());
    files.filter(|target| !target.is_empty() && !target.contains("://") && !target.contains(' '))
}

#[test]
fn finds_a_dead_link() {
    let page = source::root().join("README.md");
    let count = |text: &str| check(&page, text).len();
    assert_eq!(count("[a](docs/nowhere.md)"), 1);
    assert_eq!(count("[a](Cargo.toml) and [b](docs/nowhere.md#x)"), 1);
    assert_eq!(count("asyncflow.ResultAs[string](ctx, client, id)"), 0);
    assert_eq!(count("[a](Cargo.toml#x) [b](#here) [c](https://example.org/)"), 0);
}
