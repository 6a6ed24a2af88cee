package io.asyncflow.worker;

import io.asyncflow.AsyncflowException;
import io.asyncflow.Contents;
import io.asyncflow.v1.Content;
import io.asyncflow.v1.LeasedTask;
import io.asyncflow.v1.Progress;
import io.asyncflow.v1.SaveContextRequest;
import io.asyncflow.v1.SaveContextResponse;
import io.asyncflow.v1.Task;
import io.grpc.Status;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.locks.ReentrantLock;

/**
 * One attempt at a task, for its handler; for many threads. After it has ended the broker refuses
 * what is written.
 */
public final class Attempt {
    private static final Duration SAVE_TIMEOUT = Duration.ofSeconds(15);

    private final LeasedTask leased;
    private final Stop stop;
    private final Link link;
    private final Board board;
    private String stage;
    private Content context;
    /**
     * One save at a time. Each names the version that it is made upon, so that one which was held
     * up on its way, and repeated meanwhile, cannot bring an older context back.
     */
    private final ReentrantLock turn = new ReentrantLock();
    private long version;
    /** A save came to no end here, so the version may be another one. */
    private boolean isDoubtful;

    Attempt(LeasedTask leased, Stop stop, Link link, Board board) {
        this.leased = leased;
        this.stop = stop;
        this.link = link;
        this.board = board;
        this.stage = leased.getTask().getStage();
        this.context = leased.getTask().getContext();
        this.version = leased.getTask().getContextVersion();
    }

    /** The task's id. */
    public String taskId() {
        return leased.getLease().getTaskId();
    }

    /** Counts from 1, over all runs. */
    public int number() {
        return leased.getLease().getAttempt();
    }

    /** The task as it was handed out, with everything. */
    public Task task() {
        return leased.getTask();
    }

    /** What the task was created with; empty if it has none. */
    public Content payload() {
        return task().getPayload();
    }

    /** The payload from JSON, null if there is none. One that does not fit fails for good. */
    public <T> T payload(Class<T> type) {
        return read("payload", payload(), type);
    }

    /** What was saved last, by this attempt or one before; empty at first. */
    public synchronized String stage() {
        return stage;
    }

    /** What was saved last, or what the task was created with; may be empty. */
    public synchronized Content context() {
        return context;
    }

    /** The context from JSON, null if there is none. One that does not fit fails for good. */
    public <T> T context(Class<T> type) {
        return read("context", context(), type);
    }

    /**
     * Saves stage and context together; null leaves one as it is. It is durable when this returns.
     * It waits as long as no broker can be reached, and for a save that is under way. An interrupt
     * does not end it, so that a handler can save when it is told to stop.
     *
     * @throws AsyncflowException LEASE_LOST, then the handler should return; INVALID_ARGUMENT when
     *         the context is larger than the task type allows; CANCELLED when the attempt was
     *         given up, then it may have been saved
     */
    public void save(String stage, Content context) {
        SaveContextRequest.Builder request =
                SaveContextRequest.newBuilder().setLease(leased.getLease());
        if (stage != null) {
            request.setStage(stage);
        }
        if (context != null) {
            request.setContext(context);
        }
        turn.lock();
        try {
            saveInTurn(request);
        } finally {
            turn.unlock();
        }
        synchronized (this) {
            this.stage = stage == null ? this.stage : stage;
            this.context = context == null ? this.context : context;
        }
    }

    private void saveInTurn(SaveContextRequest.Builder request) {
        boolean wasDoubtful = isDoubtful;
        isDoubtful = true;
        SaveContextRequest unsent = request.setExpectedVersion(version).build();
        try {
            SaveContextResponse saved = link.callUntilAnswered(
                    SAVE_TIMEOUT, task().getTraceId(), stop.gone,
                    (stub, sessionId) -> stub.saveContext(
                            unsent.toBuilder().setSessionId(sessionId).build()));
            version = saved.getContextVersion();
            isDoubtful = false;
        } catch (AsyncflowException failed) {
            String current = failed.metadata().get("context_version");
            if (wasDoubtful && "CONTEXT_VERSION".equals(failed.reason()) && current != null) {
                version = Long.parseLong(current);
                isDoubtful = false;
                saveInTurn(request);
                return;
            }
            if (Link.isLeaseLost(failed)) {
                stop.raise(StopReason.LEASE_LOST);
            } else if (stop.reason() == StopReason.LEASE_LOST) {
                throw AsyncflowException.local(
                        Status.Code.ABORTED, "LEASE_LOST", StopReason.LEASE_LOST.text());
            }
            throw failed;
        }
    }

    /** As {@link #save(String, Content)}, with a value as JSON. */
    public void saveJson(String stage, Object value) {
        save(stage, Contents.json(value));
    }

    /**
     * Says how far it is, 0 to 100, and what it does, for people. It is sent within a second; the
     * latest word wins.
     */
    public void progress(double percent, String message) {
        report(Progress.newBuilder().setPercent(percent).setMessage(message).build());
    }

    /** Sets the latest value of named metrics, at most 32 names in all. */
    public void metrics(Map<String, Double> values) {
        report(Progress.newBuilder().putAllMetrics(values).build());
    }

    /** Says all of it at once; unset and empty fields leave what was said before. */
    public void report(Progress progress) {
        board.put(Key.of(leased.getLease()), progress);
    }

    /** Why the attempt should stop. The handler's thread is interrupted when it should. */
    public StopReason stopReason() {
        return stop.reason();
    }

    /** Whether the attempt should stop. */
    public boolean isStopped() {
        return stop.reason() != StopReason.NONE;
    }

    /** Waits so long, or until the attempt should stop; whether it should. */
    public boolean awaitStop(Duration timeout) {
        return !Pause.sleep(timeout, stop.told);
    }

    /**
     * Ends the handler if the attempt should stop.
     *
     * @throws StoppedException it should
     */
    public void throwIfStopped() {
        StopReason reason = stop.reason();
        if (reason != StopReason.NONE) {
            throw new StoppedException(reason);
        }
    }

    private static <T> T read(String what, Content content, Class<T> type) {
        try {
            return Contents.read(content, type);
        } catch (IllegalArgumentException wrong) {
            throw new BadContentException(what, wrong);
        }
    }
}
