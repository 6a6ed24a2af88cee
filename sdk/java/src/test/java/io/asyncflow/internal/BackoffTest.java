package io.asyncflow.internal;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;

class BackoffTest {
    @Test
    void thoseWhoAreAskedToWaitAlikeComeBackSpread() {
        Set<Duration> waits = new HashSet<>();
        for (int i = 0; i < 20; i++) {
            waits.add(new Backoff().next(Duration.ofSeconds(1)));
        }
        for (Duration wait : waits) {
            assertTrue(wait.toMillis() > 1000 && wait.toMillis() <= 1100, waits.toString());
        }
        assertTrue(waits.size() > 1, waits.toString());
    }
}
