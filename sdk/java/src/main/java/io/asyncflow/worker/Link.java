package io.asyncflow.worker;

import com.google.common.util.concurrent.ListenableFuture;
import io.asyncflow.AsyncflowException;
import io.asyncflow.internal.Backoff;
import io.asyncflow.internal.Trace;
import io.asyncflow.internal.Waiting;
import io.asyncflow.v1.WorkerServiceGrpc;
import io.asyncflow.v1.WorkerServiceGrpc.WorkerServiceFutureStub;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.stub.MetadataUtils;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.BiFunction;

/** The way to the broker, and the session that every call carries. */
final class Link {
    private static final System.Logger LOG = System.getLogger(Link.class.getName());

    /** What a registration gave. */
    record Session(String id, Duration heartbeatInterval, Duration leaseTtl) {}

    /** One call under a session. */
    interface Call<A> extends BiFunction<WorkerServiceFutureStub, String, ListenableFuture<A>> {}

    final ManagedChannel channel;
    private Session current;
    // Replaced and completed when `current` changes.
    private CompletableFuture<Void> changed = new CompletableFuture<>();

    Link(ManagedChannel channel) {
        this.channel = channel;
    }

    /** The session in force; null when there is none. */
    synchronized Session session() {
        return current;
    }

    private synchronized CompletableFuture<Void> change() {
        return changed;
    }

    /** Waits for a session; null when `end` is there before that. */
    Session session(CompletableFuture<?> end) {
        while (!end.isDone()) {
            CompletableFuture<Void> news = change();
            Session session = session();
            if (session != null) {
                return session;
            }
            Pause.forAny(news, end);
        }
        return null;
    }

    /** Waits until this session was found to be unknown; false when `end` is there before. */
    boolean isLost(Session known, CompletableFuture<?> end) {
        while (!end.isDone()) {
            CompletableFuture<Void> news = change();
            if (session() != known) {
                return true;
            }
            Pause.forAny(news, end);
        }
        return false;
    }

    void set(Session session) {
        CompletableFuture<Void> old;
        synchronized (this) {
            current = session;
            old = changed;
            changed = new CompletableFuture<>();
        }
        old.complete(null);
    }

    /** Learns from an error of a call under this session. */
    void note(Session used, AsyncflowException error) {
        if (error.is("UNKNOWN_SESSION") && used != null) {
            CompletableFuture<Void> old;
            synchronized (this) {
                if (current != used) {
                    return;
                }
                current = null;
                old = changed;
                changed = new CompletableFuture<>();
            }
            LOG.log(System.Logger.Level.WARNING,
                    "the broker does not know this session, registering again");
            old.complete(null);
        }
        if (error.code() == Status.Code.UNAVAILABLE) {
            // The next try is after a wait of ours; gRPC's own would come on top of it.
            channel.resetConnectBackoff();
        }
    }

    WorkerServiceFutureStub stub(Duration timeout, String traceId) {
        WorkerServiceFutureStub stub = WorkerServiceGrpc.newFutureStub(channel)
                .withDeadlineAfter(timeout.toMillis(), TimeUnit.MILLISECONDS);
        if (traceId.isEmpty()) {
            return stub;
        }
        Metadata headers = new Metadata();
        headers.put(Trace.HEADER, Trace.parent(traceId));
        return stub.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers));
    }

    /**
     * One try of a call under the session in force; waits for a session.
     *
     * @throws AsyncflowException it failed; CANCELLED when `end` came before
     */
    <A> A call(Duration timeout, String traceId, CompletableFuture<?> end, Call<A> send) {
        Session used = session(end);
        if (used == null) {
            throw ended();
        }
        CompletableFuture<A> answer =
                Waiting.future(send.apply(stub(timeout, traceId), used.id()));
        Pause.forAny(answer, end);
        if (!answer.isDone()) {
            answer.cancel(true);
            throw ended();
        }
        try {
            return answer.join();
        } catch (RuntimeException failed) {
            AsyncflowException told = AsyncflowException.of(Waiting.unwrapped(failed));
            note(used, told);
            throw told;
        }
    }

    /** As `call`, repeated until it is answered or refused for good, or `end` is there. */
    <A> A callUntilAnswered(
            Duration timeout, String traceId, CompletableFuture<?> end, Call<A> send) {
        Backoff waits = new Backoff();
        while (true) {
            try {
                return call(timeout, traceId, end, send);
            } catch (AsyncflowException told) {
                if (end.isDone() || !isWorthRepeating(told)
                        || !Pause.sleep(waits.next(told.retryAfter()), end)) {
                    throw told;
                }
            }
        }
    }

    /** Whether a call may get another answer later: everything but a clear refusal. */
    static boolean isWorthRepeating(AsyncflowException told) {
        if (told.isRetryable() || told.is("UNKNOWN_SESSION")) {
            return true;
        }
        return switch (told.code()) {
            case DEADLINE_EXCEEDED, CANCELLED, INTERNAL, UNKNOWN, DATA_LOSS, UNAUTHENTICATED ->
                    true;
            default -> false;
        };
    }

    static boolean isLeaseLost(AsyncflowException told) {
        return told.is("LEASE_LOST") || told.is("NOT_YOUR_LEASE");
    }

    private static AsyncflowException ended() {
        return AsyncflowException.local(
                Status.Code.CANCELLED, "", "the attempt or its worker has ended");
    }
}
