package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

const settleTimeout = 15 * time.Second

// attempt runs one attempt from its start to the broker's confirmation.
func (w *Worker) attempt(leased *asyncflowpb.LeasedTask, stop *stopSignal) {
	lease := leased.GetLease()
	defer w.held.remove(lease)
	ctx := asyncflow.WithTrace(w.life, leased.GetTask().GetTraceId())
	task := &Task{
		proto: leased.GetTask(), lease: lease, stop: stop, link: w.link, board: w.board,
		stage: leased.GetTask().GetStage(), context: leased.GetTask().GetContext(),
		turn: make(chan struct{}, 1), version: leased.GetTask().GetContextVersion(),
	}
	ended := w.execute(ctx, task)
	stop.end()
	w.board.flush(ctx, keyOf(lease))
	if stop.why() == LeaseLost {
		w.logger.Warn("another attempt is in force, stopped and forgotten",
			"task_id", lease.GetTaskId(), "attempt", lease.GetAttempt())
		return
	}
	w.settle(ctx, lease, ended)
}

// execute calls the handler, under the task's max_running_time.
func (w *Worker) execute(ctx context.Context, task *Task) outcome {
	if told := task.StopReason(); told != NotStopped {
		return stopped(told)
	}
	handler := w.handlers[task.proto.GetTaskType()]
	if handler == nil || task.proto.GetCommand() != nil {
		return failed(asyncflowpb.FailureReason_FAILURE_REASON_NO_HANDLER, fmt.Sprintf(
			"this worker has no handler for %s", what(task.proto)))
	}
	if limit := task.proto.GetMaxRunningTime().AsDuration(); limit > 0 {
		defer time.AfterFunc(limit, func() { task.stop.raise(TimedOut) }).Stop()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	task.stop.attach(cancel)
	done := make(chan outcome, 1)
	go func() {
		defer cancel(nil)
		result, err := w.protected(ctx, handler, task)
		done <- outcomeOf(result, err, task.StopReason())
	}()
	select {
	case ended := <-done:
		return ended
	case <-task.stop.told.Done():
	}
	grace := time.NewTimer(w.options.Grace)
	defer grace.Stop()
	select {
	case ended := <-done:
		return ended
	case <-task.stop.gone.Done():
	case <-grace.C:
		w.logger.Error("the handler does not stop and is given up", "task_id", task.ID(),
			"attempt", task.Attempt(), "reason", task.StopReason())
	}
	w.held.runaway(1)
	go func() {
		<-done
		w.held.runaway(-1)
	}()
	return stopped(task.StopReason())
}

// protected makes an error of a panic, and of a handler that ends its goroutine.
func (w *Worker) protected(
	ctx context.Context, handler Handler, task *Task,
) (result *asyncflowpb.Content, err error) {
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		err = errors.New("the handler ended its goroutine")
		defer func() {
			if panicked := recover(); panicked != nil {
				w.logger.Error("the handler panicked", "task_id", task.ID(),
					"panic", panicked, "stack", string(debug.Stack()))
				err = fmt.Errorf("the handler panicked: %v", panicked)
			}
		}()
		result, err = handler(ctx, task)
	}()
	<-finished
	return result, err
}

// settle tells how the attempt ended until the broker answers.
func (w *Worker) settle(ctx context.Context, lease *asyncflowpb.Lease, ended outcome) {
	err := w.tell(ctx, lease, ended)
	if err != nil && ended.complete != nil && ctx.Err() == nil && !isLost(err) {
		// Without an outcome the task would be run again when its lease is over, for ever.
		w.logger.Error("the broker refused the result", "task_id", lease.GetTaskId(),
			"attempt", lease.GetAttempt(), "error", err)
		err = w.tell(ctx, lease, failed(asyncflowpb.FailureReason_FAILURE_REASON_ERROR,
			fmt.Sprintf("the broker refused the result: %v", err)))
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		w.logger.Error("the worker ends before the broker has heard of an outcome: the task is "+
			"run again", "task_id", lease.GetTaskId(), "attempt", lease.GetAttempt())
	case isLost(err):
		w.logger.Warn("another attempt is in force, outcome rejected",
			"task_id", lease.GetTaskId(), "attempt", lease.GetAttempt())
	default:
		w.logger.Error("the broker refused the outcome", "task_id", lease.GetTaskId(),
			"attempt", lease.GetAttempt(), "error", err)
	}
}

func (w *Worker) tell(ctx context.Context, lease *asyncflowpb.Lease, ended outcome) error {
	var err error
	switch {
	case ended.complete != nil:
		_, err = callUntilAnswered(ctx, w.link, settleTimeout,
			func(sessionID string) *asyncflowpb.CompleteTaskRequest {
				return &asyncflowpb.CompleteTaskRequest{
					SessionId: sessionID, Lease: lease, Result: ended.complete.GetResult(),
				}
			}, w.link.broker.CompleteTask)
	case ended.fail != nil:
		_, err = callUntilAnswered(ctx, w.link, settleTimeout,
			func(sessionID string) *asyncflowpb.FailTaskRequest {
				return &asyncflowpb.FailTaskRequest{
					SessionId: sessionID, Lease: lease, Failure: ended.fail.GetFailure(),
					Permanent:  ended.fail.GetPermanent(),
					RetryAfter: ended.fail.GetRetryAfter(),
				}
			}, w.link.broker.FailTask)
	case ended.release != nil:
		_, err = callUntilAnswered(ctx, w.link, settleTimeout,
			func(sessionID string) *asyncflowpb.ReleaseTaskRequest {
				return &asyncflowpb.ReleaseTaskRequest{
					SessionId: sessionID, Lease: lease, Failure: ended.release.GetFailure(),
				}
			}, w.link.broker.ReleaseTask)
	}
	return err
}

func what(task *asyncflowpb.Task) string {
	if task.GetCommand() != nil {
		return "commands"
	}
	return task.GetTaskType()
}
