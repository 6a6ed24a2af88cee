package worker

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
	"github.com/asyncflow/asyncflow/sdk/go/internal/backoff"
)

// After a failure the next heartbeat comes after this part of the interval.
const hurry = 5

// beat renews all leases until the context ends.
func (w *Worker) beat(ctx context.Context) {
	failures := 0
	for {
		current, err := w.link.session(ctx)
		if err != nil {
			return
		}
		interval := current.heartbeatInterval
		sentAt := time.Now()
		answer, err := call(ctx, w.link, max(interval, time.Second),
			func(sessionID string) *asyncflowpb.HeartbeatRequest {
				return &asyncflowpb.HeartbeatRequest{
					SessionId: sessionID, Leases: w.held.leases(), Draining: w.isDraining(),
				}
			}, w.link.broker.Heartbeat)
		wait := interval
		if err == nil {
			if failures > 0 {
				w.logger.Info("heartbeats get through again")
			}
			failures = 0
			w.held.follow(answer.GetLeases())
		} else if ctx.Err() == nil {
			// One line for an outage.
			if failures == 0 {
				w.logger.Warn("heartbeats fail", "error", err)
			}
			failures++
			wait = backoff.Jittered(interval / hurry)
		}
		if !backoff.Sleep(ctx, max(time.Until(sentAt.Add(wait)), wait/hurry)) {
			return
		}
	}
}

// followCommands does what the broker pushes until the context ends; the heartbeat is the safety
// net.
func (w *Worker) followCommands(ctx context.Context) {
	var waits backoff.Waits
	for {
		current, err := w.link.session(ctx)
		if err != nil {
			return
		}
		request := &asyncflowpb.StreamCommandsRequest{SessionId: current.id}
		stream, err := w.link.broker.StreamCommands(ctx, request)
		for err == nil {
			var message *asyncflowpb.StreamCommandsResponse
			if message, err = stream.Recv(); err == nil {
				waits = backoff.Waits{}
				if lease := message.GetCancel(); lease != nil {
					w.held.raise(lease, Cancelled)
				}
			}
		}
		if errors.Is(err, io.EOF) {
			err = &asyncflow.Error{Code: codes.Unavailable, Message: "the stream ended"}
		}
		w.link.note(current, err)
		if !waits.Rest(ctx, retryAfter(err)) {
			return
		}
	}
}
