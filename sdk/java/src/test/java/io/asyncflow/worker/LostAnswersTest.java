package io.asyncflow.worker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.rpc.ErrorInfo;
import io.asyncflow.ClientOptions;
import io.asyncflow.Contents;
import io.asyncflow.v1.AcquireTasksRequest;
import io.asyncflow.v1.AcquireTasksResponse;
import io.asyncflow.v1.CompleteTaskRequest;
import io.asyncflow.v1.CompleteTaskResponse;
import io.asyncflow.v1.DeregisterWorkerRequest;
import io.asyncflow.v1.DeregisterWorkerResponse;
import io.asyncflow.v1.HeartbeatRequest;
import io.asyncflow.v1.HeartbeatResponse;
import io.asyncflow.v1.Lease;
import io.asyncflow.v1.LeaseStatus;
import io.asyncflow.v1.LeaseVerdict;
import io.asyncflow.v1.LeasedTask;
import io.asyncflow.v1.RegisterWorkerRequest;
import io.asyncflow.v1.RegisterWorkerResponse;
import io.asyncflow.v1.SaveContextRequest;
import io.asyncflow.v1.SaveContextResponse;
import io.asyncflow.v1.StreamCommandsRequest;
import io.asyncflow.v1.StreamCommandsResponse;
import io.asyncflow.v1.Task;
import io.asyncflow.v1.WorkerServiceGrpc;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.HashSet;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What goes wrong between worker and broker, played by a broker that does it on purpose. */
class LostAnswersTest {
    private static final Lease LEASE = Lease.newBuilder().setTaskId("t").setAttempt(1).build();

    private final Fake fake = new Fake();
    private Server server;

    @BeforeEach
    void start() throws IOException {
        server = Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                // The client asks whether an idle broker is there more often than grpc-java likes.
                .permitKeepAliveTime(1, java.util.concurrent.TimeUnit.SECONDS)
                .permitKeepAliveWithoutCalls(true)
                .addService(fake).build().start();
    }

    @AfterEach
    void stop() {
        server.shutdownNow();
    }

    private Worker worker(Handler handler) {
        return Worker.builder().id("w").grace(java.time.Duration.ofSeconds(5))
                .connection(ClientOptions.fromEnvironment()
                        .address("http://127.0.0.1:" + server.getPort()))
                .handle("work", handler).start();
    }

    @Test
    void lostAnswersOfAcquireAndCompleteLoseNothing() throws Exception {
        fake.losesAnswers = true;
        try (Worker worker = worker(attempt -> Contents.json("done"))) {
            CompleteTaskRequest told = fake.completed.get(20, TimeUnit.SECONDS);
            assertEquals("\"done\"", told.getResult().getData().toStringUtf8());
            assertEquals(LEASE, told.getLease());
            assertEquals(fake.acquireIds.get(0), fake.acquireIds.get(1));
            assertEquals(2, fake.completes.size());
            worker.registered().get(1, TimeUnit.SECONDS);
        }
        assertTrue(fake.isDeregistered);
        Set<String> later = new HashSet<>(fake.acquireIds.subList(2, fake.acquireIds.size()));
        assertEquals(fake.acquireIds.size() - 2, later.size(), "a new call has a new id");
    }

    @Test
    void anUnknownSessionIsRegisteredAgainWithWhatIsHeld() throws Exception {
        CompletableFuture<Void> free = new CompletableFuture<>();
        try (Worker worker = worker(attempt -> {
            fake.session = "second";
            Pause.forAny(free);
            return null;
        })) {
            worker.registered().get(20, TimeUnit.SECONDS);
            while (fake.registrations.size() < 2) {
                Thread.sleep(20);
            }
            assertEquals(List.of(LEASE), fake.registrations.get(1).getAdoptedList());
            assertEquals(fake.registrations.get(0).getIncarnation(),
                    fake.registrations.get(1).getIncarnation());
            free.complete(null);
            assertEquals("second", fake.completed.get(20, TimeUnit.SECONDS).getSessionId());
        }
    }

    @Test
    void aCancelThatComesWhileASaveIsInFlightDoesNotEndTheSave() throws Exception {
        fake.verdict = LeaseVerdict.LEASE_VERDICT_CANCEL;
        CompletableFuture<String> seen = new CompletableFuture<>();
        try (Worker worker = worker(attempt -> {
            attempt.saveJson("one", 1);
            seen.complete(attempt.stage() + " " + attempt.stopReason());
            attempt.throwIfStopped();
            return null;
        })) {
            fake.saving.get(20, TimeUnit.SECONDS);
            Thread.sleep(500);
            fake.saved.complete(null);
            assertEquals("one CANCELLED", seen.get(20, TimeUnit.SECONDS));
            worker.registered().get(1, TimeUnit.SECONDS);
        }
    }

    @Test
    void aLostLeaseEndsTheSaveAndNothingMoreIsSaid() throws Exception {
        fake.verdict = LeaseVerdict.LEASE_VERDICT_LOST;
        CompletableFuture<String> seen = new CompletableFuture<>();
        try (Worker worker = worker(attempt -> {
            try {
                attempt.saveJson("one", 1);
            } catch (io.asyncflow.AsyncflowException lost) {
                seen.complete(lost.reason());
            }
            return null;
        })) {
            assertEquals("LEASE_LOST", seen.get(20, TimeUnit.SECONDS));
            worker.registered().get(1, TimeUnit.SECONDS);
        }
        assertEquals(List.of(), fake.completes);
    }

    @Test
    void eachSaveNamesTheVersionThatItIsMadeUpon() throws Exception {
        fake.version = 4;
        fake.saveRefusals.addAll(List.of(Status.UNAVAILABLE.asRuntimeException(),
                Status.INVALID_ARGUMENT.asRuntimeException(), Fake.otherVersion(9)));
        fake.saved.complete(null);
        CompletableFuture<String> refused = new CompletableFuture<>();
        try (Worker worker = worker(attempt -> {
            try {
                attempt.saveJson("one", 1);
            } catch (io.asyncflow.AsyncflowException failed) {
                refused.complete(failed.code().name());
            }
            attempt.saveJson("two", 2);
            attempt.saveJson("three", 3);
            return null;
        })) {
            fake.completed.get(20, TimeUnit.SECONDS);
            worker.registered().get(1, TimeUnit.SECONDS);
        }
        assertEquals("INVALID_ARGUMENT", refused.get(1, TimeUnit.SECONDS));
        assertEquals(List.of(4L, 4L, 4L, 9L, 10L), fake.saveVersions);
    }

    /** A broker with one task. */
    private static final class Fake extends WorkerServiceGrpc.WorkerServiceImplBase {
        final List<RegisterWorkerRequest> registrations = new CopyOnWriteArrayList<>();
        final List<String> acquireIds = new CopyOnWriteArrayList<>();
        final List<CompleteTaskRequest> completes = new CopyOnWriteArrayList<>();
        final CompletableFuture<CompleteTaskRequest> completed = new CompletableFuture<>();
        final CompletableFuture<Void> saving = new CompletableFuture<>();
        final CompletableFuture<Void> saved = new CompletableFuture<>();
        volatile String session = "first";
        volatile LeaseVerdict verdict = LeaseVerdict.LEASE_VERDICT_OK;
        final List<Long> saveVersions = new CopyOnWriteArrayList<>();
        final Queue<StatusRuntimeException> saveRefusals = new ConcurrentLinkedQueue<>();
        volatile long version;
        volatile boolean losesAnswers;
        volatile boolean isDeregistered;

        @Override
        public void registerWorker(
                RegisterWorkerRequest request, StreamObserver<RegisterWorkerResponse> answer) {
            registrations.add(request);
            end(answer, RegisterWorkerResponse.newBuilder().setSessionId(session)
                    .setHeartbeatInterval(Duration.newBuilder().setNanos(100_000_000))
                    .setLeaseTtl(Duration.newBuilder().setNanos(300_000_000))
                    .addAllAdopted(request.getAdoptedList()).build());
        }

        @Override
        public void acquireTasks(
                AcquireTasksRequest request, StreamObserver<AcquireTasksResponse> answer) {
            acquireIds.add(request.getAcquireId());
            if (losesAnswers && acquireIds.size() == 1) {
                answer.onError(Status.UNAVAILABLE.asRuntimeException());
                return;
            }
            boolean isFirst = acquireIds.stream().distinct().count() == 1;
            var tasks = AcquireTasksResponse.newBuilder();
            if (isFirst) {
                tasks.addTasks(LeasedTask.newBuilder().setLease(LEASE)
                        .setTask(Task.newBuilder().setId("t").setTaskType("work")
                                .setContextVersion(version)));
            }
            end(answer, tasks.build());
        }

        @Override
        public void heartbeat(
                HeartbeatRequest request, StreamObserver<HeartbeatResponse> answer) {
            if (!request.getSessionId().equals(session)) {
                answer.onError(unknownSession());
                return;
            }
            var told = HeartbeatResponse.newBuilder();
            request.getLeasesList().forEach(lease -> told.addLeases(LeaseStatus.newBuilder()
                    .setLease(lease).setVerdict(saving.isDone()
                            ? verdict : LeaseVerdict.LEASE_VERDICT_OK)));
            end(answer, told.build());
        }

        @Override
        public void streamCommands(
                StreamCommandsRequest request, StreamObserver<StreamCommandsResponse> answer) {
            // It stays open and says nothing.
        }

        @Override
        public void saveContext(
                SaveContextRequest request, StreamObserver<SaveContextResponse> answer) {
            saving.complete(null);
            saveVersions.add(request.getExpectedVersion());
            StatusRuntimeException refusal = saveRefusals.poll();
            if (refusal != null) {
                answer.onError(refusal);
                return;
            }
            saved.thenRun(() -> end(answer, SaveContextResponse.newBuilder()
                    .setContextVersion(request.getExpectedVersion() + 1).build()));
        }

        @Override
        public void completeTask(
                CompleteTaskRequest request, StreamObserver<CompleteTaskResponse> answer) {
            completes.add(request);
            if (losesAnswers && completes.size() == 1) {
                answer.onError(Status.INTERNAL.asRuntimeException());
                return;
            }
            if (!request.getSessionId().equals(session)) {
                answer.onError(unknownSession());
                return;
            }
            end(answer, CompleteTaskResponse.getDefaultInstance());
            completed.complete(request);
        }

        @Override
        public void failTask(io.asyncflow.v1.FailTaskRequest request,
                StreamObserver<io.asyncflow.v1.FailTaskResponse> answer) {
            end(answer, io.asyncflow.v1.FailTaskResponse.getDefaultInstance());
        }

        @Override
        public void deregisterWorker(DeregisterWorkerRequest request,
                StreamObserver<DeregisterWorkerResponse> answer) {
            isDeregistered = true;
            end(answer, DeregisterWorkerResponse.getDefaultInstance());
        }

        private static StatusRuntimeException unknownSession() {
            return refusal(Status.Code.FAILED_PRECONDITION,
                    ErrorInfo.newBuilder().setReason("UNKNOWN_SESSION"));
        }

        static StatusRuntimeException otherVersion(long current) {
            return refusal(Status.Code.ABORTED, ErrorInfo.newBuilder().setReason("CONTEXT_VERSION")
                    .putMetadata("context_version", Long.toString(current)));
        }

        private static StatusRuntimeException refusal(Status.Code code, ErrorInfo.Builder info) {
            return StatusProto.toStatusRuntimeException(com.google.rpc.Status.newBuilder()
                    .setCode(code.value()).addDetails(Any.pack(info.build())).build());
        }

        private static <A> void end(StreamObserver<A> answer, A value) {
            answer.onNext(value);
            answer.onCompleted();
        }
    }
}
