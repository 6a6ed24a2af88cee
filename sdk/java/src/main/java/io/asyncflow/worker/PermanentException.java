package io.asyncflow.worker;

/** Says that trying again cannot help. */
public final class PermanentException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** Says so. */
    public PermanentException(String message) {
        super(message);
    }

    /** As above, with the error that is the reason. */
    public PermanentException(String message, Throwable cause) {
        super(message, cause);
    }
}
