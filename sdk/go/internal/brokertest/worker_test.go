package brokertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
	"github.com/asyncflow/asyncflow/sdk/go/worker"
)

// start runs a worker with one handler; `stop` waits for its end.
func start(
	t *testing.T, stack *Stack, options worker.Options, kind string, handler worker.Handler,
) (stop func(drain time.Duration)) {
	t.Helper()
	made, err := worker.New(stack.Config(), options)
	if err != nil {
		t.Fatal(err)
	}
	made.Handle(kind, handler)
	ended := make(chan error, 1)
	go func() { ended <- made.Run(context.Background()) }()
	var once sync.Once
	stop = func(drain time.Duration) {
		once.Do(func() {
			made.Shutdown(drain)
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(time.Minute):
				t.Error("the worker does not end")
			}
		})
	}
	t.Cleanup(func() { stop(0) })
	return stop
}

func TestEachTaskIsRunOnceOverAKillOfTheBroker(t *testing.T) {
	stack := Start(t)
	ctx, client := within(t, 2*time.Minute), stack.Client()
	kind := newType(t, client, "once")
	var mu sync.Mutex
	runs := map[int]int{}
	stop := start(t, stack, worker.Options{Slots: 8}, kind, worker.JSON(
		func(ctx context.Context, task *worker.Task, n int) (int, error) {
			mu.Lock()
			runs[n]++
			mu.Unlock()
			task.Progress(50, "half")
			if err := task.SaveJSON(ctx, "half", n); err != nil {
				return 0, err
			}
			time.Sleep(10 * time.Millisecond)
			return n * n, nil
		}))
	const all = 60
	specs := make([]*asyncflowpb.TaskSpec, all)
	for n := range specs {
		specs[n] = &asyncflowpb.TaskSpec{TaskType: kind, Payload: asyncflow.MustJSON(n)}
	}
	tasks, err := client.CreateBatch(ctx, specs)
	if err != nil {
		t.Fatal(err)
	}
	stack.KillBroker()
	for n, task := range tasks {
		square, err := asyncflow.ResultAs[int](ctx, client, task.GetId())
		if err != nil || square != n*n {
			t.Fatal(n, square, err)
		}
	}
	stop(time.Minute)
	for n := range all {
		if runs[n] != 1 {
			t.Errorf("task %d ran %d times", n, runs[n])
		}
	}
	for one, err := range client.Workers(ctx) {
		t.Error("it has deregistered:", one, err)
	}
}

func TestATaskGoesOnInAnotherWorkerAtItsStage(t *testing.T) {
	stack := Start(t)
	ctx, client := within(t, time.Minute), stack.Client()
	kind := newType(t, client, "stages")
	// The broker says RUNNING before the worker has read that it got the task.
	began, saved := make(chan struct{}, 1), make(chan struct{}, 1)
	stop := start(t, stack, worker.Options{ID: "first"}, kind,
		func(ctx context.Context, task *worker.Task) (*asyncflowpb.Content, error) {
			began <- struct{}{}
			<-ctx.Done()
			err := task.SaveJSON(ctx, "one", 41) // the last thing that it does
			saved <- struct{}{}
			return nil, errors.Join(ctx.Err(), err)
		})
	task, err := client.Submit(ctx, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-began:
	case <-ctx.Done():
		t.Fatal("the task does not begin")
	}
	stop(0)
	select {
	case <-saved:
	case <-ctx.Done():
		t.Fatal("the task saves nothing")
	}
	start(t, stack, worker.Options{ID: "second"}, kind,
		func(_ context.Context, task *worker.Task) (*asyncflowpb.Content, error) {
			var state int
			if err := task.DecodeContext(&state); err != nil {
				return nil, err
			}
			return asyncflow.JSON(fmt.Sprint(task.Stage(), state+1, task.Attempt()))
		})
	var result string
	if err := client.Result(ctx, task.GetId(), &result); err != nil || result != "one42 2" {
		t.Error(result, err)
	}
	for one, err := range client.Attempts(ctx, task.GetId()) {
		if err != nil || one.GetAttempt() == 1 &&
			one.GetFailure().GetReason() != asyncflowpb.FailureReason_FAILURE_REASON_DRAINED {
			t.Error(one, err)
		}
	}
}

func TestWhatIsTooLargeIsSaid(t *testing.T) {
	stack := Start(t)
	ctx, client := within(t, time.Minute), stack.Client()
	kind := newType(t, client, "large")
	refused := make(chan error, 1)
	start(t, stack, worker.Options{}, kind,
		func(ctx context.Context, task *worker.Task) (*asyncflowpb.Content, error) {
			refused <- task.SaveJSON(ctx, "", strings.Repeat("x", 9_000))
			return asyncflow.JSON(strings.Repeat("x", worker.ResultBytesMax))
		})
	task, err := client.Submit(ctx, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	var ended *asyncflow.TaskError
	if err := client.Result(ctx, task.GetId(), nil); !errors.As(err, &ended) ||
		ended.Task.GetFailure().GetReason() !=
			asyncflowpb.FailureReason_FAILURE_REASON_RESULT_TOO_LARGE ||
		ended.Task.GetAttempt() != 1 {
		t.Error(err)
	}
	select {
	case err := <-refused:
		if !errors.Is(err, asyncflow.ErrInvalidArgument) {
			t.Error("the context is over the type's 8 KiB:", err)
		}
	case <-ctx.Done():
		t.Error("the save does not end")
	}
}

func TestNoTaskIsLostWhenWorkersComeAndGo(t *testing.T) {
	stack := Start(t)
	ctx, client := within(t, 2*time.Minute), stack.Client()
	kind := newType(t, client, "churn")
	work := func(ctx context.Context, task *worker.Task) (*asyncflowpb.Content, error) {
		select {
		case <-time.After(5 * time.Millisecond):
			return asyncflow.JSON(task.ID())
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	var ids []string
	for round := range 8 {
		stop := start(t, stack, worker.Options{ID: fmt.Sprint("w", round), Slots: 4}, kind, work)
		// The worker is told to end while its poll is being answered, or its tasks just begin.
		for range 1 + round {
			task, err := client.Submit(ctx, kind, nil)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, task.GetId())
		}
		stop(0)
	}
	start(t, stack, worker.Options{ID: "last", Slots: 8}, kind, work)
	for _, id := range ids {
		task, err := client.Wait(ctx, id)
		if err != nil || task.GetState() != asyncflowpb.TaskState_TASK_STATE_SUCCEEDED ||
			task.GetCrashes() != 0 || task.GetFailures() != 0 {
			t.Error(task, err)
		}
	}
}
