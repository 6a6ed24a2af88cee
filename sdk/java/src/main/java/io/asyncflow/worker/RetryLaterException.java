package io.asyncflow.worker;

import java.time.Duration;

/** Asks for another attempt, but not before a while. It counts as a failure. */
public final class RetryLaterException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final Duration after;

    /**
     * Asks for it.
     *
     * @param after at most 365 days
     * @param message why
     */
    public RetryLaterException(Duration after, String message) {
        super(message);
        this.after = after;
    }

    /** As above, with the error that is the reason. */
    public RetryLaterException(Duration after, String message, Throwable cause) {
        super(message, cause);
        this.after = after;
    }

    /** How long to wait. */
    public Duration after() {
        return after;
    }
}
