//! The handlers that every runner has.

use std::time::Duration;

use asyncflow_sdk::{
    v1::{Content, LeasedTask},
    worker::{AttemptHandle, Handler, HandlerError},
};
use serde_json::{Value, json};

const NAMES: [&str; 6] =
    ["echo", "stages", "until_stopped", "retry_later", "permanent", "save_until_lost"];

/// One of them.
pub struct BuiltIn(String);

impl BuiltIn {
    pub fn named(name: &str) -> Option<Self> {
        NAMES.contains(&name).then(|| Self(name.to_owned()))
    }
}

fn content(value: &Value) -> Option<Content> {
    let data = value.to_string().into_bytes().into();
    Some(Content { data, content_type: "application/json".to_owned() })
}

#[async_trait::async_trait]
impl Handler for BuiltIn {
    type Context = Option<Content>;

    async fn load_context(&self, leased: &LeasedTask) -> Result<Self::Context, HandlerError> {
        Ok(leased.task.as_ref().and_then(|task| task.context.clone()))
    }

    async fn process(
        &self,
        attempt: &mut AttemptHandle,
        context: Self::Context,
    ) -> Result<Option<Content>, HandlerError> {
        let number = attempt.lease().attempt;
        match (self.0.as_str(), number) {
            ("echo", _) => Ok(attempt.task().payload.clone()),
            ("stages", 1) => {
                attempt.save_context(Some("one"), content(&json!({"step": 1}))).await?;
                Err(HandlerError::retryable("as the scenario wants it"))
            }
            ("stages", _) => {
                let context = context.unwrap_or_default();
                let saved: Value = serde_json::from_slice(&context.data)
                    .map_err(|error| HandlerError::bad_context(error.to_string()))?;
                let stage = &attempt.task().stage;
                Ok(content(&json!({"stage": stage, "step": saved["step"], "attempt": number})))
            }
            ("until_stopped", _) => {
                attempt.progress(10.0, "");
                attempt.cancelled().await;
                Err(HandlerError::stopped())
            }
            ("retry_later", 1) => Err(HandlerError::retry_after(Duration::from_secs(1), "not now")),
            ("permanent", _) => Err(HandlerError::permanent("never")),
            ("save_until_lost", 1) => save_until_lost(attempt).await,
            _ => Ok(content(&json!({"attempt": number}))),
        }
    }
}

async fn save_until_lost(attempt: &mut AttemptHandle) -> Result<Option<Content>, HandlerError> {
    for number in 1.. {
        attempt.save_context(None, content(&json!({"n": number}))).await?;
        tokio::select! {
            _ = attempt.cancelled() => break,
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
    Err(HandlerError::stopped())
}
