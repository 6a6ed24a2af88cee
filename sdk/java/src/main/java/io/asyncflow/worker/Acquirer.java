package io.asyncflow.worker;

import io.asyncflow.AsyncflowException;
import io.asyncflow.internal.Backoff;
import io.asyncflow.internal.RequestIds;
import io.asyncflow.v1.AcquireTasksRequest;
import io.asyncflow.v1.LeasedTask;
import io.asyncflow.v1.TaskState;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** Takes tasks for free slots, one long poll at a time. */
final class Acquirer {
    private static final System.Logger LOG = System.getLogger(Acquirer.class.getName());
    private static final int TASKS_MAX = 1000;
    private static final Duration WAIT = Duration.ofSeconds(30);
    private static final Duration TIMEOUT = Duration.ofSeconds(40);
    // An empty answer that comes sooner than this was no long poll: a broker that shuts down
    // answers at once, and must not be asked in a circle.
    private static final Duration EMPTY_MIN = Duration.ofMillis(200);

    private final Link link;
    private final Held held;
    private final Runner runner;
    private final CompletableFuture<Void> draining;

    Acquirer(Link link, Held held, Runner runner, CompletableFuture<Void> draining) {
        this.link = link;
        this.held = held;
        this.runner = runner;
        this.draining = draining;
    }

    /**
     * Works until the worker drains. What was handed out in an answer that was not read goes back
     * when the worker deregisters.
     */
    void run() throws InterruptedException {
        Backoff refusals = new Backoff();
        while (true) {
            int free = held.free();
            if (free == 0 || draining.isDone()) {
                return;
            }
            long askedAt = System.nanoTime();
            try {
                List<LeasedTask> tasks = acquire(Math.min(free, TASKS_MAX));
                refusals.reset();
                tasks.forEach(this::take);
                boolean isQuick = System.nanoTime() - askedAt < EMPTY_MIN.toNanos();
                if (tasks.isEmpty() && isQuick) {
                    Pause.sleep(Backoff.jittered(EMPTY_MIN), draining);
                }
            } catch (AsyncflowException failed) {
                if (draining.isDone()) {
                    return;
                }
                LOG.log(System.Logger.Level.ERROR, "acquire was refused: {0}",
                        failed.getMessage());
                Pause.sleep(refusals.next(failed.retryAfter()), draining);
            }
        }
    }

    /** Repeated under the same id until it is answered: a lost answer loses no task. */
    private List<LeasedTask> acquire(int most) {
        String id = RequestIds.random();
        return link.callUntilAnswered(TIMEOUT, "", draining, (stub, sessionId) ->
                stub.acquireTasks(AcquireTasksRequest.newBuilder()
                        .setSessionId(sessionId).setAcquireId(id).setMaxTasks(most)
                        .setWait(Spans.of(WAIT)).setStart(true).build())).getTasksList();
    }

    private void take(LeasedTask leased) {
        Stop stop = held.add(Key.of(leased.getLease()));
        if (stop == null) {
            return;
        }
        if (leased.getTask().getState() == TaskState.TASK_STATE_CANCELLING) {
            stop.raise(StopReason.CANCELLED);
        }
        Thread thread = new Thread(() -> runner.run(leased, stop),
                "asyncflow-attempt-" + leased.getLease().getTaskId());
        thread.setDaemon(true);
        thread.start();
    }
}
