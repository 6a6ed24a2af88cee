package asyncflow

import (
	"context"
	"fmt"
	"iter"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

// Create creates a task, and only one, however often it has to be repeated inside.
//
// Errors: [ErrInvalidArgument] with all violations, [ErrUnknownTaskType].
func (c *Client) Create(
	ctx context.Context, task *asyncflowpb.TaskSpec,
) (*asyncflowpb.Task, error) {
	answer, err := c.CreateWith(ctx, &asyncflowpb.CreateTaskRequest{Task: task})
	return taskOf(answer, err)
}

// Submit creates a task of a type with a payload that is made JSON, nil for none. Create has the
// other choices.
//
// Errors: as Create; the payload cannot be made JSON.
func (c *Client) Submit(
	ctx context.Context, taskType string, payload any,
) (*asyncflowpb.Task, error) {
	task := &asyncflowpb.TaskSpec{TaskType: taskType}
	if payload != nil {
		content, err := JSON(payload)
		if err != nil {
			return nil, fmt.Errorf("payload of a task of type %s: %w", taskType, err)
		}
		task.Payload = content
	}
	return c.Create(ctx, task)
}

// CreateWith creates a task under a request id of the caller's: the same request gives the same
// task, now and later. It only checks the task if ValidateOnly is set. An empty request id is
// replaced by a random one.
//
// Errors: as Create; [ErrRequestIDReused].
func (c *Client) CreateWith(
	ctx context.Context, request *asyncflowpb.CreateTaskRequest,
) (*asyncflowpb.CreateTaskResponse, error) {
	return c.broker.CreateTask(ctx, request)
}

// CreateBatch creates 1 to 1,000 tasks in one call, all or, if one of them is refused, none.
//
// Errors: as Create, with fields named requests[i].….
func (c *Client) CreateBatch(
	ctx context.Context, tasks []*asyncflowpb.TaskSpec,
) ([]*asyncflowpb.Task, error) {
	request := &asyncflowpb.BatchCreateTasksRequest{}
	for _, task := range tasks {
		one := &asyncflowpb.CreateTaskRequest{Task: task}
		request.Requests = append(request.Requests, one)
	}
	answer, err := c.broker.BatchCreateTasks(ctx, request)
	if err != nil {
		return nil, err
	}
	if len(answer.GetResponses()) != len(tasks) {
		return nil, incomplete("task for each request")
	}
	made := make([]*asyncflowpb.Task, len(tasks))
	for i, response := range answer.GetResponses() {
		made[i] = response.GetTask()
	}
	return made, nil
}

// Get gets a task with everything.
//
// Errors: [ErrNotFound].
func (c *Client) Get(ctx context.Context, taskID string) (*asyncflowpb.Task, error) {
	request := &asyncflowpb.GetTaskRequest{TaskId: taskID}
	answer, err := c.broker.GetTask(ctx, request)
	return taskOf(answer, err)
}

// List gives all tasks that match, newest first, page by page as they are asked for. It ends with
// the first error.
func (c *Client) List(
	ctx context.Context, request *asyncflowpb.ListTasksRequest,
) iter.Seq2[*asyncflowpb.Task, error] {
	return paged(request.GetPageToken(), func(token string) ([]*asyncflowpb.Task, string, error) {
		answer, err := c.broker.ListTasks(ctx, &asyncflowpb.ListTasksRequest{
			PageSize: request.GetPageSize(), PageToken: token,
			Filter: request.GetFilter(), View: request.GetView(),
		})
		return answer.GetTasks(), answer.GetNextPageToken(), err
	})
}

// Count counts tasks by type, user and state without reading them.
func (c *Client) Count(
	ctx context.Context, request *asyncflowpb.CountTasksRequest,
) (*asyncflowpb.CountTasksResponse, error) {
	return c.broker.CountTasks(ctx, request)
}

// Cancel cancels a task; a running one is CANCELLING until its worker has stopped it. The reason
// is for people and may be empty. Repeating it does no harm.
//
// Errors: [ErrNotFound]; [ErrIllegalState] when it has succeeded or failed.
func (c *Client) Cancel(
	ctx context.Context, taskID, reason string,
) (*asyncflowpb.Task, error) {
	request := &asyncflowpb.CancelTaskRequest{TaskId: taskID, Reason: reason}
	answer, err := c.broker.CancelTask(ctx, request)
	return taskOf(answer, err)
}

// Retry opens a new run of a task that has ended, at its saved stage. It is not repeated once it
// may have been done: the new run may have ended, too.
//
// Errors: [ErrNotFound]; [ErrIllegalState] when it has not ended.
func (c *Client) Retry(ctx context.Context, taskID string) (*asyncflowpb.Task, error) {
	return c.retry(ctx, &asyncflowpb.RetryTaskRequest{TaskId: taskID})
}

// RetryFromStart is Retry, but stage and context are forgotten.
func (c *Client) RetryFromStart(ctx context.Context, taskID string) (*asyncflowpb.Task, error) {
	return c.retry(ctx, &asyncflowpb.RetryTaskRequest{TaskId: taskID, FromStart: true})
}

func (c *Client) retry(
	ctx context.Context, request *asyncflowpb.RetryTaskRequest,
) (*asyncflowpb.Task, error) {
	answer, err := c.broker.RetryTask(ctx, request)
	return taskOf(answer, err)
}

// Pause takes a waiting task out of the queue. Repeating it does no harm.
//
// Errors: [ErrNotFound]; [ErrIllegalState] when it runs or has ended.
func (c *Client) Pause(ctx context.Context, taskID string) (*asyncflowpb.Task, error) {
	answer, err := c.broker.PauseTask(ctx, &asyncflowpb.PauseTaskRequest{TaskId: taskID})
	return taskOf(answer, err)
}

// Resume puts a paused task back. Repeating it does no harm.
//
// Errors: as Pause.
func (c *Client) Resume(ctx context.Context, taskID string) (*asyncflowpb.Task, error) {
	answer, err := c.broker.ResumeTask(ctx, &asyncflowpb.ResumeTaskRequest{TaskId: taskID})
	return taskOf(answer, err)
}

// Delete deletes a task with its history and logs.
//
// Errors: [ErrNotFound]; [ErrIllegalState] when it runs.
func (c *Client) Delete(ctx context.Context, taskID string) error {
	_, err := c.broker.DeleteTask(ctx, &asyncflowpb.DeleteTaskRequest{TaskId: taskID})
	return err
}

// Attempts gives all attempts of a task, oldest first. It ends with the first error.
func (c *Client) Attempts(
	ctx context.Context, taskID string,
) iter.Seq2[*asyncflowpb.Attempt, error] {
	return paged("", func(token string) ([]*asyncflowpb.Attempt, string, error) {
		request := &asyncflowpb.ListAttemptsRequest{TaskId: taskID, PageToken: token}
		answer, err := c.broker.ListAttempts(ctx, request)
		return answer.GetAttempts(), answer.GetNextPageToken(), err
	})
}

// taskOf gives the task of an answer; a broker that leaves it out is broken.
func taskOf(
	answer interface{ GetTask() *asyncflowpb.Task }, err error,
) (*asyncflowpb.Task, error) {
	if err != nil {
		return nil, err
	}
	if answer.GetTask() == nil {
		return nil, incomplete("task")
	}
	return answer.GetTask(), nil
}

// paged gives all that a list answers. `page` gets a page's entries and the token of the next.
func paged[T any](token string, page func(token string) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for token := token; ; {
			entries, next, err := page(token)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, entry := range entries {
				if !yield(entry, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			token = next
		}
	}
}
