//! Ids: one text per task, and keys that grow.
#![allow(clippy::unwrap_used, reason = "tests")]

use asyncflow_core::id::{EPOCH_MS, KeyGenerator, ShardId, TaskId, TypeName, first_key_at};
use proptest::prelude::*;

proptest! {
    #[test]
    fn an_id_survives_its_text(
        name in "[a-z][a-z0-9_]{0,39}",
        number in 1..=i32::MAX,
        key in 0..=i64::MAX,
    ) {
        let task_type = TypeName::new(&name).unwrap();
        let id = TaskId { shard: ShardId { task_type, number }, key };
        let text = id.to_string();
        prop_assert_eq!(text.parse::<TaskId>().unwrap(), id);
    }

    /// Whatever parses prints as it was: a task has no second name.
    #[test]
    fn only_the_canonical_text_is_accepted(
        text in "[a-z][a-z0-9_]{0,3}-[0-9]{0,11}-[0-9a-zA-Z]{12,14}|\\PC{0,60}",
    ) {
        if let Ok(id) = text.parse::<TaskId>() {
            prop_assert_eq!(id.to_string(), text);
            prop_assert!(id.key >= 0 && id.shard.number > 0);
        }
    }

    #[test]
    fn keys_grow_although_the_clock_goes_back(
        node in any::<u16>(),
        times in proptest::collection::vec(0..10_000_000_i64, 2..500),
    ) {
        let mut keys = KeyGenerator::new(node);
        let drawn: Vec<i64> = times.iter().map(|ms| keys.next_key(EPOCH_MS + ms)).collect();
        prop_assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(drawn[0] >= 0);
    }

    #[test]
    fn no_clock_is_strange_enough_to_panic(now_ms in any::<i64>()) {
        let mut keys = KeyGenerator::new(3);
        prop_assert!(keys.next_key(now_ms) >= 0);
        prop_assert!(first_key_at(now_ms) >= 0);
    }
}

#[test]
fn nodes_do_not_meet_and_a_flood_runs_ahead() {
    let now_ms = EPOCH_MS + 5_000;
    let (mut one, mut two) = (KeyGenerator::new(1), KeyGenerator::new(2));
    let mut keys: Vec<i64> =
        (0..10_000).flat_map(|_| [one.next_key(now_ms), two.next_key(now_ms)]).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 20_000);
    assert!(keys[0] >= first_key_at(now_ms));
    assert!(keys[0] < first_key_at(now_ms + 1));
}

#[test]
fn bad_names_are_refused() {
    let long = "a".repeat(41);
    for name in ["", "1a", "_a", "A", "a-b", "a b", "../a", "a'b", "é", "a\0", &long] {
        assert!(TypeName::new(name).is_err(), "{name:?}");
    }
    for id in [
        "train-0-0000000000000",
        "train-01-0000000000000",
        "train-+1-0000000000000",
        "train-1-000000000000",
        "train-1-000000000000O",
        "train-1-000000000000A",
        "train-1-zzzzzzzzzzzzz",
        "train-1-0000000000000-",
        "train--0000000000000",
        "train-2147483648-0000000000000",
    ] {
        assert!(id.parse::<TaskId>().is_err(), "{id}");
    }
}
