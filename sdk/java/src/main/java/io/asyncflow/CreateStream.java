package io.asyncflow;

import io.asyncflow.internal.Backoff;
import io.asyncflow.internal.RequestIds;
import io.asyncflow.v1.BrokerServiceGrpc;
import io.asyncflow.v1.CreateTaskRequest;
import io.asyncflow.v1.CreateTaskResult;
import io.asyncflow.v1.StreamCreateTasksRequest;
import io.asyncflow.v1.StreamCreateTasksResponse;
import io.grpc.Deadline;
import io.grpc.Status;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.TimeUnit;

/** A stream of creates over all its connections. */
final class CreateStream implements Results<CreateTaskResult> {
    // Requests that go in one message, if they are there at the same time.
    private static final int REQUESTS_MAX = 500;
    // What they may weigh: half of the smallest limit that a broker can be given for its messages.
    private static final int BYTES_MAX = 512 << 10;
    // Messages that may wait for their answer.
    private static final int MESSAGES_MAX = 8;

    private final Connection connection;
    private final Deadline deadline;
    private final Backoff waits = new Backoff();

    // Everything below is guarded by `this`.
    private final Deque<CreateTaskRequest> pending = new ArrayDeque<>();
    // Sent, perhaps, and not answered.
    private final Deque<StreamCreateTasksRequest> open = new ArrayDeque<>();
    private final Deque<CreateTaskResult> ready = new ArrayDeque<>();
    private boolean isDry;
    private boolean isClosed;
    private RuntimeException failure;
    private Call call;
    private Deadline patience;

    CreateStream(Connection connection, Deadline deadline, Iterable<CreateTaskRequest> requests) {
        this.connection = connection;
        this.deadline = deadline;
        Thread reader = new Thread(() -> pull(requests), "asyncflow-create-stream");
        reader.setDaemon(true);
        reader.start();
    }

    private void pull(Iterable<CreateTaskRequest> source) {
        try {
            Iterator<CreateTaskRequest> requests = source.iterator();
            while (requests.hasNext() && offer(RequestIds.fill(requests.next()))) {
                // The next one.
            }
            finish(null);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        } catch (RuntimeException wrong) {
            finish(wrong);
        } catch (Throwable wrong) {
            // An Error, too, has to end the waiting of who reads the results.
            finish(new IllegalStateException("the requests cannot be read", wrong));
        }
    }

    private synchronized boolean offer(CreateTaskRequest request) throws InterruptedException {
        while (pending.size() >= REQUESTS_MAX && !isClosed) {
            wait();
        }
        pending.add(request);
        notifyAll();
        return !isClosed;
    }

    private synchronized void finish(RuntimeException wrong) {
        isDry = true;
        failure = failure == null ? wrong : failure;
        notifyAll();
    }

    @Override
    public synchronized boolean hasNext() {
        try {
            while (ready.isEmpty() && !isClosed) {
                if (failure != null) {
                    close();
                    throw failure;
                }
                if (!advance()) {
                    wait();
                }
            }
            return !ready.isEmpty();
        } catch (InterruptedException interrupted) {
            close();
            Thread.currentThread().interrupt();
            throw AsyncflowException.of(interrupted);
        }
    }

    @Override
    public synchronized CreateTaskResult next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        return ready.remove();
    }

    @Override
    public synchronized void close() {
        isClosed = true;
        if (call != null) {
            call.end("the caller has left");
            call = null;
        }
        notifyAll();
    }

    /** Does what can be done without waiting; false when there is nothing. */
    private boolean advance() throws InterruptedException {
        if (call != null && call.hasNews()) {
            call.take();
            return true;
        }
        if (isDry && pending.isEmpty() && open.isEmpty()) {
            if (call != null) {
                call.requests.onCompleted();
                call = null;
            }
            isClosed = true;
            return true;
        }
        if (call == null) {
            call = new Call();
            var stub = BrokerServiceGrpc.newStub(connection.channel);
            Connection.limited(stub, deadline).streamCreateTasks(call);
            open.forEach(call.requests::onNext);
            return true;
        }
        if (open.size() >= MESSAGES_MAX || pending.isEmpty()) {
            return false;
        }
        StreamCreateTasksRequest.Builder message = StreamCreateTasksRequest.newBuilder();
        int weight = 0;
        while (message.getRequestsCount() < REQUESTS_MAX && !pending.isEmpty()) {
            weight += pending.element().getSerializedSize();
            if (message.getRequestsCount() > 0 && weight > BYTES_MAX) {
                break;
            }
            message.addRequests(pending.remove());
        }
        open.add(message.build());
        call.requests.onNext(open.getLast());
        notifyAll();
        return true;
    }

    private void broken(AsyncflowException told) throws InterruptedException {
        call = null;
        if (patience == null) {
            patience = Connection.sooner(deadline, connection.timeout);
        }
        Duration pause = waits.next(told.retryAfter());
        boolean isTooLate = patience.timeRemaining(TimeUnit.NANOSECONDS) <= pause.toNanos();
        if (!told.isRetryable() || isTooLate) {
            failure = told;
            return;
        }
        connection.bare.resetConnectBackoff();
        Deadline end = Connection.deadline(pause);
        for (long left = pause.toMillis(); left > 0 && !isClosed;
                left = end.timeRemaining(TimeUnit.MILLISECONDS)) {
            wait(left);
        }
    }

    /** One connection; its answers are taken by who asks for results. */
    private final class Call
            implements ClientResponseObserver<StreamCreateTasksRequest, StreamCreateTasksResponse> {
        private final Deque<StreamCreateTasksResponse> answers = new ArrayDeque<>();
        private ClientCallStreamObserver<StreamCreateTasksRequest> requests;
        private AsyncflowException error;

        @Override
        public void beforeStart(ClientCallStreamObserver<StreamCreateTasksRequest> requests) {
            this.requests = requests;
        }

        @Override
        public void onNext(StreamCreateTasksResponse answer) {
            synchronized (CreateStream.this) {
                answers.add(answer);
                CreateStream.this.notifyAll();
            }
        }

        @Override
        public void onError(Throwable wrong) {
            synchronized (CreateStream.this) {
                error = AsyncflowException.of(wrong);
                CreateStream.this.notifyAll();
            }
        }

        @Override
        public void onCompleted() {
            synchronized (CreateStream.this) {
                error = AsyncflowException.local(
                        Status.Code.UNAVAILABLE, "", "the broker has ended the stream");
                CreateStream.this.notifyAll();
            }
        }

        boolean hasNews() {
            return !answers.isEmpty() || error != null;
        }

        void take() throws InterruptedException {
            StreamCreateTasksResponse answer = answers.poll();
            if (answer == null) {
                broken(error);
                return;
            }
            StreamCreateTasksRequest oldest = open.poll();
            if (oldest == null || oldest.getRequestsCount() != answer.getResultsCount()) {
                end("a result is missing");
                failure = AsyncClient.incomplete("result for each request");
                return;
            }
            ready.addAll(answer.getResultsList());
            patience = null;
            waits.reset();
        }

        void end(String why) {
            requests.cancel(why, null);
        }
    }
}
