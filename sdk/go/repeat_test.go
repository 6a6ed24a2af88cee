package asyncflow

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

var (
	gone = status.Error(codes.Unavailable, "the answer got lost")
	busy = refusal(codes.ResourceExhausted, "busy", retryIn(10*time.Millisecond))
)

func TestACreateIsRepeatedUnderTheSameRequestIDAndTrace(t *testing.T) {
	broker := &fake{errors: []error{gone, busy}}
	client := clientOf(t, broker.serve(t, "127.0.0.1:0"))
	given := &asyncflowpb.CreateTaskRequest{Task: &asyncflowpb.TaskSpec{TaskType: "x"}}
	if _, err := client.CreateWith(context.Background(), given); err != nil {
		t.Fatal(err)
	}
	calls := broker.seen()
	if len(calls) != 3 {
		t.Fatal(calls)
	}
	first := calls[0].request.(*asyncflowpb.CreateTaskRequest)
	for _, call := range calls {
		id := call.request.(*asyncflowpb.CreateTaskRequest).GetRequestId()
		if id == "" || id != first.GetRequestId() {
			t.Errorf("request id %q after %q", id, first.GetRequestId())
		}
		trace := call.headers.Get(traceHeader)
		if len(trace) != 1 || len(trace[0]) != 55 || trace[0] != calls[0].headers.Get(traceHeader)[0] {
			t.Errorf("trace %q", trace)
		}
		if token := call.headers.Get("authorization"); len(token) != 1 || token[0] != "Bearer secret" {
			t.Errorf("token %q", token)
		}
	}
	if given.GetRequestId() != "" {
		t.Error("the caller's message was changed")
	}
}

func TestWhatIsRefusedIsNotRepeated(t *testing.T) {
	broker := &fake{errors: []error{invalid, status.Error(codes.ResourceExhausted, "too large")}}
	client := clientOf(t, broker.serve(t, "127.0.0.1:0"))
	for range 2 {
		if _, err := client.Submit(context.Background(), "x", nil); err == nil {
			t.Error("no error")
		}
	}
	if calls := broker.seen(); len(calls) != 2 {
		t.Error(calls)
	}
}

func TestARetryIsNotRepeatedOnceItMayHaveBeenDone(t *testing.T) {
	broker := &fake{errors: []error{gone}}
	client := clientOf(t, broker.serve(t, "127.0.0.1:0"))
	if _, err := client.Retry(context.Background(), "t"); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	if calls := broker.seen(); len(calls) != 1 {
		t.Error(calls)
	}
	broker = &fake{errors: []error{busy}}
	client = clientOf(t, broker.serve(t, "127.0.0.1:0"))
	if _, err := client.Retry(context.Background(), "t"); err != nil || len(broker.seen()) != 2 {
		t.Error("a broker that asks for it has not done it:", err)
	}
}

func TestWhatWasNotSentIsRepeated(t *testing.T) {
	reserved, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := reserved.Addr().String()
	_ = reserved.Close()
	client := clientOf(t, address)
	done := make(chan error, 1)
	go func() {
		_, err := client.Retry(within(t, 20*time.Second), "t")
		done <- err
	}()
	time.Sleep(300 * time.Millisecond) // several tries find nobody
	broker := &fake{}
	broker.serve(t, address)
	if err := <-done; err != nil || len(broker.seen()) != 1 {
		t.Error(err, broker.seen())
	}
}

func TestADeleteWhoseAnswerGotLostIsDone(t *testing.T) {
	broker := &fake{errors: []error{gone}}
	client := clientOf(t, broker.serve(t, "127.0.0.1:0"))
	if err := client.Delete(context.Background(), "t"); err != nil {
		t.Error(err)
	}
	if err := client.Delete(context.Background(), "t"); !errors.Is(err, ErrNotFound) {
		t.Error("it was not there:", err)
	}
	broker = &fake{errors: []error{busy}}
	client = clientOf(t, broker.serve(t, "127.0.0.1:0"))
	if err := client.Delete(context.Background(), "t"); !errors.Is(err, ErrNotFound) {
		t.Error("a broker that is busy has deleted nothing:", err)
	}
}

func TestRepetitionsEndAtTheDeadline(t *testing.T) {
	broker := &fake{}
	for range 100 {
		broker.errors = append(broker.errors, gone)
	}
	client := clientOf(t, broker.serve(t, "127.0.0.1:0"))
	began := time.Now()
	_, err := client.Submit(within(t, 500*time.Millisecond), "x", nil)
	if err == nil || time.Since(began) > 2*time.Second {
		t.Error(err, time.Since(began))
	}
	if !errors.Is(err, ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if calls := len(broker.seen()); calls < 2 || calls > 8 {
		t.Errorf("%d tries", calls)
	}
	broker.mu.Lock()
	broker.errors = []error{refusal(codes.ResourceExhausted, "busy", retryIn(time.Hour))}
	broker.mu.Unlock()
	began = time.Now()
	_, err = client.Submit(within(t, 10*time.Second), "x", nil)
	if err == nil || time.Since(began) > 5*time.Second {
		t.Error("it waited for what cannot come:", err)
	}
}

func TestRequestIDsAreGivenWhereTheyAreMissing(t *testing.T) {
	batch := &asyncflowpb.BatchCreateTasksRequest{Requests: []*asyncflowpb.CreateTaskRequest{
		{RequestId: "mine"}, {},
	}}
	message, isSafe := prepare(asyncflowpb.BrokerService_BatchCreateTasks_FullMethodName, batch)
	sent := message.(*asyncflowpb.BatchCreateTasksRequest).GetRequests()
	if !isSafe || sent[0].GetRequestId() != "mine" || sent[1].GetRequestId() == "" ||
		batch.GetRequests()[1].GetRequestId() != "" {
		t.Error(message)
	}
	for _, request := range []any{
		&asyncflowpb.CreateWorkflowRequest{}, &asyncflowpb.BulkCancelTasksRequest{},
		&asyncflowpb.RunScheduleRequest{},
	} {
		message, isSafe := prepare("/x/RunSomething", request)
		id := message.(interface{ GetRequestId() string }).GetRequestId()
		if !isSafe || id == "" {
			t.Errorf("%T: %v", request, message)
		}
	}
	for method, want := range map[string]bool{
		asyncflowpb.BrokerService_GetTask_FullMethodName:        true,
		asyncflowpb.BrokerService_SignalTask_FullMethodName:     true,
		asyncflowpb.BrokerService_CreateTaskType_FullMethodName: false,
		asyncflowpb.BrokerService_RetryWorkflow_FullMethodName:  false,
		asyncflowpb.HostService_EvictGpu_FullMethodName:         false,
	} {
		if _, isSafe := prepare(method, &asyncflowpb.GetTaskRequest{}); isSafe != want {
			t.Errorf("%s: %v", method, isSafe)
		}
	}
}
