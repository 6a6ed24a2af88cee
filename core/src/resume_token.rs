//! Resume tokens: a place in the change log, as an opaque text that a watch goes on from.

/// The token for what follows the change with this number.
pub fn encode(seq: i64) -> String {
    format!("c{seq:x}")
}

/// The place behind a token; `None` if it is none of ours.
pub fn decode(token: &str) -> Option<i64> {
    let seq = i64::from_str_radix(token.strip_prefix('c')?, 16).ok()?;
    (seq >= 0 && encode(seq) == token).then_some(seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_print_is_a_token() {
        assert_eq!(decode(&encode(700)), Some(700));
        for foreign in ["", "c", "700", "c+1", "c01", "cA", "c-1", "cffffffffffffffff"] {
            assert_eq!(decode(foreign), None, "{foreign}");
        }
    }
}
