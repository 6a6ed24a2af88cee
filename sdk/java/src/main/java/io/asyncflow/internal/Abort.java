package io.asyncflow.internal;

import java.util.concurrent.Future;

/** Ends a call, and those that would follow it. */
public final class Abort {
    private Future<?> current;
    private boolean isOver;

    /** Ends what is under way, and all that comes. */
    public void run() {
        Future<?> call;
        synchronized (this) {
            isOver = true;
            call = current;
        }
        if (call != null) {
            call.cancel(true);
        }
    }

    /** This call is under way now. */
    void watch(Future<?> call) {
        boolean isLate;
        synchronized (this) {
            current = call;
            isLate = isOver;
        }
        if (isLate) {
            call.cancel(true);
        }
    }
}
