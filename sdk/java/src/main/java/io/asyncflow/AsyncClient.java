package io.asyncflow;

import com.google.common.util.concurrent.ListenableFuture;
import com.google.protobuf.Duration;
import io.asyncflow.internal.Abort;
import io.asyncflow.internal.Waiting;
import io.asyncflow.v1.BatchCreateTasksRequest;
import io.asyncflow.v1.BrokerServiceGrpc;
import io.asyncflow.v1.BrokerServiceGrpc.BrokerServiceFutureStub;
import io.asyncflow.v1.CancelTaskRequest;
import io.asyncflow.v1.CountTasksRequest;
import io.asyncflow.v1.CountTasksResponse;
import io.asyncflow.v1.CreateTaskRequest;
import io.asyncflow.v1.CreateTaskResponse;
import io.asyncflow.v1.CreateTaskTypeRequest;
import io.asyncflow.v1.DeleteTaskRequest;
import io.asyncflow.v1.GetTaskRequest;
import io.asyncflow.v1.GetTaskTypeRequest;
import io.asyncflow.v1.PauseTaskRequest;
import io.asyncflow.v1.ResumeTaskRequest;
import io.asyncflow.v1.RetryTaskRequest;
import io.asyncflow.v1.Task;
import io.asyncflow.v1.TaskSpec;
import io.asyncflow.v1.TaskState;
import io.asyncflow.v1.TaskType;
import io.asyncflow.v1.WaitTaskRequest;
import io.asyncflow.v1.WaitTaskResponse;
import io.grpc.Deadline;
import io.grpc.Status;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/**
 * The calls of {@link Client} as futures, which fail with an {@link AsyncflowException}. What is
 * said of a call there holds here, too. To cancel the future that a method gave cancels its call.
 */
public final class AsyncClient {
    // One round of waiting at the broker.
    private static final long WAIT_ROUND_MS = 30_000;
    // A broker that shuts down answers at once; it must not be asked in a circle.
    private static final long WAIT_ROUND_MIN_MS = 200;

    private final Connection connection;
    private final java.time.Duration limit;

    AsyncClient(Connection connection, java.time.Duration limit) {
        this.connection = connection;
        this.limit = limit;
    }

    /** See {@link Client#create(TaskSpec)}. */
    public CompletableFuture<Task> create(TaskSpec task) {
        return create(CreateTaskRequest.newBuilder().setTask(task).build())
                .thenApply(CreateTaskResponse::getTask);
    }

    /** See {@link Client#create(CreateTaskRequest)}. */
    public CompletableFuture<CreateTaskResponse> create(CreateTaskRequest request) {
        return call(stub -> stub.createTask(request));
    }

    /** See {@link Client#submit}. */
    public CompletableFuture<Task> submit(String taskType, Object payload) {
        TaskSpec.Builder task = TaskSpec.newBuilder().setTaskType(taskType);
        if (payload != null) {
            task.setPayload(Contents.json(payload));
        }
        return create(task.build());
    }

    /** See {@link Client#createBatch}. */
    public CompletableFuture<List<Task>> createBatch(List<TaskSpec> tasks) {
        BatchCreateTasksRequest.Builder request = BatchCreateTasksRequest.newBuilder();
        for (TaskSpec task : tasks) {
            request.addRequests(CreateTaskRequest.newBuilder().setTask(task));
        }
        return call(stub -> stub.batchCreateTasks(request.build())).thenApply(answer -> {
            if (answer.getResponsesCount() != tasks.size()) {
                throw incomplete("task for each request");
            }
            return answer.getResponsesList().stream().map(CreateTaskResponse::getTask).toList();
        });
    }

    /** See {@link Client#get}. */
    public CompletableFuture<Task> get(String taskId) {
        var request = GetTaskRequest.newBuilder().setTaskId(taskId).build();
        return call(stub -> stub.getTask(request)).thenApply(answer -> answer.getTask());
    }

    /** See {@link Client#count}. */
    public CompletableFuture<CountTasksResponse> count(CountTasksRequest request) {
        return call(stub -> stub.countTasks(request));
    }

    /** See {@link Client#cancel}. */
    public CompletableFuture<Task> cancel(String taskId, String reason) {
        var request = CancelTaskRequest.newBuilder().setTaskId(taskId).setReason(reason).build();
        return call(stub -> stub.cancelTask(request)).thenApply(answer -> answer.getTask());
    }

    /** See {@link Client#retry} and {@link Client#retryFromStart}. */
    public CompletableFuture<Task> retry(String taskId, boolean fromStart) {
        var request = RetryTaskRequest.newBuilder().setTaskId(taskId).setFromStart(fromStart)
                .build();
        return call(stub -> stub.retryTask(request)).thenApply(answer -> answer.getTask());
    }

    /** See {@link Client#pause}. */
    public CompletableFuture<Task> pause(String taskId) {
        var request = PauseTaskRequest.newBuilder().setTaskId(taskId).build();
        return call(stub -> stub.pauseTask(request)).thenApply(answer -> answer.getTask());
    }

    /** See {@link Client#resume}. */
    public CompletableFuture<Task> resume(String taskId) {
        var request = ResumeTaskRequest.newBuilder().setTaskId(taskId).build();
        return call(stub -> stub.resumeTask(request)).thenApply(answer -> answer.getTask());
    }

    /** See {@link Client#delete}. */
    public CompletableFuture<Void> delete(String taskId) {
        var request = DeleteTaskRequest.newBuilder().setTaskId(taskId).build();
        return call(stub -> stub.deleteTask(request)).thenApply(answer -> null);
    }

    /** See {@link Client#createType}. */
    public CompletableFuture<TaskType> createType(TaskType taskType) {
        var request = CreateTaskTypeRequest.newBuilder().setTaskType(taskType).build();
        return call(stub -> stub.createTaskType(request))
                .thenApply(answer -> answer.getTaskType());
    }

    /** See {@link Client#type}. */
    public CompletableFuture<TaskType> type(String name) {
        var request = GetTaskTypeRequest.newBuilder().setName(name).build();
        return call(stub -> stub.getTaskType(request)).thenApply(answer -> answer.getTaskType());
    }

    /** See {@link Client#await(String)}. */
    public CompletableFuture<Task> await(String taskId) {
        return round(taskId, Connection.deadline(limit), null, new Abort());
    }

    /** See {@link Client#await(String, java.time.Duration)}. */
    public CompletableFuture<Task> await(String taskId, java.time.Duration timeout) {
        return round(
                taskId, Connection.deadline(limit), Connection.deadline(timeout), new Abort());
    }

    /** See {@link Client#result}. */
    public <T> CompletableFuture<T> result(String taskId, Class<T> type) {
        return await(taskId).thenApply(task -> {
            if (task.getState() != TaskState.TASK_STATE_SUCCEEDED) {
                throw new TaskFailedException(task);
            }
            return Contents.read(task.getResult(), type);
        });
    }

    private CompletableFuture<Task> round(
            String taskId, Deadline whole, Deadline end, Abort abort) {
        long left = end == null
                ? WAIT_ROUND_MS
                : Math.max(end.timeRemaining(TimeUnit.MILLISECONDS), 0);
        long wait = Math.min(left, WAIT_ROUND_MS);
        Deadline deadline = Connection.sooner(whole, connection.timeout.plusMillis(wait));
        WaitTaskRequest request = WaitTaskRequest.newBuilder().setTaskId(taskId)
                .setTimeout(Duration.newBuilder().setSeconds(wait / 1000)
                        .setNanos((int) (wait % 1000) * 1_000_000))
                .build();
        Deadline soonest = Connection.deadline(
                java.time.Duration.ofMillis(Math.min(wait, WAIT_ROUND_MIN_MS)));
        return call(deadline, stub -> stub.waitTask(request), abort).thenCompose(answer -> {
            if (answer.getDone() || end != null && end.isExpired()) {
                return CompletableFuture.completedFuture(taskOf(answer));
            }
            long early = Math.max(soonest.timeRemaining(TimeUnit.MILLISECONDS), 0);
            return CompletableFuture.supplyAsync(() -> null,
                    CompletableFuture.delayedExecutor(early, TimeUnit.MILLISECONDS))
                    .thenCompose(nothing -> round(taskId, whole, end, abort));
        });
    }

    private static Task taskOf(WaitTaskResponse answer) {
        if (!answer.hasTask()) {
            throw incomplete("task");
        }
        return answer.getTask();
    }

    private <A> CompletableFuture<A> call(
            Function<BrokerServiceFutureStub, ListenableFuture<A>> send) {
        return call(Connection.deadline(limit), send, new Abort());
    }

    private <A> CompletableFuture<A> call(
            Deadline deadline, Function<BrokerServiceFutureStub, ListenableFuture<A>> send,
            Abort abort) {
        var stub = BrokerServiceGrpc.newFutureStub(connection.channel);
        return Waiting.future(send.apply(Connection.limited(stub, deadline)), abort);
    }

    /** An answer lacks what the protocol says it holds. */
    static AsyncflowException incomplete(String what) {
        return AsyncflowException.local(
                Status.Code.DATA_LOSS, "", "the answer holds no " + what);
    }
}
