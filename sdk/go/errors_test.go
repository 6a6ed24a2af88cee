package asyncflow

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

// refusal makes what a broker answers.
func refusal(code codes.Code, message string, details ...protoadapt.MessageV1) error {
	told, err := status.New(code, message).WithDetails(details...)
	if err != nil {
		panic(err)
	}
	return told.Err()
}

func retryIn(wait time.Duration) *errdetails.RetryInfo {
	return &errdetails.RetryInfo{RetryDelay: durationpb.New(wait)}
}

var invalid = refusal(codes.InvalidArgument, "the request is not valid",
	&errdetails.ErrorInfo{Reason: "INVALID_FIELDS", Metadata: map[string]string{"key": "value"}},
	&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: "task.task_type", Description: "must not be empty"},
		{Field: "task.priority", Description: "must be at most 1,000"},
	}})

func TestAnErrorTellsReasonAndEveryViolation(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", asError(context.Background(), invalid))
	var told *Error
	if !errors.As(err, &told) {
		t.Fatal(err)
	}
	want := "the request is not valid (INVALID_FIELDS)\n  task.task_type: must not be empty\n" +
		"  task.priority: must be at most 1,000"
	if told.Error() != want || told.Metadata["key"] != "value" || told.Retryable() {
		t.Errorf("%+v", told)
	}
	if !errors.Is(err, ErrInvalidArgument) || errors.Is(err, ErrNotFound) {
		t.Error("compared wrongly")
	}
	if status.Code(err) != codes.InvalidArgument {
		t.Error(status.Code(err))
	}
}

func TestErrorsAreComparedByCodeAndReason(t *testing.T) {
	lost := asError(context.Background(), refusal(codes.Aborted, "lost",
		&errdetails.ErrorInfo{Reason: "LEASE_LOST"}))
	other := asError(context.Background(), refusal(codes.Aborted, "etag",
		&errdetails.ErrorInfo{Reason: "ETAG"}))
	if !errors.Is(lost, ErrLeaseLost) || errors.Is(other, ErrLeaseLost) {
		t.Error("the reason does not count")
	}
}

func TestWhatMayBeTriedAgain(t *testing.T) {
	for _, one := range []struct {
		err   error
		again bool
		after time.Duration
	}{
		{status.Error(codes.Unavailable, "gone"), true, 0},
		{refusal(codes.ResourceExhausted, "busy", retryIn(time.Second)), true, time.Second},
		{refusal(codes.Aborted, "conflict", retryIn(0)), true, 0},
		{status.Error(codes.ResourceExhausted, "too large"), false, 0},
		{status.Error(codes.DeadlineExceeded, "late"), false, 0},
		{invalid, false, 0},
	} {
		var told *Error
		if !errors.As(asError(context.Background(), one.err), &told) ||
			told.Retryable() != one.again || told.RetryAfter != one.after {
			t.Errorf("%v: %+v", one.err, told)
		}
	}
}

func TestTheContextsErrorIsFound(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	late := asError(ctx, status.Error(codes.DeadlineExceeded, "late"))
	if !errors.Is(late, context.DeadlineExceeded) {
		t.Error(late)
	}
	foreign := asError(ctx, status.Error(codes.Canceled, "by the broker"))
	cancel()
	if own := asError(ctx, ctx.Err()); !errors.Is(own, context.Canceled) ||
		errors.Is(foreign, context.Canceled) {
		t.Error(own, foreign)
	}
}

func TestTheErrorOfOneTaskOfMany(t *testing.T) {
	if ErrorOf(nil) != nil {
		t.Error("there is none")
	}
	full, err := proto.Marshal(status.Convert(invalid).Proto())
	if err != nil {
		t.Fatal(err)
	}
	told := ErrorOf(&asyncflowpb.TaskError{Code: 3, Message: "bad", Status: full})
	var refused *Error
	if !errors.As(told, &refused) || refused.Message != "bad" || len(refused.Violations) != 2 {
		t.Errorf("%+v", told)
	}
	bare := ErrorOf(&asyncflowpb.TaskError{Code: 5, Message: "gone", Status: []byte("rubbish")})
	if !errors.Is(bare, ErrNotFound) {
		t.Error(bare)
	}
}
