package worker

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

func TestErrorsOfHandlersBecomeOutcomes(t *testing.T) {
	plain := errors.New("broken")
	for _, one := range []struct {
		err       error
		reason    asyncflowpb.FailureReason
		permanent bool
		after     time.Duration
	}{
		{plain, asyncflowpb.FailureReason_FAILURE_REASON_ERROR, false, 0},
		{fmt.Errorf("wrapped: %w", RetryAfter(time.Minute, plain)),
			asyncflowpb.FailureReason_FAILURE_REASON_ERROR, false, time.Minute},
		{RetryAfter(math.MaxInt64, plain), asyncflowpb.FailureReason_FAILURE_REASON_ERROR, false,
			365 * 24 * time.Hour},
		{RetryAfter(0, nil), asyncflowpb.FailureReason_FAILURE_REASON_ERROR, false, 0},
		{fmt.Errorf("wrapped: %w", Permanent(plain)),
			asyncflowpb.FailureReason_FAILURE_REASON_PERMANENT, true, 0},
		{&contentError{"payload", plain}, asyncflowpb.FailureReason_FAILURE_REASON_BAD_CONTEXT, true, 0},
	} {
		fail := outcomeOf(nil, one.err, NotStopped).fail
		if fail.GetFailure().GetReason() != one.reason || fail.GetPermanent() != one.permanent ||
			fail.GetRetryAfter().AsDuration() != one.after ||
			fail.GetFailure().GetMessage() != one.err.Error() {
			t.Errorf("%v: %v", one.err, fail)
		}
	}
}

func TestAnErrorAfterAStopIsItsConsequence(t *testing.T) {
	err := Permanent(errors.New("broken"))
	cancelled := outcomeOf(nil, err, Cancelled).fail
	if cancelled.GetFailure().GetReason() != asyncflowpb.FailureReason_FAILURE_REASON_CANCELLED {
		t.Error(cancelled)
	}
	if outcomeOf(nil, err, Drained).release == nil || outcomeOf(nil, err, LeaseLost) != (outcome{}) {
		t.Error("drained is released, lost is nothing")
	}
	if outcomeOf(nil, nil, Cancelled).complete == nil {
		t.Error("who ended well in spite of it has succeeded")
	}
}

func TestAResultOneByteOverTheLimitFailsForGood(t *testing.T) {
	fits := &asyncflowpb.Content{Data: make([]byte, ResultBytesMax), ContentType: "a\nb"}
	done := succeeded(fits).complete
	if done == nil || done.GetResult().GetContentType() != "" || fits.GetContentType() == "" {
		t.Error("it fits, but for its type")
	}
	refused := succeeded(&asyncflowpb.Content{Data: make([]byte, ResultBytesMax+1)}).fail
	if !refused.GetPermanent() || refused.GetFailure().GetReason() !=
		asyncflowpb.FailureReason_FAILURE_REASON_RESULT_TOO_LARGE {
		t.Error(refused)
	}
}

func TestMessagesAreCutBetweenCharacters(t *testing.T) {
	long := cut("x" + strings.Repeat("é", 2000))
	if len(long) != messageBytesMax-1 || !utf8.ValidString(long) {
		t.Error(len(long))
	}
	if got := cut("bad \xff byte"); got != "bad � byte" {
		t.Error(got)
	}
}

func TestTheLatestWordWinsFieldByFieldAndNonsenseIsDropped(t *testing.T) {
	all := &asyncflowpb.Progress{Percent: proto.Float64(10)}
	merge(all, clean(&asyncflowpb.Progress{
		Percent: proto.Float64(math.NaN()), Message: "\x1b[1mepoch\t2",
		Metrics: map[string]float64{
			"loss": 0.5, "bad": math.Inf(1), "": 1, " ": 1, "a\nb": 1, strings.Repeat("x", 65): 1,
		},
	}))
	if all.GetPercent() != 10 || all.GetMessage() != " [1mepoch\t2" || len(all.GetMetrics()) != 1 {
		t.Error(all)
	}
	for i := range 100 {
		merge(all, &asyncflowpb.Progress{Metrics: map[string]float64{fmt.Sprint(i): 1}})
	}
	if len(all.GetMetrics()) != metricsMax {
		t.Error(len(all.GetMetrics()))
	}
}
