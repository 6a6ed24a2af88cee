//! Cron expressions, matched against the clock on the wall.
//!
//! Five fields: minute, hour, day of the month, month, day of the week; with seconds, a sixth
//! before them. A field is a list of `*`, `5`, `1-5`, each with `/step` if need be. Months and days
//! of the week have English names of three letters; Sunday is 0 and 7. When neither of the two
//! fields for days begins with `*`, a day matches that one of them fits: the rule of Vixie cron.

use jiff::civil::{Date, DateTime};

use crate::violation::shown;

/// Days of the week and leap days meet again after at most 40 years (around 2100).
const YEARS_MAX: i16 = 50;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const SECOND: Field = Field { name: "second", least: 0, most: 59, names: &[] };
const MINUTE: Field = Field { name: "minute", least: 0, most: 59, names: &[] };
const HOUR: Field = Field { name: "hour", least: 0, most: 23, names: &[] };
const DAY: Field = Field { name: "day of the month", least: 1, most: 31, names: &[] };
const MONTH: Field = Field { name: "month", least: 1, most: 12, names: &MONTHS };
const WEEKDAY: Field = Field { name: "day of the week", least: 0, most: 7, names: &WEEKDAYS };

/// A checked expression. Each field is a set of bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both fields for days are given, so that either will do.
    either_day: bool,
}

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    /// Everything that is wrong with it, for people.
    pub fn parse(expression: &str, with_seconds: bool) -> Result<Self, String> {
        let wanted = if with_seconds { 6 } else { 5 };
        let fields: Vec<&str> = expression.split_ascii_whitespace().collect();
        if fields.len() != wanted {
            let hint = match (fields.len(), with_seconds) {
                (6, false) => "; say `with_seconds` if the first is meant to be seconds",
                (5, true) => "; with seconds there is one more before the minute",
                _ => "",
            };
            return Err(format!(
                "{} has {} fields; {wanted} are needed{hint}",
                shown(expression),
                fields.len()
            ));
        }
        let (second, rest) =
            if with_seconds { (fields[0], &fields[1..]) } else { ("0", &fields[..]) };
        let mut wrong = Vec::new();
        let mut read = |field: &Field, text: &str| match parse_field(field, text) {
            Ok(bits) => bits,
            Err(what) => {
                wrong.push(format!("{}: {what}", field.name));
                0
            }
        };
        let seconds = read(&SECOND, second);
        let minutes = read(&MINUTE, rest[0]);
        let hours = read(&HOUR, rest[1]);
        let days = read(&DAY, rest[2]);
        let months = read(&MONTH, rest[3]);
        let weekdays = read(&WEEKDAY, rest[4]);
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        let weekdays = (weekdays | weekdays >> 7) & 0x7f;
        let either_day = !rest[2].starts_with('*') && !rest[4].starts_with('*');
        let cron = Self { seconds, minutes, hours, days, months, weekdays, either_day };
        let leap_year = DateTime::constant(2000, 1, 1, 0, 0, 0, 0);
        match cron.next_from(leap_year) {
            Some(_) => Ok(cron),
            None => Err(format!("{} matches no day that there is", shown(expression))),
        }
    }

    /// Whether it matches in every hour of its days: such a schedule is meant to fire steadily,
    /// whatever the clocks on the walls are set to.
    pub fn is_hourly(&self) -> bool {
        self.hours == (1 << 24) - 1
    }

    /// The first match at or after `from`, which is a whole second; `None` if none comes within
    /// fifty years.
    pub fn next_from(&self, from: DateTime) -> Option<DateTime> {
        let mut date = from.date();
        let last_year = date.year().saturating_add(YEARS_MAX);
        let mut time = (from.hour() as u32, from.minute() as u32, from.second() as u32);
        while date.year() <= last_year {
            if self.months >> date.month() & 1 == 0 {
                date = date.last_of_month().tomorrow().ok()?;
                time = (0, 0, 0);
                continue;
            }
            if self.matches_day(date)
                && let Some((hour, minute, second)) = self.time_from(time)
            {
                return Some(date.at(hour as i8, minute as i8, second as i8, 0));
            }
            date = date.tomorrow().ok()?;
            time = (0, 0, 0);
        }
        None
    }

    fn matches_day(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        let (day, weekday) = (self.days >> date.day() & 1 == 1, self.weekdays >> weekday & 1 == 1);
        if self.either_day { day || weekday } else { day && weekday }
    }

    fn time_from(&self, (hour, minute, second): (u32, u32, u32)) -> Option<(u32, u32, u32)> {
        let first = |bits: u64| bits.trailing_zeros();
        let whole_hour = |hour| Some((hour, first(self.minutes), first(self.seconds)));
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1
                && let Some(second) = next_bit(self.seconds, second)
            {
                return Some((hour, minute, second));
            }
            if let Some(minute) = next_bit(self.minutes, minute + 1) {
                return Some((hour, minute, first(self.seconds)));
            }
        }
        next_bit(self.hours, hour + 1).and_then(whole_hour)
    }
}

/// The first member of a set from `from` on.
fn next_bit(bits: u64, from: u32) -> Option<u32> {
    let left = bits.checked_shr(from)? << from;
    (left != 0).then(|| left.trailing_zeros())
}

fn parse_field(field: &Field, text: &str) -> Result<u64, String> {
    let mut bits = 0;
    for part in text.split(',') {
        bits |= parse_part(field, part)?;
    }
    Ok(bits)
}

fn parse_part(field: &Field, part: &str) -> Result<u64, String> {
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (part, None),
    };
    let (from, to) = match range.split_once('-') {
        _ if range == "*" => (field.least, field.most),
        Some((from, to)) => (number(field, from)?, number(field, to)?),
        // As in Vixie cron, `5/10` is from 5 to the end.
        None if step.is_some() => (number(field, range)?, field.most),
        None => {
            let one = number(field, range)?;
            (one, one)
        }
    };
    if to < from {
        return Err(format!("{} runs backwards{}", shown(range), over_sunday(field, range, to)));
    }
    let step = match step {
        None => 1,
        Some(text) => match text.parse::<u32>() {
            Ok(step) if is_digits(text) && (1..=field.most).contains(&step) => step,
            _ => return Err(format!("the step {} is not 1 to {}", shown(text), field.most)),
        },
    };
    Ok((from..=to).step_by(step as usize).fold(0, |bits, at| bits | 1 << at))
}

/// Sunday ends a week for most people, but has the number 0 by its name.
fn over_sunday(field: &Field, range: &str, to: u32) -> String {
    match range.split_once('-') {
        Some((from, _)) if to == 0 && !field.names.is_empty() => {
            let day = number(field, from).unwrap_or_default();
            format!(": Sunday is 0 at its end; write {day}-7, or list the days: SAT,SUN")
        }
        _ => String::new(),
    }
}

fn number(field: &Field, text: &str) -> Result<u32, String> {
    let named = field.names.iter().position(|name| text.eq_ignore_ascii_case(name));
    let value = match named {
        Some(at) => Some(at as u32 + field.least),
        None if is_digits(text) => text.parse().ok(),
        None => None,
    };
    let (least, most) = (field.least, field.most);
    value
        .filter(|value| (least..=most).contains(value))
        .ok_or_else(|| format!("{} is not {least} to {most}", shown(text)))
}

/// `parse` alone would accept `+5`.
fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
