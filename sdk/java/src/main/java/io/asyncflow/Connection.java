package io.asyncflow;

import io.asyncflow.internal.Channels;
import io.asyncflow.internal.Repeating;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.Deadline;
import io.grpc.ManagedChannel;
import io.grpc.stub.AbstractStub;
import java.time.Duration;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/** The channel of a client and all its views. */
final class Connection {
    final ManagedChannel bare;
    final Channel channel;
    final Duration timeout;
    final ScheduledExecutorService timer;
    private final Repeating repeating;

    Connection(ClientOptions options) {
        timeout = options.timeout();
        bare = Channels.open(options.settings());
        timer = Executors.newSingleThreadScheduledExecutor(work -> {
            Thread thread = new Thread(work, "asyncflow-timer");
            thread.setDaemon(true);
            return thread;
        });
        repeating = new Repeating(timeout, timer, bare::resetConnectBackoff);
        channel = ClientInterceptors.intercept(bare, repeating);
    }

    void close() {
        // Before the timer: what it still holds would be dropped without a word.
        repeating.close();
        bare.shutdownNow();
        timer.shutdownNow();
    }

    /** A deadline from now; null for none. */
    static Deadline deadline(Duration limit) {
        return limit == null ? null : Deadline.after(limit.toNanos(), TimeUnit.NANOSECONDS);
    }

    static <S extends AbstractStub<S>> S limited(S stub, Deadline deadline) {
        return deadline == null ? stub : stub.withDeadline(deadline);
    }

    /** The earlier of a deadline, which may be null, and so long from now. */
    static Deadline sooner(Deadline deadline, Duration limit) {
        Deadline other = deadline(limit);
        return deadline == null ? other : deadline.minimum(other);
    }
}
