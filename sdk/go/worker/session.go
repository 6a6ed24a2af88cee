package worker

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
	"github.com/asyncflow/asyncflow/sdk/go/internal/backoff"
)

const (
	registerTimeout = 10 * time.Second
	// So many sessions in a row that were lost within one lease are no accident.
	quickLossesMax = 2
)

// keepSession keeps a session in force until the context ends (nil), or this worker may not work:
// the broker refuses it at its first registration, or another process registers under the same id.
// Of two that do, the one that came first gives way, or they would take their tasks from each other
// for ever.
func (w *Worker) keepSession(ctx context.Context) error {
	incarnation := bootID() + "-" + strings.ToLower(rand.Text())
	quickLosses := 0
	for isFirst := true; ; isFirst = false {
		registered, err := w.register(ctx, incarnation, isFirst)
		if err != nil || registered == nil {
			return err
		}
		at := time.Now()
		w.link.set(registered)
		if isFirst {
			close(w.registered)
		}
		if !w.link.lost(ctx, registered) {
			return nil
		}
		if time.Since(at) < registered.leaseTTL {
			quickLosses++
		} else {
			quickLosses = 0
		}
		if quickLosses >= quickLossesMax {
			return fmt.Errorf("worker: another worker registers as %s: each needs its own ID",
				w.options.ID)
		}
	}
}

// register tries until it is answered; nil when the context ends.
func (w *Worker) register(
	ctx context.Context, incarnation string, isFirst bool,
) (*session, error) {
	var waits backoff.Waits
	for {
		adopted := w.held.leases()
		limited, cancel := context.WithTimeout(ctx, registerTimeout)
		answer, err := w.link.broker.RegisterWorker(limited, &asyncflowpb.RegisterWorkerRequest{
			WorkerId:    w.options.ID,
			Incarnation: incarnation,
			Host:        w.options.Host,
			Labels:      w.options.Labels,
			TaskTypes:   w.taskTypes(),
			Slots:       int32(w.options.Slots),
			Version:     asyncflow.Version,
			Adopted:     adopted,
		})
		cancel()
		switch {
		case err == nil:
			w.held.keepAdopted(adopted, answer.GetAdopted())
			w.logger.Info("registered", "worker_id", w.options.ID)
			return &session{
				id:                answer.GetSessionId(),
				heartbeatInterval: span(answer.GetHeartbeatInterval(), 10*time.Second),
				leaseTTL:          span(answer.GetLeaseTtl(), 30*time.Second),
			}, nil
		case ctx.Err() != nil:
			return nil, nil
		case isFirst && isRefusal(err):
			return nil, fmt.Errorf("worker: cannot register: %w", err)
		}
		w.link.note(nil, err)
		w.logger.Warn("cannot register, trying again", "error", err)
		if !waits.Rest(ctx, retryAfter(err)) {
			return nil, nil
		}
	}
}

func isRefusal(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated,
		codes.Unimplemented:
		return true
	default:
		return false
	}
}

func span(given *durationpb.Duration, otherwise time.Duration) time.Duration {
	if given.AsDuration() > 0 {
		return given.AsDuration()
	}
	return otherwise
}

// bootID tells processes of different boots apart; empty where the system has none.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
