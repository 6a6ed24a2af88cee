//! A handler and somebody who submits to it, in one file. Against `asyncflow dev`:
//!
//! ```text
//! cargo run -p asyncflow-sdk --example resize
//! ```
//!
//! The task "resizes" a picture in three stages and saves what it has after each of them, so that
//! an attempt that follows a crash begins where the last one stopped.

use std::time::Duration;

use asyncflow_sdk::{
    ChannelOptions, Client, ClientOptions,
    v1::{Content, LeasedTask, TaskSpec, TaskState},
    worker::{AttemptHandle, Handler, HandlerError, Outcome, WorkerBuilder, WorkerOptions},
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

const STAGES: [&str; 3] = ["decode", "scale", "encode"];

#[derive(Deserialize)]
struct Order {
    width: u32,
    height: u32,
}

/// What survives a crash.
#[derive(Default, Deserialize, Serialize)]
struct Saved {
    stages_done: usize,
    pixels: u64,
}

struct ResizeHandler;

#[async_trait::async_trait]
impl Handler for ResizeHandler {
    type Context = (Order, Saved);

    async fn load_context(&self, leased: &LeasedTask) -> Result<Self::Context, HandlerError> {
        let task = leased.task.as_ref().ok_or_else(|| HandlerError::permanent("no task"))?;
        let payload = task.payload.as_ref().map(|payload| &payload.data[..]).unwrap_or_default();
        let order = serde_json::from_slice(payload)
            .map_err(|error| HandlerError::bad_context(format!("payload: {error}")))?;
        let saved = match &task.context {
            Some(context) if !context.data.is_empty() => serde_json::from_slice(&context.data)
                .map_err(|error| HandlerError::bad_context(format!("context: {error}")))?,
            _ => Saved::default(),
        };
        Ok((order, saved))
    }

    async fn process(
        &self,
        attempt: &mut AttemptHandle,
        (order, mut saved): Self::Context,
    ) -> Result<Option<Content>, HandlerError> {
        for (number, stage) in STAGES.iter().enumerate().skip(saved.stages_done) {
            if attempt.should_stop().is_some() {
                return Err(HandlerError::stopped());
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            saved.pixels += u64::from(order.width) * u64::from(order.height);
            saved.stages_done = number + 1;
            attempt.save_context(Some(stage), Some(json(&saved)?)).await?;
            attempt.progress(saved.stages_done as f64 * 100.0 / STAGES.len() as f64, *stage);
            attempt.log(&format!("{stage}: {} pixels so far", saved.pixels)).await;
        }
        Ok(Some(json(&saved)?))
    }

    async fn finish(&self, task: &LeasedTask, outcome: &Outcome) {
        let id = task.task.as_ref().map(|task| task.id.as_str()).unwrap_or_default();
        println!("finish of {id}: {outcome:?}");
    }
}

fn json(value: &impl Serialize) -> Result<Content, HandlerError> {
    let data = serde_json::to_vec(value)
        .map_err(|error| HandlerError::permanent(format!("cannot be encoded: {error}")))?;
    Ok(Content { data: data.into(), content_type: "application/json".to_owned() })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address =
        std::env::var("ASYNCFLOW_BROKER").unwrap_or_else(|_| "http://127.0.0.1:7070".to_owned());

    let options = WorkerOptions::new(vec![ChannelOptions::new(&address)], "resize-example");
    let drain = CancellationToken::new();
    let worker = WorkerBuilder::new(options).handler("resize", ResizeHandler);
    let working = tokio::spawn(worker.run(drain.clone(), CancellationToken::new()));

    let client = Client::connect(ClientOptions { address, ..ClientOptions::default() })?;
    let order = r#"{"width":640,"height":480}"#;
    let created = client
        .create(TaskSpec {
            task_type: "resize".to_owned(),
            payload: Some(Content {
                data: order.into(),
                content_type: "application/json".to_owned(),
            }),
            ..TaskSpec::default()
        })
        .await?;
    println!("created {}", created.id);
    let ended = client.wait(&created.id, Some(Duration::from_secs(60))).await?;
    println!("{} is {:?}, stage {}", ended.id, ended.state(), ended.stage);
    let result = ended.result.clone().unwrap_or_default();
    println!("result {}", String::from_utf8_lossy(&result.data));

    drain.cancel();
    working.await??;
    if ended.state() == TaskState::Succeeded { Ok(()) } else { Err("it did not succeed".into()) }
}
