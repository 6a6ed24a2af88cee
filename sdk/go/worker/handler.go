package worker

import (
	"context"
	"fmt"
	"time"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

// Handler works on one attempt at a task and gives back its result, which may be nil. It is called
// in a goroutine of its own, many at a time. See the package for errors and the context.
type Handler func(ctx context.Context, task *Task) (*asyncflowpb.Content, error)

// JSON makes a handler of a function whose payload and result are JSON. A payload that does not
// fit fails the task for good.
func JSON[In, Out any](
	work func(ctx context.Context, task *Task, in In) (Out, error),
) Handler {
	return func(ctx context.Context, task *Task) (*asyncflowpb.Content, error) {
		var in In
		if err := task.DecodePayload(&in); err != nil {
			return nil, err
		}
		out, err := work(ctx, task, in)
		if err != nil {
			return nil, err
		}
		result, err := asyncflow.JSON(out)
		if err != nil {
			return nil, Permanent(fmt.Errorf("the result cannot be made JSON: %w", err))
		}
		return result, nil
	}
}

// RetryError asks for another attempt, but not before After is over. It counts as a failure. It
// may stand anywhere in the chain of a handler's error.
type RetryError struct {
	// After is at most 365 days; more is taken as that.
	After time.Duration
	// Err says why.
	Err error
}

// RetryAfter makes a [RetryError].
func RetryAfter(after time.Duration, err error) error {
	return &RetryError{After: after, Err: err}
}

// Error tells Err.
func (e *RetryError) Error() string {
	if e.Err == nil {
		return "it asked to be tried again later"
	}
	return e.Err.Error()
}

// Unwrap gives Err.
func (e *RetryError) Unwrap() error {
	return e.Err
}

// PermanentError says that trying again cannot help. It may stand anywhere in the chain of a
// handler's error.
type PermanentError struct {
	// Err says why.
	Err error
}

// Permanent makes a [PermanentError].
func Permanent(err error) error {
	return &PermanentError{Err: err}
}

// Error tells Err.
func (e *PermanentError) Error() string {
	if e.Err == nil {
		return "it failed for good"
	}
	return e.Err.Error()
}

// Unwrap gives Err.
func (e *PermanentError) Unwrap() error {
	return e.Err
}

// contentError says that payload or context cannot be read; trying again cannot help.
type contentError struct {
	what string
	err  error
}

func (e *contentError) Error() string {
	return fmt.Sprintf("the %s cannot be read: %v", e.what, e.err)
}

func (e *contentError) Unwrap() error {
	return e.err
}
