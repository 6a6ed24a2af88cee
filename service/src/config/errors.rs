//! Everything that is wrong with a configuration.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Path of the key, e.g. `listen.tls.cert_file`; empty for the whole.
    pub key: String,
    /// The rule and what was found, without secrets.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// All that is wrong, sorted by key. Its text is for people; a program exits with 2 after it.
#[derive(Debug, Default)]
pub struct ConfigErrors(Vec<Violation>);

impl ConfigErrors {
    pub(super) fn of(key: &str, message: impl Into<String>) -> Self {
        Self(vec![Violation { key: key.to_owned(), message: message.into() }])
    }

    pub(super) fn extend(&mut self, more: impl IntoIterator<Item = Violation>) {
        self.0.extend(more);
        self.0.sort();
        self.0.dedup();
    }

    /// What is wrong, sorted by key.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.0
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} error{}", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}

impl std::error::Error for ConfigErrors {}
