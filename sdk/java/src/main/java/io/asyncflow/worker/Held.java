package io.asyncflow.worker;

import io.asyncflow.v1.Lease;
import io.asyncflow.v1.LeaseStatus;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * All leases, from acquire until the broker has confirmed their end, and the slots that they and
 * handlers that do not end take.
 */
final class Held {
    private static final System.Logger LOG = System.getLogger(Held.class.getName());

    private final int slots;
    private final Map<Key, Stop> entries = new HashMap<>();
    private int runaways;
    private boolean isClosed;

    Held(int slots) {
        this.slots = slots;
    }

    /** Holds a lease and gives its signal; null when it is held already. */
    synchronized Stop add(Key key) {
        if (entries.containsKey(key)) {
            return null;
        }
        Stop stop = new Stop();
        entries.put(key, stop);
        return stop;
    }

    synchronized void remove(Key key) {
        entries.remove(key);
        notifyAll();
    }

    /** Counts handlers that were given up and still run. */
    synchronized void runaway(int change) {
        runaways += change;
        notifyAll();
    }

    /** Nothing more is to be taken. */
    synchronized void close() {
        isClosed = true;
        notifyAll();
    }

    /** Waits for free slots and counts them; 0 after `close`. */
    synchronized int free() throws InterruptedException {
        while (!isClosed && slots - entries.size() - runaways <= 0) {
            wait();
        }
        return isClosed ? 0 : slots - entries.size() - runaways;
    }

    /** Waits until nothing is held, for so long at most; whether nothing is. */
    synchronized boolean isEmptyWithin(long millis) throws InterruptedException {
        long end = System.nanoTime() + millis * 1_000_000;
        while (!entries.isEmpty()) {
            long left = (end - System.nanoTime()) / 1_000_000;
            if (left <= 0) {
                return false;
            }
            wait(left);
        }
        return true;
    }

    synchronized List<Lease> leases() {
        return entries.keySet().stream().map(Key::lease).toList();
    }

    void raise(Key key, StopReason reason) {
        Stop stop;
        synchronized (this) {
            stop = entries.get(key);
        }
        if (stop != null) {
            stop.raise(reason);
        }
    }

    void raiseAll(StopReason reason) {
        leases().forEach(lease -> raise(Key.of(lease), reason));
    }

    /** Does what the broker said about leases. */
    void follow(List<LeaseStatus> statuses) {
        for (LeaseStatus one : statuses) {
            switch (one.getVerdict()) {
                case LEASE_VERDICT_CANCEL -> raise(Key.of(one.getLease()), StopReason.CANCELLED);
                case LEASE_VERDICT_LOST -> raise(Key.of(one.getLease()), StopReason.LEASE_LOST);
                default -> { }
            }
        }
    }

    /** After a registration what was sent and not confirmed is lost. */
    void keepAdopted(List<Lease> sent, List<Lease> adopted) {
        Set<Lease> kept = new HashSet<>(adopted);
        for (Lease lease : sent) {
            if (!kept.contains(lease)) {
                LOG.log(System.Logger.Level.WARNING, "lease not adopted: {0}", Key.of(lease));
                raise(Key.of(lease), StopReason.LEASE_LOST);
            }
        }
    }
}
