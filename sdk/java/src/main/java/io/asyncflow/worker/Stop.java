package io.asyncflow.worker;

import java.util.concurrent.CompletableFuture;

/** Tells one attempt to stop. */
final class Stop {
    /** Completes when there is a reason. */
    final CompletableFuture<Void> told = new CompletableFuture<>();
    /** Completes when nothing that the attempt says counts any more. */
    final CompletableFuture<Void> gone = new CompletableFuture<>();

    private StopReason reason = StopReason.NONE;

    /** Gives a reason; a weaker one than the present is ignored. */
    void raise(StopReason news) {
        synchronized (this) {
            if (news.compareTo(reason) <= 0) {
                return;
            }
            reason = news;
        }
        if (news == StopReason.LEASE_LOST) {
            gone.complete(null);
        }
        told.complete(null);
    }

    synchronized StopReason reason() {
        return reason;
    }
}
