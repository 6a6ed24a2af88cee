//! Rows as lines of the archive.

use asyncflow_archive::{Attempt, Content, Failure, Line, Progress, Retry, Usage};
use asyncflow_core::{task, usage::AttemptUsage};
use asyncflow_proto::v1;
use asyncflow_store::ShardRow;

/// Everything of a row.
pub(super) fn of(row: ShardRow) -> Line {
    let task::FullTask { task, body } = row.full;
    Line {
        id: task.id.to_string(),
        user: task.user,
        name: task.name,
        trace_id: task.trace_id,
        state: task.state.name().to_owned(),
        order_time_ms: task.order_time_ms,
        priority: task.priority,
        revision: task.revision,
        run: task.run,
        attempt: task.attempt,
        failures: task.failures,
        crashes: task.crashes,
        max_crashes: task.max_crashes,
        retry: Retry {
            max_retries: task.retry.max_retries,
            interval_ms: task.retry.interval_ms,
            max_interval_ms: task.retry.max_interval_ms,
        },
        max_running_ms: task.max_running_ms,
        not_before_ms: task.not_before_ms,
        stage: task.stage,
        context_version: task.context_version,
        progress: Progress {
            percent: task.progress.percent,
            message: task.progress.message,
            metrics: task.progress.metrics,
        },
        failure: task.failure.map(failure),
        worker_id: task.holder.worker_id,
        session_id: task.holder.session_id,
        beats: task.holder.beats,
        settle_digest: task.holder.settle_digest,
        create_time_ms: task.create_time_ms,
        update_time_ms: task.update_time_ms,
        claim_time_ms: task.claim_time_ms,
        start_time_ms: task.start_time_ms,
        finish_time_ms: task.finish_time_ms,
        labels: body.labels,
        payload: content(body.payload),
        context: content(body.context),
        result: body.result.map(content),
        result_expired: body.result_expired,
        attempts: row.attempts.into_iter().map(attempt).collect(),
    }
}

fn content(content: task::Content) -> Content {
    Content { data: content.data, content_type: content.content_type }
}

fn failure(failure: task::Failure) -> Failure {
    // The numbers of the protocol are those of the domain.
    let reason = v1::FailureReason::try_from(i32::from(failure.reason.code())).unwrap_or_default();
    let name = reason.as_str_name().trim_start_matches("FAILURE_REASON_");
    Failure { reason: name.to_owned(), message: failure.message }
}

fn attempt(attempt: task::Attempt) -> Attempt {
    let outcome = v1::AttemptOutcome::try_from(i32::from(attempt.outcome.code()));
    let outcome = outcome.unwrap_or_default().as_str_name();
    Attempt {
        attempt: attempt.attempt,
        run: attempt.run,
        worker_id: attempt.worker_id,
        session_id: attempt.session_id,
        stage: attempt.stage,
        claim_time_ms: attempt.claim_time_ms,
        start_time_ms: attempt.start_time_ms,
        end_time_ms: attempt.end_time_ms,
        outcome: outcome.trim_start_matches("ATTEMPT_OUTCOME_").to_owned(),
        failure: attempt.failure.map(failure),
        exit_code: attempt.exit_code,
        usage: attempt.usage.map(|used| usage(*used)),
    }
}

fn usage(used: AttemptUsage) -> Usage {
    Usage {
        host: used.host,
        gpus: used.gpus,
        gpu_seconds: used.gpu_seconds,
        gpu_utilization_percent: used.gpu_utilization_percent,
        gpu_memory_peak_bytes: used.gpu_memory_peak_bytes,
        cpu_seconds: used.cpu_seconds,
        memory_peak_bytes: used.memory_peak_bytes,
        code_commit: used.code_commit,
        code_changed: used.code_changed,
        log_dropped_bytes: used.log_dropped_bytes,
    }
}
