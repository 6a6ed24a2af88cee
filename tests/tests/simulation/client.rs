//! The owner of the tasks: creates them, looks after them, cancels some. It is the SDK's client.

use std::{sync::Arc, time::Duration};

use asyncflow_sdk::{
    Client, ClientOptions, is_terminal,
    v1::{Content, CreateTaskRequest, Task, TaskSpec},
};

use super::{database::TASK_TYPE, history::Fact, network::PORT, plan::broker_name, scene::Scene};

const PAUSE: Duration = Duration::from_millis(100);

pub async fn run(scene: Arc<Scene>) -> turmoil::Result {
    let clients = (0..scene.plan.brokers).map(|number| {
        Client::connect(ClientOptions {
            address: format!("http://{}:{PORT}", broker_name(number)),
            call_timeout: Duration::from_secs(2),
            retries_max: 1,
            ..ClientOptions::default()
        })
    });
    let clients = clients.collect::<Result<Vec<_>, _>>()?;
    let creating = (0..scene.plan.tasks).map(|number| own(&scene, &clients, number));
    futures::future::join_all(creating).await;
    scene.set_asked();
    // A client that ended would be a host that is gone.
    std::future::pending().await
}

/// The life of one task as its owner sees it.
async fn own(scene: &Scene, clients: &[Client], number: u64) {
    let (wait_ms, stages, cancels, looks) = scene.dice.with(|dice| {
        (dice.roll(scene.plan.creates_ms), dice.roll(4), dice.one_in(5), dice.between(1, 4))
    });
    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    let task = create(scene, clients, format!("request {number}"), stages).await;
    if cancels {
        pause(scene, 3_000).await;
        let client = any(scene, clients);
        if let Ok(task) = client.cancel(&task, "no need any more").await {
            seen(scene, &task);
        }
    }
    for _ in 0..looks {
        pause(scene, 6_000).await;
        if let Ok(task) = any(scene, clients).get(&task).await {
            seen(scene, &task);
        }
    }
}

/// Repeats it until it is answered, by any broker.
async fn create(scene: &Scene, clients: &[Client], request: String, stages: u64) -> String {
    loop {
        scene.database.note(Fact::Asked { request: request.clone() });
        let payload = Some(Content { data: stages.to_string().into(), ..Content::default() });
        let task = TaskSpec { task_type: TASK_TYPE.to_owned(), payload, ..TaskSpec::default() };
        let asked = CreateTaskRequest {
            task: Some(task),
            request_id: request.clone(),
            ..CreateTaskRequest::default()
        };
        if let Ok(answer) = any(scene, clients).create_with(asked).await {
            let task = answer.task.unwrap_or_default().id;
            scene.database.note(Fact::Created { request, task: task.clone() });
            return task;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn any<'a>(scene: &Scene, clients: &'a [Client]) -> &'a Client {
    &clients[scene.dice.with(|dice| dice.roll(clients.len() as u64)) as usize]
}

async fn pause(scene: &Scene, most_ms: u64) {
    let ms = scene.dice.with(|dice| dice.roll(most_ms));
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

fn seen(scene: &Scene, task: &Task) {
    if is_terminal(task.state()) {
        let result = task.result.clone().unwrap_or_default();
        let result = String::from_utf8_lossy(&result.data).into_owned();
        let state = task.state().as_str_name().to_owned();
        scene.database.note(Fact::Seen { task: task.id.clone(), state, result });
    }
}
