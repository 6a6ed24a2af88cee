package io.asyncflow.worker;

import io.asyncflow.AsyncflowException;
import io.asyncflow.internal.Waiting;
import io.asyncflow.v1.DeregisterWorkerRequest;
import io.grpc.ManagedChannel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/**
 * Takes tasks and runs them by its handlers, from {@link WorkerBuilder#start} until {@link #close}.
 */
public final class Worker implements AutoCloseable {
    private static final System.Logger LOG = System.getLogger(Worker.class.getName());
    // How long the last outcomes may take to be told when the worker shuts down.
    private static final Duration LAST_WORDS_MAX = Duration.ofSeconds(30);
    private static final Duration LEAVE_MAX = Duration.ofSeconds(3);

    /** What a builder has collected. */
    record Options(String id, String host, Map<String, String> labels, int slots,
            Duration drainTimeout, Duration grace, Map<String, Handler> handlers) {}

    private final Options options;
    private final ManagedChannel channel;
    private final Link link;
    private final Held held;
    private final Board board;
    private final CompletableFuture<Void> registered = new CompletableFuture<>();
    // Completes, with an error when the worker may not work, to make it end.
    private final CompletableFuture<Void> draining = new CompletableFuture<>();
    // Completes when the worker has nothing more to say to the broker.
    private final CompletableFuture<Void> life = new CompletableFuture<>();
    private final CompletableFuture<Void> ended = new CompletableFuture<>();
    private volatile Duration drain;

    Worker(Options options, ManagedChannel channel) {
        this.options = options;
        this.channel = channel;
        this.drain = options.drainTimeout();
        link = new Link(channel);
        held = new Held(options.slots());
        board = new Board(link, held, life);
        Thread thread = new Thread(this::run, "asyncflow-worker");
        thread.setDaemon(true);
        thread.start();
    }

    /** Begins to describe a worker. */
    public static WorkerBuilder builder() {
        return new WorkerBuilder();
    }

    /** Completes when the broker has accepted the worker; fails when it refuses it. */
    public CompletableFuture<Void> registered() {
        return registered.copy();
    }

    /**
     * Completes when the worker has ended; fails when the broker refuses it at first, or another
     * worker registers under its id.
     */
    public CompletableFuture<Void> ended() {
        return ended.copy();
    }

    /**
     * Makes the worker end and does not wait: nothing new is taken, tasks that run get so long to
     * end by themselves, and are told to stop then. Only the first call counts.
     */
    public void shutdown(Duration drain) {
        if (!draining.isDone()) {
            this.drain = drain;
            draining.complete(null);
        }
    }

    /** Makes the worker end as by `shutdown` with the drain timeout, and waits for it. */
    @Override
    public void close() {
        shutdown(options.drainTimeout());
        join();
    }

    /**
     * Waits until the worker has ended.
     *
     * @throws AsyncflowException the broker has refused it
     * @throws IllegalStateException another worker has registered under its id
     */
    public void join() {
        Waiting.get(ended.copy());
    }

    private void run() {
        Throwable failure = null;
        try {
            work();
        } catch (RuntimeException | Error | InterruptedException failed) {
            failure = failed;
            // Whoever else has this id has the tasks, too.
            held.raiseAll(StopReason.LEASE_LOST);
        } finally {
            life.complete(null);
            channel.shutdownNow();
        }
        if (failure == null) {
            ended.complete(null);
            registered.cancel(false);
        } else {
            registered.completeExceptionally(failure);
            ended.completeExceptionally(failure);
        }
    }

    private void work() throws InterruptedException {
        Runner runner = new Runner(options, link, held, board, life);
        Acquirer acquirer = new Acquirer(link, held, runner, draining);
        Heart heart = new Heart(link, held, life, draining::isDone);
        Registrar registrar = new Registrar(options, link, held, registered, life);
        List<Thread> loops = new ArrayList<>();
        loops.add(loop("register", registrar::run));
        loops.add(loop("heartbeat", heart::beat));
        loops.add(loop("commands", heart::follow));
        loops.add(loop("progress", board::run));
        Thread taking = loop("acquire", acquirer::run);
        Pause.forAny(draining);
        held.close();
        taking.join();
        if (!draining.isCompletedExceptionally()) {
            windDown();
        }
        life.complete(null);
        for (Thread one : loops) {
            one.join();
        }
        Waiting.get(draining);
        // After the last heartbeat: one that came later would find the session unknown.
        leave();
    }

    private interface Loop {
        void run() throws InterruptedException;
    }

    /** Runs a loop in a thread of its own; its error ends the worker. */
    private Thread loop(String name, Loop loop) {
        Thread thread = new Thread(() -> {
            try {
                loop.run();
            } catch (RuntimeException | Error | InterruptedException failed) {
                LOG.log(System.Logger.Level.ERROR, "the worker ends: {0}", failed.toString());
                if (!draining.completeExceptionally(failed)) {
                    life.complete(null);
                }
            }
        }, "asyncflow-" + name);
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    /** Lets tasks end, and tells those that do not to stop. */
    private void windDown() throws InterruptedException {
        if (held.isEmptyWithin(drain.toMillis())) {
            return;
        }
        LOG.log(System.Logger.Level.INFO, "asking {0} tasks to end", held.leases().size());
        held.raiseAll(StopReason.DRAINED);
        if (!held.isEmptyWithin(options.grace().plus(LAST_WORDS_MAX).toMillis())) {
            LOG.log(System.Logger.Level.ERROR, "the broker has not heard of {0} outcomes",
                    held.leases().size());
        }
    }

    /**
     * Ends the session. Not while something is held: its tasks would be given back, although their
     * outcome may be recorded already.
     */
    private void leave() {
        Link.Session session = link.session();
        if (session == null || !held.leases().isEmpty()) {
            return;
        }
        try {
            Waiting.get(Waiting.future(link.stub(LEAVE_MAX, "").deregisterWorker(
                    DeregisterWorkerRequest.newBuilder().setSessionId(session.id()).build())));
            LOG.log(System.Logger.Level.INFO, "deregistered {0}", options.id());
        } catch (AsyncflowException failed) {
            LOG.log(System.Logger.Level.WARNING, "could not deregister: {0}",
                    failed.getMessage());
        }
    }
}
