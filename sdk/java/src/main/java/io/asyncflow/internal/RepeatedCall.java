package io.asyncflow.internal;

import com.google.protobuf.Message;
import io.asyncflow.AsyncflowException;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.Deadline;
import io.grpc.Grpc;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.time.Duration;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** A unary call with all its tries. */
final class RepeatedCall<Q, A> extends ClientCall<Q, A> {
    private static final Status CLOSED =
            Status.CANCELLED.withDescription("the client was closed");

    private final Repeating rules;
    private final MethodDescriptor<Q, A> method;
    private final CallOptions options;
    private final Channel next;
    private final Backoff waits = new Backoff();

    private Listener<A> listener;
    private Metadata headers;
    private Q message;
    private Deadline deadline;
    private boolean mayBeDone;
    private AsyncflowException before;

    // Below: changed by tries, and by who cancels.
    private ClientCall<Q, A> current;
    private Future<?> pause;
    private Status cancelled;
    private boolean isClosed;

    RepeatedCall(
            Repeating rules, MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
        this.rules = rules;
        this.method = method;
        this.options = options;
        this.next = next;
    }

    @Override
    public void start(Listener<A> listener, Metadata headers) {
        this.listener = listener;
        this.headers = headers;
        // One trace for all tries: the first may have made the task which the last one finds.
        Trace.ensure(headers);
    }

    @Override
    public void request(int messages) {
        // Each try asks for the one answer by itself.
    }

    @Override
    @SuppressWarnings("unchecked") // the same message with ids
    public void sendMessage(Q given) {
        message = given instanceof Message told ? (Q) RequestIds.fill(told) : given;
    }

    @Override
    public void halfClose() {
        deadline = rules.deadline(options, message);
        attempt();
    }

    @Override
    public void cancel(String reason, Throwable cause) {
        ClientCall<Q, A> running;
        Status told = Status.CANCELLED.withDescription(reason).withCause(cause);
        synchronized (this) {
            if (isClosed || cancelled != null) {
                return;
            }
            cancelled = told;
            running = current;
            if (pause != null) {
                pause.cancel(false);
            }
        }
        if (running != null) {
            running.cancel(reason, cause);
        } else {
            close(told, new Metadata());
        }
    }

    private void attempt() {
        ClientCall<Q, A> call = next.newCall(method, options.withDeadline(deadline));
        Metadata sent = new Metadata();
        sent.merge(headers);
        // A call must not be cancelled before it was started.
        synchronized (this) {
            pause = null;
            if (cancelled != null) {
                return;
            }
            current = call;
            call.start(new Try(call), sent);
            call.request(2);
            call.sendMessage(message);
            call.halfClose();
        }
    }

    private void ended(Status status, Metadata trailers, boolean wasSent) {
        AsyncflowException told = AsyncflowException.of(status, trailers);
        if (mayBeDone && told.code() == Status.Code.NOT_FOUND
                && method.getBareMethodName().startsWith("Delete")) {
            // Found by a try whose answer was lost.
            listener.onMessage(method.parseResponse(java.io.InputStream.nullInputStream()));
            close(Status.OK, new Metadata());
            return;
        }
        mayBeDone |= wasSent && !told.isToBeRepeated();
        boolean isSafe = Repeating.isSafe(method.getBareMethodName(), message);
        Duration wait = waits.next(told.retryAfter());
        if (!told.isRetryable() || !isSafe && mayBeDone || isTooLate(wait)) {
            close(withLast(status), trailers);
            return;
        }
        before = told;
        rules.reconnect.run();
        Status over;
        synchronized (this) {
            current = null;
            over = cancelled;
            if (over == null) {
                pause = rules.later(wait, this::attempt, () -> close(CLOSED, new Metadata()));
                over = pause == null ? CLOSED : null;
            }
        }
        if (over != null) {
            close(over, new Metadata());
        }
    }

    private boolean isTooLate(Duration wait) {
        return deadline.timeRemaining(TimeUnit.NANOSECONDS) <= wait.toNanos();
    }

    /** Says of a call that ended at its deadline why it had not succeeded before. */
    private Status withLast(Status status) {
        if (before == null || status.getCode() != Status.Code.DEADLINE_EXCEEDED) {
            return status;
        }
        return status.withDescription(
                "no answer within the deadline; before: " + before.getMessage());
    }

    private void close(Status status, Metadata trailers) {
        synchronized (this) {
            if (isClosed) {
                return;
            }
            isClosed = true;
        }
        listener.onClose(status, trailers);
    }

    /** One try. */
    private final class Try extends Listener<A> {
        private final ClientCall<Q, A> call;
        private Metadata received;
        private A answer;

        Try(ClientCall<Q, A> call) {
            this.call = call;
        }

        @Override
        public void onHeaders(Metadata received) {
            this.received = received;
        }

        @Override
        public void onMessage(A answer) {
            this.answer = answer;
        }

        @Override
        public void onClose(Status status, Metadata trailers) {
            if (!status.isOk()) {
                // A call that met no connection has no address, and was not sent.
                var address = call.getAttributes().get(Grpc.TRANSPORT_ATTR_REMOTE_ADDR);
                ended(status, trailers, address != null);
                return;
            }
            if (received != null) {
                listener.onHeaders(received);
            }
            if (answer != null) {
                listener.onMessage(answer);
            }
            close(status, trailers);
        }
    }
}
