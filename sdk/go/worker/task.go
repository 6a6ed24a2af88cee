package worker

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

const saveTimeout = 15 * time.Second

// Task is one attempt at a task, for its handler; safe for concurrent use. After the attempt has
// ended the broker refuses what is written.
type Task struct {
	proto *asyncflowpb.Task
	lease *asyncflowpb.Lease
	stop  *stopSignal
	link  *link
	board *board

	// One save at a time. Each names the version that it is made upon, so that one which was held
	// up on its way, and repeated meanwhile, cannot bring an older context back.
	turn    chan struct{}
	version int64
	// A save came to no end here, so the version may be another one.
	doubtful bool

	mu      sync.Mutex
	stage   string
	context *asyncflowpb.Content
}

// ID is the task's id.
func (t *Task) ID() string {
	return t.proto.GetId()
}

// Attempt counts from 1, over all runs.
func (t *Task) Attempt() int {
	return int(t.lease.GetAttempt())
}

// Proto is the task as it was handed out, with everything. It must not be changed.
func (t *Task) Proto() *asyncflowpb.Task {
	return t.proto
}

// Payload is what it was created with; may be nil.
func (t *Task) Payload() *asyncflowpb.Content {
	return t.proto.GetPayload()
}

// DecodePayload reads the JSON payload into what `into` points to; an error of it is permanent.
func (t *Task) DecodePayload(into any) error {
	if err := asyncflow.Decode(t.Payload(), into); err != nil {
		return &contentError{what: "payload", err: err}
	}
	return nil
}

// Stage is the stage that was saved last, by this attempt or one before; empty at first.
func (t *Task) Stage() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stage
}

// Context is what was saved last, or what the task was created with; may be nil.
func (t *Task) Context() *asyncflowpb.Content {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.context
}

// DecodeContext reads the JSON context into what `into` points to; an error of it is permanent.
func (t *Task) DecodeContext(into any) error {
	if err := asyncflow.Decode(t.Context(), into); err != nil {
		return &contentError{what: "context", err: err}
	}
	return nil
}

// Save saves stage and context together; an empty stage or a nil context leaves that one as it is.
// It is durable when Save returns nil. Save waits as long as no broker can be reached, and for a
// save that is under way. That the attempt was told to stop does not end it, so that a handler can
// save under its context when it stops; every other end of `ctx` does.
//
// Errors: [asyncflow.ErrLeaseLost], then the handler should return; [asyncflow.ErrInvalidArgument]
// when the context is larger than the task type allows; the context's error, then it may have been
// saved.
func (t *Task) Save(ctx context.Context, stage string, content *asyncflowpb.Content) error {
	ctx, cancel := t.outlive(ctx)
	defer cancel()
	// The hook above may come a moment too late for an attempt that has ended before.
	if t.stop.gone.Err() != nil {
		return t.ended(t.stop.gone)
	}
	err := t.save(ctx, stage, content)
	switch {
	case isLost(err):
		t.stop.raise(LeaseLost)
		return t.ended(ctx)
	case err != nil && ctx.Err() != nil:
		return t.ended(ctx)
	case err != nil:
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if stage != "" {
		t.stage = stage
	}
	if content != nil {
		t.context = content
	}
	return nil
}

// save waits for its turn, and saves upon the version that is known; upon another one if it turns
// out to be that because an earlier save came to no end.
func (t *Task) save(ctx context.Context, stage string, content *asyncflowpb.Content) error {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t.turn }()
	for {
		expected, doubtful := t.version, t.doubtful
		t.doubtful = true
		saved, err := callUntilAnswered(ctx, t.link, saveTimeout,
			func(sessionID string) *asyncflowpb.SaveContextRequest {
				request := &asyncflowpb.SaveContextRequest{
					SessionId: sessionID, Lease: t.lease, Context: content,
					ExpectedVersion: &expected,
				}
				if stage != "" {
					request.Stage = &stage
				}
				return request
			}, t.link.broker.SaveContext)
		current, other := otherVersion(err)
		switch {
		case err == nil:
			t.version, t.doubtful = saved.GetContextVersion(), false
			return nil
		case doubtful && other:
			t.version, t.doubtful = current, false
		default:
			return err
		}
	}
}

// otherVersion is the version that the context has, if `err` says that it is not the expected one.
func otherVersion(err error) (int64, bool) {
	var refused *asyncflow.Error
	if !errors.As(err, &refused) || refused.Reason != "CONTEXT_VERSION" {
		return 0, false
	}
	current, err := strconv.ParseInt(refused.Metadata["context_version"], 10, 64)
	return current, err == nil
}

// SaveJSON is Save with a value as JSON.
func (t *Task) SaveJSON(ctx context.Context, stage string, value any) error {
	content, err := asyncflow.JSON(value)
	if err != nil {
		return err
	}
	return t.Save(ctx, stage, content)
}

// outlive gives a context that ends when the attempt is over, or with `ctx`, unless that ended
// because the attempt should stop.
func (t *Task) outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	unhookOuter := context.AfterFunc(ctx, func() {
		var stopped *StopError
		if !errors.As(context.Cause(ctx), &stopped) {
			cancel(context.Cause(ctx))
		}
	})
	unhookGone := context.AfterFunc(t.stop.gone, func() { cancel(context.Cause(t.stop.gone)) })
	return lasting, func() {
		unhookOuter()
		unhookGone()
		cancel(nil)
	}
}

// ended is the error of a call after the lease was lost, or this context has ended.
func (t *Task) ended(ctx context.Context) error {
	if t.StopReason() == LeaseLost {
		return &asyncflow.Error{
			Code: codes.Aborted, Reason: "LEASE_LOST", Message: LeaseLost.String(),
		}
	}
	return context.Cause(ctx)
}

// Progress says how far it is, 0 to 100, and what it does, for people. It is sent within a second;
// the latest word wins.
func (t *Task) Progress(percent float64, message string) {
	t.Report(&asyncflowpb.Progress{Percent: &percent, Message: message})
}

// Metrics sets the latest value of named metrics, at most 32 names in all.
func (t *Task) Metrics(values map[string]float64) {
	t.Report(&asyncflowpb.Progress{Metrics: values})
}

// Report says all of it at once; unset and empty fields leave what was said before.
func (t *Task) Report(progress *asyncflowpb.Progress) {
	t.board.put(keyOf(t.lease), progress)
}

// StopReason says why the attempt should stop, if it should. The handler's context is cancelled
// when it does.
func (t *Task) StopReason() Reason {
	return t.stop.why()
}
