//! What tests ask of a governor about the shards of the type `command`.

use std::time::Duration;

use asyncflow_proto::v1::{
    DropShardRequest, DropShardResponse, GetStatusRequest, ListShardsRequest, RollShardRequest,
    RollShardResponse, RunDutyRequest, Shard, ShardState,
    governor_service_client::GovernorServiceClient,
};
use tonic::{Status, transport::Channel};

use crate::tasks::until;

const TASK_TYPE: &str = "command";
/// One that was stopped does not answer.
const STATUS_TIME_MAX: Duration = Duration::from_secs(1);

/// A governor to be asked; a cheap clone.
#[derive(Clone)]
pub struct Governor {
    client: GovernorServiceClient<Channel>,
}

impl Governor {
    /// The one at `address`, if it can be reached.
    pub(crate) async fn connect(address: String) -> Option<Self> {
        Some(Self { client: GovernorServiceClient::connect(address).await.ok()? })
    }

    /// Whether it says that it leads.
    pub(crate) async fn leads(&self) -> bool {
        let mut client = self.client.clone();
        let status = tokio::time::timeout(STATUS_TIME_MAX, client.get_status(GetStatusRequest {}));
        status.await.is_ok_and(|status| status.is_ok_and(|status| status.get_ref().leading))
    }

    /// RollShard, once.
    pub async fn try_roll(&self) -> Result<RollShardResponse, Status> {
        let request = RollShardRequest { task_type: TASK_TYPE.to_owned() };
        Ok(self.client.clone().roll_shard(request).await?.into_inner())
    }

    /// Rolls over and gives the number of the shard that takes new tasks from now on.
    pub async fn roll(&self) -> i32 {
        until("the type is rolled over", || async {
            Some(self.try_roll().await.ok()?.shard?.number)
        })
        .await
    }

    /// Returns when the shard that takes new tasks has got one: an empty one is not rolled over.
    pub async fn until_filled(&self) {
        until("a new task is in the open shard", || async {
            let shards = self.shards().await;
            let open = shards.iter().rev().find(|shard| shard.state() == ShardState::Open)?;
            (open.rows > 0).then_some(())
        })
        .await;
    }

    /// DropShard, once.
    pub async fn try_drop(&self, number: i32) -> Result<DropShardResponse, Status> {
        let task_type = TASK_TYPE.to_owned();
        let request = DropShardRequest { task_type, number, validate_only: false };
        Ok(self.client.clone().drop_shard(request).await?.into_inner())
    }

    /// Returns when the shard is dropped.
    pub async fn drop_shard(&self, number: i32) {
        until("the shard is dropped", || async { self.try_drop(number).await.ok() }).await;
    }

    /// Runs a duty once, from beginning to end.
    pub async fn run(&self, duty: &str) {
        until(&format!("{duty} has run"), || async {
            let request = RunDutyRequest { duty: duty.to_owned() };
            self.client.clone().run_duty(request).await.ok()
        })
        .await;
    }

    /// All shards, also the dropped ones, from number 1 on.
    pub async fn shards(&self) -> Vec<Shard> {
        until("the governor lists shards", || async {
            let request = ListShardsRequest { page_size: 1_000, ..ListShardsRequest::default() };
            let shards = self.client.clone().list_shards(request).await.ok()?;
            Some(shards.into_inner().shards)
        })
        .await
    }

    /// Their states.
    pub async fn shard_states(&self) -> Vec<ShardState> {
        self.shards().await.iter().map(Shard::state).collect()
    }

    /// The shard of this number.
    ///
    /// # Panics
    /// When there is none.
    pub async fn shard(&self, number: i32) -> Shard {
        let shards = self.shards().await;
        let shard = shards.into_iter().find(|shard| shard.number == number);
        shard.unwrap_or_else(|| panic!("there is no shard {number}"))
    }

    /// Returns when the shard is in this state.
    pub async fn until_state(&self, number: i32, state: ShardState) -> Shard {
        until(&format!("shard {number} is {state:?}"), || async {
            let shard = self.shard(number).await;
            (shard.state() == state).then_some(shard)
        })
        .await
    }
}
