//! The etag of a task or task type is its revision; clients see an opaque text.

/// The etag of what has this revision.
pub fn of(revision: i64) -> String {
    format!("r{revision:x}")
}

/// The revision behind an etag; `None` if it is none of ours.
pub fn parse(etag: &str) -> Option<i64> {
    let revision = i64::from_str_radix(etag.strip_prefix('r')?, 16).ok()?;
    (of(revision) == etag).then_some(revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_print_is_accepted() {
        assert_eq!(parse(&of(31)), Some(31));
        for foreign in ["", "r", "1f", "r1F", "r+1f", "r01f", "W/\"r1f\"", "r-1f"] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }
}
