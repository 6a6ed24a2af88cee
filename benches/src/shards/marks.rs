//! At how many rows a window is opened.

/// The numbers of rows, in order: a small one to compare with, then every `step` up to `rows`. One
/// that falls on a roll is moved on by a quarter of a step, so that the roll meets the ballast at
/// work and not the end of it.
pub fn marks(rows: u64, step: u64, shard_max_rows: u64) -> Vec<u64> {
    let first = (step / 10).min(100_000);
    let steps = (1..=rows / step).map(|number| number * step);
    let moved = steps.map(|mark| {
        let on_a_roll = mark % shard_max_rows == 0;
        if on_a_roll { mark + step / 4 } else { mark }
    });
    std::iter::once(first).chain(moved).collect()
}

#[cfg(test)]
mod tests {
    use super::marks;

    #[test]
    fn windows_keep_off_the_rolls() {
        let twelve = marks(12_000_000, 1_000_000, 5_000_000);
        assert_eq!(twelve[..2], [100_000, 1_000_000]);
        assert_eq!(twelve[5..7], [5_250_000, 6_000_000]);
        assert_eq!(twelve.last(), Some(&12_000_000));
        assert_eq!(twelve.len(), 13);
        let three = marks(3_000_000, 1_000_000, 1_000_000);
        assert_eq!(three, [100_000, 1_250_000, 2_250_000, 3_250_000]);
    }
}
