package worker

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

var gone = status.Error(codes.Unavailable, "the answer got lost")

type content = *asyncflowpb.Content

func one(context.Context, *Task) (content, error) {
	return asyncflow.MustJSON(1), nil
}

// untilTold waits for the stop and says in `told` what it was.
func untilTold(told chan Reason) Handler {
	return func(ctx context.Context, task *Task) (content, error) {
		<-ctx.Done()
		told <- task.StopReason()
		return nil, ctx.Err()
	}
}

func TestALostAnswerOfAcquireLosesNoTask(t *testing.T) {
	broker := newFake(task("a"))
	broker.lose("AcquireTasksRequest", gone, status.Error(codes.Internal, "broken"))
	worker := broker.start(t, Options{}, one)
	first := next[*asyncflowpb.AcquireTasksRequest](worker)
	for range 2 {
		again := next[*asyncflowpb.AcquireTasksRequest](worker)
		if again.GetAcquireId() != first.GetAcquireId() || !again.GetStart() {
			t.Error(first, again)
		}
	}
	done := next[*asyncflowpb.CompleteTaskRequest](worker)
	if done.GetLease().GetTaskId() != "a" || string(done.GetResult().GetData()) != "1" {
		t.Error(done)
	}
	other := next[*asyncflowpb.AcquireTasksRequest](worker)
	if other.GetAcquireId() == first.GetAcquireId() {
		t.Error("a new call needs a new id")
	}
	if err := worker.stop(0); err != nil {
		t.Error(err)
	}
}

func TestAnOutcomeIsToldUntilItIsAnswered(t *testing.T) {
	broker := newFake(task("a"))
	broker.lose("CompleteTaskRequest", gone, status.Error(codes.DeadlineExceeded, "late"))
	worker := broker.start(t, Options{}, one)
	for range 3 {
		if done := next[*asyncflowpb.CompleteTaskRequest](worker); done.GetLease().GetAttempt() != 1 {
			t.Error(done)
		}
	}
	_ = worker.stop(time.Minute)
	none[*asyncflowpb.CompleteTaskRequest](worker)
}

func TestARefusedResultFailsTheTask(t *testing.T) {
	broker := newFake(task("a"))
	broker.lose("CompleteTaskRequest", refusal(codes.InvalidArgument, "INVALID_FIELDS"))
	worker := broker.start(t, Options{}, one)
	failed := next[*asyncflowpb.FailTaskRequest](worker)
	if failed.GetFailure().GetReason() != asyncflowpb.FailureReason_FAILURE_REASON_ERROR {
		t.Error(failed)
	}
}

func TestARejectedOutcomeIsForgotten(t *testing.T) {
	broker := newFake(task("a"), task("b"))
	broker.lose("CompleteTaskRequest", refusal(codes.Aborted, "LEASE_LOST"))
	worker := broker.start(t, Options{}, one)
	next[*asyncflowpb.CompleteTaskRequest](worker)
	if done := next[*asyncflowpb.CompleteTaskRequest](worker); done.GetLease().GetTaskId() != "b" {
		t.Error(done)
	}
	none[*asyncflowpb.FailTaskRequest](worker)
}

func TestHeartbeatsGoOnDuringASlowHandlerAndCancelIt(t *testing.T) {
	broker := newFake(task("a"))
	told := make(chan Reason, 1)
	worker := broker.start(t, Options{}, untilTold(told))
	for range 3 {
		untilHeld(worker)
	}
	broker.judge("a", asyncflowpb.LeaseVerdict_LEASE_VERDICT_CANCEL)
	failed := next[*asyncflowpb.FailTaskRequest](worker)
	if failed.GetFailure().GetReason() != asyncflowpb.FailureReason_FAILURE_REASON_CANCELLED {
		t.Error(failed)
	}
	if reason := receive(t, told); reason != Cancelled {
		t.Error(reason)
	}
}

func TestACancelDoesNotEndASaveThatIsInFlight(t *testing.T) {
	broker := newFake(task("a"))
	broker.savesWait = make(chan struct{})
	saved := make(chan error, 2)
	worker := broker.start(t, Options{}, func(ctx context.Context, task *Task) (content, error) {
		saved <- task.SaveJSON(ctx, "one", 1)
		saved <- task.SaveJSON(ctx, "two", 2) // under a context that has ended
		return nil, ctx.Err()
	})
	next[*asyncflowpb.SaveContextRequest](worker)
	broker.judge("a", asyncflowpb.LeaseVerdict_LEASE_VERDICT_CANCEL)
	next[*asyncflowpb.HeartbeatRequest](worker)
	next[*asyncflowpb.HeartbeatRequest](worker)
	select {
	case err := <-saved:
		t.Fatal("the save ended:", err)
	default:
	}
	close(broker.savesWait)
	for range 2 {
		if err := receive(t, saved); err != nil {
			t.Error(err)
		}
	}
	failed := next[*asyncflowpb.FailTaskRequest](worker)
	if failed.GetFailure().GetReason() != asyncflowpb.FailureReason_FAILURE_REASON_CANCELLED {
		t.Error(failed)
	}
}

func TestALostLeaseEndsASaveAndIsForgotten(t *testing.T) {
	broker := newFake(task("a"), task("b"))
	broker.savesWait = make(chan struct{})
	saved := make(chan error, 1)
	worker := broker.start(t, Options{}, func(ctx context.Context, task *Task) (content, error) {
		if task.ID() == "b" {
			return nil, nil
		}
		err := task.SaveJSON(ctx, "one", 1)
		saved <- err
		return nil, err
	})
	next[*asyncflowpb.SaveContextRequest](worker)
	broker.judge("a", asyncflowpb.LeaseVerdict_LEASE_VERDICT_LOST)
	if err := receive(t, saved); !errors.Is(err, asyncflow.ErrLeaseLost) {
		t.Error(err)
	}
	if done := next[*asyncflowpb.CompleteTaskRequest](worker); done.GetLease().GetTaskId() != "b" {
		t.Error(done)
	}
	_ = worker.stop(0)
	none[*asyncflowpb.FailTaskRequest](worker)
	none[*asyncflowpb.ReleaseTaskRequest](worker)
}

func TestASaveThatIsRefusedAsNotOursIsALostLease(t *testing.T) {
	for _, refused := range []error{
		refusal(codes.Aborted, "LEASE_LOST"), refusal(codes.PermissionDenied, "NOT_YOUR_LEASE"),
	} {
		broker := newFake(task("a"))
		broker.lose("SaveContextRequest", gone, refused)
		saved := make(chan error, 2)
		worker := broker.start(t, Options{}, func(ctx context.Context, task *Task) (content, error) {
			saved <- task.SaveJSON(ctx, "one", 1)
			saved <- context.Cause(ctx)
			return nil, nil
		})
		var stopped *StopError
		if err := receive(t, saved); !errors.Is(err, asyncflow.ErrLeaseLost) {
			t.Error(err)
		}
		if err := receive(t, saved); !errors.As(err, &stopped) || stopped.Reason != LeaseLost {
			t.Error(err)
		}
		_ = worker.stop(0)
		none[*asyncflowpb.CompleteTaskRequest](worker)
	}
}

func TestEachSaveNamesTheVersionThatItIsMadeUpon(t *testing.T) {
	first := task("a")
	first.ContextVersion = 4
	broker := newFake(first)
	other := refusal(codes.Aborted, "CONTEXT_VERSION", "context_version", "9")
	broker.lose("SaveContextRequest", gone, refusal(codes.InvalidArgument, "INVALID"), other)
	saved := make(chan error, 3)
	worker := broker.start(t, Options{}, func(ctx context.Context, task *Task) (content, error) {
		for range 3 {
			saved <- task.SaveJSON(ctx, "one", 1)
		}
		return nil, nil
	})
	for at, version := range []int64{4, 4, 4, 9, 10} {
		request := next[*asyncflowpb.SaveContextRequest](worker)
		if request.ExpectedVersion == nil || request.GetExpectedVersion() != version {
			t.Errorf("the request %d is upon %d, not %d", at, request.GetExpectedVersion(), version)
		}
	}
	for at, isRefused := range []bool{true, false, false} {
		if err := receive(t, saved); (err != nil) != isRefused {
			t.Errorf("the save %d: %v", at, err)
		}
	}
}

func TestASaveEndsWithTheHandlersOwnDeadline(t *testing.T) {
	broker := newFake(task("a"))
	broker.savesWait = make(chan struct{})
	saved := make(chan error, 1)
	broker.start(t, Options{}, func(ctx context.Context, task *Task) (content, error) {
		limited, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		saved <- task.SaveJSON(limited, "one", 1)
		return nil, nil
	})
	if err := receive(t, saved); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestASessionThatIsUnknownIsReplacedAndLeasesAreAdopted(t *testing.T) {
	broker := newFake(task("a"))
	told := make(chan Reason, 1)
	worker := broker.start(t, Options{}, untilTold(told))
	first := next[*asyncflowpb.RegisterWorkerRequest](worker)
	untilHeld(worker)
	broker.lose("HeartbeatRequest", refusal(codes.FailedPrecondition, "UNKNOWN_SESSION"))
	again := next[*asyncflowpb.RegisterWorkerRequest](worker)
	if again.GetIncarnation() != first.GetIncarnation() || len(again.GetAdopted()) != 1 {
		t.Error(first, again)
	}
	if beat := next[*asyncflowpb.HeartbeatRequest](worker); beat.GetSessionId() != "2" {
		t.Error(beat)
	}
	broker.mu.Lock()
	broker.adopts = false
	broker.mu.Unlock()
	time.Sleep(20 * time.Millisecond) // longer than a lease: or it would look like two workers
	broker.lose("HeartbeatRequest", refusal(codes.FailedPrecondition, "UNKNOWN_SESSION"))
	if reason := receive(t, told); reason != LeaseLost {
		t.Error(reason)
	}
}

func TestShutdownGivesRunningTasksBackAndTakesNothingNew(t *testing.T) {
	broker := newFake(task("a"))
	told := make(chan Reason, 1)
	worker := broker.start(t, Options{}, untilTold(told))
	next[*asyncflowpb.AcquireTasksRequest](worker)
	untilHeld(worker)
	worker.Shutdown(0)
	released := next[*asyncflowpb.ReleaseTaskRequest](worker)
	if released.GetFailure().GetReason() != asyncflowpb.FailureReason_FAILURE_REASON_DRAINED ||
		receive(t, told) != Drained {
		t.Error(released)
	}
	next[*asyncflowpb.DeregisterWorkerRequest](worker)
	if err := worker.end(); err != nil {
		t.Error(err)
	}
	none[*asyncflowpb.AcquireTasksRequest](worker)
	none[*asyncflowpb.HeartbeatRequest](worker)
}

func TestShutdownLetsTasksEnd(t *testing.T) {
	broker := newFake(task("a"))
	began, end := make(chan struct{}), make(chan struct{})
	worker := broker.start(t, Options{}, func(ctx context.Context, _ *Task) (content, error) {
		close(began)
		<-end
		return asyncflow.MustJSON("done"), ctx.Err()
	})
	receive(t, began)
	worker.Shutdown(time.Minute)
	until(worker, (*asyncflowpb.HeartbeatRequest).GetDraining)
	close(end)
	done := next[*asyncflowpb.CompleteTaskRequest](worker)
	if string(done.GetResult().GetData()) != `"done"` || worker.end() != nil {
		t.Error(done)
	}
}

func TestAHandlerThatDoesNotStopIsGivenUpAndKeepsItsSlot(t *testing.T) {
	broker := newFake(task("a"), task("b"))
	end, saved := make(chan struct{}), make(chan error, 1)
	worker := broker.start(t, Options{Grace: 50 * time.Millisecond},
		func(ctx context.Context, task *Task) (content, error) {
			if task.ID() == "a" {
				<-end
				saved <- task.SaveJSON(ctx, "late", 1)
			}
			return nil, nil
		})
	untilHeld(worker)
	broker.judge("a", asyncflowpb.LeaseVerdict_LEASE_VERDICT_CANCEL)
	next[*asyncflowpb.FailTaskRequest](worker)
	next[*asyncflowpb.HeartbeatRequest](worker)
	next[*asyncflowpb.HeartbeatRequest](worker)
	if free := worker.held.free(expired()); free != 0 {
		t.Error("the slot is free")
	}
	close(end)
	if err := receive(t, saved); !errors.Is(err, errEnded) {
		t.Error("it could save:", err)
	}
	if done := next[*asyncflowpb.CompleteTaskRequest](worker); done.GetLease().GetTaskId() != "b" {
		t.Error(done)
	}
}

func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestTimeOver(t *testing.T) {
	limited := task("a")
	limited.MaxRunningTime = durationpb.New(50 * time.Millisecond)
	worker := newFake(limited).start(t, Options{}, untilTold(make(chan Reason, 1)))
	failed := next[*asyncflowpb.FailTaskRequest](worker)
	if failed.GetFailure().GetReason() != asyncflowpb.FailureReason_FAILURE_REASON_TIMED_OUT {
		t.Error(failed)
	}
}

func TestAPanicFailsTheAttempt(t *testing.T) {
	broker := newFake(task("a"), task("b"))
	worker := broker.start(t, Options{}, func(_ context.Context, task *Task) (content, error) {
		if task.ID() == "b" {
			runtime.Goexit()
		}
		panic("ouch")
	})
	for _, want := range []string{"the handler panicked: ouch", "the handler ended its goroutine"} {
		failed := next[*asyncflowpb.FailTaskRequest](worker)
		if failed.GetFailure().GetMessage() != want || failed.GetPermanent() {
			t.Error(failed)
		}
	}
}

func TestTheLastWordOfProgressComesBeforeTheEnd(t *testing.T) {
	broker := newFake(task("a"))
	worker := broker.start(t, Options{}, func(_ context.Context, task *Task) (content, error) {
		task.Progress(10, "first")
		task.Metrics(map[string]float64{"loss": 0.5})
		task.Progress(99, "last")
		return nil, nil
	})
	percent := 0.0
	late := time.After(patience)
	for {
		select {
		case message := <-worker.fake.seen:
			switch message := message.(type) {
			case *asyncflowpb.ReportProgressRequest:
				percent = message.GetReports()[0].GetProgress().GetPercent()
			case *asyncflowpb.CompleteTaskRequest:
				if percent != 99 {
					t.Error(percent)
				}
				return
			}
		case <-late:
			t.Fatal("it does not end")
		}
	}
}

func TestWhoIsRefusedEnds(t *testing.T) {
	broker := newFake()
	broker.lose("RegisterWorkerRequest", refusal(codes.PermissionDenied, "NOT_ALLOWED"))
	worker := broker.start(t, Options{}, one)
	if err := worker.end(); !errors.Is(err, asyncflow.ErrPermissionDenied) {
		t.Error(err)
	}
}

func TestOfTwoWorkersWithOneIDTheFirstGivesWay(t *testing.T) {
	broker := newFake(task("a"))
	broker.leaseTTL = time.Hour
	told := make(chan Reason, 1)
	worker := broker.start(t, Options{}, untilTold(told))
	for range quickLossesMax {
		untilHeld(worker)
		broker.lose("HeartbeatRequest", refusal(codes.FailedPrecondition, "UNKNOWN_SESSION"))
		next[*asyncflowpb.HeartbeatRequest](worker)
	}
	if err := worker.end(); err == nil || !strings.Contains(err.Error(), "its own ID") {
		t.Error(err)
	}
	if reason := receive(t, told); reason != LeaseLost {
		t.Error(reason)
	}
	none[*asyncflowpb.DeregisterWorkerRequest](worker)
}

func TestAnAttemptThatHasEndedSavesNothing(t *testing.T) {
	broker := newFake()
	worker := broker.start(t, Options{}, one)
	next[*asyncflowpb.RegisterWorkerRequest](worker)
	lease := &asyncflowpb.Lease{TaskId: "a", Attempt: 1}
	for range 200 { // it was a matter of a moment
		ended := &Task{lease: lease, stop: newStop(), link: worker.link}
		ended.stop.end()
		if err := ended.SaveJSON(context.Background(), "late", 1); !errors.Is(err, errEnded) {
			t.Fatal(err)
		}
	}
	none[*asyncflowpb.SaveContextRequest](worker)
}

func TestAWorkerThatIsNotRunCanBeClosed(t *testing.T) {
	made, err := New(asyncflow.Config{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil || made.link.conn.GetState() != connectivity.Shutdown {
		t.Error(err, made.link.conn.GetState())
	}
	made.Handle("x", one)
	if made.Close() != nil || made.Run(context.Background()) == nil {
		t.Error("it is closed for good")
	}
	worker := newFake(task("a")).start(t, Options{}, one)
	next[*asyncflowpb.RegisterWorkerRequest](worker)
	if err := worker.Close(); err != nil {
		t.Error(err)
	}
	next[*asyncflowpb.CompleteTaskRequest](worker)
}

func TestBadOptionsAreRefused(t *testing.T) {
	for _, options := range []Options{{ID: "a b"}, {Slots: -1}, {Slots: 10_001}} {
		if _, err := New(asyncflow.Config{}, options); err == nil {
			t.Errorf("%+v", options)
		}
	}
	made, err := New(asyncflow.Config{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Run(context.Background()); err == nil {
		t.Error("it has no handler")
	}
}
