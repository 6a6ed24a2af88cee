package io.asyncflow.conformance;

/** A scenario does not go as it should. */
final class Wrong extends RuntimeException {
    private static final long serialVersionUID = 1;

    Wrong(String message) {
        super(message);
    }

    @Override
    public String toString() {
        return getMessage();
    }
}
