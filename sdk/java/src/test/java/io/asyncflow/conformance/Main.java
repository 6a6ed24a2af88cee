package io.asyncflow.conformance;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.logging.Level;
import java.util.logging.Logger;

/** The conformance runner: plays the scenarios of sdk/conformance, which says what they mean. */
public final class Main {
    private static final Set<String> SCENARIO = Set.of("name", "about", "types", "steps");
    private static final Set<String> JUDGED =
            Set.of("do", "save", "expect", "expect_error", "at_most_ms", "at_least_ms");

    private Main() {}

    /** Plays the files named. */
    public static void main(String[] paths) {
        Logger.getLogger("").setLevel(Level.WARNING);
        boolean isWell = true;
        for (String path : paths) {
            JsonObject line = playFile(Path.of(path));
            System.out.println(line);
            System.out.flush();
            isWell &= line.get("ok").getAsBoolean();
        }
        System.exit(isWell ? 0 : 1);
    }

    private static JsonObject playFile(Path path) {
        JsonObject line = new JsonObject();
        line.addProperty("scenario", path.toString());
        int[] step = {0};
        try {
            JsonObject story = JsonParser.parseString(Files.readString(path)).getAsJsonObject();
            if (!SCENARIO.containsAll(story.keySet())) {
                throw new Wrong("a scenario does not have all of " + story.keySet());
            }
            line.addProperty("scenario", story.get("name").getAsString());
            play(story, step);
            line.addProperty("ok", true);
        } catch (Exception | AssertionError wrong) {
            line.addProperty("ok", false);
            line.addProperty("step", step[0]);
            line.addProperty("message", wrong.toString());
        }
        return line;
    }

    private static void play(JsonObject story, int[] number) throws IOException,
            InterruptedException {
        Map<String, JsonElement> saved = new HashMap<>();
        try (Player player = new Player()) {
            JsonObject types = story.getAsJsonObject("types");
            for (String key : types.keySet()) {
                String name = key + "_" + UUID.randomUUID().toString().substring(24);
                player.createType(name, types.getAsJsonObject(key));
                saved.put(key, new com.google.gson.JsonPrimitive(name));
            }
            for (JsonElement step : story.getAsJsonArray("steps")) {
                JsonObject filled = Judge.fill(step, saved).getAsJsonObject();
                JsonElement answer = timed(player, filled);
                if (filled.has("save")) {
                    saved.put(filled.get("save").getAsString(), answer);
                }
                number[0]++;
            }
            number[0]--;
        }
    }

    /** Does a step within its limits of time. */
    private static JsonElement timed(Player player, JsonObject step) throws IOException,
            InterruptedException {
        long began = System.nanoTime();
        JsonElement answer = judged(player, step);
        double took = (System.nanoTime() - began) / 1e6;
        boolean isTooFast = step.has("at_least_ms") && took < step.get("at_least_ms").getAsDouble();
        boolean isTooSlow = step.has("at_most_ms") && took > step.get("at_most_ms").getAsDouble();
        if (isTooFast || isTooSlow) {
            throw new Wrong("it took " + took + " ms");
        }
        return answer;
    }

    private static JsonElement judged(Player player, JsonObject step) throws IOException,
            InterruptedException {
        JsonObject fields = new JsonObject();
        for (String key : step.keySet()) {
            if (!JUDGED.contains(key)) {
                fields.add(key, Judge.contentIn(step.get(key)));
            }
        }
        JsonElement answer;
        try {
            answer = player.play(step.get("do").getAsString(), fields);
        } catch (io.asyncflow.AsyncflowException told) {
            if (!step.has("expect_error")) {
                throw told;
            }
            Judge.checkError(told, step.getAsJsonObject("expect_error"));
            return new JsonObject();
        }
        if (step.has("expect_error")) {
            throw new Wrong("it succeeded: " + answer);
        }
        answer = Judge.contentOut(answer);
        if (step.has("expect")) {
            JsonObject conditions = step.getAsJsonObject("expect");
            for (String path : conditions.keySet()) {
                JsonElement found = Judge.look(answer, path);
                if (!Judge.holds(found, conditions.get(path))) {
                    throw new Wrong(path + ": " + found + " instead of " + conditions.get(path));
                }
            }
        }
        return answer;
    }
}
