package io.asyncflow.worker;

/** A handler ends because its attempt should stop. */
public final class StoppedException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final StopReason reason;

    /** For this reason. */
    public StoppedException(StopReason reason) {
        super(reason.text());
        this.reason = reason;
    }

    /** The reason when it was thrown. */
    public StopReason reason() {
        return reason;
    }
}
