package io.asyncflow.worker;

import io.asyncflow.AsyncflowException;
import io.asyncflow.v1.Progress;
import io.asyncflow.v1.ProgressReport;
import io.asyncflow.v1.ReportProgressRequest;
import io.asyncflow.v1.ReportProgressResponse;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.locks.ReentrantLock;

/** The latest word of each attempt, sent at most once per interval for all together. */
final class Board {
    private static final System.Logger LOG = System.getLogger(Board.class.getName());
    private static final Duration INTERVAL = Duration.ofMillis(500);
    private static final Duration TIMEOUT = Duration.ofSeconds(5);
    private static final int REPORTS_MAX = 1000;
    private static final int METRICS_MAX = 32;
    private static final int METRIC_NAME_BYTES_MAX = 64;

    private final Link link;
    private final Held held;
    private final CompletableFuture<Void> life;
    // Held while a call for all is under way: what an attempt says last comes behind it.
    private final ReentrantLock sending = new ReentrantLock();
    private Map<Key, Progress> pending = new LinkedHashMap<>();

    Board(Link link, Held held, CompletableFuture<Void> life) {
        this.link = link;
        this.held = held;
        this.life = life;
    }

    /** Merges news over what is still to be sent. What a broker would refuse is left out. */
    synchronized void put(Key key, Progress news) {
        pending.merge(key, clean(news), Board::merge);
    }

    /** Sends on until the end of the worker's life. */
    void run() {
        while (Pause.sleep(INTERVAL, life)) {
            sending.lock();
            try {
                sendAll();
            } finally {
                sending.unlock();
            }
        }
    }

    private void sendAll() {
        Map<Key, Progress> taken = new LinkedHashMap<>();
        synchronized (this) {
            var entries = pending.entrySet().iterator();
            while (entries.hasNext() && taken.size() < REPORTS_MAX) {
                var entry = entries.next();
                taken.put(entry.getKey(), entry.getValue());
                entries.remove();
            }
        }
        if (taken.isEmpty() || send(taken)) {
            return;
        }
        synchronized (this) {
            Map<Key, Progress> newer = pending;
            pending = taken;
            newer.forEach((key, news) -> pending.merge(key, news, Board::merge));
        }
    }

    /** Sends what one attempt said last, once, before its end is told. */
    void flush(Key key) {
        // A part of it may be in a call that is under way, which would be refused after the end, or
        // be put back.
        sending.lock();
        Progress last;
        try {
            last = take(key);
        } finally {
            sending.unlock();
        }
        if (last != null) {
            send(Map.of(key, last));
        }
    }

    private synchronized Progress take(Key key) {
        return pending.remove(key);
    }

    /** False only if sending again may help. */
    private boolean send(Map<Key, Progress> taken) {
        var request = ReportProgressRequest.newBuilder();
        taken.forEach((key, progress) -> request.addReports(
                ProgressReport.newBuilder().setLease(key.lease()).setProgress(progress)));
        try {
            ReportProgressResponse answer = link.call(TIMEOUT, "", life, (stub, sessionId) ->
                    stub.reportProgress(request.setSessionId(sessionId).build()));
            held.follow(answer.getLeasesList());
            return true;
        } catch (AsyncflowException failed) {
            if (life.isDone() || Link.isWorthRepeating(failed)) {
                return false;
            }
            LOG.log(System.Logger.Level.WARNING, "progress refused: {0}", failed.getMessage());
            return true;
        }
    }

    /**
     * Leaves what is fit for the broker, which refuses a call as a whole: nonsense of one attempt
     * must not cost the others their progress.
     */
    static Progress clean(Progress news) {
        Progress.Builder fit = Progress.newBuilder();
        if (news.hasPercent() && news.getPercent() >= 0 && news.getPercent() <= 100) {
            fit.setPercent(news.getPercent());
        }
        StringBuilder message = new StringBuilder();
        news.getMessage().codePoints().forEach(one -> {
            boolean isFit = !Character.isISOControl(one) || one == '\n' || one == '\r'
                    || one == '\t';
            message.appendCodePoint(isFit ? one : ' ');
        });
        fit.setMessage(Texts.cut(message.toString()));
        news.getMetricsMap().forEach((name, value) -> {
            boolean isName = !name.isBlank() && Texts.bytes(name) <= METRIC_NAME_BYTES_MAX
                    && !Texts.hasControl(name);
            if (isName && Double.isFinite(value) && fit.getMetricsCount() < METRICS_MAX) {
                fit.putMetrics(name, value);
            }
        });
        return fit.build();
    }

    /** Puts news over what was said before. */
    static Progress merge(Progress before, Progress news) {
        Map<String, Double> metrics = new HashMap<>(before.getMetricsMap());
        news.getMetricsMap().forEach((name, value) -> {
            if (metrics.containsKey(name) || metrics.size() < METRICS_MAX) {
                metrics.put(name, value);
            }
        });
        return before.toBuilder().mergeFrom(news).clearMetrics().putAllMetrics(metrics).build();
    }
}
