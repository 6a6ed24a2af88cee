package io.asyncflow.internal;

import java.util.concurrent.CompletableFuture;

/** A future that ends its call when it, or a future made of it, is cancelled. */
final class CallFuture<A> extends CompletableFuture<A> {
    private final Abort abort;

    CallFuture(Abort abort) {
        this.abort = abort;
    }

    @Override
    public <B> CompletableFuture<B> newIncompleteFuture() {
        return new CallFuture<>(abort);
    }

    @Override
    public boolean cancel(boolean mayInterrupt) {
        boolean isNews = super.cancel(mayInterrupt);
        if (isNews) {
            abort.run();
        }
        return isNews;
    }
}
