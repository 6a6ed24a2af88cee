//! A schedule that is accepted fires at times that come one after the other and that its expression
//! matches; one that is refused is told at its fields.
//!
//! The first byte says whether there are seconds, and in which zone; what follows a line feed is
//! the name of a zone instead.

use asyncflow_core::{
    schedule::{
        cron::Cron,
        spec::{Spec, Times},
        zone,
    },
    validate::{
        at::At,
        schedule::{Moment, ScheduleInput, TimingInput, schedule},
    },
    violation::Violations,
};
use jiff::civil::DateTime;

const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"];
/// Before clocks were set by law, now, and a day on which they are set back in Europe.
const MOMENTS_MS: [i64; 3] = [-3_000_000_000_000, crate::NOW_MS, 1_792_886_400_000];
const FIRES: usize = 5;

/// Reads the bytes as an expression.
pub fn check(data: &[u8]) {
    let Some((first, text)) = data.split_first() else { return };
    let Some(text) = crate::text(text) else { return };
    let with_seconds = first & 1 == 1;
    let (expression, zone_name) =
        text.split_once('\n').unwrap_or((text, ZONES[usize::from(first >> 1) % ZONES.len()]));
    match Cron::parse(expression, with_seconds) {
        Ok(cron) => {
            matches_what_it_finds(&cron);
            if let Ok(zone) = zone::find(zone_name) {
                MOMENTS_MS.into_iter().for_each(|from_ms| goes_on(&cron, &zone, from_ms));
            }
        }
        Err(what) => assert!(!what.is_empty() && what.len() <= crate::TOLD_BYTES_MAX, "{what}"),
    }
    as_a_schedule(expression, with_seconds, zone_name);
}

fn matches_what_it_finds(cron: &Cron) {
    let mut from = DateTime::constant(2024, 2, 28, 23, 59, 58, 0);
    for _ in 0..FIRES {
        let Some(found) = cron.next_from(from) else { return };
        assert!(found >= from);
        assert_eq!(cron.next_from(found), Some(found), "what is found does not match");
        let Ok(after) = found.checked_add(jiff::SignedDuration::from_secs(1)) else { return };
        from = after;
    }
}

fn goes_on(cron: &Cron, zone: &jiff::tz::TimeZone, mut from_ms: i64) {
    for _ in 0..FIRES {
        let Some(next_ms) = zone::next_after(cron, zone, from_ms) else { return };
        assert!(next_ms > from_ms, "{next_ms} comes after {from_ms}");
        from_ms = next_ms;
    }
}

fn as_a_schedule(expression: &str, with_seconds: bool, zone: &str) {
    let (expression, zone) = (expression.to_owned(), zone.to_owned());
    let timing = TimingInput::Cron { expression, with_seconds, zone };
    let input = ScheduleInput { user: "ana".to_owned(), timing, ..ScheduleInput::default() };
    let now_ms = crate::NOW_MS;
    let moment = Moment { now_ms, created_ms: now_ms, must_fire: true };
    let mut violations = Violations::new();
    let spec = schedule(&input, At::REQUEST, moment, &mut violations);
    if violations.is_empty() {
        accepted(spec, now_ms);
    }
    for violation in violations.into_list() {
        assert!(violation.field.starts_with("schedule"), "{}", violation.field);
        assert!(violation.description.len() <= crate::VIOLATIONS_BYTES_MAX);
    }
}

fn accepted(spec: Option<Spec>, now_ms: i64) {
    let fires = spec.map(|spec| {
        let times = Times::new(&spec)?;
        Ok::<_, String>(times.after(now_ms).take(FIRES).collect::<Vec<_>>())
    });
    let Some(Ok(fires)) = fires else { panic!("nothing was wrong, and there is no schedule") };
    assert!(fires.is_sorted() && fires.first().is_some_and(|first_ms| *first_ms > now_ms));
}
