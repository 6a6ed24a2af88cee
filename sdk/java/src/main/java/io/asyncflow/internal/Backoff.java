package io.asyncflow.internal;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** Waits between tries, each twice the one before, up to 5 s, with jitter. Not for many threads. */
public final class Backoff {
    private static final long WAIT_MIN_MS = 100;
    private static final long WAIT_MAX_MS = 5000;

    private long nextMs;

    /** The next wait, on top of what the broker asks for, which asks the same of everybody. */
    public Duration next(Duration asked) {
        nextMs = Math.min(Math.max(nextMs * 2, WAIT_MIN_MS), WAIT_MAX_MS);
        return asked.plus(jittered(Duration.ofMillis(nextMs)));
    }

    /** Begins anew: something has succeeded. */
    public void reset() {
        nextMs = 0;
    }

    /** A half to the whole of a wait. */
    public static Duration jittered(Duration wait) {
        long half = wait.toMillis() / 2;
        return Duration.ofMillis(half + ThreadLocalRandom.current().nextLong(half + 1));
    }
}
