//! When a host has room for a task, if what runs there ends by its limits.
//!
//! A task that ends gives back its slot, cores and memory wherever it ran, but a GPU only if that
//! may be given away by then: nobody knows when a cordon is taken back, a stranger goes, or whether
//! a card with a fault passes its probe.

use super::super::{Gpu, GpuState, Host, Report, Running, Subject};
use crate::{placement::Misfit, resources::Resources};

/// The moments at which something is given back, until the task fits; `None` = it is not known
/// when it does.
pub(super) fn earliest(
    subject: &Subject<'_>,
    needs: &Resources,
    host: &Host,
    now: &[Misfit],
    suitable: &[&Gpu],
) -> Option<i64> {
    if now.is_empty() {
        return Some(subject.now_ms);
    }
    let is_about_room = |misfit: &Misfit| {
        !matches!(
            misfit,
            Misfit::Type | Misfit::Host { .. } | Misfit::Avoided | Misfit::Labels { .. }
        )
    };
    if !now.iter().all(is_about_room) {
        return None;
    }
    let report = host.report.as_ref()?;
    let then = Then { subject, needs, host, report, suitable };
    let ends = report.running.iter().filter_map(|running| running.end_time_max_ms);
    let cooled = suitable.iter().filter_map(|gpu| gpu.until_ms);
    let mut moments: Vec<i64> = ends.chain(cooled).map(|ms| ms.max(subject.now_ms)).collect();
    moments.sort_unstable();
    moments.dedup();
    moments.into_iter().find(|time_ms| then.fits(*time_ms))
}

/// A host as it is later.
struct Then<'a> {
    subject: &'a Subject<'a>,
    needs: &'a Resources,
    host: &'a Host,
    report: &'a Report,
    suitable: &'a [&'a Gpu],
}

impl Then<'_> {
    fn fits(&self, time_ms: i64) -> bool {
        let (mut ended, mut cpu_millis, mut memory_bytes) =
            (0, self.report.cpu_free_millis, self.report.memory_free_bytes);
        for running in self.report.running.iter().filter(|running| has_ended(running, time_ms)) {
            ended += 1;
            cpu_millis = cpu_millis.saturating_add(running.cpu_millis);
            memory_bytes = memory_bytes.saturating_add(running.memory_bytes);
        }
        if ended as usize == self.report.running.len() {
            // Also where it is not known who has how much.
            (cpu_millis, memory_bytes) = (self.report.cpu_millis, self.report.memory_bytes);
        }
        let slots = self.host.slots.saturating_add(ended).saturating_sub(self.host.running);
        slots > 0
            && cpu_millis >= self.needs.cpu_millis
            && memory_bytes >= self.needs.memory_bytes
            && self.fits_gpus(time_ms)
    }

    fn fits_gpus(&self, time_ms: i64) -> bool {
        let mut open = self.suitable.iter().filter(|gpu| self.is_open(gpu, time_ms));
        let on = |gpu: &Gpu| {
            let uuid = gpu.uuid.clone();
            let left = self.report.running.iter().filter(move |one| !has_ended(one, time_ms));
            left.filter(move |running| running.gpus.contains(&uuid))
        };
        if self.needs.gpu_memory_bytes > 0 {
            return open.any(|gpu| {
                let strangers: i64 = gpu.processes.iter().map(|one| one.memory_bytes).sum();
                let given: i64 = on(gpu).map(|running| running.gpu_share_bytes).sum();
                on(gpu).all(|running| running.gpu_share_bytes > 0)
                    && gpu.memory_bytes - strangers - given >= self.needs.gpu_memory_bytes
            });
        }
        let wanted = usize::try_from(self.needs.gpus).unwrap_or(0);
        open.filter(|gpu| on(gpu).next().is_none()).count() >= wanted
    }

    /// Whether it may be given to this task then, if nobody is on it.
    fn is_open(&self, gpu: &Gpu, time_ms: i64) -> bool {
        let is_ready = match gpu.state {
            GpuState::Ready => true,
            GpuState::CoolingDown => gpu.until_ms.is_some_and(|until_ms| until_ms <= time_ms),
            _ => false,
        };
        let Subject { task, holds, .. } = self.subject;
        let is_kept = holds.iter().any(|held| {
            // Who has ended when they are needed may use them until then.
            let fills = task.max_running_ms > 0
                && held.start_ms.is_some_and(|start_ms| {
                    time_ms.saturating_add(task.max_running_ms) <= start_ms
                });
            held.task_id != task.id
                && held.worker_id == self.host.worker_id
                && held.gpus.contains(&gpu.uuid)
                && !fills
        });
        is_ready && !is_kept
    }
}

fn has_ended(running: &Running, time_ms: i64) -> bool {
    running.end_time_max_ms.is_some_and(|end_ms| end_ms <= time_ms)
}
