//! One save of the context at a time, each upon the version that the one before has made.
//!
//! A save that was held up on its way, and repeated meanwhile, may arrive after a later one. It
//! names the version that it was made upon, so it is refused then, and cannot bring an older
//! context back.

use tokio::sync::{Mutex, MutexGuard};

use crate::Error;

/// The version that the task's context has.
pub(super) struct ContextVersion(Mutex<Known>);

struct Known {
    version: i64,
    /// Nobody can have saved since without our knowing.
    is_sure: bool,
}

impl ContextVersion {
    /// `is_sure` unless somebody may have saved since it was `version`.
    pub fn new(version: i64, is_sure: bool) -> Self {
        Self(Mutex::new(Known { version, is_sure }))
    }

    /// Waits until no other save is under way. Cancel safe.
    pub async fn turn(&self) -> Turn<'_> {
        Turn { known: self.0.lock().await, was_sure: false }
    }
}

/// The turn of one save. If it is dropped in between, who comes next finds out what became of it.
pub(super) struct Turn<'a> {
    known: MutexGuard<'a, Known>,
    was_sure: bool,
}

impl Turn<'_> {
    /// The version that the save is to be made upon.
    pub fn begin(&mut self) -> i64 {
        self.was_sure = std::mem::replace(&mut self.known.is_sure, false);
        self.known.version
    }

    /// Takes note of what was answered; `false` if it is to be saved again, upon another version:
    /// an earlier save came to no end here.
    pub fn end(&mut self, saved: Result<&i64, &Error>) -> bool {
        let other = saved.err().and_then(current).filter(|_| !self.was_sure);
        if let Some(version) = saved.ok().copied().or(other) {
            *self.known = Known { version, is_sure: true };
        }
        other.is_none()
    }
}

/// The version that the context has, if the save was refused because that is another one.
fn current(error: &Error) -> Option<i64> {
    let told = error.has_reason("CONTEXT_VERSION").then(|| error.detail("context_version"));
    told.flatten()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Mutex as Kept;

    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    type SaveResult = Result<i64, Error>;

    /// What the broker has, as it does it: only upon the version that is there.
    struct Broker(Kept<Vec<&'static str>>);

    impl Broker {
        fn with(saved: &[&'static str]) -> Self {
            Self(Kept::new(saved.to_vec()))
        }

        fn save(&self, context: &'static str, expected: i64) -> SaveResult {
            let mut saved = self.0.lock().unwrap();
            let current = i64::try_from(saved.len()).unwrap();
            if current != expected {
                let mut details = ErrorDetails::new();
                let metadata = [("context_version".to_owned(), current.to_string())];
                details.set_error_info("CONTEXT_VERSION", "", metadata);
                return Err(Status::with_error_details(Code::Aborted, "", details).into());
            }
            saved.push(context);
            Ok(current + 1)
        }

        fn saved(&self) -> Vec<&'static str> {
            self.0.lock().unwrap().clone()
        }
    }

    /// Saves as an attempt does.
    async fn save(version: &ContextVersion, broker: &Broker, context: &'static str) -> SaveResult {
        let mut turn = version.turn().await;
        loop {
            let saved = broker.save(context, turn.begin());
            if turn.end(saved.as_ref()) {
                return saved;
            }
        }
    }

    #[tokio::test]
    async fn each_save_is_made_upon_the_one_before() {
        let (broker, version) = (Broker::with(&["old"]), ContextVersion::new(1, true));
        save(&version, &broker, "a").await.unwrap();
        save(&version, &broker, "b").await.unwrap();
        assert_eq!(broker.saved(), ["old", "a", "b"]);
    }

    #[tokio::test]
    async fn who_came_after_a_former_process_finds_out_what_it_had_saved() {
        let (broker, version) = (Broker::with(&["a", "b"]), ContextVersion::new(0, false));
        assert_eq!(save(&version, &broker, "c").await.unwrap(), 3);
        assert_eq!(broker.saved(), ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn who_knows_the_version_does_not_save_upon_another_one() {
        let (broker, version) = (Broker::with(&["a", "strange"]), ContextVersion::new(1, true));
        let refused = save(&version, &broker, "b").await;
        assert!(refused.unwrap_err().has_reason("CONTEXT_VERSION"));
        assert_eq!(broker.saved(), ["a", "strange"]);
    }

    #[tokio::test]
    async fn after_one_that_was_given_up_the_next_finds_out_what_became_of_it() {
        for has_arrived in [true, false] {
            let (broker, version) = (Broker::with(&[]), ContextVersion::new(0, true));
            let given_up = version.turn().await.begin();
            if has_arrived {
                broker.save("a", given_up).unwrap();
            }
            save(&version, &broker, "b").await.unwrap();
            // It arrives now, for the first time or again.
            broker.save("a", given_up).unwrap_err();
            let saved = if has_arrived { vec!["a", "b"] } else { vec!["b"] };
            assert_eq!(broker.saved(), saved);
        }
    }
}
