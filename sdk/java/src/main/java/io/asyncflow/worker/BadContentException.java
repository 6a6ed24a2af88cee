package io.asyncflow.worker;

/** Payload or context cannot be read; trying again cannot help. */
final class BadContentException extends RuntimeException {
    private static final long serialVersionUID = 1;

    BadContentException(String what, IllegalArgumentException cause) {
        super("the " + what + " cannot be read: " + cause.getMessage(), cause);
    }
}
