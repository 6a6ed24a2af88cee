//! The layers, read from the manifests: which crate may depend on which.

use std::fs;

use crate::source::{self, Violation};

/// What a crate may import of ours. `tests` and `fuzz` may import all and are not listed.
const LAYERS: [(&str, &[&str]); 12] = [
    ("proto", &[]),
    ("core", &[]),
    ("migrations", &[]),
    ("store", &["core", "migrations"]),
    ("service", &["proto"]),
    // The CLI reads archives by it, so it may not know what the CLI must not.
    ("archive", &[]),
    ("broker", &["proto", "core", "store", "service"]),
    ("governor", &["proto", "core", "store", "service", "archive"]),
    ("sdk/rust", &["proto"]),
    ("worker", &["proto", "sdk", "service"]),
    // The last three for `asyncflow dev` and its like only; see `edges::check_cli`.
    ("cli", &["proto", "sdk", "service", "archive", "broker", "governor", "worker"]),
    ("benches", &["proto", "sdk", "core", "store"]),
];

/// Crates of others that have one home. A name stands for itself and for `name-…`.
const HOMES: [(&str, &[&str]); 8] = [
    ("sea-orm", &["store", "migrations"]),
    ("sea-query", &["store", "migrations"]),
    ("sqlx", &["store", "migrations"]),
    ("object_store", &["archive"]),
    ("reqwest", &["archive"]),
    ("redis", &["store"]),
    ("deadpool-redis", &["store"]),
    ("tonic", &["proto", "service", "broker", "governor", "sdk/rust", "worker", "cli", "benches"]),
];

/// All that the core needs of others.
const CORE: [&str; 8] =
    ["thiserror", "serde", "serde_json", "sha2", "bytes", "base64", "cel", "jiff"];

pub struct Manifest {
    pub folder: String,
    pub dependencies: Vec<String>,
}

pub fn repository() -> Vec<Manifest> {
    let read = |(folder, _): &(&str, _)| {
        let text = fs::read_to_string(source::root().join(folder).join("Cargo.toml")).unwrap();
        parse(folder, &text)
    };
    LAYERS.iter().map(read).collect()
}

/// The folders of all crates.
pub fn members() -> Vec<String> {
    let text = fs::read_to_string(source::root().join("Cargo.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let members = table["workspace"]["members"].as_array().unwrap();
    members.iter().map(|member| member.as_str().unwrap().to_owned()).collect()
}

pub fn check_members(members: &[String]) -> Vec<Violation> {
    let placed = |member: &str| {
        ["tests", "fuzz"].contains(&member) || LAYERS.iter().any(|(name, _)| *name == member)
    };
    let lost = members.iter().filter(|member| !placed(member));
    lost.map(|member| Violation::new("Cargo.toml", 1, format!("{member} has no layer"))).collect()
}

fn parse(folder: &str, text: &str) -> Manifest {
    let table: toml::Table = text.parse().unwrap();
    let mut dependencies = Vec::new();
    for section in ["dependencies", "build-dependencies"] {
        if let Some(toml::Value::Table(entries)) = table.get(section) {
            dependencies.extend(entries.keys().cloned());
        }
    }
    assert!(!table.contains_key("target"), "{folder}: read its target tables here too");
    Manifest { folder: folder.to_owned(), dependencies }
}

pub fn check(manifests: &[Manifest]) -> Vec<Violation> {
    let mut found = Vec::new();
    for manifest in manifests {
        for dependency in &manifest.dependencies {
            if let Some(message) = refuse(&manifest.folder, dependency) {
                found.push(Violation::new(&format!("{}/Cargo.toml", manifest.folder), 1, message));
            }
        }
    }
    found
}

fn refuse(folder: &str, dependency: &str) -> Option<String> {
    if let Some(ours) = dependency.strip_prefix("asyncflow-") {
        let allowed = LAYERS.iter().find(|(name, _)| *name == folder).map(|(_, allowed)| *allowed);
        let refused = !allowed.unwrap_or_default().contains(&ours);
        return refused.then(|| format!("{folder} may not import {ours}"));
    }
    if folder == "core" && !CORE.contains(&dependency) {
        return Some(format!("the core may not import {dependency}"));
    }
    let is = |name: &str| {
        dependency.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let (name, homes) = HOMES.iter().find(|(name, _)| is(name))?;
    (!homes.contains(&folder)).then(|| format!("{name} belongs to {}", homes.join(", ")))
}

#[test]
fn finds_a_crate_without_a_layer() {
    assert_eq!(check_members(&["core".to_owned(), "tests".to_owned()]).len(), 0);
    assert_eq!(check_members(&["helpers".to_owned()]).len(), 1);
}

#[test]
fn finds_forbidden_edges() {
    let count = |folder: &str, dependency: &str| {
        let text = format!("[dependencies]\n{dependency} = \"1\"\n");
        check(&[parse(folder, &text)]).len()
    };
    for (folder, dependency) in [
        ("core", "tokio"),
        ("store", "asyncflow-proto"),
        ("store", "tonic"),
        ("broker", "asyncflow-governor"),
        ("governor", "asyncflow-broker"),
        ("worker", "asyncflow-store"),
        ("worker", "deadpool-redis"),
        ("sdk/rust", "asyncflow-core"),
        ("cli", "asyncflow-store"),
        ("cli", "sqlx"),
        ("broker", "sea-orm"),
        ("broker", "sea-orm-migration"),
    ] {
        assert_eq!(count(folder, dependency), 1, "{folder} → {dependency}");
    }
    assert_eq!(count("store", "sea-orm"), 0);
    assert_eq!(count("broker", "tonic-types"), 0);
    let build = parse("core", "[build-dependencies]\ntonic = \"1\"\n");
    assert_eq!(check(&[build]).len(), 1);
}
