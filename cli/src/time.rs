//! Times and spans: as people type them, as tables and JSON show them.

use crate::clock;
use asyncflow_proto::time::{duration_ms, timestamp, timestamp_ms};
use jiff::tz::TimeZoneDatabase;
use prost_types::{Duration, Timestamp};
use serde::{Deserialize, Deserializer, de::Error as _};

/// Below this, tenths of a second matter.
const FINE_MS: i64 = 10_000;

/// Reads a span such as `30s`, `5m`, `1h 30m`, `250ms`.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it as 250ms, 30s, 5m, 1h30m or 2d"))?;
    Duration::try_from(span).map_err(|_| "the span is too long".to_owned())
}

/// A span in a file.
#[derive(Debug, Clone, Copy)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        typed(deserializer, parse_span).map(Self)
    }
}

/// A time in a file.
#[derive(Debug, Clone, Copy)]
pub struct Time(pub Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        typed(deserializer, parse_time).map(Self)
    }
}

fn typed<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(|what| D::Error::custom(format!("{text:?}: {what}")))
}

/// Reads an RFC 3339 time.
pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "write it as RFC 3339, e.g. 2026-01-31T18:00:00Z".to_owned())
}

/// The time which is `span` from now, by this computer's clock.
pub fn from_now(span: &Duration) -> Timestamp {
    timestamp(clock::now_ms().saturating_add(duration_ms(span).unwrap_or(i64::MAX)))
}

/// The time which was `span` ago, by this computer's clock.
pub fn before_now(span: &Duration) -> Timestamp {
    timestamp(clock::now_ms().saturating_sub(duration_ms(span).unwrap_or(i64::MAX)))
}

/// RFC 3339, for JSON.
pub fn rfc3339(time: Option<&Timestamp>) -> Option<String> {
    time.map(ToString::to_string)
}

/// RFC 3339 with the offset that clocks in this zone of the IANA database have then; `None` where
/// they show UTC, or where this program does not know the zone.
pub fn local(time: &Timestamp, zone: &str) -> Option<String> {
    let zone = TimeZoneDatabase::bundled().get(zone).ok()?;
    let time = jiff::Timestamp::from_millisecond(timestamp_ms(time)?).ok()?;
    let offset = zone.to_offset(time);
    (!offset.is_zero()).then(|| time.display_with_offset(offset).to_string())
}

/// `3.5s`, for JSON, as protobuf's own JSON has it.
pub fn span_text(span: Option<&Duration>) -> Option<String> {
    span.map(ToString::to_string)
}

/// `1h 30m`, for people.
pub fn span_for_people(span: &Duration) -> String {
    match std::time::Duration::try_from(*span) {
        Ok(span) => humantime::format_duration(span).to_string(),
        Err(_) => span.to_string(),
    }
}

/// The same for a span that [`span_text`] wrote; what it did not write is shown as it is.
pub fn text_for_people(text: &str) -> String {
    text.parse::<Duration>().map_or_else(|_| text.to_owned(), |span| span_for_people(&span))
}

/// `12s ago` or `in 3m`, for tables; empty when there is no time.
///
/// What is less than half a second ahead is `now`, whether it is due at once or was written by a
/// server whose clock is a little ahead of this one.
pub fn relative(time: Option<&Timestamp>, now_ms: i64) -> String {
    let Some(at_ms) = time.and_then(timestamp_ms) else { return String::new() };
    let past = now_ms.saturating_sub(at_ms);
    match past {
        0.. => format!("{} ago", coarse(past)),
        -499..0 => "now".to_owned(),
        _ => format!("in {}", coarse(past.saturating_abs().saturating_add(500))),
    }
}

/// How long from `from` to `to`, or to now if that is unset; empty when it has not begun.
pub fn elapsed(from: Option<&Timestamp>, to: Option<&Timestamp>, now_ms: i64) -> String {
    let Some(from_ms) = from.and_then(timestamp_ms) else { return String::new() };
    let to_ms = to.and_then(timestamp_ms).unwrap_or(now_ms);
    let ms = to_ms.saturating_sub(from_ms).max(0);
    if ms < FINE_MS { format!("{}.{}s", ms / 1_000, ms % 1_000 / 100) } else { coarse(ms) }
}

fn coarse(ms: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let seconds = ms / 1_000;
    match seconds {
        0..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => format!("{}m", seconds / MINUTE),
        HOUR..DAY => format!("{}h", seconds / HOUR),
        _ => format!("{}d", seconds / DAY),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn spans_and_times_as_typed() {
        assert_eq!(parse_span("1m30s").unwrap(), Duration { seconds: 90, nanos: 0 });
        assert_eq!(parse_span("250ms").unwrap(), Duration { seconds: 0, nanos: 250_000_000 });
        assert!(parse_span("5").unwrap_err().contains("30s"));
        assert!(parse_span("-5s").is_err());
        assert_eq!(
            rfc3339(Some(&parse_time("2026-01-31T18:00:00Z").unwrap())).unwrap(),
            "2026-01-31T18:00:00Z"
        );
        assert!(parse_time("tomorrow").unwrap_err().contains("RFC 3339"));
    }

    #[test]
    fn clocks_of_a_zone_show_their_offset() {
        let summer = parse_time("2026-07-01T01:00:00Z").unwrap();
        let local = |zone| local(&summer, zone);
        assert_eq!(local("Europe/Berlin").unwrap(), "2026-07-01T03:00:00+02:00");
        assert_eq!([local("UTC"), local(""), local("Nowhere/Town")], [None, None, None]);
    }

    #[test]
    fn tables_speak_of_now() {
        let at = timestamp(1_000_000);
        for (now_ms, text) in [
            (1_000_000, "0s ago"),
            (1_059_999, "59s ago"),
            (1_060_000, "1m ago"),
            (1_000_000 + 7_200_000, "2h ago"),
            (1_000_000 + 86_400_000 * 3, "3d ago"),
            (1_000_000 - 5_000, "in 5s"),
            (1_000_000 - 4_990, "in 5s"),
            (1_000_000 - 950, "in 1s"),
            (1_000_000 - 3, "now"),
        ] {
            assert_eq!(relative(Some(&at), now_ms), text);
        }
        assert_eq!(relative(None, 0), "");
        assert_eq!(text_for_people("5400s"), "1h 30m");
        assert_eq!(text_for_people("0.250s"), "250ms");
        assert_eq!(text_for_people("soon"), "soon");
        assert_eq!(elapsed(Some(&at), Some(&timestamp(1_004_000)), 9_000_000), "4.0s");
        assert_eq!(elapsed(Some(&at), None, 1_120_000), "2m");
    }
}
