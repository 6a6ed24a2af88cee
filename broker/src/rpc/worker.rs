//! Verbs on workers, for those who look at them.

pub mod list_workers;
