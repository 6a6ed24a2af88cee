package io.asyncflow;

import io.asyncflow.internal.Waiting;
import io.asyncflow.v1.BrokerServiceGrpc;
import io.asyncflow.v1.BrokerServiceGrpc.BrokerServiceBlockingStub;
import io.asyncflow.v1.CountTasksRequest;
import io.asyncflow.v1.CountTasksResponse;
import io.asyncflow.v1.CreateTaskRequest;
import io.asyncflow.v1.CreateTaskResponse;
import io.asyncflow.v1.CreateTaskResult;
import io.asyncflow.v1.ListAttemptsRequest;
import io.asyncflow.v1.ListTaskTypesRequest;
import io.asyncflow.v1.ListTasksRequest;
import io.asyncflow.v1.Attempt;
import io.asyncflow.v1.StreamTaskLogsRequest;
import io.asyncflow.v1.StreamTaskLogsResponse;
import io.asyncflow.v1.Task;
import io.asyncflow.v1.TaskSpec;
import io.asyncflow.v1.TaskType;
import io.asyncflow.v1.WatchTasksRequest;
import io.asyncflow.v1.WatchTasksResponse;
import io.grpc.Channel;
import io.grpc.Deadline;
import java.time.Duration;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Stream;

/**
 * A connection to a broker, for many threads. It connects at the first call, and again after a
 * break.
 *
 * <p>A call is repeated when no broker can be reached or it asks for that, with growing waits,
 * until the deadline ({@link ClientOptions#timeout}, or {@link #within}), and only if that does no
 * harm. Every create carries a request id, so it is safe. Errors are an
 * {@link AsyncflowException}: INVALID_ARGUMENT with all violations, NOT_FOUND, …
 */
public final class Client implements AutoCloseable {
    private final Connection connection;
    private final Duration limit;
    private final AsyncClient async;

    private Client(Connection connection, Duration limit) {
        this.connection = connection;
        this.limit = limit;
        this.async = new AsyncClient(connection, limit);
    }

    /**
     * For the broker of the environment: ASYNCFLOW_BROKER, else http://127.0.0.1:7070.
     *
     * @throws IllegalArgumentException the environment is unusable
     */
    public static Client connect() {
        return connect(ClientOptions.fromEnvironment());
    }

    /**
     * For another one.
     *
     * @throws IllegalArgumentException address, token or a file are unusable
     */
    public static Client connect(ClientOptions options) {
        return new Client(new Connection(options), null);
    }

    /** The same connection with a limit for every call, repetitions, waits and streams included. */
    public Client within(Duration limit) {
        return new Client(connection, limit);
    }

    /** The same calls as futures. */
    public AsyncClient async() {
        return async;
    }

    /**
     * For stubs of your own, e.g. {@code ScheduleServiceGrpc.newBlockingStub(client.channel())}:
     * unary calls have the same deadlines, request ids and repetitions; streams are not opened
     * again. {@link AsyncflowException#of(Throwable)} reads their errors.
     */
    public Channel channel() {
        return connection.channel;
    }

    /** Ends the connection, of all views; calls that are under way fail. */
    @Override
    public void close() {
        connection.close();
    }

    /** Creates a task, and only one, however often it has to be repeated inside. */
    public Task create(TaskSpec task) {
        return Waiting.get(async.create(task));
    }

    /**
     * Creates a task under a request id of yours: the same request gives the same task, now and
     * later; another one under it is ALREADY_EXISTS (REQUEST_ID_REUSED).
     */
    public CreateTaskResponse create(CreateTaskRequest request) {
        return Waiting.get(async.create(request));
    }

    /** Creates a task of a type with a payload that is made JSON; null for none. */
    public Task submit(String taskType, Object payload) {
        return Waiting.get(async.submit(taskType, payload));
    }

    /** Creates 1 to 1,000 tasks, all of them or, if one is refused, none. */
    public List<Task> createBatch(List<TaskSpec> tasks) {
        return Waiting.get(async.createBatch(tasks));
    }

    /**
     * Creates tasks as the requests come, no faster than the broker writes, and gives one result
     * for each, in their order, when it is on disk. One that could not be created has an error
     * ({@link AsyncflowException#of(io.asyncflow.v1.TaskError)}), and the others go on. When the
     * stream breaks, what has no result yet is sent again under the same request ids. The requests
     * are read in another thread.
     */
    public Results<CreateTaskResult> createStream(Iterable<CreateTaskRequest> requests) {
        return new CreateStream(connection, Connection.deadline(limit), requests);
    }

    /** Gets a task with everything. */
    public Task get(String taskId) {
        return Waiting.get(async.get(taskId));
    }

    /** All tasks that match, newest first, page by page as they are asked for. */
    public Iterable<Task> list(ListTasksRequest request) {
        return () -> new Pages<>(request.getPageToken(), token -> {
            var page = stub(BrokerServiceBlockingStub::listTasks,
                    request.toBuilder().setPageToken(token).build());
            return new Pages.Page<>(page.getTasksList(), page.getNextPageToken());
        });
    }

    /** All tasks that match a filter, as {@link #list(ListTasksRequest)}. */
    public Iterable<Task> list(String filter) {
        return list(ListTasksRequest.newBuilder().setFilter(filter).build());
    }

    /** Counts tasks by type, user and state without reading them. */
    public CountTasksResponse count(CountTasksRequest request) {
        return Waiting.get(async.count(request));
    }

    /**
     * Cancels a task; a running one is CANCELLING until its worker has stopped it. The reason is
     * for people and may be empty.
     */
    public Task cancel(String taskId, String reason) {
        return Waiting.get(async.cancel(taskId, reason));
    }

    /** Cancels a task without a reason. */
    public Task cancel(String taskId) {
        return cancel(taskId, "");
    }

    /**
     * Opens a new run of a task that has ended, at its saved stage. It is not repeated once it may
     * have been done: the new run may have ended, too.
     */
    public Task retry(String taskId) {
        return Waiting.get(async.retry(taskId, false));
    }

    /** As {@link #retry}, but stage and context are forgotten. */
    public Task retryFromStart(String taskId) {
        return Waiting.get(async.retry(taskId, true));
    }

    /** Takes a waiting task out of the queue. */
    public Task pause(String taskId) {
        return Waiting.get(async.pause(taskId));
    }

    /** Puts a paused task back. */
    public Task resume(String taskId) {
        return Waiting.get(async.resume(taskId));
    }

    /** Deletes a task with its history and logs; one that runs is FAILED_PRECONDITION. */
    public void delete(String taskId) {
        Waiting.get(async.delete(taskId));
    }

    /** Waits until a task has ended, well or not, and gives it. */
    public Task await(String taskId) {
        return Waiting.get(async.await(taskId));
    }

    /** Waits for so long at most: then it gives the task as it is. */
    public Task await(String taskId, Duration timeout) {
        return Waiting.get(async.await(taskId, timeout));
    }

    /**
     * Waits until a task has ended and reads its result from JSON; null if it has none.
     *
     * @throws TaskFailedException it failed or was cancelled
     * @throws IllegalArgumentException the result does not fit
     */
    public <T> T result(String taskId, Class<T> type) {
        return Waiting.get(async.result(taskId, type));
    }

    /** All attempts of a task, oldest first. */
    public Iterable<Attempt> attempts(String taskId) {
        ListAttemptsRequest request = ListAttemptsRequest.newBuilder().setTaskId(taskId).build();
        return () -> new Pages<>("", token -> {
            var page = stub(BrokerServiceBlockingStub::listAttempts,
                    request.toBuilder().setPageToken(token).build());
            return new Pages.Page<>(page.getAttemptsList(), page.getNextPageToken());
        });
    }

    /**
     * Streams the state of tasks: as they are, then at every change. States that follow each other
     * quickly may be left out, the last never is. After a break it goes on where it was. It ends by
     * itself only with {@code until_done}, or with an error: OUT_OF_RANGE when it was away for too
     * long, watch anew.
     */
    public Results<WatchTasksResponse> watch(WatchTasksRequest request) {
        WatchTasksRequest.Builder now = request.toBuilder();
        Deadline deadline = Connection.deadline(limit);
        return new Follow<>(connection, deadline,
                () -> limited(deadline).watchTasks(now.build()),
                news -> {
                    if (!news.getResumeToken().isEmpty()) {
                        now.setResumeToken(news.getResumeToken());
                    }
                    // A message with neither keeps the connection alive.
                    return news.hasTask() || !news.getDeletedTaskId().isEmpty() ? news : null;
                });
    }

    /**
     * Streams what a task wrote; with {@code follow} until it has ended. After a break it goes on
     * where it was, and gives nothing out twice.
     */
    public Results<StreamTaskLogsResponse> logs(StreamTaskLogsRequest request) {
        LogPosition seen = new LogPosition();
        Deadline deadline = Connection.deadline(limit);
        Supplier<StreamTaskLogsRequest> now = () -> seen.isAtStart()
                ? request
                // The tail has moved on; what was seen is skipped by its position instead.
                : request.toBuilder().clearTailLines().build();
        return new Follow<>(connection, deadline,
                () -> limited(deadline).streamTaskLogs(now.get()), seen::unseen);
    }

    /** Creates a task type. */
    public TaskType createType(TaskType taskType) {
        return Waiting.get(async.createType(taskType));
    }

    /** Gets a task type. */
    public TaskType type(String name) {
        return Waiting.get(async.type(name));
    }

    /** All task types. */
    public Iterable<TaskType> types() {
        return () -> new Pages<>("", token -> {
            var page = stub(BrokerServiceBlockingStub::listTaskTypes,
                    ListTaskTypesRequest.newBuilder().setPageToken(token).build());
            return new Pages.Page<>(page.getTaskTypesList(), page.getNextPageToken());
        });
    }

    /** The elements of one of the lists above as a stream. */
    public static <T> Stream<T> stream(Iterable<T> list) {
        return java.util.stream.StreamSupport.stream(list.spliterator(), false);
    }

    private BrokerServiceBlockingStub limited(Deadline deadline) {
        return Connection.limited(BrokerServiceGrpc.newBlockingStub(connection.channel), deadline);
    }

    private <Q, A> A stub(
            java.util.function.BiFunction<BrokerServiceBlockingStub, Q, A> call, Q request) {
        try {
            return call.apply(limited(Connection.deadline(limit)), request);
        } catch (io.grpc.StatusRuntimeException failed) {
            throw AsyncflowException.of(failed);
        }
    }
}
