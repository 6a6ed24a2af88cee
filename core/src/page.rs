//! Page tokens: where a list goes on, as an opaque text that only fits the list it came from.
//!
//! A token is no secret and gives no right: the rows are filtered again on every page. The checksum
//! is there so that a damaged or invented token is an error instead of a strange page.

use crate::{
    digest,
    limits::PAGE_TOKEN_BYTES_MAX,
    validate::at::At,
    violation::{Violations, shown},
};

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 8;

/// The last item of a page; the next page begins after it. A list of tasks fills in all of it, or
/// names no shard: then the page ended between two items, and the next one begins with the keys up
/// to this one in every shard. A list of something else fills in what orders it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PagePosition {
    /// The key of the last item; for attempts its number.
    pub key: i64,
    /// When the list is ordered by a time that the key does not tell.
    pub order_time_ms: Option<i64>,
    /// The task type of the last item, or the name of the last item of a list by name; may be
    /// empty.
    pub task_type: String,
    /// The shard of the last item; 0 where there is none.
    pub shard: i32,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageTokenError {
    #[error("is not a page token; give back the next_page_token of the page before")]
    Malformed,
    #[error("belongs to a list with another filter; repeat the filter of the page before")]
    OtherList,
}

/// The token for the page after `position`. `list` is the [`digest::list`] of what is listed.
pub fn encode(position: &PagePosition, list: i64) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(list.to_be_bytes());
    bytes.extend(position.key.to_be_bytes());
    bytes.push(u8::from(position.order_time_ms.is_some()));
    bytes.extend(position.order_time_ms.unwrap_or_default().to_be_bytes());
    bytes.extend(position.shard.to_be_bytes());
    bytes.extend(position.task_type.as_bytes());
    bytes.extend(digest::checksum(&bytes).to_be_bytes());
    written(&bytes)
}

fn written(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [hex(byte >> 4), hex(byte & 15)]).collect()
}

/// The position in a token that was made for `list`.
///
/// # Errors
/// [`PageTokenError`] if it is damaged, invented, or of another list.
pub fn decode(token: &str, list: i64) -> Result<PagePosition, PageTokenError> {
    let bytes = unhex(token).ok_or(PageTokenError::Malformed)?;
    let (made_for, position) = parse(&bytes).ok_or(PageTokenError::Malformed)?;
    // A position has one token; whoever makes up another one may know how the checksum is made.
    if encode(&position, made_for) != token {
        return Err(PageTokenError::Malformed);
    }
    if made_for == list { Ok(position) } else { Err(PageTokenError::OtherList) }
}

/// The position in the `page_token` of a request; `None` for the first page.
pub fn check(token: &str, list: i64, violations: &mut Violations) -> Option<PagePosition> {
    if token.is_empty() {
        return None;
    }
    match decode(token, list) {
        Ok(position) => Some(position),
        Err(error) => {
            violations.add(At::REQUEST.field("page_token"), format!("{} {error}", shown(token)));
            None
        }
    }
}

fn parse(bytes: &[u8]) -> Option<(i64, PagePosition)> {
    let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
    if digest::checksum(body).to_be_bytes() != *checksum {
        return None;
    }
    let ([version], rest) = body.split_first_chunk::<1>()?;
    let (list, rest) = rest.split_first_chunk::<8>()?;
    let (key, rest) = rest.split_first_chunk::<8>()?;
    let ([has_order], rest) = rest.split_first_chunk::<1>()?;
    let (order, rest) = rest.split_first_chunk::<8>()?;
    let (shard, task_type) = rest.split_first_chunk::<4>()?;
    let task_type = String::from_utf8(task_type.to_vec()).ok()?;
    if *version != VERSION || task_type.chars().any(char::is_control) {
        return None;
    }
    let order_time_ms = (*has_order == 1).then(|| i64::from_be_bytes(*order));
    let (key, shard) = (i64::from_be_bytes(*key), i32::from_be_bytes(*shard));
    let position = PagePosition { key, order_time_ms, task_type, shard };
    Some((i64::from_be_bytes(*list), position))
}

fn hex(nibble: u8) -> char {
    char::from_digit(nibble.into(), 16).unwrap_or('0')
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() > PAGE_TOKEN_BYTES_MAX || !text.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    text.as_bytes().chunks(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn positions() -> impl Strategy<Value = PagePosition> {
        let name = "[a-z][a-z0-9_]{0,39}|[A-Za-z0-9._-]{1,64}|";
        (any::<i64>(), any::<Option<i64>>(), name, any::<i32>()).prop_map(
            |(key, order_time_ms, task_type, shard)| PagePosition {
                key,
                order_time_ms,
                task_type,
                shard,
            },
        )
    }

    proptest! {
        #[test]
        fn goes_on_where_it_was(position in positions(), list in any::<i64>()) {
            let token = encode(&position, list);
            prop_assert!(token.len() <= PAGE_TOKEN_BYTES_MAX);
            prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            prop_assert_eq!(decode(&token, list).unwrap(), position);
            prop_assert_eq!(decode(&token, list ^ 1), Err(PageTokenError::OtherList));
        }

        #[test]
        fn a_damaged_token_is_refused(
            position in positions(),
            at in any::<prop::sample::Index>(),
            other in "[0-9a-f]",
        ) {
            let token = encode(&position, 7);
            let at = at.index(token.len());
            prop_assert_eq!(decode(&token[..at], 7), Err(PageTokenError::Malformed));
            let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            prop_assume!(changed != token);
            prop_assert_eq!(decode(&changed, 7), Err(PageTokenError::Malformed));
        }

        /// The checksum keeps nobody off who reads how it is made.
        #[test]
        fn only_what_we_print_is_a_token(
            position in positions(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut body = unhex(&encode(&position, 7)).unwrap();
            body.truncate(body.len() - CHECKSUM_BYTES);
            let at = at.index(body.len());
            body[at] = byte;
            body.extend(digest::checksum(&body).to_be_bytes());
            let token = written(&body);
            if let Ok(position) = decode(&token, 7) {
                prop_assert_eq!(encode(&position, 7), token);
            }
        }

        #[test]
        fn an_invented_token_is_refused(token in "\\PC{0,600}|[0-9a-f]{0,600}") {
            prop_assert_eq!(decode(&token, 7), Err(PageTokenError::Malformed));
        }
    }
}
