package io.asyncflow.worker;

import java.time.Duration;

/** Spans of time as the protocol has them. */
final class Spans {
    private Spans() {}

    static Duration of(com.google.protobuf.Duration given) {
        return Duration.ofSeconds(given.getSeconds(), given.getNanos());
    }

    static com.google.protobuf.Duration of(Duration given) {
        return com.google.protobuf.Duration.newBuilder()
                .setSeconds(given.getSeconds()).setNanos(given.getNano()).build();
    }

    static Duration orElse(com.google.protobuf.Duration given, Duration otherwise) {
        Duration span = of(given);
        return span.isZero() || span.isNegative() ? otherwise : span;
    }
}
