//! `docs/STATE-MACHINE.md` says what the code does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use asyncflow_core::{edge::EDGES, reason::FailureReason, state::TaskState};

/// The cells of the rows of the table whose header row begins with these cells.
fn table(first_columns: &[&str]) -> Vec<Vec<String>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/STATE-MACHINE.md");
    let text = fs::read_to_string(path).expect("docs/STATE-MACHINE.md");
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    text.lines()
        .skip_while(|line| {
            !line.starts_with('|') || !cells(line).starts_with(&owned(first_columns))
        })
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(cells)
        .collect()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn names(states: &[TaskState]) -> String {
    states.iter().map(|state| state.name()).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_documented_edges_are_those_of_the_code() {
    let documented: Vec<Vec<String>> =
        table(&["Event", "From", "To"]).into_iter().map(|row| row[..3].to_vec()).collect();
    let coded: Vec<Vec<String>> = EDGES
        .iter()
        .map(|edge| vec![edge.event.to_owned(), names(edge.from), names(edge.to)])
        .collect();
    assert_eq!(documented, coded);
}

#[test]
fn the_documented_states_are_those_of_the_code() {
    let documented: Vec<Vec<String>> =
        table(&["State", "Stored"]).into_iter().map(|row| row[..2].to_vec()).collect();
    let coded: Vec<Vec<String>> = TaskState::ALL
        .iter()
        .map(|state| vec![state.name().to_owned(), state.code().to_string()])
        .collect();
    assert_eq!(documented, coded);
}

#[test]
fn every_reason_is_documented_with_its_permanence() {
    let rows = table(&["Reason", "Told by"]);
    let documented: BTreeSet<&str> = rows.iter().flat_map(|row| row[0].split(", ")).collect();
    assert_eq!(documented.len(), FailureReason::ALL.len());
    for reason in FailureReason::ALL {
        // `LeaseLost` is LEASE_LOST for clients.
        let mut name = String::new();
        for c in format!("{reason:?}").chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(c.to_ascii_uppercase());
        }
        let row = rows.iter().find(|row| row[0].split(", ").any(|known| known == name));
        let never = row.unwrap_or_else(|| panic!("{name} is missing"))[2] == "never";
        let permanent = reason.is_permanent() || reason == FailureReason::Cancelled;
        assert_eq!(never, permanent, "{name}");
    }
}
