package io.asyncflow.conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.asyncflow.Client;
import io.asyncflow.Results;
import io.asyncflow.v1.WatchTasksRequest;
import io.asyncflow.v1.WatchTasksResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The watches of a scenario. */
final class Watches implements AutoCloseable {
    private final Map<String, Watch> watches = new HashMap<>();

    JsonElement begin(Client client, JsonObject fields) {
        WatchTasksRequest.Builder request = WatchTasksRequest.newBuilder()
                .setFilter(Player.text(fields, "filter"));
        if (fields.has("task")) {
            request.addTaskIds(Player.text(fields, "task"));
        }
        watches.put(Player.text(fields, "watch"), new Watch(client.watch(request.build())));
        return new JsonObject();
    }

    JsonElement until(String name, String state, Duration timeout) throws InterruptedException {
        Watch watch = watches.get(name);
        if (watch == null) {
            throw new Wrong("no such watch: " + name);
        }
        JsonArray states = new JsonArray();
        watch.until(state, timeout).forEach(states::add);
        JsonObject answer = new JsonObject();
        answer.add("states", states);
        return answer;
    }

    @Override
    public void close() {
        watches.values().forEach(watch -> watch.results.close());
    }

    private static final class Watch {
        private final Results<WatchTasksResponse> results;
        private final List<String> states = new ArrayList<>();
        private String end;

        Watch(Results<WatchTasksResponse> results) {
            this.results = results;
            Thread thread = new Thread(this::collect);
            thread.setDaemon(true);
            thread.start();
        }

        private void collect() {
            String why = "it ended";
            try {
                while (results.hasNext()) {
                    WatchTasksResponse news = results.next();
                    if (news.hasTask()) {
                        add(news.getTask().getState().name());
                    }
                }
            } catch (RuntimeException failed) {
                why = failed.toString();
            }
            end(why);
        }

        private synchronized void add(String state) {
            if (states.isEmpty() || !states.get(states.size() - 1).equals(state)) {
                states.add(state);
                notifyAll();
            }
        }

        private synchronized void end(String why) {
            end = why;
            notifyAll();
        }

        synchronized List<String> until(String state, Duration timeout)
                throws InterruptedException {
            long until = System.nanoTime() + timeout.toNanos();
            while (states.isEmpty() || !states.get(states.size() - 1).equals(state)) {
                long left = (until - System.nanoTime()) / 1_000_000;
                if (end != null || left <= 0) {
                    throw new Wrong("the watch saw " + states + ", not " + state + " at last"
                            + (end == null ? "" : ": " + end));
                }
                wait(left);
            }
            return List.copyOf(states);
        }
    }
}
