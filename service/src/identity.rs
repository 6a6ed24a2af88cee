//! Which process this is: host name plus a random part that changes at every start.

use std::fmt;

/// The version of the running program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Names one run of one process, e.g. `gpu-07-1f0c9a3e`; unique in practice, never reused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InstanceId(String);

impl InstanceId {
    /// Makes the id of this run from the host name and 32 random bits.
    #[must_use]
    pub fn generate() -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        Self(format!("{}-{}", hostname(), &random[..8]))
    }

    /// The id as text: at most 72 characters of `[A-Za-z0-9.-]`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The host's name, cleaned and cut to 63 characters; `host` where the system has none.
#[must_use]
pub fn hostname() -> String {
    let raw = nix::unistd::gethostname().unwrap_or_default();
    let cleaned: String = raw
        .to_string_lossy()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
        .take(63)
        .collect();
    if cleaned.is_empty() { "host".to_owned() } else { cleaned }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_have_two_ids_on_one_host() {
        let (a, b) = (InstanceId::generate(), InstanceId::generate());
        assert_ne!(a, b);
        assert!(a.as_str().starts_with(&hostname()));
    }
}
