package worker

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

// ResultBytesMax is the largest result that a broker takes. A larger one fails the task for good.
const ResultBytesMax = 64 << 10

const (
	messageBytesMax     = 1024
	contentTypeBytesMax = 128
	retryAfterMax       = 365 * 24 * time.Hour
)

// outcome is how an attempt ended: one of the three, or nothing that is to be said.
type outcome struct {
	complete *asyncflowpb.CompleteTaskRequest
	fail     *asyncflowpb.FailTaskRequest
	release  *asyncflowpb.ReleaseTaskRequest
}

// outcomeOf: an error after the attempt was told to stop is taken as the consequence of that.
func outcomeOf(result *asyncflowpb.Content, err error, told Reason) outcome {
	switch {
	case told == LeaseLost:
		return outcome{}
	case err == nil:
		return succeeded(result)
	case told != NotStopped:
		return stopped(told)
	}
	var retry *RetryError
	var permanent *PermanentError
	var content *contentError
	switch {
	case errors.As(err, &content):
		return failedForGood(asyncflowpb.FailureReason_FAILURE_REASON_BAD_CONTEXT, err.Error())
	case errors.As(err, &permanent):
		return failedForGood(asyncflowpb.FailureReason_FAILURE_REASON_PERMANENT, err.Error())
	}
	out := failed(asyncflowpb.FailureReason_FAILURE_REASON_ERROR, err.Error())
	if errors.As(err, &retry) && retry.After > 0 {
		out.fail.RetryAfter = durationpb.New(min(retry.After, retryAfterMax))
	}
	return out
}

func succeeded(result *asyncflowpb.Content) outcome {
	if size := len(result.GetData()); size > ResultBytesMax {
		return failedForGood(asyncflowpb.FailureReason_FAILURE_REASON_RESULT_TOO_LARGE,
			fmt.Sprintf("the result has %d bytes, at most %d", size, ResultBytesMax))
	}
	if result != nil && !isContentType(result.GetContentType()) {
		// A broker refuses such a line, and with it the outcome.
		result = &asyncflowpb.Content{Data: result.GetData()}
	}
	return outcome{complete: &asyncflowpb.CompleteTaskRequest{Result: result}}
}

// stopped is what becomes of an attempt that ended because it was told to stop.
func stopped(told Reason) outcome {
	switch told {
	case Cancelled:
		return failed(asyncflowpb.FailureReason_FAILURE_REASON_CANCELLED, told.String())
	case TimedOut:
		return failed(asyncflowpb.FailureReason_FAILURE_REASON_TIMED_OUT, told.String())
	case LeaseLost:
		return outcome{}
	default:
		return outcome{release: &asyncflowpb.ReleaseTaskRequest{Failure: &asyncflowpb.Failure{
			Reason:  asyncflowpb.FailureReason_FAILURE_REASON_DRAINED,
			Message: told.String(),
		}}}
	}
}

func failed(reason asyncflowpb.FailureReason, message string) outcome {
	return outcome{fail: &asyncflowpb.FailTaskRequest{
		Failure: &asyncflowpb.Failure{Reason: reason, Message: cut(message)},
	}}
}

func failedForGood(reason asyncflowpb.FailureReason, message string) outcome {
	out := failed(reason, message)
	out.fail.Permanent = true
	return out
}

func isContentType(text string) bool {
	return len(text) <= contentTypeBytesMax && utf8.ValidString(text) &&
		!strings.ContainsFunc(text, unicode.IsControl)
}

// cut makes a message fit for the broker; it ends between characters.
func cut(message string) string {
	message = strings.ToValidUTF8(message, "�")
	if len(message) <= messageBytesMax {
		return message
	}
	end := messageBytesMax
	for !utf8.RuneStart(message[end]) {
		end--
	}
	return message[:end]
}
