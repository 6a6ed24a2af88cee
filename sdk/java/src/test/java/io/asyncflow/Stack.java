package io.asyncflow;

import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** A real broker with short leases, and its governor, on a fresh database. */
public final class Stack implements AutoCloseable {
    private static final long READY_MAX_NANOS = 60_000_000_000L;

    private final Path folder;
    private final String address;
    private final List<Process> processes = new ArrayList<>();

    /** Starts it; returns when it serves. */
    public Stack(Path folder) throws IOException, InterruptedException {
        this.folder = folder;
        this.address = "127.0.0.1:" + freePort();
        String database = "sqlite://" + folder.resolve("asyncflow.db");
        run("broker", Map.of("DATABASE__URL", database, "LISTEN__ADDRESS", address,
                "LEASE__TTL_MS", "3000", "LEASE__HEARTBEAT_INTERVAL_MS", "1000",
                "LEASE__HANDOUT_TTL_MS", "3000", "DRAIN_TIME_MS", "2000"));
        run("governor", Map.of("DATABASE__URL", database,
                "LISTEN__ADDRESS", "127.0.0.1:" + freePort(), "LEADER__TTL_MS", "2000",
                "LEASE__HEARTBEAT_INTERVAL_MS", "1000", "DUTIES__REAP_INTERVAL_MS", "200"));
    }

    /** How it is reached. */
    public ClientOptions options() {
        return ClientOptions.fromEnvironment().address("http://" + address);
    }

    private void run(String name, Map<String, String> settings)
            throws IOException, InterruptedException {
        String given = System.getenv("ASYNCFLOW_BIN_DIR");
        Path programs = given == null ? Path.of("../../target/debug") : Path.of(given);
        String health = "127.0.0.1:" + freePort();
        Path log = folder.resolve(name + ".log");
        ProcessBuilder builder = new ProcessBuilder(
                programs.resolve("asyncflow-" + name).toString())
                .redirectErrorStream(true).redirectOutput(log.toFile());
        String prefix = "ASYNCFLOW_" + name.toUpperCase(java.util.Locale.ROOT) + "__";
        settings.forEach((key, value) -> builder.environment().put(prefix + key, value));
        builder.environment().put(prefix + "METRICS__ADDRESS", health);
        Process process = builder.start();
        processes.add(process);
        URI ready = URI.create("http://" + health + "/readyz");
        HttpRequest ask = HttpRequest.newBuilder(ready).build();
        HttpClient http = HttpClient.newHttpClient();
        long end = System.nanoTime() + READY_MAX_NANOS;
        while (process.isAlive() && System.nanoTime() < end) {
            try {
                if (http.send(ask, HttpResponse.BodyHandlers.discarding()).statusCode() == 200) {
                    return;
                }
            } catch (IOException notYet) {
                // It is asked again.
            }
            Thread.sleep(50);
        }
        throw new IOException(name + " is not ready:\n" + Files.readString(log));
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0)) {
            return socket.getLocalPort();
        }
    }

    @Override
    public void close() {
        processes.forEach(Process::destroyForcibly);
    }
}
