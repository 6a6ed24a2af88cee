package io.asyncflow.worker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.asyncflow.v1.Content;
import io.asyncflow.v1.FailureReason;
import io.asyncflow.v1.Progress;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Test;

class OutcomeTest {
    private static final Exception ERROR = new IllegalStateException("broke");

    private static FailureReason reason(Outcome outcome) {
        return outcome.fail().getFailure().getReason();
    }

    @Test
    void anErrorIsTriedAgainUnlessItIsPermanent() {
        Outcome plain = Outcome.ofError(ERROR, StopReason.NONE);
        assertEquals(FailureReason.FAILURE_REASON_ERROR, reason(plain));
        assertTrue(!plain.fail().getPermanent());
        Outcome permanent = Outcome.ofError(new PermanentException("no"), StopReason.NONE);
        assertEquals(FailureReason.FAILURE_REASON_PERMANENT, reason(permanent));
        assertTrue(permanent.fail().getPermanent());
        Outcome later = Outcome.ofError(
                new RetryLaterException(Duration.ofSeconds(7), "later"), StopReason.NONE);
        assertEquals(7, later.fail().getRetryAfter().getSeconds());
    }

    @Test
    void anErrorAfterTheStopIsItsConsequence() {
        assertEquals(FailureReason.FAILURE_REASON_CANCELLED,
                reason(Outcome.ofError(ERROR, StopReason.CANCELLED)));
        assertEquals(FailureReason.FAILURE_REASON_TIMED_OUT,
                reason(Outcome.ofError(ERROR, StopReason.TIMED_OUT)));
        assertEquals(FailureReason.FAILURE_REASON_DRAINED,
                Outcome.ofError(ERROR, StopReason.DRAINED).release().getFailure().getReason());
        assertEquals(new Outcome(null, null, null), Outcome.ofError(ERROR, StopReason.LEASE_LOST));
    }

    @Test
    void aResultAfterTheStopCountsUnlessTheLeaseIsLost() {
        assertTrue(Outcome.ofResult(null, StopReason.CANCELLED).complete() != null);
        assertNull(Outcome.ofResult(null, StopReason.LEASE_LOST).complete());
    }

    @Test
    void aResultThatABrokerRefusesIsNotSent() {
        Content fits = Content.newBuilder().setData(ByteString.copyFrom(new byte[65_536])).build();
        assertTrue(Outcome.ofResult(fits, StopReason.NONE).complete() != null);
        Content large = Content.newBuilder().setData(ByteString.copyFrom(new byte[65_537])).build();
        Outcome outcome = Outcome.ofResult(large, StopReason.NONE);
        assertEquals(FailureReason.FAILURE_REASON_RESULT_TOO_LARGE, reason(outcome));
        assertTrue(outcome.fail().getPermanent());
        Content odd = Content.newBuilder().setContentType("a\nb").build();
        assertEquals("",
                Outcome.ofResult(odd, StopReason.NONE).complete().getResult().getContentType());
    }

    @Test
    void aMessageIsCutBetweenCharacters() {
        assertEquals("x".repeat(1023), Texts.cut("x".repeat(1023) + "☂"));
        assertEquals("x".repeat(1021) + "☂", Texts.cut("x".repeat(1021) + "☂y"));
    }

    @Test
    void aStrongerReasonOverrulesAWeakerOne() {
        Stop stop = new Stop();
        stop.raise(StopReason.CANCELLED);
        stop.raise(StopReason.DRAINED);
        assertEquals(StopReason.CANCELLED, stop.reason());
        assertTrue(stop.told.isDone() && !stop.gone.isDone());
        stop.raise(StopReason.LEASE_LOST);
        assertTrue(stop.gone.isDone());
    }

    @Test
    void nonsenseOfOneAttemptIsLeftOutOfProgress() {
        Progress odd = Progress.newBuilder().setPercent(Double.NaN).setMessage("a\u0000b")
                .putMetrics("loss", 0.5).putMetrics("nan", Double.NaN).putMetrics(" ", 1).build();
        Progress fit = Board.clean(odd);
        assertTrue(!fit.hasPercent());
        assertEquals("a b", fit.getMessage());
        assertEquals(Map.of("loss", 0.5), fit.getMetricsMap());
        Progress merged = Board.merge(
                Progress.newBuilder().setPercent(5).setMessage("old").putMetrics("a", 1).build(),
                Progress.newBuilder().setMessage("new").putMetrics("b", 2).build());
        assertEquals(5, merged.getPercent());
        assertEquals("new", merged.getMessage());
        assertEquals(Map.of("a", 1.0, "b", 2.0), merged.getMetricsMap());
    }
}
