package worker

import (
	"context"
	"errors"
	"sync"
)

// Reason is why an attempt should stop. Later ones overrule earlier ones.
type Reason int

const (
	// NotStopped: it may go on.
	NotStopped Reason = iota
	// Drained: the worker shuts down. Save what is needed and return; the task is run again.
	Drained
	// Cancelled: somebody cancelled the task.
	Cancelled
	// TimedOut: it ran longer than the task's max_running_time.
	TimedOut
	// LeaseLost: another attempt is in force, nothing that this one does counts any more.
	LeaseLost
)

var reasonTexts = [...]string{
	NotStopped: "not stopped",
	Drained:    "the worker shuts down",
	Cancelled:  "the task was cancelled",
	TimedOut:   "max_running_time is over",
	LeaseLost:  "another attempt is in force",
}

// String is for people.
func (r Reason) String() string {
	return reasonTexts[r]
}

// StopError is the cause ([context.Cause]) of a handler's context that was cancelled because the
// attempt should stop.
type StopError struct {
	// Reason is the first one; [Task.StopReason] has the strongest.
	Reason Reason
}

// Error is for people.
func (e *StopError) Error() string {
	return e.Reason.String()
}

// stopSignal tells one attempt to stop.
type stopSignal struct {
	mu     sync.Mutex
	reason Reason
	// Ends when there is a reason.
	told context.Context
	tell context.CancelCauseFunc
	// Ends when nothing that the attempt says counts any more.
	gone    context.Context
	sayGone context.CancelCauseFunc
	// Cancels the handler's context.
	handler context.CancelCauseFunc
}

// newStop makes a signal that says nothing yet.
func newStop() *stopSignal {
	s := &stopSignal{}
	s.told, s.tell = context.WithCancelCause(context.Background())
	s.gone, s.sayGone = context.WithCancelCause(context.Background())
	return s
}

// attach has the handler's context cancelled with the first reason, before `raise` returns: whoever
// was just told that the lease is lost finds the context ended.
func (s *stopSignal) attach(cancel context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = cancel
	if s.reason != NotStopped {
		cancel(&StopError{Reason: s.reason})
	}
}

// raise gives a reason; a weaker one than the present is ignored.
func (s *stopSignal) raise(reason Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if reason <= s.reason {
		return
	}
	s.reason = reason
	cause := &StopError{Reason: reason}
	s.tell(cause)
	if s.handler != nil {
		s.handler(cause)
	}
	if reason == LeaseLost {
		s.sayGone(&StopError{Reason: reason})
	}
}

var errEnded = errors.New("the attempt has ended")

// end makes the attempt's calls fail from now on.
func (s *stopSignal) end() {
	s.sayGone(errEnded)
}

func (s *stopSignal) why() Reason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}
