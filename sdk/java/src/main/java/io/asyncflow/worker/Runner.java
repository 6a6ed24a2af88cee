package io.asyncflow.worker;

import io.asyncflow.AsyncflowException;
import io.asyncflow.v1.FailureReason;
import io.asyncflow.v1.LeasedTask;
import io.asyncflow.v1.Lease;
import io.asyncflow.v1.Task;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** Runs one attempt from its start to the broker's confirmation. */
final class Runner {
    private static final System.Logger LOG = System.getLogger(Runner.class.getName());
    private static final Duration SETTLE_TIMEOUT = Duration.ofSeconds(15);

    private final Worker.Options options;
    private final Link link;
    private final Held held;
    private final Board board;
    private final CompletableFuture<Void> life;

    Runner(Worker.Options options, Link link, Held held, Board board,
            CompletableFuture<Void> life) {
        this.options = options;
        this.link = link;
        this.held = held;
        this.board = board;
        this.life = life;
    }

    /** Runs it in the calling thread. */
    void run(LeasedTask leased, Stop stop) {
        Key key = Key.of(leased.getLease());
        try {
            Outcome outcome = execute(leased, stop);
            board.flush(key);
            if (stop.reason() == StopReason.LEASE_LOST) {
                LOG.log(System.Logger.Level.WARNING,
                        "{0}: another attempt is in force, stopped and forgotten", key);
                return;
            }
            settle(leased, outcome);
        } finally {
            held.remove(key);
        }
    }

    /** Calls the handler, under the task's max_running_time. */
    private Outcome execute(LeasedTask leased, Stop stop) {
        Task task = leased.getTask();
        if (stop.reason() != StopReason.NONE) {
            return Outcome.stopped(stop.reason());
        }
        Handler handler = options.handlers().get(task.getTaskType());
        if (handler == null || task.hasCommand()) {
            String what = task.hasCommand() ? "commands" : task.getTaskType();
            return Outcome.failed(FailureReason.FAILURE_REASON_NO_HANDLER,
                    "this worker has no handler for " + what);
        }
        CompletableFuture<Outcome> done = new CompletableFuture<>();
        Attempt attempt = new Attempt(leased, stop, link, board);
        Thread thread = new Thread(() -> handle(handler, attempt, done),
                "asyncflow-" + task.getId());
        thread.setDaemon(true);
        thread.start();
        Duration limit = Spans.of(task.getMaxRunningTime());
        CompletableFuture<Void> late = new CompletableFuture<>();
        if (!limit.isZero()) {
            late.completeOnTimeout(null, limit.toMillis(), TimeUnit.MILLISECONDS);
        }
        Pause.forAny(done, stop.told, late);
        if (!done.isDone() && late.isDone()) {
            stop.raise(StopReason.TIMED_OUT);
        }
        late.complete(null);
        return done.isDone() ? done.join() : stopped(done, stop, thread, Key.of(leased.getLease()));
    }

    private static void handle(Handler handler, Attempt attempt, CompletableFuture<Outcome> done) {
        try {
            var result = handler.handle(attempt);
            done.complete(Outcome.ofResult(result, attempt.stopReason()));
        } catch (VirtualMachineError fatal) {
            done.complete(Outcome.ofError(fatal, attempt.stopReason()));
            throw fatal;
        } catch (Throwable failed) {
            if (!attempt.isStopped()) {
                LOG.log(System.Logger.Level.WARNING,
                        "task " + attempt.taskId() + ": the handler failed", failed);
            }
            done.complete(Outcome.ofError(failed, attempt.stopReason()));
        }
    }

    /** Gives a handler that was told to stop its grace. */
    private Outcome stopped(CompletableFuture<Outcome> done, Stop stop, Thread thread, Key key) {
        thread.interrupt();
        CompletableFuture<Object> end = CompletableFuture.anyOf(done, stop.gone);
        Pause.sleep(options.grace(), end);
        if (done.isDone()) {
            return done.join();
        }
        if (!stop.gone.isDone()) {
            LOG.log(System.Logger.Level.ERROR,
                    "{0}: the handler does not stop and is given up: {1}", key, stop.reason());
        }
        // A second word to who has eaten the first.
        thread.interrupt();
        stop.gone.complete(null);
        held.runaway(1);
        done.whenComplete((outcome, error) -> held.runaway(-1));
        return Outcome.stopped(stop.reason());
    }

    /** Tells how the attempt ended until the broker answers. */
    private void settle(LeasedTask leased, Outcome outcome) {
        Key key = Key.of(leased.getLease());
        try {
            tell(leased, outcome);
        } catch (AsyncflowException failed) {
            if (life.isDone()) {
                LOG.log(System.Logger.Level.ERROR, "{0}: the worker ends before the broker has "
                        + "heard of the outcome, the task is run again", key);
            } else if (Link.isLeaseLost(failed)) {
                LOG.log(System.Logger.Level.WARNING,
                        "{0}: another attempt is in force, outcome rejected", key);
            } else {
                LOG.log(System.Logger.Level.ERROR, "{0}: the broker refused the outcome: {1}",
                        key, failed.getMessage());
                if (outcome.complete() != null) {
                    // Without an outcome it would be run again when its lease is over, for ever.
                    settle(leased, Outcome.failed(FailureReason.FAILURE_REASON_ERROR,
                            "the broker refused the result: " + failed.getMessage()));
                }
            }
        }
    }

    private void tell(LeasedTask leased, Outcome outcome) {
        Lease lease = leased.getLease();
        String trace = leased.getTask().getTraceId();
        if (outcome.complete() != null) {
            link.callUntilAnswered(SETTLE_TIMEOUT, trace, life, (stub, sessionId) ->
                    stub.completeTask(outcome.complete().toBuilder()
                            .setSessionId(sessionId).setLease(lease).build()));
        } else if (outcome.fail() != null) {
            link.callUntilAnswered(SETTLE_TIMEOUT, trace, life, (stub, sessionId) ->
                    stub.failTask(outcome.fail().toBuilder()
                            .setSessionId(sessionId).setLease(lease).build()));
        } else if (outcome.release() != null) {
            link.callUntilAnswered(SETTLE_TIMEOUT, trace, life, (stub, sessionId) ->
                    stub.releaseTask(outcome.release().toBuilder()
                            .setSessionId(sessionId).setLease(lease).build()));
        }
    }
}
