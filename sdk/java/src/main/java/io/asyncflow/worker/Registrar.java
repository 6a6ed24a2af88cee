package io.asyncflow.worker;

import io.asyncflow.AsyncflowException;
import io.asyncflow.internal.Backoff;
import io.asyncflow.internal.Channels;
import io.asyncflow.internal.Waiting;
import io.asyncflow.v1.Lease;
import io.asyncflow.v1.RegisterWorkerRequest;
import io.asyncflow.v1.RegisterWorkerResponse;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;

/**
 * Keeps a session in force. Of two processes under one id the one that came first gives way, or
 * they would take their tasks from each other for ever.
 */
final class Registrar {
    private static final System.Logger LOG = System.getLogger(Registrar.class.getName());
    private static final Duration TIMEOUT = Duration.ofSeconds(10);
    // So many sessions in a row that were lost within one lease are no accident.
    private static final int QUICK_LOSSES_MAX = 2;

    private final Worker.Options options;
    private final Link link;
    private final Held held;
    private final CompletableFuture<Void> registered;
    private final CompletableFuture<Void> life;
    private final String incarnation = bootId() + UUID.randomUUID();

    Registrar(Worker.Options options, Link link, Held held, CompletableFuture<Void> registered,
            CompletableFuture<Void> life) {
        this.options = options;
        this.link = link;
        this.held = held;
        this.registered = registered;
        this.life = life;
    }

    /**
     * Works until the end of the worker's life.
     *
     * @throws AsyncflowException the broker refuses the first registration
     * @throws IllegalStateException another worker registers under this id
     */
    void run() {
        int quickLosses = 0;
        for (boolean isFirst = true;; isFirst = false) {
            Link.Session session = register(isFirst);
            if (session == null) {
                return;
            }
            long at = System.nanoTime();
            link.set(session);
            registered.complete(null);
            if (!link.isLost(session, life)) {
                return;
            }
            boolean isQuick = System.nanoTime() - at < session.leaseTtl().toNanos();
            quickLosses = isQuick ? quickLosses + 1 : 0;
            if (quickLosses >= QUICK_LOSSES_MAX) {
                throw new IllegalStateException("another worker registers as " + options.id()
                        + ": each needs its own id");
            }
        }
    }

    /** Tries until it is answered; null at the end of the worker's life. */
    private Link.Session register(boolean isFirst) {
        Backoff waits = new Backoff();
        while (!life.isDone()) {
            List<Lease> sent = held.leases();
            CompletableFuture<RegisterWorkerResponse> answer = Waiting.future(
                    link.stub(TIMEOUT, "").registerWorker(request(sent)));
            Pause.forAny(answer, life);
            if (!answer.isDone()) {
                answer.cancel(true);
                return null;
            }
            try {
                RegisterWorkerResponse told = Waiting.get(answer);
                held.keepAdopted(sent, told.getAdoptedList());
                LOG.log(System.Logger.Level.INFO, "registered as {0}", options.id());
                return new Link.Session(told.getSessionId(),
                        Spans.orElse(told.getHeartbeatInterval(), Duration.ofSeconds(10)),
                        Spans.orElse(told.getLeaseTtl(), Duration.ofSeconds(30)));
            } catch (AsyncflowException failed) {
                if (isFirst && isRefusal(failed)) {
                    throw failed;
                }
                link.note(null, failed);
                LOG.log(System.Logger.Level.WARNING, "cannot register, trying again: {0}",
                        failed.getMessage());
                Pause.sleep(waits.next(failed.retryAfter()), life);
            }
        }
        return null;
    }

    private RegisterWorkerRequest request(List<Lease> adopted) {
        return RegisterWorkerRequest.newBuilder()
                .setWorkerId(options.id())
                .setIncarnation(incarnation)
                .setHost(options.host())
                .putAllLabels(options.labels())
                .addAllTaskTypes(options.handlers().keySet())
                .setSlots(options.slots())
                .setVersion(Channels.VERSION)
                .addAllAdopted(adopted)
                .build();
    }

    private static boolean isRefusal(AsyncflowException told) {
        return switch (told.code()) {
            case INVALID_ARGUMENT, PERMISSION_DENIED, UNAUTHENTICATED, UNIMPLEMENTED -> true;
            default -> false;
        };
    }

    /** Tells processes of different boots apart; empty where the system has none. */
    private static String bootId() {
        try {
            return Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip() + "-";
        } catch (IOException none) {
            return "";
        }
    }
}
