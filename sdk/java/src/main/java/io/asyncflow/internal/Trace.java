package io.asyncflow.internal;

import io.grpc.Metadata;
import java.util.concurrent.ThreadLocalRandom;

/** The trace of a call: by it the logs of client, broker and worker are found together. */
public final class Trace {
    /** The header of W3C Trace Context. */
    public static final Metadata.Key<String> HEADER =
            Metadata.Key.of("traceparent", Metadata.ASCII_STRING_MARSHALLER);

    private Trace() {}

    /** Begins a new trace unless the caller has set one. */
    public static void ensure(Metadata headers) {
        if (!headers.containsKey(HEADER)) {
            headers.put(HEADER, parent(hex() + hex()));
        }
    }

    /** A new span in a trace of 32 hexadecimal digits; in a new one if it is not that. */
    public static String parent(String traceId) {
        boolean isTrace = traceId != null && traceId.matches("[0-9a-f]{32}");
        return "00-" + (isTrace ? traceId : hex() + hex()) + "-" + hex() + "-01";
    }

    private static String hex() {
        return String.format("%016x", ThreadLocalRandom.current().nextLong());
    }
}
