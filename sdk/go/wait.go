package asyncflow

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
	"github.com/asyncflow/asyncflow/sdk/go/internal/backoff"
)

const (
	// One round of waiting at the broker.
	waitRound = 30 * time.Second
	// A broker that shuts down answers at once; it must not be asked in a circle.
	waitRoundMin = 200 * time.Millisecond
)

// TaskError says that a task has ended without a result.
type TaskError struct {
	// Task says the rest, above all State and Failure.
	Task *asyncflowpb.Task
}

// Error tells id, state and the failure.
func (e *TaskError) Error() string {
	failure := e.Task.GetFailure()
	text := fmt.Sprintf("task %s: %s", e.Task.GetId(), e.Task.GetState())
	if failure.GetReason() != asyncflowpb.FailureReason_FAILURE_REASON_UNSPECIFIED {
		text += fmt.Sprintf(" (%s)", failure.GetReason())
	}
	if failure.GetMessage() != "" {
		text += ": " + failure.GetMessage()
	}
	return text
}

// IsTerminal says whether nothing follows a state but a Retry.
func IsTerminal(state asyncflowpb.TaskState) bool {
	switch state {
	case asyncflowpb.TaskState_TASK_STATE_SUCCEEDED, asyncflowpb.TaskState_TASK_STATE_FAILED,
		asyncflowpb.TaskState_TASK_STATE_CANCELLED:
		return true
	default:
		return false
	}
}

// Wait waits until a task has ended, well or not, and gives it. It takes as long as the context
// allows; while no broker can be reached it tries for [Config.Timeout], or half a minute longer.
//
// Errors: [ErrNotFound]; the context ended.
func (c *Client) Wait(ctx context.Context, taskID string) (*asyncflowpb.Task, error) {
	for {
		task, isDone, err := c.waitRound(ctx, taskID, waitRound)
		if err != nil || isDone {
			return task, err
		}
	}
}

// WaitFor is Wait for so long at most: then it gives the task as it is, without an error.
func (c *Client) WaitFor(
	ctx context.Context, taskID string, timeout time.Duration,
) (*asyncflowpb.Task, error) {
	end := time.Now().Add(timeout)
	for {
		left := max(time.Until(end), 0)
		task, isDone, err := c.waitRound(ctx, taskID, min(left, waitRound))
		if err != nil || isDone || !time.Now().Before(end) {
			return task, err
		}
	}
}

func (c *Client) waitRound(
	ctx context.Context, taskID string, round time.Duration,
) (*asyncflowpb.Task, bool, error) {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, round+c.timeout)
	defer cancel()
	answer, err := c.broker.WaitTask(limited, &asyncflowpb.WaitTaskRequest{
		TaskId: taskID, Timeout: durationpb.New(round),
	})
	if err != nil {
		return nil, false, err
	}
	if answer.GetTask() == nil {
		return nil, false, incomplete("task")
	}
	if early := min(round, waitRoundMin) - time.Since(began); !answer.GetDone() && early > 0 {
		backoff.Sleep(ctx, early)
	}
	return answer.GetTask(), answer.GetDone(), nil
}

// Result waits until a task has ended and reads its JSON result into what `into` points to, unless
// that is nil. A task without a result leaves it as it is.
//
// Errors: a [*TaskError] when it failed or was cancelled; those of Wait; the result does not fit.
func (c *Client) Result(ctx context.Context, taskID string, into any) error {
	task, err := c.Wait(ctx, taskID)
	if err != nil {
		return err
	}
	if task.GetState() != asyncflowpb.TaskState_TASK_STATE_SUCCEEDED {
		return &TaskError{Task: task}
	}
	if into == nil {
		return nil
	}
	if err := Decode(task.GetResult(), into); err != nil {
		return fmt.Errorf("result of task %s: %w", taskID, err)
	}
	return nil
}

// ResultAs is [Client.Result] for a value of type T.
func ResultAs[T any](ctx context.Context, client *Client, taskID string) (T, error) {
	var result T
	err := client.Result(ctx, taskID, &result)
	return result, err
}
