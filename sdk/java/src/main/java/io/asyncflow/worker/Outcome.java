package io.asyncflow.worker;

import io.asyncflow.v1.CompleteTaskRequest;
import io.asyncflow.v1.Content;
import io.asyncflow.v1.FailTaskRequest;
import io.asyncflow.v1.Failure;
import io.asyncflow.v1.FailureReason;
import io.asyncflow.v1.ReleaseTaskRequest;
import java.time.Duration;

/**
 * How an attempt ended: one of the three, or nothing that is to be said.
 *
 * @param complete it has succeeded
 * @param fail it has failed, or was cancelled
 * @param release it is given back
 */
record Outcome(CompleteTaskRequest complete, FailTaskRequest fail, ReleaseTaskRequest release) {
    /** The largest result that a broker takes. */
    static final int RESULT_BYTES_MAX = 64 << 10;
    private static final int CONTENT_TYPE_BYTES_MAX = 128;
    private static final Duration RETRY_AFTER_MAX = Duration.ofDays(365);

    /** Of what a handler has returned, which may be null. */
    static Outcome ofResult(Content result, StopReason told) {
        if (told == StopReason.LEASE_LOST) {
            return nothing();
        }
        CompleteTaskRequest.Builder complete = CompleteTaskRequest.newBuilder();
        if (result != null) {
            int size = result.getData().size();
            if (size > RESULT_BYTES_MAX) {
                return failedForGood(FailureReason.FAILURE_REASON_RESULT_TOO_LARGE,
                        "the result has " + size + " bytes, at most " + RESULT_BYTES_MAX);
            }
            String type = result.getContentType();
            // A broker refuses such a line, and with it the outcome.
            boolean isFit = Texts.bytes(type) <= CONTENT_TYPE_BYTES_MAX && !Texts.hasControl(type);
            complete.setResult(isFit ? result : result.toBuilder().clearContentType().build());
        }
        return new Outcome(complete.build(), null, null);
    }

    /** Of what a handler has thrown: after it was told to stop, the consequence of that. */
    static Outcome ofError(Throwable error, StopReason told) {
        if (told != StopReason.NONE) {
            return stopped(told);
        }
        String message = error.getMessage() == null ? error.toString() : error.getMessage();
        if (error instanceof BadContentException) {
            return failedForGood(FailureReason.FAILURE_REASON_BAD_CONTEXT, message);
        }
        if (error instanceof PermanentException) {
            return failedForGood(FailureReason.FAILURE_REASON_PERMANENT, message);
        }
        if (error instanceof RetryLaterException later) {
            Outcome failed = failed(FailureReason.FAILURE_REASON_ERROR, message);
            Duration after = later.after();
            if (after.isNegative() || after.isZero()) {
                return failed;
            }
            Duration fit = after.compareTo(RETRY_AFTER_MAX) > 0 ? RETRY_AFTER_MAX : after;
            return new Outcome(
                    null, failed.fail.toBuilder().setRetryAfter(Spans.of(fit)).build(), null);
        }
        // The class says what many messages of the JDK do not.
        return failed(FailureReason.FAILURE_REASON_ERROR, error.toString());
    }

    /** Of an attempt that ended because it was told to stop. */
    static Outcome stopped(StopReason told) {
        return switch (told) {
            case LEASE_LOST -> nothing();
            case CANCELLED -> failed(FailureReason.FAILURE_REASON_CANCELLED, told.text());
            case TIMED_OUT -> failed(FailureReason.FAILURE_REASON_TIMED_OUT, told.text());
            case NONE, DRAINED -> new Outcome(null, null, ReleaseTaskRequest.newBuilder()
                    .setFailure(failure(FailureReason.FAILURE_REASON_DRAINED,
                            StopReason.DRAINED.text()))
                    .build());
        };
    }

    static Outcome failed(FailureReason reason, String message) {
        return new Outcome(null,
                FailTaskRequest.newBuilder().setFailure(failure(reason, message)).build(), null);
    }

    private static Outcome failedForGood(FailureReason reason, String message) {
        return new Outcome(null, FailTaskRequest.newBuilder()
                .setFailure(failure(reason, message)).setPermanent(true).build(), null);
    }

    private static Outcome nothing() {
        return new Outcome(null, null, null);
    }

    private static Failure failure(FailureReason reason, String message) {
        return Failure.newBuilder().setReason(reason).setMessage(Texts.cut(message)).build();
    }
}
