//! What each step does.

use std::{collections::HashMap, env, time::Duration};

use asyncflow_sdk::{
    ChannelOptions, Client, ClientOptions, Error,
    v1::{
        CountTasksRequest, CreateTaskRequest, ListTasksRequest, StreamTaskLogsRequest, TaskSpec,
        WatchTasksRequest,
    },
    worker::{WorkerBuilder, WorkerOptions},
};
use futures::{TryStreamExt, stream};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    handlers::BuiltIn,
    proto_json::{read, write},
    story::{Trouble, code_name},
    watching::Watching,
};

const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

type Fields = Map<String, Value>;

struct RunningWorker {
    drain: CancellationToken,
    abort: CancellationToken,
    running: JoinHandle<Result<(), Error>>,
}

/// Plays one scenario with a client of its own.
pub struct Player {
    /// Variables by their names.
    pub saved: Map<String, Value>,
    address: String,
    client: Client,
    steps: Value,
    workers: HashMap<String, RunningWorker>,
    watches: HashMap<String, Watching>,
}

fn text<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, Trouble> {
    let found = fields.get(name).and_then(Value::as_str);
    found.ok_or_else(|| Trouble::failed(format!("the step lacks {name}")))
}

fn seconds(fields: &Fields, name: &str, default: f64) -> Duration {
    Duration::from_secs_f64(fields.get(name).and_then(Value::as_f64).unwrap_or(default))
}

fn task_json(task: &asyncflow_sdk::v1::Task) -> Result<Value, Trouble> {
    write("Task", task)
}

impl Player {
    pub fn new(scenario: &Value) -> Result<Self, Trouble> {
        let address = env::var("ASYNCFLOW_BROKER")
            .map_err(|_| Trouble::failed("ASYNCFLOW_BROKER is not set"))?;
        let options = ClientOptions { address: address.clone(), ..ClientOptions::default() };
        Ok(Self {
            saved: Map::new(),
            client: Client::connect(options)?,
            address,
            steps: scenario["steps"].clone(),
            workers: HashMap::new(),
            watches: HashMap::new(),
        })
    }

    pub async fn make_types(&mut self, types: &Value) -> Result<(), Trouble> {
        for (key, task_type) in types.as_object().into_iter().flatten() {
            let id = uuid::Uuid::new_v4().simple().to_string();
            let name = format!("{key}_{}", &id[..12]);
            let mut task_type = task_type.clone();
            task_type["name"] = name.clone().into();
            self.client.create_type(read("TaskType", &task_type)?).await?;
            self.saved.insert(key.clone(), name.into());
        }
        Ok(())
    }

    /// Does the step; the answer as JSON.
    pub async fn do_step(&mut self, verb: &str, mut fields: Fields) -> Result<Value, Trouble> {
        let deadline = fields.remove("deadline_ms").and_then(|value| value.as_u64());
        let client = match deadline {
            Some(ms) => self.client.within(Duration::from_millis(ms)),
            None => self.client.clone(),
        };
        match verb {
            "create" => create(&client, &fields).await,
            "batch_create" => batch_create(&client, &fields).await,
            "stream_create" => stream_create(&client, &fields).await,
            "get" => task_json(&client.get(text(&fields, "task")?).await?),
            "cancel" => task_json(&client.cancel(text(&fields, "task")?, "").await?),
            "retry" => task_json(&client.retry(text(&fields, "task")?, false).await?),
            "wait" => {
                let timeout = seconds(&fields, "timeout_s", 0.0);
                task_json(&client.wait(text(&fields, "task")?, Some(timeout)).await?)
            }
            "list" => list(&client, &fields).await,
            "count" => {
                let request: CountTasksRequest = read("CountTasksRequest", &fields.into())?;
                Ok(json!({"total": client.count(request).await?.total}))
            }
            "attempts" => {
                let attempts = client.attempts(text(&fields, "task")?).await?;
                let attempts: Result<Vec<_>, _> =
                    attempts.iter().map(|attempt| write("Attempt", attempt)).collect();
                Ok(json!({"attempts": attempts?}))
            }
            "logs" => logs(&client, &fields).await,
            "watch_begin" => self.watch_begin(&fields),
            "watch_until" => {
                let name = text(&fields, "watch")?;
                let watching = self.watches.get_mut(name);
                let watching = watching.ok_or_else(|| Trouble::failed("no such watch"))?;
                let patience = seconds(&fields, "timeout_s", 0.0);
                watching.until(text(&fields, "state")?, patience).await
            }
            "worker_start" => self.worker_start(&fields).await,
            "worker_stop" => self.worker_stop(&fields).await,
            "control" => control(&fields).await,
            other => Err(Trouble::failed(format!("unknown step: {other}"))),
        }
    }

    fn watch_begin(&mut self, fields: &Fields) -> Result<Value, Trouble> {
        let filter = fields.get("filter").and_then(Value::as_str).unwrap_or_default();
        let task = fields.get("task").and_then(Value::as_str);
        let request = WatchTasksRequest {
            filter: filter.to_owned(),
            task_ids: task.into_iter().map(str::to_owned).collect(),
            ..WatchTasksRequest::default()
        };
        let watching = Watching::begin(self.client.clone(), request);
        self.watches.insert(text(fields, "watch")?.to_owned(), watching);
        Ok(json!({}))
    }

    async fn worker_start(&mut self, fields: &Fields) -> Result<Value, Trouble> {
        let name = text(fields, "worker")?.to_owned();
        let worker_id = format!("rust-{}", uuid::Uuid::new_v4().simple());
        let brokers = vec![ChannelOptions::new(&self.address)];
        let mut options = WorkerOptions::new(brokers, &worker_id);
        let slots = fields.get("slots").and_then(Value::as_u64).unwrap_or(1);
        options.slots = usize::try_from(slots).unwrap_or(1);
        options.drain_timeout = self.drain_of(&name);
        let mut builder = WorkerBuilder::new(options);
        for (task_type, handler) in fields["handlers"].as_object().into_iter().flatten() {
            let built_in = handler.as_str().and_then(BuiltIn::named);
            let no_such = || Trouble::failed(format!("no such handler: {handler}"));
            builder = builder.handler(task_type, built_in.ok_or_else(no_such)?);
        }
        let (drain, abort) = (CancellationToken::new(), CancellationToken::new());
        let running = tokio::spawn(builder.run(drain.clone(), abort.clone()));
        self.workers.insert(name, RunningWorker { drain, abort, running });
        while !self.client.workers().await?.iter().any(|one| one.worker_id == worker_id) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(json!({}))
    }

    /// Of the step that will stop the worker: this SDK wants to know at the start.
    fn drain_of(&self, worker: &str) -> Duration {
        let mut steps = self.steps.as_array().into_iter().flatten();
        let stop = steps.find(|step| step["do"] == "worker_stop" && step["worker"] == worker);
        Duration::from_secs_f64(stop.and_then(|step| step["drain_s"].as_f64()).unwrap_or(0.0))
    }

    async fn worker_stop(&mut self, fields: &Fields) -> Result<Value, Trouble> {
        let name = text(fields, "worker")?;
        let worker = self.workers.remove(name).ok_or_else(|| Trouble::failed("no such worker"))?;
        worker.drain.cancel();
        match tokio::time::timeout(seconds(fields, "timeout_s", 15.0), worker.running).await {
            Ok(Ok(ended)) => Ok(ended.map(|()| json!({}))?),
            Ok(Err(panic)) => Err(Trouble::failed(format!("{name}: {panic}"))),
            Err(_) => {
                worker.abort.cancel();
                Err(Trouble::failed(format!("{name} did not end")))
            }
        }
    }

    /// Ends what is left.
    pub async fn close(&mut self) {
        self.watches.clear();
        for (_, worker) in self.workers.drain() {
            worker.drain.cancel();
            worker.abort.cancel();
            let _ = tokio::time::timeout(CLOSE_TIME_MAX, worker.running).await;
        }
    }
}

async fn create(client: &Client, fields: &Fields) -> Result<Value, Trouble> {
    let task: TaskSpec = read("TaskSpec", &fields["task"])?;
    let request_id = fields.get("request_id").and_then(Value::as_str).unwrap_or_default();
    let request = CreateTaskRequest {
        task: Some(task),
        request_id: request_id.to_owned(),
        ..CreateTaskRequest::default()
    };
    task_json(&client.create_with(request).await?.task.unwrap_or_default())
}

fn requests(fields: &Fields) -> Result<Vec<CreateTaskRequest>, Trouble> {
    let tasks = fields["tasks"].as_array().into_iter().flatten();
    let request = |task| {
        let task = Some(read::<TaskSpec>("TaskSpec", task)?);
        Ok(CreateTaskRequest { task, ..CreateTaskRequest::default() })
    };
    tasks.map(request).collect()
}

async fn batch_create(client: &Client, fields: &Fields) -> Result<Value, Trouble> {
    let answers = client.create_batch(requests(fields)?).await?;
    let tasks = answers.into_iter().map(|answer| task_json(&answer.task.unwrap_or_default()));
    Ok(json!({"tasks": tasks.collect::<Result<Vec<_>, _>>()?}))
}

async fn stream_create(client: &Client, fields: &Fields) -> Result<Value, Trouble> {
    let results = client.create_stream(stream::iter(requests(fields)?)).await?;
    let results: Vec<_> = results.try_collect().await?;
    let told = results.into_iter().map(|result| match result.error {
        None => json!({"task_id": result.task_id}),
        Some(error) => {
            let error = Error::from(error);
            json!({"error": {"code": code_name(&error), "reason": error.reason()}})
        }
    });
    Ok(json!({"results": told.collect::<Vec<_>>()}))
}

async fn list(client: &Client, fields: &Fields) -> Result<Value, Trouble> {
    let request: ListTasksRequest = read("ListTasksRequest", &fields.clone().into())?;
    let tasks: Vec<_> = client.list(request).try_collect().await?;
    Ok(json!({"tasks": tasks.iter().map(task_json).collect::<Result<Vec<_>, _>>()?}))
}

async fn logs(client: &Client, fields: &Fields) -> Result<Value, Trouble> {
    let task_id = text(fields, "task")?.to_owned();
    let request = StreamTaskLogsRequest { task_id, ..StreamTaskLogsRequest::default() };
    let chunks: Vec<_> = client.logs(request).try_collect().await?;
    let data: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.data).collect();
    Ok(json!({"text": String::from_utf8_lossy(&data)}))
}

/// One POST over HTTP/1.1, without a client for it.
async fn control(order: &Fields) -> Result<Value, Trouble> {
    let wrong = |error: std::io::Error| Trouble::failed(format!("control: {error}"));
    let url = env::var("ASYNCFLOW_CONFORMANCE_CONTROL").unwrap_or_default();
    let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let body = Value::from(order.clone()).to_string();
    let mut stream = TcpStream::connect(&host).await.map_err(wrong)?;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.map_err(wrong)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(wrong)?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    if status == "200" { Ok(json!({})) } else { Err(Trouble::failed(answer)) }
}
