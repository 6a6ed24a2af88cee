//! What is wrong with a request: all of it at once, so that nobody has to fix one field per try.

use std::fmt::{self, Write as _};

/// The text of all violations together stays below this, because it travels in the trailers of the
/// answer and some clients refuse more than 8 KiB of those.
const TEXT_BYTES_MAX: usize = 4_096;
/// How much of a refused value is shown.
const SHOWN_CHARS_MAX: usize = 40;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the request, e.g. `requests[3].task.labels[2].key`.
    pub field: String,
    /// What is wrong, with the value, and what is allowed.
    pub description: String,
}

/// Everything that is wrong with one request, in the order in which it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    listed: Vec<Violation>,
    text_bytes: usize,
    unlisted: usize,
}

impl Violations {
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `field` is wrong. Beyond some 4 KiB of text further ones are only counted.
    pub fn add(&mut self, field: impl fmt::Display, description: impl Into<String>) {
        let violation = Violation { field: field.to_string(), description: description.into() };
        let bytes = violation.field.len() + violation.description.len();
        if self.unlisted > 0 || self.text_bytes + bytes > TEXT_BYTES_MAX {
            self.unlisted += 1;
        } else {
            self.text_bytes += bytes;
            self.listed.push(violation);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.unlisted == 0
    }

    /// How many were found, also those that are not listed.
    pub fn count(&self) -> usize {
        self.listed.len() + self.unlisted
    }

    /// The value, if nothing was wrong.
    ///
    /// # Errors
    /// Itself, if anything was.
    pub fn ok_or<T>(self, value: Option<T>) -> Result<T, Violations> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            _ => Err(self),
        }
    }

    /// The value of a further check, if neither found anything wrong.
    ///
    /// # Errors
    /// What both found.
    pub fn joined<T>(mut self, further: Result<T, Violations>) -> Result<T, Violations> {
        match further {
            Ok(value) => self.ok_or(Some(value)),
            Err(more) => {
                more.listed.into_iter().for_each(|v| self.add(v.field, v.description));
                self.unlisted += more.unlisted;
                Err(self)
            }
        }
    }

    /// Nothing was wrong.
    ///
    /// # Errors
    /// Itself, if anything was.
    pub fn none(self) -> Result<(), Violations> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    /// For the answer: the listed ones, and a last one that says how many are not listed.
    pub fn into_list(self) -> Vec<Violation> {
        let mut list = self.listed;
        if self.unlisted > 0 {
            list.push(Violation {
                field: "*".into(),
                description: format!("{} further violations are not listed", self.unlisted),
            });
        }
        list
    }
}

impl From<Violation> for Violations {
    fn from(violation: Violation) -> Self {
        let mut violations = Self::new();
        violations.add(violation.field, violation.description);
        violations
    }
}

/// One line for logs and for the message of the answer: the first violation and how many more.
impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.listed.first() {
            Some(first) => write!(f, "{}: {}", first.field, first.description)?,
            None => f.write_str("invalid request")?,
        }
        match self.count().saturating_sub(1) {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        }
    }
}

impl std::error::Error for Violations {}

/// A refused text as it may be shown: quoted, escaped, shortened. The length is told when it is
/// cut.
pub fn shown(value: &str) -> String {
    let mut out = String::from("\"");
    out.extend(value.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug));
    if value.chars().nth(SHOWN_CHARS_MAX).is_some() {
        let _ = write!(out, "…\" ({} bytes)", value.len());
    } else {
        out.push('"');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_but_not_listed() {
        let mut violations = Violations::new();
        for item in 0..10_000 {
            violations.add(format!("requests[{item}].task.name"), "too long");
        }
        assert_eq!(violations.count(), 10_000);
        let list = violations.into_list();
        assert!(list.len() < 400);
        let text: usize = list.iter().map(|v| v.field.len() + v.description.len()).sum();
        assert!(text <= TEXT_BYTES_MAX + 64, "{text} bytes");
        assert!(list.last().is_some_and(|last| last.description.contains("further violations")));
    }

    #[test]
    fn a_refused_value_is_escaped_and_cut() {
        assert_eq!(shown("a\0b\n"), r#""a\0b\n""#);
        let long = shown(&"é".repeat(1_000_000));
        assert!(long.ends_with("…\" (2000000 bytes)"), "{long}");
        assert!(long.len() < 120);
    }
}
