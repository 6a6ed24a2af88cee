//! CreateSchedule and UpdateSchedule, and the times of BackfillSchedule.

use std::collections::BTreeMap;

use super::{at::At, label, number, text, time};
use crate::{
    limits::{
        BACKFILL_FIRES_MAX, CATCH_UP_MS_DEFAULT, CATCH_UP_MS_MIN, CRON_BYTES_MAX, DURATION_MS_MAX,
        FIRE_TIMES_DEFAULT, FIRE_TIMES_MAX, NAME_BYTES_MAX, NOT_BEFORE_AHEAD_MS_MAX,
        REQUEST_ID_BYTES_MAX, SCHEDULE_INTERVAL_MS_MIN, SCHEDULE_JITTER_MS_MAX,
        TIME_ZONE_BYTES_MAX, USER_BYTES_MAX,
    },
    schedule::{
        cron::Cron,
        spec::{Overlap, Spec, Times, Timing},
        zone,
    },
    violation::Violations,
};

/// When a schedule fires, as it came in.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum TimingInput {
    #[default]
    Missing,
    Cron {
        expression: String,
        with_seconds: bool,
        /// Empty = UTC.
        zone: String,
    },
    Interval {
        every_ms: i64,
    },
    Once {
        at_ms: i64,
    },
}

/// A schedule as it came in, without what it makes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScheduleInput {
    /// Already filled in with the caller where the request left it out.
    pub user: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub timing: TimingInput,
    pub start_ms: Option<i64>,
    pub end_ms: Option<i64>,
    pub jitter_ms: Option<i64>,
    pub overlap: Overlap,
    pub catch_up_ms: Option<i64>,
    /// `None` when the request has none; a blank one is refused.
    pub request_id: Option<String>,
}

/// What the check has to know besides.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now_ms: i64,
    /// From when intervals without a start are counted: when the schedule was created.
    pub created_ms: i64,
    /// It must have a fire time after now.
    pub must_fire: bool,
}

/// Checks a schedule; its fields stand at `schedule` of the request.
pub fn schedule(
    input: &ScheduleInput,
    request: At<'_>,
    moment: Moment,
    violations: &mut Violations,
) -> Option<Spec> {
    let at = request.field("schedule");
    text::required_line(&input.user, USER_BYTES_MAX, at.field("user"), violations);
    text::line(&input.name, NAME_BYTES_MAX, at.field("name"), violations);
    label::labels(&input.labels, at.field("labels"), violations);
    if let Some(request_id) = &input.request_id {
        let at = request.field("request_id");
        text::required_line(request_id, REQUEST_ID_BYTES_MAX, at, violations);
    }
    let jitter_ms = input.jitter_ms.unwrap_or_default();
    number_of_ms(jitter_ms, 0, SCHEDULE_JITTER_MS_MAX, at.field("jitter"), violations);
    let catch_up_ms = input.catch_up_ms.unwrap_or(CATCH_UP_MS_DEFAULT);
    number_of_ms(catch_up_ms, CATCH_UP_MS_MIN, DURATION_MS_MAX, at.field("catch_up"), violations);
    let now_ms = moment.now_ms;
    for (value_ms, name) in [(input.start_ms, "start_time"), (input.end_ms, "end_time")] {
        if let Some(value_ms) = value_ms {
            time::not_before(value_ms, now_ms, at.field(name), violations);
        }
    }
    if let (Some(start_ms), Some(end_ms)) = (input.start_ms, input.end_ms)
        && end_ms <= start_ms
    {
        violations.add(at.field("end_time"), "must be later than start_time");
    }
    let anchor_ms = input.start_ms.unwrap_or(moment.created_ms);
    let timing = timing(&input.timing, at, now_ms, anchor_ms, violations)?;
    let spec = Spec {
        timing,
        start_ms: input.start_ms,
        end_ms: input.end_ms,
        jitter_ms,
        overlap: input.overlap,
        catch_up_ms,
    };
    // Times that are wrong have nothing to come, which need not be said too.
    if moment.must_fire
        && violations.is_empty()
        && let Ok(times) = Times::new(&spec)
        && times.next_after(now_ms).is_none()
    {
        violations.add(at, "has no fire time that is still to come");
    }
    Some(spec)
}

fn timing(
    input: &TimingInput,
    at: At<'_>,
    now_ms: i64,
    anchor_ms: i64,
    violations: &mut Violations,
) -> Option<Timing> {
    match input {
        TimingInput::Missing => {
            violations.add(at, "one of cron, interval and once must be given");
            None
        }
        TimingInput::Cron { expression, with_seconds, zone } => {
            cron(expression, *with_seconds, zone, at.field("cron"), violations)
        }
        TimingInput::Interval { every_ms } => {
            let at = at.field("interval");
            number_of_ms(*every_ms, SCHEDULE_INTERVAL_MS_MIN, DURATION_MS_MAX, at, violations);
            Some(Timing::Interval { every_ms: *every_ms, anchor_ms })
        }
        TimingInput::Once { at_ms } => {
            let at = at.field("once");
            if *at_ms > now_ms.saturating_add(NOT_BEFORE_AHEAD_MS_MAX) {
                violations.add(at, "lies more than ten years ahead");
            }
            Some(Timing::Once { at_ms: *at_ms })
        }
    }
}

fn cron(
    expression: &str,
    with_seconds: bool,
    zone_name: &str,
    at: At<'_>,
    violations: &mut Violations,
) -> Option<Timing> {
    let (at_expression, at_zone) = (at.field("expression"), at.field("time_zone"));
    text::required_line(expression, CRON_BYTES_MAX, at_expression, violations);
    let zone_name = if zone_name.is_empty() { "UTC" } else { zone_name };
    text::line(zone_name, TIME_ZONE_BYTES_MAX, at_zone, violations);
    let read = (!expression.trim().is_empty() && expression.len() <= CRON_BYTES_MAX)
        .then(|| Cron::parse(expression, with_seconds));
    if let Some(Err(what)) = &read {
        violations.add(at_expression, what.as_str());
    }
    let found = zone::find(zone_name);
    if let Err(what) = &found {
        violations.add(at_zone, what.as_str());
    }
    (read?.is_ok() && found.is_ok()).then(|| Timing::Cron {
        expression: expression.to_owned(),
        with_seconds,
        zone: zone_name.to_owned(),
    })
}

/// How many fire times a ListFireTimes asks for: 0 = 10.
pub fn fire_times(count: i32, violations: &mut Violations) -> usize {
    let count = if count == 0 { FIRE_TIMES_DEFAULT } else { count };
    let at = At::REQUEST.field("count");
    number::in_range(count, 1..=i64::from(FIRE_TIMES_MAX), at, violations);
    count.clamp(1, FIRE_TIMES_MAX).unsigned_abs() as usize
}

/// The fire times of a schedule in an interval of the past, the end excluded.
pub fn backfill(
    times: &Times,
    from_ms: i64,
    to_ms: i64,
    now_ms: i64,
    violations: &mut Violations,
) -> Vec<i64> {
    if to_ms > now_ms {
        violations.add(At::REQUEST.field("end_time"), "lies in the future");
    }
    if to_ms <= from_ms {
        violations.add(At::REQUEST.field("end_time"), "must be later than start_time");
    }
    let within = times.after(from_ms.saturating_sub(1)).take_while(|fire_ms| *fire_ms < to_ms);
    let found: Vec<i64> = within.take(BACKFILL_FIRES_MAX + 1).collect();
    if found.len() > BACKFILL_FIRES_MAX {
        let what = format!("more than {BACKFILL_FIRES_MAX} fire times lie in between");
        violations.add(At::REQUEST.field("end_time"), what);
    }
    found
}

fn number_of_ms(value_ms: i64, least: i64, most: i64, at: At<'_>, violations: &mut Violations) {
    if !(least..=most).contains(&value_ms) {
        let (least_s, most_s) = (least / 1_000, most / 1_000);
        violations.add(at, format!("{value_ms} ms is out of range; {least_s} s to {most_s} s"));
    }
}
