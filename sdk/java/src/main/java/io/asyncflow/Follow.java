package io.asyncflow;

import io.asyncflow.internal.Backoff;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Status;
import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;

/** A stream of answers that is opened again when it breaks. */
final class Follow<T> implements Results<T> {
    private final Connection connection;
    private final Deadline deadline;
    private final Supplier<Iterator<T>> open;
    private final UnaryOperator<T> take;
    private final Context.CancellableContext context = Context.ROOT.withCancellation();
    private final Backoff waits = new Backoff();

    private Iterator<T> stream;
    private T ready;
    private boolean isEnded;
    // When tries to come back end; null while it is there.
    private Deadline patience;

    /**
     * Begins to follow.
     *
     * @param deadline of all of it; null for none
     * @param open opens the stream where it was left
     * @param take sees each message, and gives what is to be given out; null for nothing
     */
    Follow(Connection connection, Deadline deadline, Supplier<Iterator<T>> open,
            UnaryOperator<T> take) {
        this.connection = connection;
        this.deadline = deadline;
        this.open = open;
        this.take = take;
    }

    @Override
    public boolean hasNext() {
        while (ready == null && !isEnded && !context.isCancelled()) {
            try {
                if (stream == null) {
                    stream = context.call(open::get);
                }
                if (!stream.hasNext()) {
                    isEnded = true;
                    context.cancel(null);
                    break;
                }
                T message = stream.next();
                patience = null;
                waits.reset();
                ready = take.apply(message);
            } catch (Exception failed) {
                broken(AsyncflowException.of(failed));
            }
        }
        return ready != null && !context.isCancelled();
    }

    @Override
    public T next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        T given = ready;
        ready = null;
        return given;
    }

    @Override
    public void close() {
        context.cancel(null);
    }

    private void broken(AsyncflowException told) {
        stream = null;
        if (context.isCancelled()) {
            return;
        }
        if (patience == null) {
            patience = Connection.sooner(deadline, connection.timeout);
        }
        Duration wait = waits.next(told.retryAfter());
        boolean isTooLate = patience.timeRemaining(TimeUnit.NANOSECONDS) <= wait.toNanos();
        if (!told.isRetryable() || isTooLate) {
            isEnded = true;
            throw told;
        }
        connection.bare.resetConnectBackoff();
        rest(wait);
    }

    private static void rest(Duration wait) {
        try {
            Thread.sleep(wait.toMillis());
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw AsyncflowException.local(
                    Status.Code.CANCELLED, "", "the thread was interrupted");
        }
    }
}
