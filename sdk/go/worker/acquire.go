package worker

import (
	"context"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
	"github.com/asyncflow/asyncflow/sdk/go/internal/backoff"
)

const (
	acquireMax   = 1000
	acquireWait  = 30 * time.Second
	acquireSlack = 10 * time.Second
	// An empty answer that comes sooner than this was no long poll: a broker that shuts down
	// answers at once, and must not be asked in a circle.
	emptyAnswerMin = 200 * time.Millisecond
)

// acquire takes tasks for free slots, one long poll at a time, until the context ends. What was
// handed out in an answer that was not read goes back when the worker deregisters.
func (w *Worker) acquire(ctx context.Context) {
	var refusals backoff.Waits
	for {
		free := w.held.free(ctx)
		if free == 0 {
			return
		}
		askedAt := time.Now()
		tasks, err := w.acquireOnce(ctx, min(free, acquireMax))
		if ctx.Err() != nil && err != nil {
			return
		}
		switch {
		case err != nil:
			w.logger.Error("acquire was refused", "error", err)
			if !refusals.Rest(ctx, retryAfter(err)) {
				return
			}
			continue
		case len(tasks) == 0 && time.Since(askedAt) < emptyAnswerMin:
			if !backoff.Sleep(ctx, backoff.Jittered(emptyAnswerMin)) {
				return
			}
		}
		refusals = backoff.Waits{}
		for _, leased := range tasks {
			w.take(leased)
		}
	}
}

// acquireOnce is repeated under the same id until it is answered: a lost answer loses no task.
func (w *Worker) acquireOnce(ctx context.Context, most int) ([]*asyncflowpb.LeasedTask, error) {
	id := uuid.Must(uuid.NewV7()).String()
	answer, err := callUntilAnswered(ctx, w.link, acquireWait+acquireSlack,
		func(sessionID string) *asyncflowpb.AcquireTasksRequest {
			return &asyncflowpb.AcquireTasksRequest{
				SessionId: sessionID,
				AcquireId: id,
				MaxTasks:  int32(most),
				Wait:      durationpb.New(acquireWait),
				Start:     true,
			}
		}, w.link.broker.AcquireTasks)
	return answer.GetTasks(), err
}

// take holds a task and runs it.
func (w *Worker) take(leased *asyncflowpb.LeasedTask) {
	stop := w.held.add(leased.GetLease())
	if stop == nil {
		return
	}
	if leased.GetTask().GetState() == asyncflowpb.TaskState_TASK_STATE_CANCELLING {
		stop.raise(Cancelled)
	}
	w.attempts.Add(1)
	go func() {
		defer w.attempts.Done()
		w.attempt(leased, stop)
	}()
}
