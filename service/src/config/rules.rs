//! Rules over a typed configuration, collected instead of stopping at the first broken one.

use super::errors::Violation;

/// A part of a configuration that has rules.
pub trait Validate {
    /// Reports every broken rule, with keys relative to this part.
    fn validate(&self, rules: &mut Rules);
}

/// Collects broken rules with their full key paths.
#[derive(Debug, Default)]
pub struct Rules {
    prefix: Vec<String>,
    broken: Vec<Violation>,
}

impl Rules {
    /// Reports `rule` at `key` unless it `holds`.
    pub fn require(&mut self, holds: bool, key: &str, rule: impl Into<String>) {
        if !holds {
            self.refuse(key, rule);
        }
    }

    /// Reports `rule` at `key`.
    pub fn refuse(&mut self, key: &str, rule: impl Into<String>) {
        let path: Vec<&str> =
            self.prefix.iter().map(String::as_str).chain([key]).filter(|s| !s.is_empty()).collect();
        self.broken.push(Violation { key: path.join("."), message: rule.into() });
    }

    /// Asks the part at `key` for its own rules.
    pub fn section(&mut self, key: &str, part: &impl Validate) {
        self.prefix.push(key.to_owned());
        part.validate(self);
        self.prefix.pop();
    }

    pub(super) fn into_broken(self) -> Vec<Violation> {
        self.broken
    }
}
