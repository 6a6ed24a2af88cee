package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
	"github.com/asyncflow/asyncflow/sdk/go/internal/backoff"
)

// session is what a registration gave.
type session struct {
	id                string
	heartbeatInterval time.Duration
	leaseTTL          time.Duration
}

// link is the way to the broker, and the session that every call carries.
type link struct {
	conn   *grpc.ClientConn
	broker asyncflowpb.WorkerServiceClient
	logger *slog.Logger

	mu      sync.Mutex
	current *session
	// Replaced and closed when `current` changes.
	changed chan struct{}
}

func openLink(config asyncflow.Config, logger *slog.Logger) (*link, error) {
	conn, err := asyncflow.Dial(config)
	if err != nil {
		return nil, err
	}
	broker := asyncflowpb.NewWorkerServiceClient(conn)
	return &link{conn: conn, broker: broker, logger: logger, changed: make(chan struct{})}, nil
}

func (l *link) look() (*session, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current, l.changed
}

// session gives the session in force; waits for one.
func (l *link) session(ctx context.Context) (*session, error) {
	for {
		current, changed := l.look()
		if current != nil {
			return current, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// lost waits until this session was found to be unknown; false when the context ends.
func (l *link) lost(ctx context.Context, known *session) bool {
	for {
		current, changed := l.look()
		if current != known {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

func (l *link) set(current *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = current
	close(l.changed)
	l.changed = make(chan struct{})
}

// forget drops this session, unless there is another one by now.
func (l *link) forget(used *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if used == nil || l.current != used {
		return
	}
	l.logger.Warn("the broker does not know this session, registering again")
	l.current = nil
	close(l.changed)
	l.changed = make(chan struct{})
}

// note learns from an error of a call under this session.
func (l *link) note(used *session, err error) {
	if hasReason(err, "UNKNOWN_SESSION") {
		l.forget(used)
	}
	if errors.Is(err, asyncflow.ErrUnavailable) {
		// The next try is after a wait of ours; gRPC's own would come on top of it.
		l.conn.ResetConnectBackoff()
	}
}

// call is one try of a call under the session in force; waits for a session.
func call[Q, A any](
	ctx context.Context, l *link, timeout time.Duration, request func(sessionID string) Q,
	send func(context.Context, Q, ...grpc.CallOption) (A, error),
) (A, error) {
	var none A
	used, err := l.session(ctx)
	if err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err := send(ctx, request(used.id))
	if err != nil {
		l.note(used, err)
		return none, err
	}
	return answer, nil
}

// callUntilAnswered is call, repeated until it is answered or refused for good, or the context
// ends.
func callUntilAnswered[Q, A any](
	ctx context.Context, l *link, timeout time.Duration, request func(sessionID string) Q,
	send func(context.Context, Q, ...grpc.CallOption) (A, error),
) (A, error) {
	var waits backoff.Waits
	for {
		answer, err := call(ctx, l, timeout, request, send)
		if err == nil || ctx.Err() != nil || !isWorthRepeating(err) ||
			!waits.Rest(ctx, retryAfter(err)) {
			return answer, err
		}
	}
}

// isWorthRepeating says whether a call of a worker may get another answer later: everything but a
// clear refusal.
func isWorthRepeating(err error) bool {
	var told *asyncflow.Error
	if !errors.As(err, &told) {
		return false
	}
	if told.Retryable() || told.Reason == "UNKNOWN_SESSION" {
		return true
	}
	switch told.Code {
	case codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown, codes.DataLoss,
		codes.Unauthenticated:
		return true
	default:
		return false
	}
}

func retryAfter(err error) time.Duration {
	var told *asyncflow.Error
	if errors.As(err, &told) {
		return told.RetryAfter
	}
	return 0
}

func hasReason(err error, reason string) bool {
	var told *asyncflow.Error
	return errors.As(err, &told) && told.Reason == reason
}

func isLost(err error) bool {
	return hasReason(err, "LEASE_LOST") || hasReason(err, "NOT_YOUR_LEASE")
}
