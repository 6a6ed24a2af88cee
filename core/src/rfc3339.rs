//! Points in time as text: RFC 3339 date-times.

/// The Unix milliseconds of e.g. `2026-01-01T00:00:00Z` or `2026-01-01T01:00:00.5+01:00`; `None` if
/// the text is not a date-time of the years 1 to 9999. Fractions below a millisecond are cut off; a
/// leap second counts as the second after it.
pub fn parse_ms(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (head, tail) = bytes.split_at_checked(19)?;
    let separated = head[4] == b'-'
        && head[7] == b'-'
        && matches!(head[10], b'T' | b't' | b' ')
        && head[13] == b':'
        && head[16] == b':';
    let number = |from: usize, to: usize| digits(&head[from..to]);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let valid = separated
        && year >= 1
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour <= 23
        && minute <= 59
        && second <= 60;
    if !valid {
        return None;
    }
    let (fraction_ms, zone) = fraction(tail)?;
    let offset_s = offset(zone)?;
    let local_s = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some((local_s - offset_s) * 1_000 + fraction_ms)
}

fn digits(bytes: &[u8]) -> Option<i64> {
    let digit = |&byte: &u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    bytes.iter().try_fold(0, |sum, byte| Some(sum * 10 + digit(byte)?))
}

/// The milliseconds of an optional `.123…`, and what follows it.
fn fraction(tail: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = tail.strip_prefix(b".") else { return Some((0, tail)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let milliseconds = (0..3).fold(0, |sum, index| {
        let digit = if index < length { rest[index] - b'0' } else { 0 };
        sum * 10 + i64::from(digit)
    });
    Some((milliseconds, &rest[length..]))
}

/// Seconds east of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, rest) = match zone {
        b"Z" | b"z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let &[h1, h2, b':', m1, m2] = rest else { return None };
    let (hours, minutes) = (digits(&[h1, h2])?, digits(&[m1, m2])?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar. Years are counted from March, so that the leap
/// day is the last day of a year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_date_times() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-01-01T00:00:00Z", crate::id::EPOCH_MS),
            ("2024-02-29T23:59:59.999Z", 1_709_251_199_999),
            ("2026-01-01T01:00:00.5+01:00", 1_767_225_600_500),
            ("2025-12-31T19:30:00-04:30", 1_767_225_600_000),
            ("1969-12-31T23:59:59.123456789Z", -877),
        ] {
            assert_eq!(parse_ms(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            "2026-01-01",
            "2026-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00ZZ",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:0éZ",
        ] {
            assert_eq!(parse_ms(text), None, "{text}");
        }
    }
}
