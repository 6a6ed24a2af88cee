package io.asyncflow.internal;

import com.google.protobuf.Duration;
import com.google.protobuf.Message;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.MethodDescriptor;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/** Gives each unary call a deadline, request ids and a trace, and repeats it if that is safe. */
public final class Repeating implements ClientInterceptor {
    // Calls with these names change nothing, or do the same when they are repeated.
    private static final List<String> HARMLESS = List.of(
            "Get", "List", "Count", "Explain", "Wait", "Cancel", "Pause", "Resume", "Signal",
            "Delete");
    // What WaitTask and its like wait when the request does not say.
    private static final java.time.Duration WAIT_DEFAULT = java.time.Duration.ofSeconds(30);

    final Runnable reconnect;
    private final ScheduledExecutorService timer;
    // Tries that are waited for, with what ends their calls; null once it is closed.
    private Map<Future<?>, Runnable> waiting = new HashMap<>();
    private final java.time.Duration timeout;

    /**
     * Repeats calls.
     *
     * @param timeout the deadline of calls that have none
     * @param timer waits between tries
     * @param reconnect ends the channel's own wait before it connects again
     */
    public Repeating(
            java.time.Duration timeout, ScheduledExecutorService timer, Runnable reconnect) {
        this.timeout = timeout;
        this.timer = timer;
        this.reconnect = reconnect;
    }

    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(
            MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
        if (method.getType() != MethodDescriptor.MethodType.UNARY) {
            return next.newCall(method, options);
        }
        return new RepeatedCall<>(this, method, options, next);
    }

    /** The deadline of a call with all its repetitions. */
    Deadline deadline(CallOptions options, Object message) {
        Deadline given = options.getDeadline();
        Deadline around = Context.current().getDeadline();
        if (given != null) {
            return around == null ? given : given.minimum(around);
        }
        long all = timeout.plus(allowance(message)).toNanos();
        return around == null ? Deadline.after(all, TimeUnit.NANOSECONDS) : around;
    }

    /** Does the try after a wait, or `end` when it is closed before; null when it is closed. */
    synchronized Future<?> later(java.time.Duration wait, Runnable attempt, Runnable end) {
        if (waiting == null) {
            return null;
        }
        // What was cancelled needs no end.
        waiting.keySet().removeIf(Future::isDone);
        FutureTask<Void> planned = new FutureTask<>(attempt, null);
        waiting.put(planned, end);
        timer.schedule(planned, wait.toNanos(), TimeUnit.NANOSECONDS);
        return planned;
    }

    /** Ends all calls that wait for their next try; there is none any more. */
    public void close() {
        Map<Future<?>, Runnable> left;
        synchronized (this) {
            left = waiting == null ? Map.of() : waiting;
            waiting = null;
        }
        left.forEach((planned, end) -> {
            if (planned.cancel(false)) {
                end.run();
            }
        });
    }

    /** Whether a call may be repeated although it may have been done. */
    static boolean isSafe(String name, Object message) {
        return HARMLESS.stream().anyMatch(name::startsWith)
                || message instanceof Message told && RequestIds.has(told);
    }

    /** How long the broker itself may wait before it answers. */
    private static java.time.Duration allowance(Object message) {
        if (!(message instanceof Message told)) {
            return java.time.Duration.ZERO;
        }
        var field = told.getDescriptorForType().findFieldByName("timeout");
        if (field == null || field.isRepeated()
                || !(told.getField(field) instanceof Duration given)) {
            return java.time.Duration.ZERO;
        }
        return told.hasField(field)
                ? java.time.Duration.ofSeconds(given.getSeconds(), given.getNanos())
                : WAIT_DEFAULT;
    }
}
