package io.asyncflow.conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.MessageOrBuilder;
import com.google.protobuf.util.JsonFormat;
import io.asyncflow.AsyncflowException;
import io.asyncflow.Client;
import io.asyncflow.Results;
import io.asyncflow.v1.CountTasksRequest;
import io.asyncflow.v1.CreateTaskRequest;
import io.asyncflow.v1.CreateTaskResult;
import io.asyncflow.v1.ListTasksRequest;
import io.asyncflow.v1.StreamTaskLogsRequest;
import io.asyncflow.v1.TaskSpec;
import io.asyncflow.v1.TaskState;
import io.asyncflow.v1.TaskType;
import io.grpc.Status;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Does the steps of one scenario with a fresh client. */
final class Player implements AutoCloseable {
    private static final Map<String, Set<String>> FIELDS = Map.ofEntries(
            Map.entry("create", Set.of("task", "request_id")),
            Map.entry("batch_create", Set.of("tasks")),
            Map.entry("stream_create", Set.of("tasks")),
            Map.entry("get", Set.of("task")),
            Map.entry("list", Set.of("filter", "page_size")),
            Map.entry("count", Set.of("task_type", "states")),
            Map.entry("cancel", Set.of("task")),
            Map.entry("retry", Set.of("task")),
            Map.entry("wait", Set.of("task", "timeout_s")),
            Map.entry("attempts", Set.of("task")),
            Map.entry("logs", Set.of("task")),
            Map.entry("watch_begin", Set.of("watch", "task", "filter")),
            Map.entry("watch_until", Set.of("watch", "state", "timeout_s")),
            Map.entry("worker_start", Set.of("worker", "handlers", "slots")),
            Map.entry("worker_stop", Set.of("worker", "drain_s", "timeout_s")));

    private final Client client = Client.connect();
    private final Watches watches = new Watches();
    private final Workers workers = new Workers();

    void createType(String name, JsonObject given) throws IOException {
        TaskType.Builder type = TaskType.newBuilder();
        JsonFormat.parser().merge(given.toString(), type);
        client.createType(type.setName(name).build());
    }

    @Override
    public void close() {
        watches.close();
        try {
            workers.close();
        } finally {
            client.close();
        }
    }

    JsonElement play(String step, JsonObject fields) throws IOException, InterruptedException {
        if (step.equals("control")) {
            return control(fields);
        }
        Set<String> known = FIELDS.get(step);
        if (known == null) {
            throw new Wrong("unknown step: " + step);
        }
        for (String field : fields.keySet()) {
            if (!known.contains(field) && !field.equals("deadline_ms")) {
                throw new Wrong(step + " does not know " + field);
            }
        }
        Client limited = fields.has("deadline_ms")
                ? client.within(Duration.ofMillis(fields.get("deadline_ms").getAsLong()))
                : client;
        return play(step, fields, limited);
    }

    private JsonElement play(String step, JsonObject fields, Client client)
            throws IOException, InterruptedException {
        return switch (step) {
            case "create" -> json(create(fields, client));
            case "batch_create" -> list("tasks", client.createBatch(specs(fields)));
            case "stream_create" -> streamCreate(fields, client);
            case "get" -> json(client.get(text(fields, "task")));
            case "list" -> list("tasks", client.list(ListTasksRequest.newBuilder()
                    .setFilter(text(fields, "filter"))
                    .setPageSize((int) number(fields, "page_size", 0)).build()));
            case "count" -> json(client.count(count(fields)));
            case "cancel" -> json(client.cancel(text(fields, "task")));
            case "retry" -> json(client.retry(text(fields, "task")));
            case "wait" -> {
                Duration patience = seconds(fields, "timeout_s", 0);
                yield json(client.await(text(fields, "task"), patience));
            }
            case "attempts" -> list("attempts", client.attempts(text(fields, "task")));
            case "logs" -> logs(fields, client);
            case "watch_begin" -> watches.begin(client, fields);
            case "watch_until" -> watches.until(text(fields, "watch"), text(fields, "state"),
                    seconds(fields, "timeout_s", 0));
            case "worker_start" -> workers.start(fields);
            case "worker_stop" -> workers.stop(text(fields, "worker"),
                    seconds(fields, "drain_s", 0), seconds(fields, "timeout_s", 15));
            default -> throw new Wrong("unknown step: " + step);
        };
    }

    private static Message create(JsonObject fields, Client client) throws IOException {
        CreateTaskRequest.Builder request = CreateTaskRequest.newBuilder()
                .setTask(spec(fields.get("task")));
        if (!fields.has("request_id")) {
            return client.create(request.getTask());
        }
        return client.create(request.setRequestId(text(fields, "request_id")).build()).getTask();
    }

    private static JsonElement streamCreate(JsonObject fields, Client client) throws IOException {
        List<CreateTaskRequest> requests = specs(fields).stream()
                .map(task -> CreateTaskRequest.newBuilder().setTask(task).build()).toList();
        JsonArray told = new JsonArray();
        try (Results<CreateTaskResult> results = client.createStream(requests)) {
            while (results.hasNext()) {
                CreateTaskResult result = results.next();
                JsonObject one = json(result).getAsJsonObject();
                if (result.hasError()) {
                    AsyncflowException error = AsyncflowException.of(result.getError());
                    JsonObject brief = new JsonObject();
                    brief.addProperty("code", error.code().name());
                    brief.addProperty("reason", error.reason());
                    one.add("error", brief);
                }
                told.add(one);
            }
        }
        JsonObject answer = new JsonObject();
        answer.add("results", told);
        return answer;
    }

    private static CountTasksRequest count(JsonObject fields) {
        CountTasksRequest.Builder request = CountTasksRequest.newBuilder()
                .setTaskType(text(fields, "task_type"));
        if (fields.has("states")) {
            fields.getAsJsonArray("states").forEach(
                    state -> request.addStates(TaskState.valueOf(state.getAsString())));
        }
        return request.build();
    }

    private static JsonElement logs(JsonObject fields, Client client) {
        StringBuilder text = new StringBuilder();
        var request = StreamTaskLogsRequest.newBuilder().setTaskId(text(fields, "task")).build();
        try (var chunks = client.logs(request)) {
            chunks.forEachRemaining(chunk -> text.append(chunk.getData().toStringUtf8()));
        }
        JsonObject answer = new JsonObject();
        answer.addProperty("text", text.toString());
        return answer;
    }

    /** Asks the driver to break something. */
    private static JsonElement control(JsonObject fields) throws IOException,
            InterruptedException {
        HttpRequest request = HttpRequest
                .newBuilder(URI.create(System.getenv("ASYNCFLOW_CONFORMANCE_CONTROL")))
                .POST(HttpRequest.BodyPublishers.ofString(fields.toString())).build();
        HttpResponse<String> answer = HttpClient.newHttpClient()
                .send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new Wrong("control: " + answer.statusCode() + " " + answer.body());
        }
        return new JsonObject();
    }

    private static TaskSpec spec(JsonElement given) throws IOException {
        TaskSpec.Builder task = TaskSpec.newBuilder();
        JsonFormat.parser().merge(given.toString(), task);
        return task.build();
    }

    private static List<TaskSpec> specs(JsonObject fields) throws IOException {
        List<TaskSpec> tasks = new ArrayList<>();
        for (JsonElement one : fields.getAsJsonArray("tasks")) {
            tasks.add(spec(one));
        }
        return tasks;
    }

    static JsonElement json(MessageOrBuilder message) {
        try {
            return JsonParser.parseString(
                    JsonFormat.printer().preservingProtoFieldNames().print(message));
        } catch (InvalidProtocolBufferException wrong) {
            throw AsyncflowException.local(Status.Code.INTERNAL, "", wrong.getMessage());
        }
    }

    private static JsonElement list(String name, Iterable<? extends Message> messages) {
        JsonArray list = new JsonArray();
        messages.forEach(one -> list.add(json(one)));
        JsonObject answer = new JsonObject();
        answer.add(name, list);
        return answer;
    }

    static String text(JsonObject fields, String name) {
        return fields.has(name) ? fields.get(name).getAsString() : "";
    }

    static double number(JsonObject fields, String name, double otherwise) {
        return fields.has(name) ? fields.get(name).getAsDouble() : otherwise;
    }

    private static Duration seconds(JsonObject fields, String name, double otherwise) {
        return Duration.ofMillis(Math.round(number(fields, name, otherwise) * 1000));
    }
}
