package io.asyncflow;

import io.asyncflow.v1.TaskState;

/** What can be said about states. */
public final class TaskStates {
    private TaskStates() {}

    /** Whether nothing follows but a retry. */
    public static boolean isTerminal(TaskState state) {
        return state == TaskState.TASK_STATE_SUCCEEDED
                || state == TaskState.TASK_STATE_FAILED
                || state == TaskState.TASK_STATE_CANCELLED;
    }
}
