package io.asyncflow.worker;

/** Why an attempt should stop. Later ones overrule earlier ones. */
public enum StopReason {
    /** It may go on. */
    NONE("not stopped"),
    /** The worker shuts down: save what is needed and return; the task is run again. */
    DRAINED("the worker shuts down"),
    /** Somebody cancelled the task. */
    CANCELLED("the task was cancelled"),
    /** It ran longer than the task's max_running_time. */
    TIMED_OUT("max_running_time is over"),
    /** Another attempt is in force: nothing that this one does counts any more. */
    LEASE_LOST("another attempt is in force");

    private final String text;

    StopReason(String text) {
        this.text = text;
    }

    /** For people. */
    public String text() {
        return text;
    }
}
