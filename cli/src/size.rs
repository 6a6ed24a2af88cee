//! Sizes as people type them.

/// Reads a size such as `10GiB`, `512M` or `1073741824`: powers of 1,024 with and without an `i`,
/// because memory is meant.
pub fn parse_size(text: &str) -> Result<i64, String> {
    const UNITS: [char; 4] = ['k', 'm', 'g', 't'];
    let advice = || "write it as 10GiB, 512MiB or a number of bytes".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| advice())?;
    let unit = unit.trim().to_ascii_lowercase();
    let letter = unit.trim_end_matches('b').trim_end_matches('i');
    let power = match letter.chars().next() {
        None if unit.is_empty() || unit == "b" => 0,
        Some(letter_of) if letter.len() == 1 => {
            1 + UNITS.iter().position(|unit| *unit == letter_of).ok_or_else(advice)?
        }
        _ => return Err(advice()),
    };
    let bytes = (0..power).fold(number, |size, _| size * 1024.0);
    if bytes > i64::MAX as f64 { Err("the size is too large".to_owned()) } else { Ok(bytes as i64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_typed() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17b", 17),
            ("10GiB", 10 << 30),
            ("10G", 10 << 30),
            ("10gb", 10 << 30),
            ("1.5 GiB", 3 << 29),
            ("512MiB", 512 << 20),
            ("1T", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "ten", "10x", "-1", "10ib", "1.2.3", "10GiBs", "9e9", "99999999T"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
