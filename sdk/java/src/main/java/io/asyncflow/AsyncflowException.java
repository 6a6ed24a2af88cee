package io.asyncflow;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.asyncflow.v1.TaskError;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** A call that did not succeed. */
public final class AsyncflowException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final Status.Code code;
    private final String reason;
    private final String told;
    // Exceptions are serializable, these need not be.
    private final transient List<Violation> violations;
    private final transient Map<String, String> metadata;
    private final Duration retryAfter;
    private final boolean toBeRepeated;

    private AsyncflowException(Status.Code code, String message, Details details, Throwable cause) {
        super(text(code, message, details), cause);
        this.code = code;
        this.told = message == null ? "" : message;
        this.reason = details.reason;
        this.violations = List.copyOf(details.violations);
        this.metadata = details.metadata;
        this.retryAfter = details.retryAfter;
        this.toBeRepeated = details.toBeRepeated;
    }

    /** The gRPC code. */
    public Status.Code code() {
        return code;
    }

    /**
     * For programs, e.g. {@code LEASE_LOST}; docs/errors explains each. Empty when no broker has
     * answered.
     */
    public String reason() {
        return reason;
    }

    /** What the broker said, for people, without reason and violations. */
    public String description() {
        return told;
    }

    /** All that is wrong with the request. */
    public List<Violation> violations() {
        return violations == null ? List.of() : violations;
    }

    /** What belongs to the reason. */
    public Map<String, String> metadata() {
        return metadata == null ? Map.of() : metadata;
    }

    /** How long the broker asks to wait before the call is repeated; zero if it does not ask. */
    public Duration retryAfter() {
        return retryAfter;
    }

    /**
     * Whether the same call may succeed later: the broker said so, or it could not be reached.
     */
    public boolean isRetryable() {
        return toBeRepeated || code == Status.Code.UNAVAILABLE;
    }

    /** Whether the broker asks for the call to be repeated: it has not done it. */
    public boolean isToBeRepeated() {
        return toBeRepeated;
    }

    /** Whether it has this reason. */
    public boolean is(String reason) {
        return this.reason.equals(reason);
    }

    /** Of whatever a stub has thrown; one of these stays as it is. */
    public static AsyncflowException of(Throwable error) {
        if (error instanceof AsyncflowException own) {
            return own;
        }
        if (error instanceof StatusRuntimeException told) {
            return of(told.getStatus(), told.getTrailers(), told);
        }
        if (error instanceof StatusException told) {
            return of(told.getStatus(), told.getTrailers(), told);
        }
        boolean isEnd = error instanceof InterruptedException
                || error instanceof java.util.concurrent.CancellationException;
        Status.Code code = isEnd ? Status.Code.CANCELLED : Status.Code.UNKNOWN;
        String message = isEnd ? "the call was cancelled" : String.valueOf(error);
        return new AsyncflowException(code, message, new Details(), error);
    }

    /** Of the end of a call; `trailers` may be null. */
    public static AsyncflowException of(Status status, Metadata trailers) {
        return of(status, trailers, status.getCause());
    }

    /** Of one task of many, as a call about it alone would have given it. */
    public static AsyncflowException of(TaskError told) {
        Details details = new Details();
        try {
            details.read(com.google.rpc.Status.parseFrom(told.getStatus()));
        } catch (InvalidProtocolBufferException wrong) {
            // Code and message are told beside it.
        }
        Status.Code code = Status.fromCodeValue(told.getCode()).getCode();
        return new AsyncflowException(code, told.getMessage(), details, null);
    }

    /** Of a kind that is found here, not by a broker. */
    public static AsyncflowException local(Status.Code code, String reason, String message) {
        Details details = new Details();
        details.reason = reason;
        return new AsyncflowException(code, message, details, null);
    }

    private static AsyncflowException of(Status status, Metadata trailers, Throwable cause) {
        Details details = new Details();
        if (trailers != null) {
            com.google.rpc.Status full = StatusProto.fromStatusAndTrailers(status, trailers);
            details.read(full);
        }
        return new AsyncflowException(status.getCode(), status.getDescription(), details, cause);
    }

    private static String text(Status.Code code, String message, Details details) {
        StringBuilder text = new StringBuilder();
        text.append(message == null || message.isEmpty() ? code.name() : message);
        if (!details.reason.isEmpty()) {
            text.append(" (").append(details.reason).append(')');
        }
        for (Violation one : details.violations) {
            text.append("\n  ").append(one.field()).append(": ").append(one.description());
        }
        return text.toString();
    }

    /** What google.rpc.Status holds beside code and message. */
    private static final class Details {
        private final List<Violation> violations = new ArrayList<>();
        private String reason = "";
        private Map<String, String> metadata = Map.of();
        private Duration retryAfter = Duration.ZERO;
        private boolean toBeRepeated;

        void read(com.google.rpc.Status full) {
            for (Any detail : full.getDetailsList()) {
                try {
                    read(detail);
                } catch (InvalidProtocolBufferException wrong) {
                    // One detail less does not make the error another one.
                }
            }
        }

        private void read(Any detail) throws InvalidProtocolBufferException {
            if (detail.is(ErrorInfo.class)) {
                ErrorInfo info = detail.unpack(ErrorInfo.class);
                reason = info.getReason();
                metadata = Map.copyOf(info.getMetadataMap());
            } else if (detail.is(BadRequest.class)) {
                for (var one : detail.unpack(BadRequest.class).getFieldViolationsList()) {
                    violations.add(new Violation(one.getField(), one.getDescription()));
                }
            } else if (detail.is(RetryInfo.class)) {
                var delay = detail.unpack(RetryInfo.class).getRetryDelay();
                retryAfter = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
                toBeRepeated = true;
            }
        }
    }
}
