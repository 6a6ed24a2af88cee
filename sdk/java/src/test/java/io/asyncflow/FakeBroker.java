package io.asyncflow;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.rpc.Code;
import com.google.rpc.RetryInfo;
import io.asyncflow.v1.BrokerServiceGrpc;
import io.asyncflow.v1.CreateTaskRequest;
import io.asyncflow.v1.CreateTaskResponse;
import io.asyncflow.v1.DeleteTaskRequest;
import io.asyncflow.v1.DeleteTaskResponse;
import io.asyncflow.v1.RetryTaskRequest;
import io.asyncflow.v1.RetryTaskResponse;
import io.asyncflow.v1.StreamCreateTasksRequest;
import io.asyncflow.v1.StreamCreateTasksResponse;
import io.asyncflow.v1.CreateTaskResult;
import io.asyncflow.v1.Task;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;

/** A broker that fails as a test wants: each call takes the next failure, and is answered after. */
final class FakeBroker extends BrokerServiceGrpc.BrokerServiceImplBase implements AutoCloseable {
    final Queue<StatusRuntimeException> failures = new ConcurrentLinkedQueue<>();
    final List<String> requestIds = new CopyOnWriteArrayList<>();
    final List<String> calls = new CopyOnWriteArrayList<>();
    final AtomicInteger messageBytesMax = new AtomicInteger();
    private final Server server;

    FakeBroker() throws IOException {
        server = Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                // The client asks whether an idle broker is there more often than grpc-java likes.
                .permitKeepAliveTime(1, java.util.concurrent.TimeUnit.SECONDS)
                .permitKeepAliveWithoutCalls(true)
                .addService(this).build().start();
    }

    Client client(java.time.Duration timeout) {
        return Client.connect(ClientOptions.fromEnvironment()
                .address("http://127.0.0.1:" + server.getPort()).timeout(timeout));
    }

    static StatusRuntimeException unavailable() {
        return Status.UNAVAILABLE.withDescription("it goes").asRuntimeException();
    }

    static StatusRuntimeException busy(long millis) {
        return StatusProto.toStatusRuntimeException(com.google.rpc.Status.newBuilder()
                .setCode(Code.RESOURCE_EXHAUSTED_VALUE).setMessage("too much")
                .addDetails(Any.pack(RetryInfo.newBuilder().setRetryDelay(
                        Duration.newBuilder().setNanos((int) millis * 1_000_000)).build()))
                .build());
    }

    @Override
    public void createTask(CreateTaskRequest request, StreamObserver<CreateTaskResponse> answer) {
        requestIds.add(request.getRequestId());
        answer("create", answer, CreateTaskResponse.newBuilder()
                .setTask(Task.newBuilder().setId("t")).build());
    }

    @Override
    public void retryTask(RetryTaskRequest request, StreamObserver<RetryTaskResponse> answer) {
        answer("retry", answer, RetryTaskResponse.newBuilder()
                .setTask(Task.newBuilder().setId("t")).build());
    }

    @Override
    public void deleteTask(DeleteTaskRequest request, StreamObserver<DeleteTaskResponse> answer) {
        answer("delete", answer, DeleteTaskResponse.getDefaultInstance());
    }

    @Override
    public StreamObserver<StreamCreateTasksRequest> streamCreateTasks(
            StreamObserver<StreamCreateTasksResponse> answer) {
        return new StreamObserver<>() {
            @Override
            public void onNext(StreamCreateTasksRequest message) {
                messageBytesMax.accumulateAndGet(message.getSerializedSize(), Math::max);
                message.getRequestsList().forEach(one -> requestIds.add(one.getRequestId()));
                StatusRuntimeException failure = failures.poll();
                if (failure != null) {
                    answer.onError(failure);
                    return;
                }
                var results = StreamCreateTasksResponse.newBuilder();
                message.getRequestsList().forEach(one -> results.addResults(
                        CreateTaskResult.newBuilder().setTaskId(one.getRequestId())));
                answer.onNext(results.build());
            }

            @Override
            public void onError(Throwable gone) {
                // The client has left.
            }

            @Override
            public void onCompleted() {
                answer.onCompleted();
            }
        };
    }

    private <A> void answer(String call, StreamObserver<A> to, A answer) {
        calls.add(call);
        StatusRuntimeException failure = failures.poll();
        if (failure != null) {
            to.onError(failure);
        } else {
            to.onNext(answer);
            to.onCompleted();
        }
    }

    @Override
    public void close() {
        server.shutdownNow();
    }
}
