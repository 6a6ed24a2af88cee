package io.asyncflow.conformance;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.asyncflow.Contents;
import io.asyncflow.v1.Content;
import io.asyncflow.worker.Attempt;
import io.asyncflow.worker.Handler;
import io.asyncflow.worker.PermanentException;
import io.asyncflow.worker.RetryLaterException;
import io.asyncflow.worker.Worker;
import io.asyncflow.worker.WorkerBuilder;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** The workers of a scenario, with the handlers that every runner has. */
final class Workers implements AutoCloseable {
    private static final Duration REGISTER_MAX = Duration.ofSeconds(20);
    private static final Duration CLOSE_MAX = Duration.ofSeconds(30);
    private static final Duration SAVE_EVERY = Duration.ofMillis(100);
    private static final Map<String, Handler> HANDLERS = Map.of(
            "echo", Attempt::payload,
            "stages", Workers::stages,
            "until_stopped", Workers::untilStopped,
            "retry_later", Workers::retryLater,
            "permanent", Workers::permanent,
            "save_until_lost", Workers::saveUntilLost);

    private final Map<String, Worker> workers = new HashMap<>();

    JsonElement start(JsonObject fields) throws InterruptedException {
        WorkerBuilder builder = Worker.builder().id("java-" + UUID.randomUUID())
                .slots((int) Player.number(fields, "slots", 1));
        JsonObject handlers = fields.getAsJsonObject("handlers");
        for (String type : handlers.keySet()) {
            Handler handler = HANDLERS.get(handlers.get(type).getAsString());
            if (handler == null) {
                throw new Wrong("no such handler: " + handlers.get(type));
            }
            builder.handle(type, handler);
        }
        Worker worker = builder.start();
        workers.put(Player.text(fields, "worker"), worker);
        waitFor(worker.registered(), REGISTER_MAX, "the worker does not register");
        return new JsonObject();
    }

    JsonElement stop(String name, Duration drain, Duration timeout) throws InterruptedException {
        Worker worker = workers.remove(name);
        if (worker == null) {
            throw new Wrong("no such worker: " + name);
        }
        worker.shutdown(drain);
        waitFor(worker.ended(), timeout, "the worker " + name + " has not ended");
        return new JsonObject();
    }

    @Override
    public void close() {
        try {
            for (String name : List.copyOf(workers.keySet())) {
                stop(name, Duration.ZERO, CLOSE_MAX);
            }
        } catch (InterruptedException interrupted) {
            throw new Wrong("it was interrupted");
        }
    }

    private static void waitFor(CompletableFuture<Void> future, Duration timeout, String late)
            throws InterruptedException {
        try {
            future.get(timeout.toMillis(), TimeUnit.MILLISECONDS);
        } catch (TimeoutException over) {
            throw new Wrong(late + " after " + timeout);
        } catch (ExecutionException failed) {
            throw new Wrong(String.valueOf(failed.getCause()));
        }
    }

    private static Content stages(Attempt attempt) {
        if (attempt.number() == 1) {
            attempt.saveJson("one", Map.of("step", 1));
            throw new IllegalStateException("fails after stage one, as it should");
        }
        int step = attempt.context(JsonObject.class).get("step").getAsInt();
        return Contents.json(
                Map.of("stage", attempt.stage(), "step", step, "attempt", attempt.number()));
    }

    private static Content untilStopped(Attempt attempt) throws InterruptedException {
        attempt.progress(10, "waits to be stopped");
        Thread.sleep(Long.MAX_VALUE);
        return null;
    }

    private static Content retryLater(Attempt attempt) {
        if (attempt.number() == 1) {
            throw new RetryLaterException(Duration.ofSeconds(1), "not now");
        }
        return Contents.json(Map.of("attempt", attempt.number()));
    }

    private static Content permanent(Attempt attempt) {
        throw new PermanentException("cannot work, ever");
    }

    private static Content saveUntilLost(Attempt attempt) {
        if (attempt.number() > 1) {
            return Contents.json(Map.of("attempt", attempt.number()));
        }
        for (int i = 1;; i++) {
            attempt.saveJson(null, Map.of("n", i));
            if (attempt.awaitStop(SAVE_EVERY)) {
                attempt.throwIfStopped();
            }
        }
    }
}
