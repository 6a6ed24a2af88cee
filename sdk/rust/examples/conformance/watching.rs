//! A watch in the background.

use std::time::Duration;

use asyncflow_sdk::{Client, v1::WatchTasksRequest};
use futures::TryStreamExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::story::Trouble;

#[derive(Default)]
struct Seen {
    states: Vec<&'static str>,
    error: Option<String>,
}

/// Collects states until it is dropped.
pub struct Watching {
    seen: watch::Receiver<Seen>,
    _task: AbortOnDropHandle<()>,
}

impl Watching {
    pub fn begin(client: Client, request: WatchTasksRequest) -> Self {
        let (sender, seen) = watch::channel(Seen::default());
        let collecting = async move {
            let answers = client.watch(request);
            let told = answers.try_for_each(|answer| {
                if let Some(task) = &answer.task {
                    let state = task.state().as_str_name();
                    sender.send_if_modified(|seen| {
                        let news = seen.states.last() != Some(&state);
                        if news {
                            seen.states.push(state);
                        }
                        news
                    });
                }
                futures::future::ok(())
            });
            let error = told.await.err().map(|error| error.to_string());
            sender.send_modify(|seen| seen.error = error);
        };
        Self { seen, _task: AbortOnDropHandle::new(tokio::spawn(collecting)) }
    }

    pub async fn until(&mut self, state: &str, patience: Duration) -> Result<Value, Trouble> {
        let there = |seen: &Seen| seen.error.is_some() || seen.states.last() == Some(&state);
        let waited = tokio::time::timeout(patience, self.seen.wait_for(there)).await;
        let is_there = matches!(waited, Ok(Ok(ref seen)) if seen.error.is_none());
        drop(waited);
        let seen = self.seen.borrow();
        let states = &seen.states;
        if is_there {
            return Ok(json!({"states": states}));
        }
        let error = seen.error.as_deref().unwrap_or_default();
        Err(Trouble::failed(format!("{state} did not come: {states:?} {error}")))
    }
}
