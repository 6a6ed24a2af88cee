package asyncflow

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
	"github.com/asyncflow/asyncflow/sdk/go/internal/backoff"
)

const (
	// Requests that go in one message, if they are there at the same time.
	streamRequestsMax = 500
	// What they may weigh: half of the smallest limit that a broker can be given for its messages.
	streamBytesMax = 512 << 10
	// Messages that may wait for their answer.
	streamMessagesMax = 8
)

type createMessage = *asyncflowpb.StreamCreateTasksRequest

// CreateStream creates tasks as `requests` yields them, no faster than the broker writes, and gives
// one result for each, in their order, when it is on disk. A task that could not be created has an
// Error, which [ErrorOf] turns into one of Go's, and the others go on. When the stream breaks, what
// has no result yet is sent again with the same request ids, for [Config.Timeout]; empty ones are
// replaced by random ones.
//
// `requests` is called in another goroutine. It is not called any more when the loop over the
// results is left.
//
// Errors: the broker refuses the stream, or does not come back; what had no result by then may
// have been created or not.
func (c *Client) CreateStream(
	ctx context.Context, requests iter.Seq[*asyncflowpb.CreateTaskRequest],
) iter.Seq2[*asyncflowpb.CreateTaskResult, error] {
	return func(yield func(*asyncflowpb.CreateTaskResult, error) bool) {
		ctx, cancel := context.WithCancel(traced(ctx))
		defer cancel()
		creating := &creating{client: c, messages: pull(ctx, requests)}
		creating.run(ctx, yield)
	}
}

// pull reads requests in the background and puts those that are there together into messages.
func pull(
	ctx context.Context, requests iter.Seq[*asyncflowpb.CreateTaskRequest],
) <-chan createMessage {
	single := make(chan *asyncflowpb.CreateTaskRequest, streamRequestsMax)
	go func() {
		defer close(single)
		for request := range requests {
			identified, _ := identify(request)
			select {
			case single <- identified.(*asyncflowpb.CreateTaskRequest):
			case <-ctx.Done():
				return
			}
		}
	}()
	messages := make(chan createMessage)
	go func() {
		defer close(messages)
		var kept *asyncflowpb.CreateTaskRequest
		for {
			var message createMessage
			if message, kept = together(single, kept); message == nil {
				return
			}
			select {
			case messages <- message:
			case <-ctx.Done():
				return
			}
		}
	}()
	return messages
}

// together waits for a request, unless one was kept, and puts those behind it that are there into
// the same message. What would make that too large is to be kept for the next one. Nil at the end.
func together(
	single <-chan *asyncflowpb.CreateTaskRequest, kept *asyncflowpb.CreateTaskRequest,
) (createMessage, *asyncflowpb.CreateTaskRequest) {
	next := kept
	if next == nil {
		next = <-single
	}
	if next == nil {
		return nil, nil
	}
	message := &asyncflowpb.StreamCreateTasksRequest{}
	for weight := 0; next != nil; {
		weight += proto.Size(next)
		if len(message.Requests) > 0 && weight > streamBytesMax {
			return message, next
		}
		message.Requests = append(message.Requests, next)
		if len(message.Requests) == streamRequestsMax || len(single) == 0 {
			break
		}
		next = <-single
	}
	return message, nil
}

// creating is one stream of creates over all its connections.
type creating struct {
	client   *Client
	messages <-chan createMessage
	// Sent, perhaps, and not answered.
	open []createMessage
	// Nothing more comes from `messages`.
	isDry bool
}

func (s *creating) run(
	ctx context.Context, yield func(*asyncflowpb.CreateTaskResult, error) bool,
) {
	var wait backoff.Waits
	broken := time.Time{}
	for {
		progress, left, err := s.connection(ctx, yield)
		if left || err == nil {
			return
		}
		if progress {
			wait, broken = backoff.Waits{}, time.Time{}
		}
		if broken.IsZero() {
			broken = time.Now()
		}
		var told *Error
		if !errors.As(err, &told) || !told.Retryable() ||
			time.Since(broken) > s.client.timeout || !wait.Rest(ctx, told.RetryAfter) {
			yield(nil, err)
			return
		}
		s.client.conn.ResetConnectBackoff()
	}
}

type answered struct {
	message *asyncflowpb.StreamCreateTasksResponse
	err     error
}

// connection sends and receives until everything is answered (nil), the connection breaks, or the
// caller has `left`. `progress`: something was answered.
func (s *creating) connection(
	ctx context.Context, yield func(*asyncflowpb.CreateTaskResult, error) bool,
) (progress, left bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.client.broker.StreamCreateTasks(ctx)
	if err != nil {
		return false, false, err
	}
	// It holds all answers that can come: who sends must not keep the receiver waiting, or the
	// broker, which reads no faster than its answers are read, would keep both.
	answers := make(chan answered, streamMessagesMax+1)
	go func() {
		for {
			message, err := stream.Recv()
			select {
			case answers <- answered{message, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	// An error of Send is told by Recv.
	for _, message := range s.open {
		_ = stream.Send(message)
	}
	for {
		if s.isDry && len(s.open) == 0 {
			_ = stream.CloseSend()
			return progress, false, nil
		}
		messages := s.messages
		if s.isDry || len(s.open) >= streamMessagesMax {
			messages = nil
		}
		select {
		case message, more := <-messages:
			if !more {
				s.isDry = true
				continue
			}
			s.open = append(s.open, message)
			_ = stream.Send(message)
		case answer := <-answers:
			if answer.err != nil {
				return progress, false, ended(answer.err)
			}
			if left, err := s.give(answer.message, yield); left || err != nil {
				return true, left, err
			}
			progress = true
		case <-ctx.Done():
			return progress, false, asError(ctx, ctx.Err())
		}
	}
}

// give gives out the results of the oldest open message.
func (s *creating) give(
	answer *asyncflowpb.StreamCreateTasksResponse,
	yield func(*asyncflowpb.CreateTaskResult, error) bool,
) (left bool, err error) {
	if len(s.open) == 0 || len(answer.GetResults()) != len(s.open[0].GetRequests()) {
		return false, incomplete("result for each request")
	}
	s.open = s.open[1:]
	for _, result := range answer.GetResults() {
		if !yield(result, nil) {
			return true, nil
		}
	}
	return false, nil
}

// ended: a broker that ends the stream before everything is answered shuts down.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return &Error{Code: codes.Unavailable, Message: "the stream ended"}
	}
	return err
}
