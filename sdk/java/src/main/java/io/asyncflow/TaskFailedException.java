package io.asyncflow;

import io.asyncflow.v1.FailureReason;
import io.asyncflow.v1.Task;

/** A task has ended without a result. */
public final class TaskFailedException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final Task task;

    TaskFailedException(Task task) {
        super(text(task));
        this.task = task;
    }

    /** The task as it ended, above all its state and failure. */
    public Task task() {
        return task;
    }

    private static String text(Task task) {
        StringBuilder text = new StringBuilder("task ").append(task.getId()).append(": ")
                .append(task.getState());
        if (task.getFailure().getReason() != FailureReason.FAILURE_REASON_UNSPECIFIED) {
            text.append(" (").append(task.getFailure().getReason()).append(')');
        }
        if (!task.getFailure().getMessage().isEmpty()) {
            text.append(": ").append(task.getFailure().getMessage());
        }
        return text.toString();
    }
}
