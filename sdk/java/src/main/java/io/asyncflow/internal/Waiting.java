package io.asyncflow.internal;

import com.google.common.util.concurrent.ListenableFuture;
import io.asyncflow.AsyncflowException;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;

/** Futures of gRPC as those of the JDK, and waiting for them. */
public final class Waiting {
    private Waiting() {}

    /** The answer of a future stub; cancelling it, or what is made of it, cancels the call. */
    public static <A> CompletableFuture<A> future(ListenableFuture<A> call, Abort abort) {
        CallFuture<A> answer = new CallFuture<>(abort);
        call.addListener(() -> {
            try {
                answer.complete(call.get());
            } catch (ExecutionException failed) {
                answer.completeExceptionally(AsyncflowException.of(failed.getCause()));
            } catch (CancellationException | InterruptedException failed) {
                answer.completeExceptionally(AsyncflowException.of(failed));
            }
        }, Runnable::run);
        abort.watch(call);
        return answer;
    }

    /** The answer of a single call. */
    public static <A> CompletableFuture<A> future(ListenableFuture<A> call) {
        return future(call, new Abort());
    }

    /** Waits for an answer; an interrupt cancels the call. */
    public static <A> A get(CompletableFuture<A> call) {
        try {
            return call.get();
        } catch (InterruptedException interrupted) {
            call.cancel(true);
            Thread.currentThread().interrupt();
            throw AsyncflowException.of(interrupted);
        } catch (ExecutionException failed) {
            throw unwrapped(failed.getCause());
        }
    }

    /** What made a future fail, as it would have been thrown without it. */
    public static RuntimeException unwrapped(Throwable error) {
        Throwable cause = error;
        while (cause instanceof CompletionException && cause.getCause() != null) {
            cause = cause.getCause();
        }
        if (cause instanceof RuntimeException told) {
            return told;
        }
        if (cause instanceof Error fatal) {
            throw fatal;
        }
        return AsyncflowException.of(cause);
    }
}
