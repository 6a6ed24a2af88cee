//! The RPCs; each is a line or two over the attempt's handle.

use std::sync::Arc;

use asyncflow_proto::ATTEMPT_TOKEN_METADATA;
use asyncflow_sdk::{
    v1::{
        CreateAttemptChildrenRequest, CreateAttemptChildrenResponse, CreateChildTasksRequest,
        GetAttemptRequest, GetAttemptResponse, HandOverAttemptRequest, HandOverAttemptResponse,
        ListAttemptChildrenRequest, ListAttemptChildrenResponse, ReportAttemptProgressRequest,
        ReportAttemptProgressResponse, SaveAttemptContextRequest, SaveAttemptContextResponse,
        SetAttemptResultRequest, SetAttemptResultResponse, SetAttemptWaitRequest,
        SetAttemptWaitResponse, ShouldStopRequest, ShouldStopResponse,
        attempt_service_server::AttemptService,
    },
    worker::{CONTEXT_BYTES_MAX, HandOver, RESULT_BYTES_MAX},
};
use tonic::{Request, Response, Status};

use super::{AttemptDesk, Entry, HAND_OVER_FILE, RESULT_FILE, WAIT_FILE};
use crate::status;

impl AttemptDesk {
    fn entry_of<T>(&self, request: &Request<T>) -> Result<Arc<Entry>, Status> {
        let token = request.metadata().get(ATTEMPT_TOKEN_METADATA);
        let entry = token.and_then(|token| token.to_str().ok()).and_then(|token| self.find(token));
        entry.ok_or_else(status::unknown_attempt)
    }
}

#[tonic::async_trait]
impl AttemptService for AttemptDesk {
    async fn get_attempt(
        &self,
        request: Request<GetAttemptRequest>,
    ) -> Result<Response<GetAttemptResponse>, Status> {
        let entry = self.entry_of(&request)?;
        Ok(Response::new(GetAttemptResponse {
            task: entry.attempt.leased().task.clone(),
            attempt: entry.attempt.lease().attempt,
        }))
    }

    async fn save_attempt_context(
        &self,
        request: Request<SaveAttemptContextRequest>,
    ) -> Result<Response<SaveAttemptContextResponse>, Status> {
        let entry = self.entry_of(&request)?;
        let request = request.into_inner();
        let saved = entry.attempt.save_context(request.stage.as_deref(), request.context).await;
        let context_version = saved.map_err(|error| status::from_broker(&error))?;
        Ok(Response::new(SaveAttemptContextResponse { context_version }))
    }

    async fn report_attempt_progress(
        &self,
        request: Request<ReportAttemptProgressRequest>,
    ) -> Result<Response<ReportAttemptProgressResponse>, Status> {
        let entry = self.entry_of(&request)?;
        let progress = request.into_inner().progress.ok_or_else(|| status::missing("progress"))?;
        entry.attempt.report(progress);
        Ok(Response::new(ReportAttemptProgressResponse {}))
    }

    async fn set_attempt_result(
        &self,
        request: Request<SetAttemptResultRequest>,
    ) -> Result<Response<SetAttemptResultResponse>, Status> {
        let entry = self.entry_of(&request)?;
        let result = request.into_inner().result.ok_or_else(|| status::missing("result"))?;
        if result.data.len() > RESULT_BYTES_MAX {
            return Err(status::result_too_large(result.data.len()));
        }
        entry.set_result(result.clone());
        entry.keep(RESULT_FILE, result).await;
        Ok(Response::new(SetAttemptResultResponse {}))
    }

    async fn create_attempt_children(
        &self,
        request: Request<CreateAttemptChildrenRequest>,
    ) -> Result<Response<CreateAttemptChildrenResponse>, Status> {
        let entry = self.entry_of(&request)?;
        let CreateAttemptChildrenRequest { key, tasks, max_parallel } = request.into_inner();
        let call = CreateChildTasksRequest { key, tasks, max_parallel, ..Default::default() };
        let created = entry.attempt.create_children_with(call).await;
        let workflow = created.map_err(|error| status::from_broker(&error))?;
        Ok(Response::new(CreateAttemptChildrenResponse { workflow: Some(workflow) }))
    }

    async fn list_attempt_children(
        &self,
        request: Request<ListAttemptChildrenRequest>,
    ) -> Result<Response<ListAttemptChildrenResponse>, Status> {
        let entry = self.entry_of(&request)?;
        let request = request.into_inner();
        let (size, token) = (request.page_size, &request.page_token);
        let page = entry.attempt.children_page(&request.key, size, token).await;
        let page = page.map_err(|error| status::from_broker(&error))?;
        Ok(Response::new(ListAttemptChildrenResponse {
            children: page.children,
            next_page_token: page.next_page_token,
        }))
    }

    async fn set_attempt_wait(
        &self,
        request: Request<SetAttemptWaitRequest>,
    ) -> Result<Response<SetAttemptWaitResponse>, Status> {
        let entry = self.entry_of(&request)?;
        let wait_for = request.into_inner().wait_for.ok_or_else(|| status::missing("wait_for"))?;
        entry.set_wait_for(Ok(wait_for.clone()));
        entry.keep(WAIT_FILE, wait_for).await;
        Ok(Response::new(SetAttemptWaitResponse {}))
    }

    async fn hand_over_attempt(
        &self,
        request: Request<HandOverAttemptRequest>,
    ) -> Result<Response<HandOverAttemptResponse>, Status> {
        let entry = self.entry_of(&request)?;
        let request = request.into_inner();
        let size = request.context.as_ref().map_or(0, |context| context.data.len());
        if size > CONTEXT_BYTES_MAX {
            return Err(status::context_too_large(size));
        }
        let HandOverAttemptRequest { context, message } = request.clone();
        entry.set_hand_over(HandOver { context, message });
        entry.keep(HAND_OVER_FILE, request).await;
        Ok(Response::new(HandOverAttemptResponse {}))
    }

    async fn should_stop(
        &self,
        request: Request<ShouldStopRequest>,
    ) -> Result<Response<ShouldStopResponse>, Status> {
        let reason = self.entry_of(&request)?.attempt.should_stop();
        Ok(Response::new(ShouldStopResponse {
            should_stop: reason.is_some(),
            reason: reason.map(|reason| reason.text().to_owned()).unwrap_or_default(),
        }))
    }
}
