//! Every relative link of a page leads somewhere, and every test that a page names is there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::source::{self, SourceFile, Violation};

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

/// All that a path in Rust can be made of here, and the words of its texts, such as metrics.
pub fn names(files: &[SourceFile]) -> BTreeSet<&str> {
    let rust = || files.iter().filter(|file| file.is_rust());
    let tokens = rust().flat_map(|file| file.tokens.iter().map(|token| token.text.as_str()));
    let places = rust().flat_map(|file| file.path.trim_end_matches(".rs").split('/'));
    let words = tokens.flat_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.chain(places).collect()
}

/// Tests as pages name them: the last word of a piece of code that is a path, or a sentence.
pub fn check_tests(page: &Path, text: &str, names: &BTreeSet<&str>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let code = line.split('`').skip(1).step_by(2);
        let last_words = code.filter_map(|code| code.split_whitespace().next_back());
        for part in last_words.filter(|word| is_test(word)).flat_map(|word| word.split("::")) {
            if !names.contains(part) {
                let message = format!("nothing is named {part}");
                found.push(Violation::new(&page.display().to_string(), index + 1, message));
            }
        }
    }
    found
}

fn is_test(word: &str) -> bool {
    let is_of_names = word.chars().all(|c| c.is_ascii_lowercase() || "_:0123456789".contains(c));
    let is_path = word.contains("::") || word.matches('_').count() > 2;
    is_of_names && is_path && !word.starts_with('_')
}

#[test]
fn finds_a_test_that_is_not_there() {
    let names = BTreeSet::from(["races", "one_wins_of_two"]);
    let count = |text: &str| check_tests(Path::new("page.md"), text, &names).len();
    assert_eq!(count("`system races::one_wins_of_two`, `races::gone` and `it_is_not_there`"), 2);
    assert_eq!(
        count("`one_wins_of_two`, races::gone, `a_b`, `__init__`, `Code::GONE_IS_IT_ALL`"),
        0
    );
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
