//! When schedules fire: against a model that tries every minute, at the changes of clocks, and what
//! is decided at one look.
#![allow(clippy::unwrap_used, reason = "tests")]

use asyncflow_core::{
    id::ScheduleId,
    schedule::{
        cron::Cron,
        plan::{FIRES_MAX, Look, Plan, Verdict, plan},
        spec::{Overlap, Spec, Times, Timing},
        zone,
    },
    validate::{
        at::At,
        schedule::{Moment, ScheduleInput, TimingInput, schedule},
    },
    violation::Violations,
};
use jiff::{Timestamp, tz::TimeZone};
use proptest::prelude::*;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
const ID: ScheduleId = ScheduleId(7);

fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

fn spec(timing: Timing) -> Spec {
    Spec {
        timing,
        start_ms: None,
        end_ms: None,
        jitter_ms: 0,
        overlap: Overlap::Allow,
        catch_up_ms: HOUR_MS,
    }
}

fn cron(expression: &str, zone: &str) -> Spec {
    spec(Timing::Cron {
        expression: expression.into(),
        with_seconds: expression.split(' ').count() == 6,
        zone: zone.into(),
    })
}

/// The next fire times as RFC 3339 in UTC.
fn next(spec: &Spec, after: &str, count: usize) -> Vec<String> {
    let times = Times::new(spec).unwrap();
    times.after(ms(after)).take(count).map(zone::rfc3339).collect()
}

#[test]
fn a_time_in_the_gap_fires_once_after_it() {
    // New York, 8 March 2026: 02:00 EST becomes 03:00 EDT at 07:00 UTC.
    let daily = cron("30 2 * * *", "America/New_York");
    let expected = ["2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"];
    assert_eq!(next(&daily, "2026-03-07T00:00:00Z", 3), expected);
    // Three times in the gap and one at its end are one.
    let thrice = cron("0,15,30 2,3 * * *", "America/New_York");
    let expected = ["2026-03-08T07:00:00Z", "2026-03-08T07:15:00Z"];
    assert_eq!(next(&thrice, "2026-03-08T05:00:00Z", 2), expected);
    // Asked at the gap's end it is not told again.
    assert_eq!(next(&daily, "2026-03-08T07:00:00Z", 1), ["2026-03-09T06:30:00Z"]);
}

#[test]
fn a_time_that_comes_twice_fires_at_the_first() {
    // New York, 1 November 2026: 02:00 EDT becomes 01:00 EST at 06:00 UTC.
    let daily = cron("30 1 * * *", "America/New_York");
    let expected = ["2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"];
    assert_eq!(next(&daily, "2026-10-31T00:00:00Z", 3), expected);
    // Also when it is asked within the second.
    assert_eq!(next(&daily, "2026-11-01T06:10:00Z", 1), ["2026-11-02T06:30:00Z"]);
}

#[test]
fn what_fires_in_every_hour_goes_on_steadily() {
    let half_hourly = cron("*/30 * * * *", "America/New_York");
    for from in ["2026-03-08T05:45:00Z", "2026-11-01T04:45:00Z"] {
        let times = Times::new(&half_hourly).unwrap();
        let found: Vec<i64> = times.after(ms(from)).take(8).collect();
        let expected: Vec<i64> = (0..8).map(|n| ms(from) + 15 * MINUTE_MS * (1 + 2 * n)).collect();
        assert_eq!(found, expected, "{from}");
    }
}

#[test]
fn lord_howe_moves_its_clocks_by_half_an_hour() {
    // 4 October 2026: 02:00 (+10:30) becomes 02:30 (+11) at 15:30 UTC of the 3rd.
    let forward = cron("15 2 * * *", "Australia/Lord_Howe");
    let expected = ["2026-10-02T15:45:00Z", "2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"];
    assert_eq!(next(&forward, "2026-10-02T00:00:00Z", 3), expected);
    // 5 April 2026: 02:00 (+11) becomes 01:30 (+10:30) at 15:00 UTC of the 4th.
    let back = cron("45 1 * * *", "Australia/Lord_Howe");
    let expected = ["2026-04-03T14:45:00Z", "2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"];
    assert_eq!(next(&back, "2026-04-03T00:00:00Z", 3), expected);
}

#[test]
fn a_day_that_was_skipped_fires_at_its_end() {
    // Apia had no 30 December 2011: 29 December, 24:00 (−10) was 31 December, 00:00 (+14).
    let daily = cron("0 9 * * *", "Pacific/Apia");
    let expected = [
        "2011-12-29T19:00:00Z",
        "2011-12-30T10:00:00Z",
        "2011-12-30T19:00:00Z",
        "2011-12-31T19:00:00Z",
    ];
    assert_eq!(next(&daily, "2011-12-29T12:00:00Z", 4), expected);
}

#[test]
fn leap_days_are_waited_for() {
    let leap = cron("0 0 29 2 *", "UTC");
    let expected = ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"];
    assert_eq!(next(&leap, "2026-01-01T00:00:00Z", 2), expected);
    assert_eq!(next(&leap, "2096-03-01T00:00:00Z", 1), ["2104-02-29T00:00:00Z"]);
    // With `*/…` both fields for days have to fit: here on a Saturday or Sunday.
    let weekend = cron("0 0 29 2 */6", "UTC");
    assert_eq!(next(&weekend, "2026-01-01T00:00:00Z", 1), ["2032-02-29T00:00:00Z"]);
}

#[test]
fn either_field_for_days_will_do_when_both_are_given() {
    let either = cron("0 12 13 * FRI", "UTC");
    let expected = ["2026-02-06T12:00:00Z", "2026-02-13T12:00:00Z", "2026-02-20T12:00:00Z"];
    assert_eq!(next(&either, "2026-02-01T00:00:00Z", 3), expected);
    let third = cron("0 12 13 3 FRI", "UTC");
    assert_eq!(next(&third, "2026-03-13T00:00:00Z", 2)[1], "2026-03-20T12:00:00Z");
}

#[test]
fn intervals_count_from_their_start_whatever_clocks_show() {
    let anchor_ms = ms("2026-03-08T05:00:00Z");
    let mut every = spec(Timing::Interval { every_ms: 90 * MINUTE_MS, anchor_ms });
    every.end_ms = Some(anchor_ms + 3 * 90 * MINUTE_MS);
    let times = Times::new(&every).unwrap();
    let found: Vec<i64> = times.after(anchor_ms - DAY_MS).map(|at| at - anchor_ms).collect();
    assert_eq!(found, [0, 90 * MINUTE_MS, 180 * MINUTE_MS], "the end is not a fire time");
    let once = Times::new(&spec(Timing::Once { at_ms: 5_000 })).unwrap();
    assert_eq!((once.next_after(4_999), once.next_after(5_000)), (Some(5_000), None));
}

#[test]
fn jitter_is_bounded_and_always_the_same() {
    let mut jittery = cron("* * * * *", "UTC");
    jittery.jitter_ms = 30_000;
    let put_off: Vec<i64> =
        (0..100).map(|n| jittery.due_ms(ID, n * MINUTE_MS) - n * MINUTE_MS).collect();
    assert!(put_off.iter().all(|ms| (0..30_000).contains(ms)), "{put_off:?}");
    let distinct: std::collections::BTreeSet<_> = put_off.iter().collect();
    assert!(distinct.len() > 50, "{put_off:?}");
    assert_eq!(jittery.due_ms(ID, MINUTE_MS), jittery.due_ms(ID, MINUTE_MS));
    assert_ne!(jittery.due_ms(ID, MINUTE_MS), jittery.due_ms(ScheduleId(8), MINUTE_MS));
}

#[test]
fn what_is_no_schedule_is_told() {
    let told = |expression: &str, with_seconds, zone: &str| {
        let input = ScheduleInput {
            user: "ann".into(),
            timing: TimingInput::Cron {
                expression: expression.into(),
                with_seconds,
                zone: zone.into(),
            },
            ..ScheduleInput::default()
        };
        let mut violations = Violations::new();
        let moment = Moment { now_ms: ms("2026-01-01T00:00:00Z"), created_ms: 0, must_fire: true };
        let checked = schedule(&input, At::REQUEST, moment, &mut violations);
        assert_eq!(violations.is_empty(), checked.is_some());
        let told = violations.into_list().into_iter();
        told.map(|violation| violation.description).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(told("*/5 9-17 * * MON-FRI", false, "Europe/Berlin"), "");
    assert_eq!(told("0 0 * * 5-7", false, ""), "");
    for (expression, with_seconds, zone, what) in [
        ("0 */5 * * * *", false, "", "with_seconds"),
        ("*/5 * * * *", true, "", "before the minute"),
        ("* * * *", false, "", "4 fields"),
        ("60 * * * *", false, "", "minute: \"60\" is not 0 to 59"),
        ("* 24 0 13 8", false, "", "day of the week: \"8\" is not 0 to 7"),
        ("* 24 0 13 8", false, "", "hour: \"24\""),
        ("0 0 30 2 *", false, "", "matches no day"),
        ("0 0 31 4,6,9,11 *", false, "", "matches no day"),
        ("*/0 * * * *", false, "", "step"),
        ("5-1 * * * *", false, "", "\"5-1\" runs backwards"),
        ("0 0 * * SAT-SUN", false, "", "backwards: Sunday is 0 at its end; write 6-7, or"),
        ("0 0 * * fri-0", false, "", "write 5-7"),
        ("+5 * * * *", false, "", "\"+5\""),
        ("1,,2 * * * *", false, "", "minute"),
        ("@daily", false, "", "1 fields"),
        ("", false, "", "must not be blank"),
        ("0 0 * * *", false, "Mars/Olympus", "not a time zone"),
        ("0 0 * * *", false, "europe/berlin", "not a time zone"),
        ("61 0 * * *", false, "CEST", "not a time zone"),
        ("61 0 * * *", false, "CEST", "minute"),
    ] {
        let text = told(expression, with_seconds, zone);
        assert!(text.contains(what), "{expression} {zone}: {what} is not in {text}");
    }
}

fn look<'a>(spec: &'a Spec, times: &'a Times, next_ms: i64, now_ms: i64) -> Look<'a> {
    let next_ms = Some(next_ms);
    let fires_max = FIRES_MAX;
    Look { id: ID, spec, times, next_ms, queued_ms: None, is_alive: false, now_ms, fires_max }
}

/// Every minute from 0.
fn minutely(overlap: Overlap) -> (Spec, Times) {
    let spec = Spec { overlap, ..cron("* * * * *", "UTC") };
    let times = Times::new(&spec).unwrap();
    (spec, times)
}

fn verdicts(plan: &Plan) -> Vec<(i64, Verdict)> {
    plan.verdicts.iter().map(|(at, verdict)| (at / MINUTE_MS, verdict.clone())).collect()
}

#[test]
fn each_policy_has_its_way_with_a_run_that_has_not_ended() {
    use Verdict::{Fire, Queue, Skip};
    let now_ms = 3 * MINUTE_MS + 5;
    for (overlap, is_alive, expected, queued, cancels) in [
        (Overlap::Allow, true, vec![(2, Fire), (3, Fire)], None, false),
        (Overlap::Skip, true, vec![(2, Skip), (3, Skip)], None, false),
        (Overlap::Skip, false, vec![(2, Fire), (3, Skip)], None, false),
        (Overlap::QueueOne, true, vec![(2, Queue), (3, Skip)], Some(2), false),
        (Overlap::QueueOne, false, vec![(2, Fire), (3, Queue)], Some(3), false),
        (Overlap::CancelRunning, true, vec![(2, Skip), (3, Fire)], None, true),
        (Overlap::CancelRunning, false, vec![(2, Skip), (3, Fire)], None, false),
    ] {
        let (spec, times) = minutely(overlap);
        let look = Look { is_alive, ..look(&spec, &times, 2 * MINUTE_MS, now_ms) };
        let plan = plan(&look);
        assert_eq!(verdicts(&plan), expected, "{overlap:?}, alive: {is_alive}");
        assert_eq!(plan.next_ms, Some(4 * MINUTE_MS));
        assert_eq!(plan.queued_ms, queued.map(|at: i64| at * MINUTE_MS));
        assert_eq!(plan.cancels, cancels, "{overlap:?}, alive: {is_alive}");
    }
}

#[test]
fn what_is_queued_fires_when_the_run_before_it_has_ended() {
    let (spec, times) = minutely(Overlap::QueueOne);
    let look = look(&spec, &times, 4 * MINUTE_MS, 3 * MINUTE_MS);
    let queued = Look { queued_ms: Some(2 * MINUTE_MS), ..look };
    assert_eq!(verdicts(&plan(&queued)), [(2, Verdict::Fire)]);
    assert_eq!(plan(&queued).queued_ms, None);
    let still = plan(&Look { is_alive: true, ..queued });
    assert_eq!((still.verdicts.len(), still.queued_ms), (0, queued.queued_ms));
}

#[test]
fn after_an_outage_what_is_in_the_window_fires_and_the_rest_is_missed() {
    let (spec, times) = minutely(Overlap::Allow);
    // Two years and one minute away: the window is an hour.
    let now_ms = 2 * 365 * DAY_MS;
    let plan = plan(&look(&spec, &times, MINUTE_MS, now_ms));
    assert!(matches!(&plan.verdicts[0], (MINUTE_MS, Verdict::Miss(what)) if what.contains("1970")));
    let fired: Vec<i64> = plan.verdicts[1..].iter().map(|(at, _)| *at).collect();
    let expected: Vec<i64> = (-60..=0).map(|n| now_ms + n * MINUTE_MS).collect();
    assert_eq!(fired, expected);
    assert!(plan.verdicts[1..].iter().all(|(_, verdict)| *verdict == Verdict::Fire));
    assert_eq!(plan.next_ms, Some(now_ms + MINUTE_MS));
}

#[test]
fn a_clock_that_goes_back_fires_nothing_and_one_look_is_bounded() {
    let (spec, times) = minutely(Overlap::Allow);
    let back = plan(&look(&spec, &times, 90 * MINUTE_MS, 30 * MINUTE_MS));
    assert_eq!(back, Plan { next_ms: Some(90 * MINUTE_MS), ..Plan::default() });
    let wide = Spec { catch_up_ms: DAY_MS, ..spec };
    let many = plan(&look(&wide, &times, MINUTE_MS, 500 * MINUTE_MS));
    assert_eq!(many.verdicts.len(), FIRES_MAX);
    assert_eq!(many.next_ms, Some((1 + FIRES_MAX as i64) * MINUTE_MS));
}

/// Whether a field's text allows a value: an own reading of the simple forms that are generated.
fn allows(text: &str, value: i64, least: i64, most: i64) -> bool {
    text.split(',').any(|part| {
        let (range, step) =
            part.split_once('/').map_or((part, 1), |(r, s)| (r, s.parse().unwrap()));
        let (from, to): (i64, i64) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
            None if part.contains('/') => (range.parse().unwrap(), most),
            None => (range.parse().unwrap(), range.parse().unwrap()),
        };
        (from..=to).contains(&value) && (value - from) % step == 0
    })
}

/// The rules as the guide has them, tried minute by minute.
fn model(fields: &[String], zone: &TimeZone, from: Timestamp, hours: i64) -> Vec<i64> {
    let matches = |civil: jiff::civil::DateTime| {
        let day = allows(&fields[2], civil.day().into(), 1, 31);
        let weekday = i64::from(civil.weekday().to_sunday_zero_offset());
        let weekday =
            allows(&fields[4], weekday, 0, 7) || weekday == 0 && allows(&fields[4], 7, 0, 7);
        let starred = fields[2].starts_with('*') || fields[4].starts_with('*');
        allows(&fields[0], civil.minute().into(), 0, 59)
            && allows(&fields[1], civil.hour().into(), 0, 23)
            && allows(&fields[3], civil.month().into(), 1, 12)
            && if starred { day && weekday } else { day || weekday }
    };
    let is_hourly = (0..24).all(|hour| allows(&fields[1], hour, 0, 23));
    let minute = |n: i64| from.checked_add(jiff::SignedDuration::from_mins(n)).unwrap();
    let show = |at: Timestamp| zone.to_offset(at).to_datetime(at);
    // What the clock has shown for the three hours before.
    let mut shown: std::collections::BTreeSet<_> = (-180..0).map(|n| show(minute(n))).collect();
    let mut found = Vec::new();
    for n in 0..hours * 60 {
        let (before, now) = (show(minute(n - 1)), show(minute(n)));
        let is_new = shown.insert(now);
        let mut left_out = before.checked_add(jiff::SignedDuration::from_mins(1)).unwrap();
        let mut fires = matches(now) && (is_hourly || is_new);
        while left_out < now {
            fires |= !is_hourly && matches(left_out);
            left_out = left_out.checked_add(jiff::SignedDuration::from_mins(1)).unwrap();
        }
        if fires {
            found.push(minute(n).as_millisecond());
        }
    }
    found
}

fn field(least: i64, most: i64) -> impl Strategy<Value = String> {
    let one = (least..=most, least..=most, 1..=most.max(2), 0..4_u8).prop_map(
        move |(a, b, step, form)| match form {
            0 => "*".to_owned(),
            1 => format!("*/{}", step.min(most)),
            2 => format!("{}-{}/{}", a.min(b), a.max(b), step.min(most)),
            _ => a.to_string(),
        },
    );
    prop::collection::vec(one, 1..3).prop_map(|parts| parts.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn fires_as_a_model_says_that_tries_every_minute(
        minute in field(0, 59), hour in field(0, 23), day in field(1, 31),
        month in field(1, 12), weekday in field(0, 7),
        at in prop::sample::select(vec![
            ("America/New_York", "2026-03-07T12:00:00Z"),
            ("America/New_York", "2026-10-31T12:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-03T00:00:00Z"),
            ("Australia/Lord_Howe", "2026-04-04T00:00:00Z"),
            ("Pacific/Apia", "2011-12-29T00:00:00Z"),
            ("Asia/Kathmandu", "2026-02-27T00:00:00Z"),
            ("UTC", "2028-02-28T00:00:00Z"),
        ]),
        minutes in 0..720_i64,
    ) {
        let fields = [minute, hour, day, month, weekday];
        let expression = fields.join(" ");
        prop_assume!(Cron::parse(&expression, false).is_ok());
        let from = at.1.parse::<Timestamp>().unwrap();
        let from = from.checked_add(jiff::SignedDuration::from_mins(minutes)).unwrap();
        let times = Times::new(&cron(&expression, at.0)).unwrap();
        let until_ms = from.as_millisecond() + 60 * HOUR_MS;
        let found: Vec<i64> = times
            .after(from.as_millisecond() - 1)
            .take_while(|at_ms| *at_ms < until_ms)
            .collect();
        let zone = TimeZone::get(at.0).unwrap();
        let expected = model(&fields, &zone, from, 60);
        prop_assert_eq!(found, expected, "{} in {}", expression, at.0);
    }
}
