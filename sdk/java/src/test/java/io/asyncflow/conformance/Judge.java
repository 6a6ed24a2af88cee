package io.asyncflow.conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import io.asyncflow.AsyncflowException;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;

/** Variables, conditions and contents of scenarios. */
final class Judge {
    private static final Pattern VARIABLE =
            Pattern.compile("\\$([A-Za-z0-9_]+)((?:\\.[A-Za-z0-9_]+)*)");
    private static final String JSON_TYPE = "application/json";

    private Judge() {}

    /** The field at a path; null when it is not there. */
    static JsonElement look(JsonElement value, String path) {
        JsonElement now = value;
        for (String part : path.split("\\.")) {
            if (part.equals("#")) {
                boolean isList = now != null && now.isJsonArray();
                now = now == null || isList
                        ? new JsonPrimitive(isList ? now.getAsJsonArray().size() : 0) : null;
            } else if (now != null && now.isJsonArray()) {
                JsonArray list = now.getAsJsonArray();
                boolean isNumber = part.matches("[0-9]{1,6}");
                now = isNumber && Integer.parseInt(part) < list.size()
                        ? list.get(Integer.parseInt(part)) : null;
            } else {
                now = now != null && now.isJsonObject() ? now.getAsJsonObject().get(part) : null;
            }
        }
        return now;
    }

    /** Replaces the variables in every string, keys too. */
    static JsonElement fill(JsonElement value, Map<String, JsonElement> saved) {
        if (value.isJsonArray()) {
            JsonArray filled = new JsonArray();
            value.getAsJsonArray().forEach(one -> filled.add(fill(one, saved)));
            return filled;
        }
        if (value.isJsonObject()) {
            JsonObject filled = new JsonObject();
            value.getAsJsonObject().entrySet().forEach(
                    one -> filled.add(text(one.getKey(), saved), fill(one.getValue(), saved)));
            return filled;
        }
        boolean isText = value.isJsonPrimitive() && value.getAsJsonPrimitive().isString();
        return isText ? new JsonPrimitive(text(value.getAsString(), saved)) : value;
    }

    private static String text(String given, Map<String, JsonElement> saved) {
        return VARIABLE.matcher(given).replaceAll(match -> {
            JsonElement found = saved.get(match.group(1));
            if (!match.group(2).isEmpty()) {
                found = look(found, match.group(2).substring(1));
            }
            if (found == null || !found.isJsonPrimitive()) {
                throw new Wrong(match.group() + " is not there");
            }
            return Matcher.quoteReplacement(found.getAsString());
        });
    }

    /** Whether what was found, null for nothing, meets a condition. */
    static boolean holds(JsonElement found, JsonElement condition) {
        if (condition.isJsonObject()) {
            JsonObject object = condition.getAsJsonObject();
            if (object.size() == 1 && object.has("any") && object.get("any").isJsonArray()) {
                return StreamSupport.stream(object.getAsJsonArray("any").spliterator(), false)
                        .anyMatch(one -> isEqual(found, one));
            }
            if (object.size() == 1 && object.has("exists")) {
                return found != null == object.get("exists").getAsBoolean();
            }
            if (object.has("any") || object.has("exists")) {
                throw new Wrong("this is no condition: " + condition);
            }
        }
        return isEqual(found, condition);
    }

    /** Heeds int64 as texts, and what proto JSON leaves out. */
    private static boolean isEqual(JsonElement found, JsonElement wanted) {
        if (found == null) {
            return isNothing(wanted);
        }
        boolean arePrimitive = found.isJsonPrimitive() && wanted.isJsonPrimitive();
        if (arePrimitive && wanted.getAsJsonPrimitive().isNumber()
                && !found.getAsJsonPrimitive().isBoolean()) {
            try {
                return new BigDecimal(found.getAsString()).compareTo(wanted.getAsBigDecimal()) == 0;
            } catch (NumberFormatException text) {
                return false;
            }
        }
        return found.equals(wanted);
    }

    private static boolean isNothing(JsonElement wanted) {
        if (wanted.isJsonArray()) {
            return wanted.getAsJsonArray().isEmpty();
        }
        if (wanted.isJsonObject()) {
            return wanted.getAsJsonObject().isEmpty();
        }
        if (wanted.isJsonNull()) {
            return true;
        }
        JsonPrimitive one = wanted.getAsJsonPrimitive();
        return one.isString() && one.getAsString().isEmpty()
                || one.isBoolean() && !one.getAsBoolean()
                || one.isNumber() && one.getAsDouble() == 0;
    }

    /** Fails unless the error says all that is expected of it. */
    static void checkError(AsyncflowException told, JsonObject expected) {
        JsonObject given = new JsonObject();
        given.addProperty("code", told.code().name());
        given.addProperty("reason", told.reason());
        given.addProperty("retryable", told.isRetryable());
        JsonArray fields = new JsonArray();
        told.violations().forEach(one -> fields.add(one.field()));
        given.add("violations", sorted(fields));
        for (String key : expected.keySet()) {
            JsonElement wanted = expected.get(key);
            if (!given.has(key)) {
                throw new Wrong("expect_error: there is no " + key);
            }
            wanted = wanted.isJsonArray() ? sorted(wanted.getAsJsonArray()) : wanted;
            if (!holds(given.get(key), wanted)) {
                throw new Wrong(key + ": " + given.get(key) + " instead of " + wanted + ": "
                        + told.getMessage());
            }
        }
    }

    private static JsonArray sorted(JsonArray list) {
        return StreamSupport.stream(list.spliterator(), false)
                .map(JsonElement::getAsString).sorted()
                .collect(JsonArray::new, JsonArray::add, JsonArray::addAll);
    }

    /** Makes a Content of every {"json": …}. */
    static JsonElement contentIn(JsonElement value) {
        if (value.isJsonArray()) {
            JsonArray made = new JsonArray();
            value.getAsJsonArray().forEach(one -> made.add(contentIn(one)));
            return made;
        }
        if (!value.isJsonObject()) {
            return value;
        }
        JsonObject object = value.getAsJsonObject();
        JsonObject made = new JsonObject();
        if (object.size() == 1 && object.has("json")) {
            byte[] data = object.get("json").toString().getBytes(StandardCharsets.UTF_8);
            made.addProperty("data", Base64.getEncoder().encodeToString(data));
            made.addProperty("content_type", JSON_TYPE);
            return made;
        }
        object.entrySet().forEach(one -> made.add(one.getKey(), contentIn(one.getValue())));
        return made;
    }

    /** Puts `json` beside the data of every Content that is JSON. */
    static JsonElement contentOut(JsonElement value) {
        if (value.isJsonArray()) {
            value.getAsJsonArray().forEach(Judge::contentOut);
        }
        if (value.isJsonObject()) {
            JsonObject object = value.getAsJsonObject();
            object.entrySet().stream().map(Map.Entry::getValue)
                    .collect(Collectors.toList()).forEach(Judge::contentOut);
            JsonElement type = object.get("content_type");
            if (type != null && type.isJsonPrimitive() && type.getAsString().equals(JSON_TYPE)) {
                String data = object.has("data") ? object.get("data").getAsString() : "";
                String text = new String(
                        Base64.getDecoder().decode(data), StandardCharsets.UTF_8);
                try {
                    object.add("json", JsonParser.parseString(text));
                } catch (JsonParseException wrong) {
                    // It has no `json` then.
                }
            }
        }
        return value;
    }
}
