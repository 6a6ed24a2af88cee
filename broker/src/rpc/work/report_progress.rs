//! ReportProgress: overwrites what tasks said of themselves.

use asyncflow_core::{
    event::Event,
    limits::ACQUIRE_TASKS_MAX,
    validate::{at::At, number, work},
    violation::Violations,
};
use asyncflow_proto::v1;

use super::verdicts;
use crate::{broker::Broker, convert, error::RpcError};

pub async fn report_progress(
    broker: &Broker,
    request: v1::ReportProgressRequest,
) -> Result<v1::ReportProgressResponse, RpcError> {
    let mut violations = Violations::new();
    let at = At::REQUEST.field("reports");
    let count_max = ACQUIRE_TASKS_MAX.unsigned_abs() as usize;
    number::item_count(request.reports.len(), 0..=count_max, at, &mut violations);
    let mut leases = Vec::new();
    let mut reports = Vec::new();
    for (index, report) in request.reports.into_iter().take(count_max).enumerate() {
        let at = at.item(index);
        let lease = report.lease.as_ref();
        leases.extend(convert::work::lease(lease, at.field("lease"), &mut violations));
        let progress = convert::task::progress_from_proto(report.progress.unwrap_or_default());
        work::progress(&progress, at.field("progress"), &mut violations);
        reports.push(progress);
    }
    violations.none()?;
    let session = broker.sessions.get(&request.session_id).await?;
    let report = |index: usize, fence| Event::Report { fence, progress: reports[index].clone() };
    let leases = verdicts(broker, &session, leases, report).await?;
    Ok(v1::ReportProgressResponse { leases })
}
