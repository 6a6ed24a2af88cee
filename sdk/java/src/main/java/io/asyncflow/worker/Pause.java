package io.asyncflow.worker;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Waiting that an interrupt does not end: a handler saves although it was told to stop. */
final class Pause {
    private Pause() {}

    /** Waits until one of them is there, which may have failed. An interrupt is kept for later. */
    static void forAny(CompletableFuture<?>... futures) {
        boolean wasInterrupted = false;
        CompletableFuture<?> any = CompletableFuture.anyOf(futures);
        while (true) {
            try {
                any.get();
                break;
            } catch (InterruptedException interrupted) {
                wasInterrupted = true;
            } catch (ExecutionException failed) {
                break;
            }
        }
        if (wasInterrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** Waits so long; false when `end` is there before that. An interrupt is kept for later. */
    static boolean sleep(Duration wait, CompletableFuture<?> end) {
        boolean wasInterrupted = false;
        long until = System.nanoTime() + wait.toNanos();
        try {
            while (true) {
                try {
                    end.get(Math.max(until - System.nanoTime(), 0), TimeUnit.NANOSECONDS);
                    return false;
                } catch (InterruptedException interrupted) {
                    wasInterrupted = true;
                } catch (TimeoutException over) {
                    return true;
                } catch (ExecutionException failed) {
                    return false;
                }
            }
        } finally {
            if (wasInterrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }
}
