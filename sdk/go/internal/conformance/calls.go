package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

func (p *player) create(ctx context.Context, f fields) (any, error) {
	task, err := spec(f.Task)
	if err != nil {
		return nil, err
	}
	if f.RequestID == "" {
		return told(p.client.Create(ctx, task))
	}
	request := &asyncflowpb.CreateTaskRequest{Task: task, RequestId: f.RequestID}
	answer, err := p.client.CreateWith(ctx, request)
	return told(answer.GetTask(), err)
}

func (p *player) batchCreate(ctx context.Context, f fields) (any, error) {
	tasks, err := specs(f.Tasks)
	if err != nil {
		return nil, err
	}
	made, err := p.client.CreateBatch(ctx, tasks)
	if err != nil {
		return nil, err
	}
	return collect("tasks", sequence(made))
}

func (p *player) streamCreate(ctx context.Context, f fields) (any, error) {
	tasks, err := specs(f.Tasks)
	if err != nil {
		return nil, err
	}
	requests := func(yield func(*asyncflowpb.CreateTaskRequest) bool) {
		for _, task := range tasks {
			if !yield(&asyncflowpb.CreateTaskRequest{Task: task}) {
				return
			}
		}
	}
	results := []any{}
	for result, err := range p.client.CreateStream(ctx, requests) {
		if err != nil {
			return nil, err
		}
		one := map[string]any{"task_id": result.GetTaskId()}
		var refused *asyncflow.Error
		if errors.As(asyncflow.ErrorOf(result.GetError()), &refused) {
			one = map[string]any{"error": map[string]any{
				"code": codeName(int32(refused.Code)), "reason": refused.Reason,
			}}
		}
		results = append(results, one)
	}
	return map[string]any{"results": results}, nil
}

func (p *player) get(ctx context.Context, f fields) (any, error) {
	return told(p.client.Get(ctx, f.id()))
}

func (p *player) list(ctx context.Context, f fields) (any, error) {
	request := &asyncflowpb.ListTasksRequest{Filter: f.Filter, PageSize: f.PageSize}
	return collect("tasks", p.client.List(ctx, request))
}

func (p *player) count(ctx context.Context, f fields) (any, error) {
	request := &asyncflowpb.CountTasksRequest{TaskType: f.TaskType}
	for _, name := range f.States {
		number, ok := asyncflowpb.TaskState_value[name]
		if !ok {
			return nil, fmt.Errorf("no such state: %s", name)
		}
		request.States = append(request.States, asyncflowpb.TaskState(number))
	}
	answer, err := p.client.Count(ctx, request)
	return map[string]any{"total": float64(answer.GetTotal())}, err
}

func (p *player) cancel(ctx context.Context, f fields) (any, error) {
	return told(p.client.Cancel(ctx, f.id(), ""))
}

func (p *player) retry(ctx context.Context, f fields) (any, error) {
	return told(p.client.Retry(ctx, f.id()))
}

func (p *player) wait(ctx context.Context, f fields) (any, error) {
	return told(p.client.WaitFor(ctx, f.id(), f.timeout(0)))
}

func (p *player) attempts(ctx context.Context, f fields) (any, error) {
	return collect("attempts", p.client.Attempts(ctx, f.id()))
}

func (p *player) logs(ctx context.Context, f fields) (any, error) {
	var text strings.Builder
	request := &asyncflowpb.StreamTaskLogsRequest{TaskId: f.id()}
	for chunk, err := range p.client.Logs(ctx, request) {
		if err != nil {
			return nil, err
		}
		text.Write(chunk.GetData())
	}
	return map[string]any{"text": text.String()}, nil
}

// watch collects states in the background.
type watch struct {
	end   context.CancelFunc
	news  chan string
	ended chan error
	seen  []any
}

func (p *player) watchBegin(_ context.Context, f fields) (any, error) {
	request := &asyncflowpb.WatchTasksRequest{Filter: f.Filter}
	if f.id() != "" {
		request.TaskIds = []string{f.id()}
	}
	ctx, cancel := context.WithCancel(context.Background())
	begun := &watch{end: cancel, news: make(chan string), ended: make(chan error, 1)}
	p.watches[f.Watch] = begun
	go func() {
		for news, err := range p.client.Watch(ctx, request) {
			if err != nil {
				begun.ended <- err
				return
			}
			select {
			case begun.news <- news.GetTask().GetState().String():
			case <-ctx.Done():
			}
		}
		begun.ended <- errors.New("the watch ended")
	}()
	return map[string]any{}, nil
}

func (p *player) watchUntil(_ context.Context, f fields) (any, error) {
	watch := p.watches[f.Watch]
	if watch == nil {
		return nil, fmt.Errorf("no such watch: %s", f.Watch)
	}
	late := time.After(f.timeout(0))
	for len(watch.seen) == 0 || watch.seen[len(watch.seen)-1] != f.State {
		select {
		case state := <-watch.news:
			if len(watch.seen) == 0 || watch.seen[len(watch.seen)-1] != state {
				watch.seen = append(watch.seen, state)
			}
		case err := <-watch.ended:
			return nil, fmt.Errorf("the watch failed after %v: %w", watch.seen, err)
		case <-late:
			return nil, fmt.Errorf("the time is over, seen: %v", watch.seen)
		}
	}
	return map[string]any{"states": slices.Clone(watch.seen)}, nil
}

func sequence[T any](items []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
	}
}

// collect gives all messages under a name.
func collect[T proto.Message](name string, all iter.Seq2[T, error]) (any, error) {
	items := []any{}
	for message, err := range all {
		one, err := told(message, err)
		if err != nil {
			return nil, err
		}
		items = append(items, one)
	}
	return map[string]any{name: items}, nil
}
