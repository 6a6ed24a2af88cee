//! `grpc-timeout`: the caller's deadline becomes DEADLINE_EXCEEDED here, a little before tonic,
//! which stands outside of this layer, would make CANCELLED of it.

use crate::status;
use http::HeaderMap;
use std::time::Duration;
use tokio::time::Sleep;
use tonic::Status;

/// How much earlier than the caller's deadline we give up.
const MARGIN_MAX: Duration = Duration::from_millis(10);
const MARGIN_MIN: Duration = Duration::from_millis(1);

/// The time that a handler has; `None` without a deadline.
///
/// # Errors
/// DEADLINE_EXCEEDED when there is no time to begin. A malformed header counts as none.
fn budget(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(timeout) = headers.get("grpc-timeout").and_then(|v| parse(v.to_str().ok()?)) else {
        return Ok(None);
    };
    let margin = (timeout / 10).clamp(MARGIN_MIN, MARGIN_MAX);
    match timeout.checked_sub(margin) {
        Some(budget) if !budget.is_zero() => Ok(Some(budget)),
        _ => Err(status::deadline_exceeded()),
    }
}

/// The timer of a call. It is set when the call comes in and not when it is first polled: tonic's
/// own timer is set then too, and would win on a busy machine.
pub(super) struct Deadline(Result<Option<Sleep>, Status>);

impl Deadline {
    /// Sets the timer.
    pub(super) fn begin(headers: &HeaderMap) -> Self {
        Self(budget(headers).map(|budget| budget.map(tokio::time::sleep)))
    }

    /// A future that ends at the deadline.
    ///
    /// # Errors
    /// DEADLINE_EXCEEDED when there is no time to begin.
    pub(super) fn expiry(self) -> Result<impl Future<Output = ()>, Status> {
        let sleep = self.0?;
        Ok(async move {
            match sleep {
                Some(sleep) => sleep.await,
                None => std::future::pending().await,
            }
        })
    }
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use http::HeaderValue;

    fn budget_of(text: &str) -> Result<Option<Duration>, tonic::Code> {
        let value = HeaderValue::from_str(text).unwrap();
        budget(&HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), value)]))
            .map_err(|status| status.code())
    }

    #[test]
    fn a_deadline_leaves_a_margin_and_none_at_all_is_refused() {
        assert_eq!(budget_of("2S"), Ok(Some(Duration::from_millis(1_990))));
        assert_eq!(budget_of("20m"), Ok(Some(Duration::from_millis(18))));
        assert_eq!(
            budget_of("99999999H"),
            Ok(Some(Duration::from_secs(99_999_999 * 3_600) - MARGIN_MAX))
        );
        for expired in ["0S", "0n", "999u", "1m"] {
            assert_eq!(budget_of(expired), Err(tonic::Code::DeadlineExceeded), "{expired}");
        }
        for malformed in ["", "S", "1", "-1S", "123456789S", "1.5S", "1x"] {
            assert_eq!(budget_of(malformed), Ok(None), "{malformed}");
        }
    }
}
