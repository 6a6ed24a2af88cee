//! The inputs that are kept: what is valid, of every shape, and what once was trouble.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const BYTES_MAX: usize = 200_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Name and bytes of each, in order.
pub fn entries(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder().join(target);
    let read = |name: String| {
        let data = fs::read(folder.join(&name)).unwrap();
        (name, data)
    };
    names(&folder).into_iter().map(read).collect()
}

#[test]
fn every_target_has_a_small_corpus_and_every_corpus_a_target() {
    let targets = names(&folder().with_file_name("fuzz_targets"));
    let targets: BTreeSet<_> = targets.iter().map(|name| name.trim_end_matches(".rs")).collect();
    let corpora = names(&folder());
    assert_eq!(targets, corpora.iter().map(String::as_str).collect());
    let mut bytes = 0;
    for target in targets {
        let entries = entries(target);
        assert!(entries.len() >= 3, "{target} has {} entries", entries.len());
        bytes += entries.iter().map(|(_, data)| data.len()).sum::<usize>();
    }
    assert!(bytes <= BYTES_MAX, "{bytes} bytes are too many for what everybody downloads");
}
