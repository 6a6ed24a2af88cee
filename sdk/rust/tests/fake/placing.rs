//! Handing out tasks, those with needs by what the worker offers. None of a broker's fairness: the
//! first task that fits goes to the first GPUs that are free.

use asyncflow_sdk::v1::{
    AcquireTasksRequest, GpuOffer, GpuUse, HostOrders, HostOrdersChanged, Lease, LeasedTask,
    Placement, StreamCommandsResponse, Task, stream_commands_response::Command,
};

use super::{FakeBroker, State};

impl FakeBroker {
    /// Changes what is wanted of the host, and says that it has.
    pub fn order(&self, change: impl FnOnce(&mut HostOrders)) {
        self.change(|state| change(&mut state.orders));
        let command = Some(Command::OrdersChanged(HostOrdersChanged {}));
        for sender in &self.state().commands {
            let _ = sender.try_send(Ok(StreamCommandsResponse { command: command.clone() }));
        }
    }

    pub(super) fn take(&self, request: &AcquireTasksRequest) -> Vec<LeasedTask> {
        let mut state = self.state();
        if let Some(answered) = state.answered.get(&request.acquire_id) {
            return answered.clone();
        }
        let starts = request.start && state.starts_on_acquire;
        let mut gpus = request.offer.as_ref().map(|offer| offer.gpus.clone()).unwrap_or_default();
        let mut tasks = Vec::new();
        let mut left = std::collections::VecDeque::new();
        for mut task in std::mem::take(&mut state.queue) {
            let placed = if tasks.len() < request.max_tasks as usize {
                place(&state, &task, &mut gpus)
            } else {
                Err(())
            };
            let Ok(placement) = placed else {
                left.push_back(task);
                continue;
            };
            task.attempt += 1;
            task.start_time = starts.then(|| asyncflow_proto::time::timestamp(1));
            let lease = Lease { task_id: task.id.clone(), attempt: task.attempt };
            state.leases.insert(lease.task_id.clone(), lease.attempt);
            tasks.push(LeasedTask { lease: Some(lease), task: Some(task), placement });
        }
        state.queue = left;
        if !tasks.is_empty() {
            state.answered.insert(request.acquire_id.clone(), tasks.clone());
        }
        tasks
    }
}

/// Where it goes, or that it does not fit.
fn place(state: &State, task: &Task, gpus: &mut [GpuOffer]) -> Result<Option<Placement>, ()> {
    if let Some(placement) = state.placements.get(&task.id) {
        return Ok(Some(placement.clone()));
    }
    let needs = task.resources.clone().unwrap_or_default();
    let (count, share) = (needs.gpus as usize, needs.gpu_memory_bytes);
    if count == 0 && share == 0 {
        return Ok(None);
    }
    if share > 0 {
        let fits = |gpu: &&mut GpuOffer| {
            gpu.memory_free_bytes >= share && matches!(gpu.r#use(), GpuUse::Free | GpuUse::Shared)
        };
        let gpu = gpus.iter_mut().find(fits).ok_or(())?;
        gpu.memory_free_bytes -= share;
        gpu.set_use(GpuUse::Shared);
        return Ok(Some(Placement { gpus: vec![gpu.uuid.clone()], gpu_memory_bytes: share }));
    }
    let free = gpus.iter_mut().filter(|gpu| gpu.r#use() == GpuUse::Free);
    let chosen: Vec<_> = free.take(count).collect();
    if chosen.len() < count {
        return Err(());
    }
    let mut placement = Placement::default();
    for gpu in chosen {
        gpu.set_use(GpuUse::Exclusive);
        placement.gpus.push(gpu.uuid.clone());
    }
    Ok(Some(placement))
}
