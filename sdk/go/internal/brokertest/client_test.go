package brokertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func newType(t *testing.T, client *asyncflow.Client, name string) string {
	t.Helper()
	taskType := &asyncflowpb.TaskType{Name: name}
	if _, err := client.CreateType(within(t, time.Minute), taskType); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestTheLifeOfATaskThatNobodyRuns(t *testing.T) {
	ctx, client := within(t, time.Minute), Start(t).Client()
	kind := newType(t, client, "life")
	task, err := client.Submit(ctx, kind, map[string]any{"n": 1})
	if err != nil {
		t.Fatal(err)
	}
	id := task.GetId()
	for _, step := range []struct {
		do   func(context.Context, string) (*asyncflowpb.Task, error)
		want asyncflowpb.TaskState
	}{
		{client.Pause, asyncflowpb.TaskState_TASK_STATE_PAUSED},
		{client.Pause, asyncflowpb.TaskState_TASK_STATE_PAUSED},
		{client.Resume, asyncflowpb.TaskState_TASK_STATE_PENDING},
		{func(ctx context.Context, id string) (*asyncflowpb.Task, error) {
			return client.Cancel(ctx, id, "enough")
		}, asyncflowpb.TaskState_TASK_STATE_CANCELLED},
		{client.RetryFromStart, asyncflowpb.TaskState_TASK_STATE_PENDING},
		{client.Get, asyncflowpb.TaskState_TASK_STATE_PENDING},
	} {
		if task, err = step.do(ctx, id); err != nil || task.GetState() != step.want {
			t.Fatalf("%v: %v, %v", step.want, task, err)
		}
	}
	if _, err := client.Retry(ctx, id); !errors.Is(err, asyncflow.ErrIllegalState) {
		t.Error(err)
	}
	if _, err = client.Cancel(ctx, id, ""); err != nil {
		t.Fatal(err)
	}
	var ended *asyncflow.TaskError
	if err := client.Result(ctx, id, nil); !errors.As(err, &ended) || ended.Task.GetId() != id {
		t.Error(err)
	}
	if err := client.Delete(ctx, id); err != nil {
		t.Error(err)
	}
	if _, err := client.Get(ctx, id); !errors.Is(err, asyncflow.ErrNotFound) {
		t.Error(err)
	}
	if err := client.Delete(ctx, id); !errors.Is(err, asyncflow.ErrNotFound) {
		t.Error("it is gone:", err)
	}
	for _, err := range client.Logs(ctx, &asyncflowpb.StreamTaskLogsRequest{TaskId: id}) {
		if !errors.Is(err, asyncflow.ErrNotFound) {
			t.Error(err)
		}
	}
}

func TestManyTasksByOneStreamOverAKill(t *testing.T) {
	stack := Start(t)
	ctx, client := within(t, 2*time.Minute), stack.Client()
	kind := newType(t, client, "many")
	const all = 3_000
	requests := func(yield func(*asyncflowpb.CreateTaskRequest) bool) {
		for i := range all {
			task := &asyncflowpb.TaskSpec{TaskType: kind, Name: fmt.Sprint(i)}
			if !yield(&asyncflowpb.CreateTaskRequest{Task: task}) {
				return
			}
		}
	}
	ids := map[string]bool{}
	for result, err := range client.CreateStream(ctx, requests) {
		if err != nil || result.GetError() != nil {
			t.Fatal(err, result)
		}
		ids[result.GetTaskId()] = true
		if len(ids) == 1_000 {
			stack.KillBroker()
		}
	}
	count, err := client.Count(ctx, &asyncflowpb.CountTasksRequest{TaskType: kind})
	if err != nil || len(ids) != all || count.GetTotal() != all {
		t.Error(len(ids), count, err)
	}
	listed := 0
	list := &asyncflowpb.ListTasksRequest{Filter: "task_type = " + kind, PageSize: 1_000}
	for task, err := range client.List(ctx, list) {
		if err != nil || !ids[task.GetId()] {
			t.Fatal(task, err)
		}
		if listed++; listed == 1_500 {
			break
		}
	}
	cancelled, err := client.Operations().BulkCancelTasks(ctx, &asyncflowpb.BulkCancelTasksRequest{
		Selection: &asyncflowpb.TaskSelection{Filter: "task_type = " + kind},
	})
	if err != nil || cancelled.GetOperation().GetId() == "" {
		t.Error(cancelled, err)
	}
}

func TestTaskTypesAreListedAndChanged(t *testing.T) {
	ctx, client := within(t, time.Minute), Start(t).Client()
	for _, name := range []string{"one", "two"} {
		newType(t, client, name)
	}
	_, err := client.CreateType(ctx, &asyncflowpb.TaskType{Name: "one"})
	if !errors.Is(err, asyncflow.ErrAlreadyExists) {
		t.Error(err)
	}
	changed, err := client.UpdateType(ctx, &asyncflowpb.UpdateTaskTypeRequest{
		TaskType:   &asyncflowpb.TaskType{Name: "one", Priority: 5},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"priority"}},
	})
	if err != nil || changed.GetPriority() != 5 {
		t.Error(changed, err)
	}
	got, err := client.GetType(ctx, "one")
	if err != nil || got.GetPriority() != 5 {
		t.Error(got, err)
	}
	var names []string
	for one, err := range client.Types(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, one.GetName())
	}
	if !slices.Equal(names, []string{"one", "two"}) {
		t.Error(names)
	}
}

func TestSizesAtTheLimit(t *testing.T) {
	ctx, client := within(t, time.Minute), Start(t).Client()
	kind := newType(t, client, "sizes")
	data := bytes.Repeat([]byte{7}, 64<<10)
	spec := &asyncflowpb.TaskSpec{TaskType: kind, Payload: &asyncflowpb.Content{Data: data}}
	task, err := client.Create(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Get(ctx, task.GetId())
	if err != nil || !bytes.Equal(got.GetPayload().GetData(), data) {
		t.Error(err)
	}
	spec.Payload.Data = append(data, 7)
	var refused *asyncflow.Error
	if _, err := client.Create(ctx, spec); !errors.As(err, &refused) ||
		len(refused.Violations) != 1 || refused.Violations[0].Field != "task.payload.data" {
		t.Errorf("%+v", err)
	}
}
