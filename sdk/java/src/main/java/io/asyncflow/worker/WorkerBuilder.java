package io.asyncflow.worker;

import io.asyncflow.ClientOptions;
import io.asyncflow.Contents;
import io.asyncflow.internal.Channels;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.Map;
import java.util.TreeMap;

/** Says how a worker presents itself and what it runs. */
public final class WorkerBuilder {
    private static final int SLOTS_MAX = 10_000;

    private final Map<String, Handler> handlers = new TreeMap<>();
    private ClientOptions connection = ClientOptions.fromEnvironment();
    private String id;
    private String host = hostName();
    private Map<String, String> labels = Map.of();
    private int slots = 1;
    private Duration drainTimeout = Duration.ofSeconds(30);
    private Duration grace = Duration.ofSeconds(10);

    WorkerBuilder() {}

    /** How the broker is reached. Default: by the environment. */
    public WorkerBuilder connection(ClientOptions connection) {
        this.connection = connection;
        return this;
    }

    /**
     * Names the worker across restarts; 1 to 64 characters A-Z a-z 0-9 . _ -. Each worker needs its
     * own. Default: host name and process id.
     */
    public WorkerBuilder id(String id) {
        this.id = id;
        return this;
    }

    /** The host's name. Default: what the system says. */
    public WorkerBuilder host(String host) {
        this.host = host;
        return this;
    }

    /** For tasks that ask for workers with labels; at most 32. */
    public WorkerBuilder labels(Map<String, String> labels) {
        this.labels = Map.copyOf(labels);
        return this;
    }

    /** How many tasks it runs at once, 1 to 10,000. Default 1. */
    public WorkerBuilder slots(int slots) {
        this.slots = slots;
        return this;
    }

    /** How long tasks may go on after `close`, before they are told to stop. Default 30 s. */
    public WorkerBuilder drainTimeout(Duration drainTimeout) {
        this.drainTimeout = drainTimeout;
        return this;
    }

    /** How long a handler that was told to stop may go on. Default 10 s. */
    public WorkerBuilder grace(Duration grace) {
        this.grace = grace;
        return this;
    }

    /** Has tasks of a type run by a handler. */
    public WorkerBuilder handle(String taskType, Handler handler) {
        handlers.put(taskType, handler);
        return this;
    }

    /** Has tasks of a type run by a handler whose payload and result are JSON. */
    public <I, O> WorkerBuilder handle(
            String taskType, Class<I> payload, JsonHandler<I, O> handler) {
        return handle(taskType, attempt -> {
            O result = handler.handle(attempt, attempt.payload(payload));
            try {
                return result == null ? null : Contents.json(result);
            } catch (RuntimeException wrong) {
                throw new PermanentException("the result cannot be made JSON: " + wrong, wrong);
            }
        });
    }

    /**
     * Starts the worker; it connects by itself, and again after a break.
     *
     * @throws IllegalArgumentException an option is wrong, or there is no handler
     */
    public Worker start() {
        String used = id == null ? defaultId() : id;
        if (!used.matches("[A-Za-z0-9._-]{1,64}")) {
            throw new IllegalArgumentException(
                    "id \"" + used + "\": it must be 1 to 64 characters A-Z a-z 0-9 . _ -");
        }
        if (slots < 1 || slots > SLOTS_MAX) {
            throw new IllegalArgumentException(
                    "slots = " + slots + ": it must be 1 to " + SLOTS_MAX);
        }
        if (handlers.isEmpty()) {
            throw new IllegalArgumentException("there is no handler: call handle first");
        }
        var options = new Worker.Options(
                used, host, labels, slots, drainTimeout, grace, new TreeMap<>(handlers));
        return new Worker(options, Channels.open(connection.settings()));
    }

    private String defaultId() {
        String name = host.replaceAll("[^A-Za-z0-9._-]+", "-");
        name = name.substring(0, Math.min(name.length(), 40));
        return name + "-java-" + ProcessHandle.current().pid();
    }

    private static String hostName() {
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (UnknownHostException none) {
            return "";
        }
    }
}
