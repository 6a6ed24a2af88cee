package asyncflow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

// To compare with by [errors.Is].
var (
	// ErrNotFound: the task, task type or whatever was named is not there (any more).
	ErrNotFound = &Error{Code: codes.NotFound}
	// ErrInvalidArgument: the request is wrong; Violations says where.
	ErrInvalidArgument = &Error{Code: codes.InvalidArgument}
	// ErrAlreadyExists: another request has made it.
	ErrAlreadyExists = &Error{Code: codes.AlreadyExists}
	// ErrUnauthenticated: the token is missing or unknown.
	ErrUnauthenticated = &Error{Code: codes.Unauthenticated}
	// ErrPermissionDenied: the caller may not do that.
	ErrPermissionDenied = &Error{Code: codes.PermissionDenied}
	// ErrFailedPrecondition: the state does not allow it.
	ErrFailedPrecondition = &Error{Code: codes.FailedPrecondition}
	// ErrUnavailable: no broker could be reached, or it could not reach its database.
	ErrUnavailable = &Error{Code: codes.Unavailable}

	// ErrRequestIDReused: another request was made under this request id.
	ErrRequestIDReused = &Error{Code: codes.AlreadyExists, Reason: "REQUEST_ID_REUSED"}
	// ErrUnknownTaskType: there is no such task type.
	ErrUnknownTaskType = &Error{Code: codes.NotFound, Reason: "UNKNOWN_TASK_TYPE"}
	// ErrIllegalState: a task in its state cannot do that.
	ErrIllegalState = &Error{Code: codes.FailedPrecondition, Reason: "ILLEGAL_STATE"}
	// ErrLeaseLost: another attempt is in force.
	ErrLeaseLost = &Error{Code: codes.Aborted, Reason: "LEASE_LOST"}
)

// Violation is one field of a request that was refused.
type Violation struct {
	// Field is the path of the field, e.g. task.retry.max_retries.
	Field string
	// Description says what is wrong with it.
	Description string
}

// Error is a call that did not succeed. Get it by [errors.As].
type Error struct {
	// Code is the gRPC code.
	Code codes.Code
	// Reason is for programs, e.g. LEASE_LOST; docs/errors explains each. Empty when no broker has
	// answered.
	Reason string
	// Message is for people, without what the other fields say.
	Message string
	// Violations are all that is wrong with the request.
	Violations []Violation
	// Metadata belongs to the reason.
	Metadata map[string]string
	// RetryAfter is how long the broker asks to wait before the call is repeated, if it asks.
	RetryAfter time.Duration

	mayRepeat bool
	status    *status.Status
	cause     error
}

// Error tells message, reason and every violation.
func (e *Error) Error() string {
	var text strings.Builder
	if e.Message == "" {
		text.WriteString(e.Code.String())
	} else {
		text.WriteString(e.Message)
	}
	if e.Reason != "" {
		fmt.Fprintf(&text, " (%s)", e.Reason)
	}
	for _, violation := range e.Violations {
		fmt.Fprintf(&text, "\n  %s: %s", violation.Field, violation.Description)
	}
	return text.String()
}

// Retryable says whether the same call may succeed later: the broker said so, or it could not be
// reached.
func (e *Error) Retryable() bool {
	return e.mayRepeat || e.Code == codes.Unavailable
}

// Is makes [errors.Is] compare by code and, where the target has one, by reason.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code && (other.Reason == "" || other.Reason == e.Reason)
}

// Unwrap gives the context's error where that ended the call.
func (e *Error) Unwrap() error {
	return e.cause
}

// GRPCStatus makes an Error usable where a status of gRPC is wanted.
func (e *Error) GRPCStatus() *status.Status {
	if e.status == nil {
		return status.New(e.Code, e.Message)
	}
	return e.status
}

// ErrorOf makes the error of one task of many, as a call about it alone would have given it; nil
// stays nil.
func ErrorOf(told *asyncflowpb.TaskError) error {
	if told == nil {
		return nil
	}
	full := &statuspb.Status{}
	if err := proto.Unmarshal(told.GetStatus(), full); err != nil {
		full = &statuspb.Status{}
	}
	full.Code, full.Message = told.GetCode(), told.GetMessage()
	return fromStatus(status.FromProto(full))
}

// asError makes an [*Error] of what gRPC answers; nil stays nil.
func asError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	from, ok := status.FromError(err)
	if !ok {
		from = status.FromContextError(err)
	}
	told := fromStatus(from)
	switch {
	case told.Code == codes.DeadlineExceeded:
		told.cause = context.DeadlineExceeded
	case told.Code == codes.Canceled && ctx.Err() != nil:
		told.cause = ctx.Err()
	}
	return told
}

func fromStatus(from *status.Status) *Error {
	told := &Error{Code: from.Code(), Message: from.Message(), status: from}
	for _, detail := range from.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			told.Reason, told.Metadata = detail.GetReason(), detail.GetMetadata()
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				told.Violations = append(told.Violations, Violation{
					Field: violation.GetField(), Description: violation.GetDescription(),
				})
			}
		case *errdetails.RetryInfo:
			told.mayRepeat = true
			told.RetryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	return told
}

// incomplete: an answer lacks what the protocol says it holds.
func incomplete(what string) error {
	return &Error{Code: codes.DataLoss, Message: "the answer holds no " + what}
}
