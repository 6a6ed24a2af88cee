//! Schedules: create, look, change, pause, run, back-fill, delete.

use futures::Stream;
use prost_types::Timestamp;

use super::{Client, MESSAGE_BYTES_MAX};
use crate::{
    Error,
    channel::AuthorizedChannel,
    status,
    v1::{
        BackfillScheduleRequest, BackfillScheduleResponse, CreateScheduleRequest,
        CreateScheduleResponse, DeleteScheduleRequest, GetScheduleRequest, GetScheduleResponse,
        ListFireTimesRequest, ListSchedulesRequest, PauseScheduleRequest, ResumeScheduleRequest,
        RunScheduleRequest, RunScheduleResponse, Schedule, ScheduleSpec, UpdateScheduleRequest,
        schedule_service_client::ScheduleServiceClient,
    },
};

pub(super) type Schedules = ScheduleServiceClient<AuthorizedChannel>;

pub(super) fn open(channel: AuthorizedChannel) -> Schedules {
    ScheduleServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Client {
    /// Creates a schedule; safe to be repeated inside, because it carries a fresh request id.
    pub async fn create_schedule(&self, schedule: ScheduleSpec) -> Result<Schedule, Error> {
        let request = CreateScheduleRequest { schedule: Some(schedule), ..Default::default() };
        schedule_of(self.create_schedule_with(request).await?.schedule)
    }

    /// Creates a schedule with a request id of the caller's, or only checks it (`validate_only`).
    /// An empty `request_id` is replaced by a random one.
    pub async fn create_schedule_with(
        &self,
        mut request: CreateScheduleRequest,
    ) -> Result<CreateScheduleResponse, Error> {
        if request.request_id.is_empty() {
            request.request_id = uuid::Uuid::now_v7().to_string();
        }
        self.call(request, |_, request| {
            let mut schedules = self.schedules.clone();
            async move { schedules.create_schedule(request).await }
        })
        .await
    }

    /// Gets a schedule, with what became of its last fire times.
    pub async fn schedule(&self, schedule_id: &str) -> Result<GetScheduleResponse, Error> {
        let request = GetScheduleRequest { schedule_id: schedule_id.to_owned() };
        self.call(request, |_, request| {
            let mut schedules = self.schedules.clone();
            async move { schedules.get_schedule(request).await }
        })
        .await
    }

    /// All schedules of a user, or of everybody if it is empty, newest first, page by page as they
    /// are asked for.
    pub fn schedules(&self, user: &str) -> impl Stream<Item = Result<Schedule, Error>> {
        let request = ListSchedulesRequest { user: user.to_owned(), ..Default::default() };
        let schedules = self.schedules.clone();
        self.paged(
            request,
            move |_, request| {
                let mut schedules = schedules.clone();
                async move { schedules.list_schedules(request).await }
            },
            |page| (page.schedules, page.next_page_token),
            |request| &mut request.page_token,
        )
    }

    /// Changes the fields that the request's mask names.
    pub async fn update_schedule(&self, request: UpdateScheduleRequest) -> Result<Schedule, Error> {
        let answer = self
            .call(request, |_, request| {
                let mut schedules = self.schedules.clone();
                async move { schedules.update_schedule(request).await }
            })
            .await?;
        schedule_of(answer.schedule)
    }

    /// Deletes a schedule; what it has made stays.
    pub async fn delete_schedule(&self, schedule_id: &str) -> Result<(), Error> {
        let request =
            DeleteScheduleRequest { schedule_id: schedule_id.to_owned(), etag: String::new() };
        self.call(request, |_, request| {
            let mut schedules = self.schedules.clone();
            async move { schedules.delete_schedule(request).await }
        })
        .await?;
        Ok(())
    }

    /// Pauses a schedule.
    pub async fn pause_schedule(&self, schedule_id: &str) -> Result<Schedule, Error> {
        let request = PauseScheduleRequest { schedule_id: schedule_id.to_owned() };
        let answer = self
            .call(request, |_, request| {
                let mut schedules = self.schedules.clone();
                async move { schedules.pause_schedule(request).await }
            })
            .await?;
        schedule_of(answer.schedule)
    }

    /// Resumes a schedule, at the first of its times that is still to come.
    pub async fn resume_schedule(&self, schedule_id: &str) -> Result<Schedule, Error> {
        let request = ResumeScheduleRequest { schedule_id: schedule_id.to_owned() };
        let answer = self
            .call(request, |_, request| {
                let mut schedules = self.schedules.clone();
                async move { schedules.resume_schedule(request).await }
            })
            .await?;
        schedule_of(answer.schedule)
    }

    /// Makes at once what a schedule makes; safe to be repeated inside, because it carries a fresh
    /// request id.
    pub async fn run_schedule(&self, schedule_id: &str) -> Result<RunScheduleResponse, Error> {
        let request_id = uuid::Uuid::now_v7().to_string();
        let request = RunScheduleRequest { schedule_id: schedule_id.to_owned(), request_id };
        self.call(request, |_, request| {
            let mut schedules = self.schedules.clone();
            async move { schedules.run_schedule(request).await }
        })
        .await
    }

    /// Makes what a schedule would have made from `start` until before `end`, exactly once.
    pub async fn backfill_schedule(
        &self,
        schedule_id: &str,
        start: Timestamp,
        end: Timestamp,
    ) -> Result<BackfillScheduleResponse, Error> {
        let request = BackfillScheduleRequest {
            schedule_id: schedule_id.to_owned(),
            start_time: Some(start),
            end_time: Some(end),
        };
        self.call_once(request, |_, request| {
            let mut schedules = self.schedules.clone();
            async move { schedules.backfill_schedule(request).await }
        })
        .await
    }

    /// The next fire times of a schedule, or of one that might be.
    pub async fn fire_times(&self, request: ListFireTimesRequest) -> Result<Vec<Timestamp>, Error> {
        let answer = self
            .call(request, |_, request| {
                let mut schedules = self.schedules.clone();
                async move { schedules.list_fire_times(request).await }
            })
            .await?;
        Ok(answer.fire_times)
    }
}

fn schedule_of(schedule: Option<Schedule>) -> Result<Schedule, Error> {
    schedule.ok_or_else(|| status::incomplete("schedule").into())
}
