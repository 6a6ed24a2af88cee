package io.asyncflow.worker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.asyncflow.AsyncflowException;
import io.asyncflow.Client;
import io.asyncflow.Contents;
import io.asyncflow.Stack;
import io.asyncflow.TaskFailedException;
import io.asyncflow.v1.FailureReason;
import io.asyncflow.v1.ListTaskTypesRequest;
import io.asyncflow.v1.OptionalRetryPolicy;
import io.asyncflow.v1.Task;
import io.asyncflow.v1.TaskSpec;
import io.asyncflow.v1.TaskState;
import io.asyncflow.v1.TaskType;
import io.grpc.Status;
import java.nio.file.Path;
import java.time.Duration;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Client and worker against a real broker. */
class BrokerTest {
    @TempDir
    private static Path folder;
    private static Stack stack;
    private static Client client;

    @BeforeAll
    static void start() throws Exception {
        stack = new Stack(folder);
        client = Client.connect(stack.options()).within(Duration.ofSeconds(40));
    }

    @AfterAll
    static void stop() {
        client.close();
        stack.close();
    }

    private static String type() {
        String name = "work_" + UUID.randomUUID().toString().substring(24);
        client.createType(TaskType.newBuilder().setName(name).build());
        return name;
    }

    private static WorkerBuilder worker() {
        return Worker.builder().connection(stack.options()).grace(Duration.ofMillis(500))
                .drainTimeout(Duration.ofSeconds(5)).id("w-" + UUID.randomUUID());
    }

    private static FailureReason failure(Task task) {
        var failed = assertThrows(TaskFailedException.class,
                () -> client.result(task.getId(), String.class));
        return failed.task().getFailure().getReason();
    }

    @Test
    void aWaitingTaskIsPausedResumedAndDeleted() {
        Task task = client.submit(type(), null);
        assertEquals(TaskState.TASK_STATE_PAUSED, client.pause(task.getId()).getState());
        assertEquals(TaskState.TASK_STATE_PENDING, client.resume(task.getId()).getState());
        client.delete(task.getId());
        var gone = assertThrows(AsyncflowException.class, () -> client.get(task.getId()));
        assertEquals(Status.Code.NOT_FOUND, gone.code());
    }

    @Test
    void typesAreFoundByRawStubsToo() {
        String name = type();
        assertEquals(name, client.type(name).getName());
        assertTrue(Client.stream(client.types()).anyMatch(one -> one.getName().equals(name)));
        var stub = io.asyncflow.v1.BrokerServiceGrpc.newBlockingStub(client.channel());
        assertTrue(stub.listTaskTypes(ListTaskTypesRequest.getDefaultInstance())
                .getTaskTypesList().stream().anyMatch(one -> one.getName().equals(name)));
    }

    @Test
    void whatAHandlerCannotDoFailsForGood() {
        String large = type();
        String odd = type();
        try (Worker worker = worker()
                .handle(large, attempt -> Contents.json("x".repeat(70_000)))
                .handle(odd, Integer.class, (attempt, number) -> number).start()) {
            assertEquals(FailureReason.FAILURE_REASON_RESULT_TOO_LARGE,
                    failure(client.submit(large, null)));
            assertEquals(FailureReason.FAILURE_REASON_BAD_CONTEXT,
                    failure(client.submit(odd, "no number")));
            assertFalse(worker.ended().isDone());
        }
    }

    @Test
    void aHandlerThatDoesNotStopInItsTimeIsGivenUp() {
        String type = type();
        CompletableFuture<Void> free = new CompletableFuture<>();
        CompletableFuture<AsyncflowException> refused = new CompletableFuture<>();
        try (Worker worker = worker().slots(2).handle(type, attempt -> {
            Pause.forAny(free);
            refused.complete(assertThrows(AsyncflowException.class,
                    () -> attempt.saveJson("late", 1)));
            return null;
        }).start()) {
            Task task = client.create(TaskSpec.newBuilder().setTaskType(type)
                    .setRetry(OptionalRetryPolicy.newBuilder().setMaxRetries(0))
                    .setMaxRunningTime(Spans.of(Duration.ofMillis(300))).build());
            assertEquals(FailureReason.FAILURE_REASON_TIMED_OUT, failure(task));
            free.complete(null);
            assertEquals(Status.Code.CANCELLED, refused.join().code());
            assertFalse(worker.ended().isDone());
        }
    }

    @Test
    void aHandlerSavesAfterItWasToldToStop() {
        String type = type();
        CompletableFuture<Void> running = new CompletableFuture<>();
        Worker worker = worker().handle(type, attempt -> {
            running.complete(null);
            try {
                Thread.sleep(60_000);
            } catch (InterruptedException told) {
                Thread.currentThread().interrupt();
                attempt.saveJson("saved", attempt.stopReason().name());
            }
            throw new StoppedException(attempt.stopReason());
        }).start();
        Task task = client.submit(type, null);
        running.join();
        worker.shutdown(Duration.ZERO);
        worker.join();
        Task after = client.get(task.getId());
        assertEquals(TaskState.TASK_STATE_PENDING, after.getState());
        assertEquals("saved", after.getStage());
        assertEquals("DRAINED", Contents.read(after.getContext(), String.class));
        assertEquals(0, after.getFailures());
    }

    @Test
    void ofTwoWorkersUnderOneIdOneGivesWay() throws Exception {
        String type = type();
        String id = "twin-" + UUID.randomUUID();
        Handler nothing = attempt -> null;
        Worker first = worker().id(id).handle(type, nothing).start();
        first.registered().get(20, TimeUnit.SECONDS);
        try (Worker second = worker().id(id).handle(type, nothing).start()) {
            Worker worker = second;
            var end = CompletableFuture.anyOf(first.ended(), worker.ended());
            var failed = assertThrows(ExecutionException.class,
                    () -> end.get(30, TimeUnit.SECONDS));
            assertTrue(failed.getCause().getMessage().contains(id), failed.toString());
            assertTrue(first.ended().isDone());
            assertFalse(second.ended().isDone());
            Task task = client.submit(type, null);
            assertEquals(TaskState.TASK_STATE_SUCCEEDED, client.await(task.getId()).getState());
        }
    }

    @Test
    void aWorkerThatIsRefusedEnds() {
        Worker worker = worker().handle("Not A Type", attempt -> null).start();
        var refused = assertThrows(AsyncflowException.class, worker::join);
        assertEquals(Status.Code.INVALID_ARGUMENT, refused.code());
    }
}
