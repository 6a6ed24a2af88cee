package asyncflow

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
	"github.com/asyncflow/asyncflow/sdk/go/internal/backoff"
)

// Watch streams the state of tasks: as they are, then at every change. States that follow each
// other quickly may be left out, the last never is. After a break it goes on where it was; it
// tries for [Config.Timeout] to come back. It ends by itself only if UntilDone is set, or with an
// error. Leave the loop or cancel the context to end it.
//
// Errors: [ErrInvalidArgument]; OUT_OF_RANGE when it was away for too long: watch anew.
func (c *Client) Watch(
	ctx context.Context, request *asyncflowpb.WatchTasksRequest,
) iter.Seq2[*asyncflowpb.WatchTasksResponse, error] {
	return func(yield func(*asyncflowpb.WatchTasksResponse, error) bool) {
		request := proto.CloneOf(request)
		follow(ctx, c, yield,
			func(ctx context.Context) (receiver[asyncflowpb.WatchTasksResponse], error) {
				return c.broker.WatchTasks(ctx, request)
			},
			func(news *asyncflowpb.WatchTasksResponse) *asyncflowpb.WatchTasksResponse {
				if news.GetResumeToken() != "" {
					request.ResumeToken = news.GetResumeToken()
				}
				if news.GetTask() == nil && news.GetDeletedTaskId() == "" {
					return nil // keeps the connection alive
				}
				return news
			})
	}
}

// Logs streams what a task wrote; with Follow until it has ended. After a break it goes on where
// it was, like Watch, and gives nothing out twice.
//
// Errors: [ErrNotFound].
func (c *Client) Logs(
	ctx context.Context, request *asyncflowpb.StreamTaskLogsRequest,
) iter.Seq2[*asyncflowpb.StreamTaskLogsResponse, error] {
	return func(yield func(*asyncflowpb.StreamTaskLogsResponse, error) bool) {
		request := proto.CloneOf(request)
		var seen position
		follow(ctx, c, yield,
			func(ctx context.Context) (receiver[asyncflowpb.StreamTaskLogsResponse], error) {
				if seen != (position{}) {
					// The tail has moved on; what was seen is skipped by position instead.
					request.TailLines = nil
				}
				return c.broker.StreamTaskLogs(ctx, request)
			},
			seen.unseen)
	}
}

type receiver[T any] interface {
	Recv() (*T, error)
}

// follow gives out what a stream yields, and opens it again when it breaks. `take` sees every
// message and gives what is to be given out of it, nil for nothing.
func follow[T any](
	ctx context.Context, c *Client, yield func(*T, error) bool,
	open func(context.Context) (receiver[T], error), take func(*T) *T,
) {
	ctx, cancel := context.WithCancel(traced(ctx))
	defer cancel()
	var wait backoff.Waits
	broken := time.Time{}
	for {
		stream, err := open(ctx)
		for err == nil {
			var message *T
			if message, err = stream.Recv(); err != nil {
				break
			}
			wait, broken = backoff.Waits{}, time.Time{}
			if news := take(message); news != nil && !yield(news, nil) {
				return
			}
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if broken.IsZero() {
			broken = time.Now()
		}
		var told *Error
		if !errors.As(err, &told) || !told.Retryable() || time.Since(broken) > c.timeout ||
			!wait.Rest(ctx, told.RetryAfter) {
			yield(nil, err)
			return
		}
		c.conn.ResetConnectBackoff()
	}
}

// position is up to where everything was given out.
type position struct {
	attempt int32
	offset  int64
}

// unseen cuts off what lies before the position and moves it on; nil when nothing is left.
func (p *position) unseen(
	chunk *asyncflowpb.StreamTaskLogsResponse,
) *asyncflowpb.StreamTaskLogsResponse {
	end := chunk.GetOffset() + int64(len(chunk.GetData()))
	if chunk.GetAttempt() < p.attempt || chunk.GetAttempt() == p.attempt && end <= p.offset {
		return nil
	}
	if chunk.GetAttempt() == p.attempt && chunk.GetOffset() < p.offset {
		chunk.Data = chunk.GetData()[p.offset-chunk.GetOffset():]
		chunk.Offset = p.offset
	}
	*p = position{attempt: chunk.GetAttempt(), offset: end}
	return chunk
}
