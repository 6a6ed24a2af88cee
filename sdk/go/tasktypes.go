package asyncflow

import (
	"context"
	"iter"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

// CreateType registers a task type; what is left out gets the defaults. It is not repeated once
// it may have been done.
//
// Errors: [ErrInvalidArgument]; [ErrAlreadyExists].
func (c *Client) CreateType(
	ctx context.Context, taskType *asyncflowpb.TaskType,
) (*asyncflowpb.TaskType, error) {
	request := &asyncflowpb.CreateTaskTypeRequest{TaskType: taskType}
	answer, err := c.broker.CreateTaskType(ctx, request)
	return typeOf(answer, err)
}

// GetType gets a task type by name.
//
// Errors: [ErrNotFound].
func (c *Client) GetType(ctx context.Context, name string) (*asyncflowpb.TaskType, error) {
	answer, err := c.broker.GetTaskType(ctx, &asyncflowpb.GetTaskTypeRequest{Name: name})
	return typeOf(answer, err)
}

// UpdateType changes the fields that the request's mask names; brokers follow within seconds.
//
// Errors: [ErrInvalidArgument]; [ErrNotFound].
func (c *Client) UpdateType(
	ctx context.Context, request *asyncflowpb.UpdateTaskTypeRequest,
) (*asyncflowpb.TaskType, error) {
	answer, err := c.broker.UpdateTaskType(ctx, request)
	return typeOf(answer, err)
}

// Types gives all task types by name. It ends with the first error.
func (c *Client) Types(ctx context.Context) iter.Seq2[*asyncflowpb.TaskType, error] {
	return paged("", func(token string) ([]*asyncflowpb.TaskType, string, error) {
		request := &asyncflowpb.ListTaskTypesRequest{PageToken: token}
		answer, err := c.broker.ListTaskTypes(ctx, request)
		return answer.GetTaskTypes(), answer.GetNextPageToken(), err
	})
}

// Workers gives all workers that registered lately. It ends with the first error.
func (c *Client) Workers(ctx context.Context) iter.Seq2[*asyncflowpb.Worker, error] {
	return paged("", func(token string) ([]*asyncflowpb.Worker, string, error) {
		request := &asyncflowpb.ListWorkersRequest{PageToken: token}
		answer, err := c.broker.ListWorkers(ctx, request)
		return answer.GetWorkers(), answer.GetNextPageToken(), err
	})
}

func typeOf(
	answer interface{ GetTaskType() *asyncflowpb.TaskType }, err error,
) (*asyncflowpb.TaskType, error) {
	if err != nil {
		return nil, err
	}
	if answer.GetTaskType() == nil {
		return nil, incomplete("task type")
	}
	return answer.GetTaskType(), nil
}
