//! Tasks: create, look, change, wait.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::Stream;

use super::Client;
use crate::{
    Error, status,
    v1::{
        Attempt, BatchCreateTasksRequest, CancelTaskRequest, Content, CountTasksRequest,
        CountTasksResponse, CreateTaskRequest, CreateTaskResponse, DeleteTaskRequest,
        GetTaskRequest, ListAttemptsRequest, ListTasksRequest, ListTasksResponse, PauseTaskRequest,
        ResumeTaskRequest, RetryTaskRequest, SignalTaskRequest, Task, TaskSpec, TaskView,
        UpdateTaskRequest, WaitTaskRequest, WaitTaskResponse,
    },
};

impl Client {
    /// Creates a task; safe to be repeated inside, because it carries a fresh request id.
    pub async fn create(&self, task: TaskSpec) -> Result<Task, Error> {
        let request = CreateTaskRequest { task: Some(task), ..CreateTaskRequest::default() };
        task_of(self.create_with(request).await?.task)
    }

    /// Creates a task with a request id of the caller's, or only checks it (`validate_only`). An
    /// empty `request_id` is replaced by a random one.
    pub async fn create_with(
        &self,
        mut request: CreateTaskRequest,
    ) -> Result<CreateTaskResponse, Error> {
        identify(&mut request);
        self.call(request, |mut broker, request| async move { broker.create_task(request).await })
            .await
    }

    /// Creates up to 1,000 tasks, all or none; empty request ids are replaced by random ones.
    pub async fn create_batch(
        &self,
        mut requests: Vec<CreateTaskRequest>,
    ) -> Result<Vec<CreateTaskResponse>, Error> {
        requests.iter_mut().for_each(identify);
        let request = BatchCreateTasksRequest { requests };
        let answer =
            self.call(request, |mut broker, request| async move {
                broker.batch_create_tasks(request).await
            })
            .await?;
        Ok(answer.responses)
    }

    /// Says to a task that something has happened which it waits for, or will. The first signal of
    /// a name counts.
    pub async fn signal(
        &self,
        task_id: &str,
        name: &str,
        content: Option<Content>,
    ) -> Result<Task, Error> {
        let (task_id, name) = (task_id.to_owned(), name.to_owned());
        let request = SignalTaskRequest { task_id, name, content };
        let answer = self
            .call(request, |mut broker, request| async move { broker.signal_task(request).await })
            .await?;
        task_of(answer.task)
    }

    /// Gets a task with everything.
    pub async fn get(&self, task_id: &str) -> Result<Task, Error> {
        self.get_view(task_id, TaskView::Full).await
    }

    /// Gets a task in the given view.
    pub async fn get_view(&self, task_id: &str, view: TaskView) -> Result<Task, Error> {
        let request = GetTaskRequest { task_id: task_id.to_owned(), view: view.into() };
        let answer = self
            .call(request, |mut broker, request| async move { broker.get_task(request).await })
            .await?;
        task_of(answer.task)
    }

    /// One page of tasks, newest first.
    pub async fn list_page(&self, request: ListTasksRequest) -> Result<ListTasksResponse, Error> {
        self.call(request, |mut broker, request| async move { broker.list_tasks(request).await })
            .await
    }

    /// All tasks that match, newest first, page by page as they are asked for.
    pub fn list(&self, request: ListTasksRequest) -> impl Stream<Item = Result<Task, Error>> {
        self.paged(
            request,
            |mut broker, request| async move { broker.list_tasks(request).await },
            |page| (page.tasks, page.next_page_token),
            |request| &mut request.page_token,
        )
    }

    /// Counts by type, user and state.
    pub async fn count(&self, request: CountTasksRequest) -> Result<CountTasksResponse, Error> {
        self.call(request, |mut broker, request| async move { broker.count_tasks(request).await })
            .await
    }

    /// Changes the fields that the request's mask names.
    pub async fn update(&self, request: UpdateTaskRequest) -> Result<Task, Error> {
        let answer = self
            .call(request, |mut broker, request| async move { broker.update_task(request).await })
            .await?;
        task_of(answer.task)
    }

    /// Cancels a task; a running one is CANCELLING until its worker has stopped it.
    pub async fn cancel(&self, task_id: &str, reason: &str) -> Result<Task, Error> {
        let request = CancelTaskRequest { task_id: task_id.to_owned(), reason: reason.to_owned() };
        let answer = self
            .call(request, |mut broker, request| async move { broker.cancel_task(request).await })
            .await?;
        task_of(answer.task)
    }

    /// Opens a new run of a terminal task; `from_start` forgets stage and context.
    pub async fn retry(&self, task_id: &str, from_start: bool) -> Result<Task, Error> {
        let request = RetryTaskRequest { task_id: task_id.to_owned(), from_start };
        let answer =
            self.call_once(request, |mut broker, request| async move {
                broker.retry_task(request).await
            })
            .await?;
        task_of(answer.task)
    }

    /// Takes a waiting task out of the queue.
    pub async fn pause(&self, task_id: &str) -> Result<Task, Error> {
        let request = PauseTaskRequest { task_id: task_id.to_owned() };
        let answer = self
            .call(request, |mut broker, request| async move { broker.pause_task(request).await })
            .await?;
        task_of(answer.task)
    }

    /// Puts a paused task back.
    pub async fn resume(&self, task_id: &str) -> Result<Task, Error> {
        let request = ResumeTaskRequest { task_id: task_id.to_owned() };
        let answer = self
            .call(request, |mut broker, request| async move { broker.resume_task(request).await })
            .await?;
        task_of(answer.task)
    }

    /// Deletes a task with its history and logs.
    pub async fn delete(&self, task_id: &str) -> Result<(), Error> {
        let request = DeleteTaskRequest { task_id: task_id.to_owned() };
        let tries = AtomicUsize::new(0);
        let deleted = self
            .call(request, |mut broker, request| {
                tries.fetch_add(1, Ordering::Relaxed);
                async move { broker.delete_task(request).await }
            })
            .await;
        match deleted {
            // The answer of a try that deleted it was lost.
            Err(error) if error.is_not_found() && tries.into_inner() > 1 => Ok(()),
            other => other.map(drop),
        }
    }

    /// Waits until the task is terminal, or `timeout` is over (`None` = as long as it takes), and
    /// gives the task as it is then; look at its state.
    pub async fn wait(&self, task_id: &str, timeout: Option<Duration>) -> Result<Task, Error> {
        let answer: WaitTaskResponse = self
            .wait_in_rounds(
                timeout,
                |round| WaitTaskRequest { task_id: task_id.to_owned(), timeout: Some(round) },
                |mut broker, request| async move { broker.wait_task(request).await },
                |answer: &WaitTaskResponse| answer.done,
            )
            .await?;
        task_of(answer.task)
    }

    /// All attempts of a task, oldest first.
    pub async fn attempts(&self, task_id: &str) -> Result<Vec<Attempt>, Error> {
        let mut request =
            ListAttemptsRequest { task_id: task_id.to_owned(), ..ListAttemptsRequest::default() };
        let mut attempts = Vec::new();
        loop {
            let page = self
                .call(request.clone(), |mut broker, request| async move {
                    broker.list_attempts(request).await
                })
                .await?;
            attempts.extend(page.attempts);
            if page.next_page_token.is_empty() {
                return Ok(attempts);
            }
            request.page_token = page.next_page_token;
        }
    }
}

/// Ids that follow each other in time stand side by side in the index of a database.
pub(super) fn identify(request: &mut CreateTaskRequest) {
    if request.request_id.is_empty() {
        request.request_id = uuid::Uuid::now_v7().to_string();
    }
}

/// Every answer about a task holds it; a broker that leaves it out is broken.
fn task_of(task: Option<Task>) -> Result<Task, Error> {
    task.ok_or_else(|| status::incomplete("task").into())
}
