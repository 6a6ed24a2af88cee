package asyncflow

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/asyncflow/asyncflow/sdk/go/internal/backoff"
)

// What WaitTask and its like wait when the request does not say.
const defaultWait = 30 * time.Second

// Calls with these names change nothing, or do the same when they are repeated.
var harmless = []string{
	"Get", "List", "Count", "Explain", "Wait", "Cancel", "Pause", "Resume", "Signal", "Delete",
}

// repeater gives each unary call a deadline and request ids, and repeats it.
type repeater struct {
	timeout time.Duration
}

func (r repeater) unary(
	ctx context.Context, method string, request, answer any, conn *grpc.ClientConn,
	invoker grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	message, isSafe := prepare(method, request)
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.timeout+allowance(message))
		defer cancel()
	}
	// One trace for all tries: the first may have created the task which the last one finds.
	ctx = traced(ctx)
	var wait backoff.Waits
	var before *Error
	mayBeDone := false
	for {
		var sent peer.Peer
		tried := append(options[:len(options):len(options)], grpc.Peer(&sent))
		err := invoker(ctx, method, message, answer, conn, tried...)
		if err == nil {
			return nil
		}
		var told *Error
		if !errors.As(err, &told) {
			return err
		}
		if mayBeDone && told.Code == codes.NotFound && verb(method) == "Delete" {
			return nil
		}
		// A call that met no connection was not sent, and a broker that asks for it to be
		// repeated has not done it.
		mayBeDone = mayBeDone || sent.Addr != nil && !told.mayRepeat
		if !told.Retryable() || !isSafe && mayBeDone {
			return withLast(told, before)
		}
		if !wait.Rest(ctx, told.RetryAfter) {
			return told
		}
		before = told
		conn.ResetConnectBackoff()
	}
}

// withLast says of a call that ended at its deadline why it had not succeeded before.
func withLast(told, before *Error) error {
	if before == nil || told.Code != codes.DeadlineExceeded {
		return told
	}
	late := *told
	late.Message = fmt.Sprintf("no answer within the deadline; before: %s", before.Message)
	return &late
}

// prepare gives the message to be sent, with request ids, and whether it may be repeated although
// it may have been done.
func prepare(method string, request any) (any, bool) {
	message, ok := request.(proto.Message)
	if !ok {
		return request, false
	}
	isSafe := false
	for _, name := range harmless {
		isSafe = isSafe || strings.HasPrefix(path.Base(method), name)
	}
	identified, has := identify(message)
	return identified, isSafe || has
}

func verb(method string) string {
	name := path.Base(method)
	for _, prefix := range harmless {
		if strings.HasPrefix(name, prefix) {
			return prefix
		}
	}
	return name
}

// identify gives the message with a random request id wherever one is missing, and whether it
// has a place for one. The caller's message stays as it is.
func identify(message proto.Message) (proto.Message, bool) {
	reflected := message.ProtoReflect()
	if field := requestID(reflected); field != nil {
		if reflected.Get(field).String() != "" {
			return message, true
		}
		message = proto.Clone(message)
		setRequestID(message.ProtoReflect())
		return message, true
	}
	field := reflected.Descriptor().Fields().ByName("requests")
	if field == nil || !field.IsList() || field.Message() == nil ||
		field.Message().Fields().ByName("request_id") == nil {
		return message, false
	}
	message = proto.Clone(message)
	requests := message.ProtoReflect().Get(field).List()
	for i := range requests.Len() {
		setRequestID(requests.Get(i).Message())
	}
	return message, true
}

func requestID(message protoreflect.Message) protoreflect.FieldDescriptor {
	field := message.Descriptor().Fields().ByName("request_id")
	if field == nil || field.Kind() != protoreflect.StringKind || field.IsList() {
		return nil
	}
	return field
}

func setRequestID(message protoreflect.Message) {
	field := requestID(message)
	if field != nil && message.Get(field).String() == "" {
		message.Set(field, protoreflect.ValueOfString(NewRequestID()))
	}
}

// allowance is how long the broker itself may wait before it answers.
func allowance(request any) time.Duration {
	if waiting, ok := request.(interface{ GetTimeout() *durationpb.Duration }); ok {
		if waiting.GetTimeout() == nil {
			return defaultWait
		}
		return waiting.GetTimeout().AsDuration()
	}
	return 0
}
