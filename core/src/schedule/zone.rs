//! From the clock on the wall to points in time, when clocks are set forward and back.
//!
//! ```text
//!   forward, 02:00 ─▶ 03:00            back, 03:00 ─▶ 02:00
//!   ──01:30──┤03:00──03:30──▶          ──02:00──02:30──┤02:00──02:30──┤03:00──▶
//!     02:30 is not there: fires at       a first time      once more
//!     once after the gap (03:00)         02:30 fires       not again
//! ```
//!
//! That holds for expressions that name hours. One that matches in every hour (`*/15 * * * *`) is
//! meant to go on steadily: it fires at each time that is there, so both times where the clock runs
//! through an hour twice, and not where one is left out.

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};

use super::cron::Cron;

/// Changes of the clock that are passed while the next match is looked for; more than there are in
/// fifty years.
const CHANGES_MAX: usize = 400;

/// The time zone of this name in the IANA database that is built into this program.
///
/// # Errors
/// For people, if there is none.
pub fn find(name: &str) -> Result<TimeZone, String> {
    let zone = TimeZoneDatabase::bundled().get(name).ok();
    // The database forgives capitals; what is stored should have one spelling.
    let zone = zone.filter(|zone| zone.iana_name() == Some(name));
    zone.ok_or_else(|| {
        format!(
            "{} is not a time zone of the IANA database, such as Europe/Berlin or UTC",
            crate::violation::shown(name)
        )
    })
}

/// A time for people, in UTC.
pub fn rfc3339(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms).map(|at| at.to_string()).unwrap_or_default()
}

/// The first time after `after_ms` at which `cron` fires in this zone, in Unix milliseconds.
pub fn next_after(cron: &Cron, zone: &TimeZone, after_ms: i64) -> Option<i64> {
    let first = after_ms.div_euclid(1_000).checked_add(1)?;
    let mut from = Timestamp::from_second(first).ok()?;
    for _ in 0..CHANGES_MAX {
        let offset = zone.to_offset(from);
        let begin = from.max(end_of_repetition(cron, zone, from)?);
        let civil = cron.next_from(offset.to_datetime(begin))?;
        let at = offset.to_timestamp(civil).ok()?;
        let Some(change) = zone.following(from).next() else { return Some(at.as_millisecond()) };
        let end = change.timestamp();
        if at < end {
            return Some(at.as_millisecond());
        }
        // What is left out lies between what the clocks show before and after.
        let shown_after = change.offset().to_datetime(end);
        if !cron.is_hourly() && civil < shown_after {
            return Some(end.as_millisecond());
        }
        from = end;
    }
    None
}

/// Until when the clocks show what they have shown before the last change; `from` or earlier if
/// they do not, or if that does not matter to this expression.
fn end_of_repetition(cron: &Cron, zone: &TimeZone, from: Timestamp) -> Option<Timestamp> {
    let second = jiff::SignedDuration::from_secs(1);
    let last = zone.preceding(from.checked_add(second).ok()?).next();
    let Some(last) = last.filter(|_| !cron.is_hourly()) else { return Some(from) };
    let changed = last.timestamp();
    let before = zone.to_offset(changed.checked_sub(second).ok()?);
    let repeated = before.seconds() - last.offset().seconds();
    let end = changed.checked_add(jiff::SignedDuration::from_secs(repeated.into())).ok()?;
    Some(end.max(from))
}
