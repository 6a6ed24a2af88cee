//! Task types and workers.

use super::Client;
use crate::{
    Error, status,
    v1::{
        CreateTaskTypeRequest, GetTaskTypeRequest, ListTaskTypesRequest, ListWorkersRequest,
        TaskType, UpdateTaskTypeRequest, Worker,
    },
};

impl Client {
    /// Registers a task type; unset fields get the defaults.
    pub async fn create_type(&self, task_type: TaskType) -> Result<TaskType, Error> {
        let request = CreateTaskTypeRequest { task_type: Some(task_type) };
        let answer =
            self.call(request, |mut broker, request| async move {
                broker.create_task_type(request).await
            })
            .await?;
        type_of(answer.task_type)
    }

    /// Gets a task type.
    pub async fn get_type(&self, name: &str) -> Result<TaskType, Error> {
        let request = GetTaskTypeRequest { name: name.to_owned() };
        let answer = self
            .call(request, |mut broker, request| async move { broker.get_task_type(request).await })
            .await?;
        type_of(answer.task_type)
    }

    /// Changes the fields that the request's mask names.
    pub async fn update_type(&self, request: UpdateTaskTypeRequest) -> Result<TaskType, Error> {
        let answer =
            self.call(request, |mut broker, request| async move {
                broker.update_task_type(request).await
            })
            .await?;
        type_of(answer.task_type)
    }

    /// All task types by name.
    pub async fn types(&self) -> Result<Vec<TaskType>, Error> {
        let mut request = ListTaskTypesRequest::default();
        let mut types = Vec::new();
        loop {
            let page = self
                .call(request.clone(), |mut broker, request| async move {
                    broker.list_task_types(request).await
                })
                .await?;
            types.extend(page.task_types);
            if page.next_page_token.is_empty() {
                return Ok(types);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// All workers that registered lately.
    pub async fn workers(&self) -> Result<Vec<Worker>, Error> {
        let mut request = ListWorkersRequest::default();
        let mut workers = Vec::new();
        loop {
            let page = self
                .call(request.clone(), |mut broker, request| async move {
                    broker.list_workers(request).await
                })
                .await?;
            workers.extend(page.workers);
            if page.next_page_token.is_empty() {
                return Ok(workers);
            }
            request.page_token = page.next_page_token;
        }
    }
}

fn type_of(task_type: Option<TaskType>) -> Result<TaskType, Error> {
    task_type.ok_or_else(|| status::incomplete("task type").into())
}
