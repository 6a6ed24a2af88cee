package io.asyncflow;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonParseException;
import com.google.protobuf.ByteString;
import io.asyncflow.v1.Content;
import java.util.Locale;

/** Payloads, contexts and results as JSON, by Gson. */
public final class Contents {
    private static final String JSON_TYPE = "application/json";
    private static final Gson GSON = new GsonBuilder().disableHtmlEscaping().create();

    private Contents() {}

    /** A value as JSON: a text, a number, a list, a map, a record. */
    public static Content json(Object value) {
        return Content.newBuilder()
                .setData(ByteString.copyFromUtf8(GSON.toJson(value)))
                .setContentType(JSON_TYPE)
                .build();
    }

    /**
     * Reads JSON; null of no content at all.
     *
     * @throws IllegalArgumentException the content is of another type, or does not fit
     */
    public static <T> T read(Content content, Class<T> type) {
        if (content.getData().isEmpty()) {
            return null;
        }
        String given = content.getContentType().split(";", 2)[0].strip().toLowerCase(Locale.ROOT);
        if (!given.isEmpty() && !given.equals(JSON_TYPE)) {
            throw new IllegalArgumentException(
                    "the content is " + content.getContentType() + ", not " + JSON_TYPE);
        }
        try {
            return GSON.fromJson(content.getData().toStringUtf8(), type);
        } catch (JsonParseException wrong) {
            throw new IllegalArgumentException("the content is no " + type.getSimpleName()
                    + " in JSON: " + wrong.getMessage(), wrong);
        }
    }
}
