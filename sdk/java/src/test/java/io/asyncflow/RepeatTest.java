package io.asyncflow;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.asyncflow.v1.Content;
import io.asyncflow.v1.CreateTaskRequest;
import io.asyncflow.v1.TaskSpec;
import io.grpc.Status;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class RepeatTest {
    private static final TaskSpec TASK = TaskSpec.newBuilder().setTaskType("work").build();

    private FakeBroker broker;
    private Client client;

    @BeforeEach
    void start() throws IOException {
        broker = new FakeBroker();
        client = broker.client(Duration.ofSeconds(10));
    }

    @AfterEach
    void stop() {
        client.close();
        broker.close();
    }

    @Test
    void aCreateIsRepeatedUnderItsRequestId() {
        broker.failures.add(FakeBroker.unavailable());
        broker.failures.add(FakeBroker.busy(300));
        long began = System.nanoTime();
        assertEquals("t", client.create(TASK).getId());
        assertTrue(System.nanoTime() - began >= 300_000_000L, "RetryInfo is heeded");
        assertEquals(3, broker.requestIds.size());
        assertEquals(1, new HashSet<>(broker.requestIds).size());
        client.create(TASK);
        assertNotEquals(broker.requestIds.get(0), broker.requestIds.get(3));
    }

    @Test
    void aRequestIdOfTheCallersIsKept() {
        client.create(CreateTaskRequest.newBuilder().setTask(TASK).setRequestId("mine").build());
        assertEquals(List.of("mine"), broker.requestIds);
    }

    @Test
    void aRefusalIsNotRepeated() {
        broker.failures.add(Status.INVALID_ARGUMENT.asRuntimeException());
        var refused = assertThrows(AsyncflowException.class, () -> client.create(TASK));
        assertEquals(Status.Code.INVALID_ARGUMENT, refused.code());
        assertFalse(refused.isRetryable());
        assertEquals(1, broker.requestIds.size());
    }

    @Test
    void whatIsNotSafeIsRepeatedOnlyIfTheBrokerAsks() {
        broker.failures.add(FakeBroker.busy(1));
        client.retry("t");
        assertEquals(2, broker.calls.size());
        broker.failures.add(FakeBroker.unavailable());
        var failed = assertThrows(AsyncflowException.class, () -> client.retry("t"));
        assertTrue(failed.isRetryable());
        assertEquals(3, broker.calls.size());
    }

    @Test
    void aDeleteThatWasDoneByALostTryIsWell() {
        broker.failures.add(FakeBroker.unavailable());
        broker.failures.add(Status.NOT_FOUND.asRuntimeException());
        client.delete("t");
        broker.failures.add(Status.NOT_FOUND.asRuntimeException());
        var failed = assertThrows(AsyncflowException.class, () -> client.delete("t"));
        assertEquals(Status.Code.NOT_FOUND, failed.code());
    }

    @Test
    void repetitionsEndAtTheDeadline() {
        broker.failures.addAll(Collections.nCopies(1000, FakeBroker.unavailable()));
        Client hasty = client.within(Duration.ofMillis(700));
        long began = System.nanoTime();
        var failed = assertThrows(AsyncflowException.class, () -> hasty.create(TASK));
        assertEquals(Status.Code.UNAVAILABLE, failed.code());
        assertTrue(System.nanoTime() - began < 3_000_000_000L);
        assertTrue(broker.calls.size() > 1);
    }

    @Test
    void aFutureThatIsCancelledEndsItsRepetitions() throws InterruptedException {
        broker.failures.addAll(Collections.nCopies(1000, FakeBroker.unavailable()));
        var task = client.async().create(TASK);
        while (broker.calls.isEmpty()) {
            Thread.sleep(10);
        }
        assertTrue(task.cancel(true));
        Thread.sleep(300);
        int tries = broker.calls.size();
        Thread.sleep(1500);
        assertEquals(tries, broker.calls.size());
    }

    @Test
    void aClosedClientEndsCallsThatWaitForTheirNextTry() throws Exception {
        broker.failures.addAll(Collections.nCopies(1000, FakeBroker.busy(900)));
        var waiting = client.async().create(TASK);
        while (broker.calls.isEmpty()) {
            Thread.sleep(10);
        }
        client.close();
        assertThrows(ExecutionException.class, () -> waiting.get(20, TimeUnit.SECONDS));
        var late = client.async().create(TASK);
        assertThrows(ExecutionException.class, () -> late.get(20, TimeUnit.SECONDS));
    }

    @Test
    void anErrorOfTheSourceEndsTheStream() {
        Iterable<CreateTaskRequest> bad = () -> {
            throw new AssertionError("no more");
        };
        assertTimeoutPreemptively(Duration.ofSeconds(20), () -> assertThrows(
                IllegalStateException.class, () -> client.createStream(bad).hasNext()));
    }

    @Test
    void aMessageOfCreatesIsBoundedInBytes() {
        var payload = Content.newBuilder().setData(ByteString.copyFrom(new byte[60_000]));
        var request = CreateTaskRequest.newBuilder()
                .setTask(TASK.toBuilder().setPayload(payload)).build();
        try (var results = client.createStream(Collections.nCopies(100, request))) {
            results.forEachRemaining(one -> assertFalse(one.getTaskId().isEmpty()));
        }
        assertEquals(100, broker.requestIds.size());
        assertTrue(broker.messageBytesMax.get() <= 520 << 10, broker.messageBytesMax.toString());
    }

    @Test
    void aStreamOfCreatesGoesOnUnderTheSameIds() {
        broker.failures.add(FakeBroker.unavailable());
        List<CreateTaskRequest> requests = Collections.nCopies(1200,
                CreateTaskRequest.newBuilder().setTask(TASK).build());
        List<String> made = new ArrayList<>();
        try (var results = client.createStream(requests)) {
            results.forEachRemaining(one -> made.add(one.getTaskId()));
        }
        assertEquals(1200, made.size());
        assertEquals(new HashSet<>(made), new HashSet<>(broker.requestIds));
        assertTrue(broker.requestIds.size() > 1200, "something was sent again");
    }

    @Test
    void aStreamTellsOfItsSourcesError() {
        Iterable<CreateTaskRequest> bad = () -> {
            throw new IllegalStateException("no more");
        };
        assertThrows(IllegalStateException.class, () -> client.createStream(bad).hasNext());
    }
}
