//! Progress: the latest word of each attempt, sent at most once per interval for all together.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    held::Held,
    link::{Calls, Link},
};
use crate::{
    Error,
    v1::{Lease, Progress, ProgressReport, ReportProgressRequest},
};

const REPORTS_MAX: usize = 1_000;
const METRICS_MAX: usize = 32;
const METRIC_NAME_BYTES_MAX: usize = 64;
const MESSAGE_BYTES_MAX: usize = 1_024;
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

type Key = (String, i32);

/// What is to be sent.
#[derive(Default)]
pub(super) struct ProgressBoard {
    pending: Mutex<HashMap<Key, Progress>>,
    changed: Notify,
    /// Whose words are in the call of [`Self::run`].
    under_way: Mutex<HashSet<Key>>,
    landed: Notify,
}

impl ProgressBoard {
    fn with<T>(&self, run: impl FnOnce(&mut HashMap<Key, Progress>) -> T) -> T {
        run(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_under_way(&self, keys: HashSet<Key>) {
        *self.under_way.lock().unwrap_or_else(PoisonError::into_inner) = keys;
        self.landed.notify_waiters();
    }

    /// Waits while words of this attempt are in a call: they would come after its end.
    async fn has_landed(&self, key: &Key) {
        loop {
            let landed = self.landed.notified();
            let waits = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).contains(key);
            if !waits {
                return;
            }
            landed.await;
        }
    }

    /// Puts news over what is still to be sent. What a broker would refuse is left out.
    pub fn put(&self, lease: &Lease, news: Progress) {
        let key = (lease.task_id.clone(), lease.attempt);
        self.with(|pending| merge(pending.entry(key).or_default(), clean(news)));
        self.changed.notify_one();
    }

    /// Sends on, until it is dropped. Between two calls lies at least `interval`.
    pub async fn run(&self, link: &Link, held: &Held, interval: Duration) {
        loop {
            self.changed.notified().await;
            let taken: Vec<_> = self.with(|pending| {
                let keys: Vec<_> = pending.keys().take(REPORTS_MAX).cloned().collect();
                self.set_under_way(keys.iter().cloned().collect());
                keys.into_iter().filter_map(|key| pending.remove_entry(&key)).collect()
            });
            if let Err(error) = send(link.calls(), held, &taken).await {
                tracing::debug!(%error, "progress not sent");
                self.put_back(taken);
            }
            self.set_under_way(HashSet::new());
            tokio::time::sleep(interval).await;
            if self.with(|pending| !pending.is_empty()) {
                self.changed.notify_one();
            }
        }
    }

    /// Sends what one attempt said last, once, before it is settled.
    pub async fn flush(&self, calls: Calls<'_>, held: &Held, lease: &Lease) {
        let key = (lease.task_id.clone(), lease.attempt);
        let sending = async {
            self.has_landed(&key).await;
            if let Some(last) = self.with(|pending| pending.remove_entry(&key)) {
                let _ = send(calls, held, &[last]).await;
            }
        };
        let _ = tokio::time::timeout(CALL_TIMEOUT, sending).await;
    }

    fn put_back(&self, taken: Vec<((String, i32), Progress)>) {
        self.with(|pending| {
            for (key, mut older) in taken {
                if let Some(newer) = pending.remove(&key) {
                    merge(&mut older, newer);
                }
                pending.insert(key, older);
            }
        });
    }
}

async fn send(
    calls: Calls<'_>,
    held: &Held,
    taken: &[((String, i32), Progress)],
) -> Result<(), Error> {
    let report = |((task_id, attempt), progress): &((String, i32), Progress)| ProgressReport {
        lease: Some(Lease { task_id: task_id.clone(), attempt: *attempt }),
        progress: Some(progress.clone()),
    };
    let reports: Vec<_> = taken.iter().map(report).collect();
    if reports.is_empty() {
        return Ok(());
    }
    let answer = calls
        .call(
            CALL_TIMEOUT,
            |session_id| ReportProgressRequest { session_id, reports },
            |mut broker, request| async move { broker.report_progress(request).await },
        )
        .await;
    match answer {
        Ok(answer) => held.follow(&answer.leases),
        Err(error) if super::link::is_worth_repeating(&error) => return Err(error),
        Err(error) => tracing::warn!(%error, "progress refused"),
    }
    Ok(())
}

/// What is left is fit for the broker, which refuses a call as a whole: nonsense of one attempt
/// must not cost the others their progress.
fn clean(mut progress: Progress) -> Progress {
    progress.percent = progress.percent.filter(|percent| (0.0..=100.0).contains(percent));
    progress.metrics.retain(|name, value| value.is_finite() && is_metric_name(name));
    let is_bad = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if progress.message.contains(is_bad) {
        progress.message = progress.message.replace(is_bad, " ");
    }
    let end = progress.message.floor_char_boundary(MESSAGE_BYTES_MAX);
    progress.message.truncate(end);
    progress
}

fn is_metric_name(name: &str) -> bool {
    let is_blank = name.trim().is_empty();
    !is_blank && name.len() <= METRIC_NAME_BYTES_MAX && !name.contains(char::is_control)
}

fn merge(into: &mut Progress, news: Progress) {
    if news.percent.is_some() {
        into.percent = news.percent;
    }
    if !news.message.is_empty() {
        into.message = news.message;
    }
    for (name, value) in news.metrics {
        if into.metrics.len() < METRICS_MAX || into.metrics.contains_key(&name) {
            into.metrics.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, clean, merge};

    #[test]
    fn what_a_broker_would_refuse_is_left_out() {
        let mut news = Progress { message: "\u{1b}[1mepoch\t2".to_owned(), ..Progress::default() };
        let names = ["loss", "", " ", "a\nb", &"x".repeat(65)].map(str::to_owned);
        news.metrics = names.map(|name| (name, 0.5)).into();
        let clean = clean(news);
        assert_eq!(clean.message, " [1mepoch\t2");
        assert_eq!(clean.metrics.into_keys().collect::<Vec<_>>(), ["loss"]);
    }

    #[test]
    fn the_latest_word_wins_field_by_field_and_nonsense_is_dropped() {
        let mut all = Progress { percent: Some(10.0), ..Progress::default() };
        let mut news = Progress { percent: Some(f64::NAN), ..Progress::default() };
        news.message = "epoch 2".to_owned();
        news.metrics = [("loss".to_owned(), 0.5), ("bad".to_owned(), f64::INFINITY)].into();
        merge(&mut all, clean(news));
        assert_eq!(all.percent, Some(10.0));
        assert_eq!(all.message, "epoch 2");
        assert_eq!(all.metrics.len(), 1);
    }
}
