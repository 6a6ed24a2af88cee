//! The token of a position gives that position back, for its list only; and what is read as a token
//! is what would be printed.

use asyncflow_core::{
    limits::PAGE_TOKEN_BYTES_MAX,
    page::{PagePosition, PageTokenError, check as check_token, decode, encode},
    violation::Violations,
};

const LIST: i64 = 7;
/// The longest name that a list is ordered by.
const NAME_BYTES_MAX: usize = 128;

/// Reads the bytes as a token, and makes a position of them.
pub fn check(data: &[u8]) {
    if let Some(token) = crate::text(data) {
        read(token);
    }
    if let Some(position) = position(data) {
        there_and_back(&position);
    }
}

fn read(token: &str) {
    let mut violations = Violations::new();
    let position = check_token(token, LIST, &mut violations);
    assert_eq!(position.is_none() && !token.is_empty(), !violations.is_empty(), "{token:?}");
    if let Some(position) = position {
        assert_eq!(encode(&position, LIST), token);
    }
    for violation in violations.into_list() {
        assert_eq!(violation.field, "page_token");
        assert!(violation.description.len() <= crate::TOLD_BYTES_MAX);
    }
}

fn position(data: &[u8]) -> Option<PagePosition> {
    let (key, rest) = data.split_first_chunk()?;
    let (order, rest) = rest.split_first_chunk()?;
    let (shard, name) = rest.split_first_chunk()?;
    let name = crate::text(name)?;
    let is_name = name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    let order = i64::from_be_bytes(*order);
    is_name.then(|| PagePosition {
        key: i64::from_be_bytes(*key),
        order_time_ms: (order != 0).then_some(order),
        task_type: name.to_owned(),
        shard: i32::from_be_bytes(*shard),
    })
}

fn there_and_back(position: &PagePosition) {
    let token = encode(position, LIST);
    assert!(token.len() <= PAGE_TOKEN_BYTES_MAX, "{} bytes", token.len());
    assert_eq!(decode(&token, LIST).as_ref(), Ok(position));
    assert_eq!(decode(&token, LIST + 1), Err(PageTokenError::OtherList));
    for end in 0..token.len() {
        assert_eq!(decode(&token[..end], LIST), Err(PageTokenError::Malformed));
    }
}
