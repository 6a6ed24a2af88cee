//! The token of a place in the change log gives that place back, and has one spelling.

use asyncflow_core::resume_token::{decode, encode};

/// Reads the bytes as a token, and as a number.
pub fn check(data: &[u8]) {
    if let Some(token) = crate::text(data)
        && let Some(seq) = decode(token)
    {
        assert!(seq >= 0, "{token:?}");
        assert_eq!(encode(seq), token);
    }
    if let Some(bytes) = data.first_chunk() {
        let seq = i64::from_be_bytes(*bytes);
        assert_eq!(decode(&encode(seq)), Some(seq).filter(|seq| *seq >= 0));
    }
}
