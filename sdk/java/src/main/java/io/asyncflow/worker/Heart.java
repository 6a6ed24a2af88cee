package io.asyncflow.worker;

import io.asyncflow.AsyncflowException;
import io.asyncflow.internal.Backoff;
import io.asyncflow.v1.HeartbeatRequest;
import io.asyncflow.v1.HeartbeatResponse;
import io.asyncflow.v1.StreamCommandsRequest;
import io.asyncflow.v1.StreamCommandsResponse;
import io.asyncflow.v1.WorkerServiceGrpc;
import io.grpc.Context;
import io.grpc.Status;
import java.time.Duration;
import java.util.Iterator;
import java.util.concurrent.CompletableFuture;
import java.util.function.BooleanSupplier;

/** Renews all leases, and does what the broker pushes. */
final class Heart {
    private static final System.Logger LOG = System.getLogger(Heart.class.getName());
    // After a failure the next heartbeat comes after this part of the interval.
    private static final int HURRY = 5;
    private static final Duration TIMEOUT_MIN = Duration.ofSeconds(1);

    private final Link link;
    private final Held held;
    private final CompletableFuture<Void> life;
    private final BooleanSupplier isDraining;

    Heart(Link link, Held held, CompletableFuture<Void> life, BooleanSupplier isDraining) {
        this.link = link;
        this.held = held;
        this.life = life;
        this.isDraining = isDraining;
    }

    /** Beats until the end of the worker's life. */
    void beat() {
        boolean isFailing = false;
        while (true) {
            Link.Session session = link.session(life);
            if (session == null) {
                return;
            }
            Duration interval = session.heartbeatInterval();
            Duration timeout = interval.compareTo(TIMEOUT_MIN) > 0 ? interval : TIMEOUT_MIN;
            long sentAt = System.nanoTime();
            Duration wait = interval;
            try {
                HeartbeatResponse answer = link.call(timeout, "", life, (stub, sessionId) ->
                        stub.heartbeat(HeartbeatRequest.newBuilder().setSessionId(sessionId)
                                .addAllLeases(held.leases())
                                .setDraining(isDraining.getAsBoolean()).build()));
                isFailing = false;
                held.follow(answer.getLeasesList());
            } catch (AsyncflowException failed) {
                // One line for an outage.
                if (!isFailing && !life.isDone()) {
                    LOG.log(System.Logger.Level.WARNING, "heartbeats fail: {0}",
                            failed.getMessage());
                }
                isFailing = true;
                wait = Backoff.jittered(interval.dividedBy(HURRY));
            }
            Duration left = wait.minusNanos(System.nanoTime() - sentAt);
            Duration least = wait.dividedBy(HURRY);
            if (!Pause.sleep(left.compareTo(least) > 0 ? left : least, life)) {
                return;
            }
        }
    }

    /** Listens until the end of the worker's life; the heartbeat is the safety net. */
    void follow() {
        Backoff waits = new Backoff();
        Context.CancellableContext context = Context.ROOT.withCancellation();
        life.thenRun(() -> context.cancel(null));
        while (true) {
            Link.Session session = link.session(life);
            if (session == null) {
                return;
            }
            AsyncflowException error = AsyncflowException.local(
                    Status.Code.UNAVAILABLE, "", "the stream ended");
            try {
                context.run(() -> listen(session, waits));
            } catch (RuntimeException failed) {
                error = AsyncflowException.of(failed);
            }
            link.note(session, error);
            if (!Pause.sleep(waits.next(error.retryAfter()), life)) {
                return;
            }
        }
    }

    private void listen(Link.Session session, Backoff waits) {
        Iterator<StreamCommandsResponse> commands = WorkerServiceGrpc
                .newBlockingStub(link.channel)
                .streamCommands(StreamCommandsRequest.newBuilder().setSessionId(session.id())
                        .build());
        while (commands.hasNext()) {
            StreamCommandsResponse command = commands.next();
            waits.reset();
            if (command.hasCancel()) {
                held.raise(Key.of(command.getCancel()), StopReason.CANCELLED);
            }
        }
    }
}
