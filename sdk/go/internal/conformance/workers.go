package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
	"github.com/asyncflow/asyncflow/sdk/go/worker"
)

const (
	registerMax = 20 * time.Second
	saveEvery   = 100 * time.Millisecond
)

// running is a worker that was started.
type running struct {
	worker *worker.Worker
	ended  chan error
}

func (p *player) workerStart(_ context.Context, f fields) (any, error) {
	options := worker.Options{ID: "go-" + randomHex(), Slots: max(f.Slots, 1)}
	made, err := worker.New(asyncflow.Config{}, options)
	if err != nil {
		return nil, err
	}
	for taskType, name := range f.Handlers {
		handler := handlers[name]
		if handler == nil {
			return nil, fmt.Errorf("no such handler: %s", name)
		}
		made.Handle(taskType, handler)
	}
	started := &running{worker: made, ended: make(chan error, 1)}
	p.workers[f.Worker] = started
	go func() { started.ended <- made.Run(context.Background()) }()
	select {
	case <-made.Registered():
		return map[string]any{}, nil
	case err := <-started.ended:
		delete(p.workers, f.Worker)
		return nil, fmt.Errorf("the worker ended: %w", err)
	case <-time.After(registerMax):
		return nil, errors.New("the worker does not register")
	}
}

func (p *player) workerStop(_ context.Context, f fields) (any, error) {
	return map[string]any{}, p.stopWorker(f.Worker, seconds(f.DrainS), f.timeout(15*time.Second))
}

func (p *player) stopWorker(name string, drain, limit time.Duration) error {
	found := p.workers[name]
	if found == nil {
		return fmt.Errorf("no such worker: %s", name)
	}
	delete(p.workers, name)
	found.worker.Shutdown(drain)
	select {
	case err := <-found.ended:
		return err
	case <-time.After(limit):
		return fmt.Errorf("the worker %s has not ended after %v", name, limit)
	}
}

// handlers are those that every runner has.
var handlers = map[string]worker.Handler{
	"echo":            echo,
	"stages":          stages,
	"until_stopped":   untilStopped,
	"retry_later":     retryLater,
	"permanent":       permanent,
	"save_until_lost": saveUntilLost,
}

func echo(_ context.Context, task *worker.Task) (*asyncflowpb.Content, error) {
	return task.Payload(), nil
}

func stages(ctx context.Context, task *worker.Task) (*asyncflowpb.Content, error) {
	var state struct {
		Step int `json:"step"`
	}
	if task.Attempt() == 1 {
		state.Step = 1
		if err := task.SaveJSON(ctx, "one", state); err != nil {
			return nil, err
		}
		return nil, errors.New("fails after stage one, as it should")
	}
	if err := task.DecodeContext(&state); err != nil {
		return nil, err
	}
	return asyncflow.JSON(map[string]any{
		"stage": task.Stage(), "step": state.Step, "attempt": task.Attempt(),
	})
}

func untilStopped(ctx context.Context, task *worker.Task) (*asyncflowpb.Content, error) {
	task.Progress(10, "waits to be stopped")
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func retryLater(_ context.Context, task *worker.Task) (*asyncflowpb.Content, error) {
	if task.Attempt() == 1 {
		return nil, worker.RetryAfter(time.Second, errors.New("not now"))
	}
	return asyncflow.JSON(map[string]any{"attempt": task.Attempt()})
}

func permanent(context.Context, *worker.Task) (*asyncflowpb.Content, error) {
	return nil, worker.Permanent(errors.New("cannot work, ever"))
}

func saveUntilLost(ctx context.Context, task *worker.Task) (*asyncflowpb.Content, error) {
	if task.Attempt() > 1 {
		return asyncflow.JSON(map[string]any{"attempt": task.Attempt()})
	}
	for i := 1; ; i++ {
		if err := task.SaveJSON(ctx, "", map[string]any{"n": i}); err != nil {
			return nil, err
		}
		select {
		case <-time.After(saveEvery):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
