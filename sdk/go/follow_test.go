package asyncflow

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

func TestAWatchGoesOnFromItsToken(t *testing.T) {
	var tokens []string
	broker := &fake{watch: func(request *asyncflowpb.WatchTasksRequest,
		stream grpc.ServerStreamingServer[asyncflowpb.WatchTasksResponse]) error {
		tokens = append(tokens, request.GetResumeToken())
		switch len(tokens) {
		case 1:
			_ = stream.Send(&asyncflowpb.WatchTasksResponse{
				Task: &asyncflowpb.Task{Id: "a"}, ResumeToken: "1",
			})
			_ = stream.Send(&asyncflowpb.WatchTasksResponse{ResumeToken: "2"}) // keep-alive
			return gone
		case 2:
			return gone
		default:
			return stream.Send(&asyncflowpb.WatchTasksResponse{
				DeletedTaskId: "a", ResumeToken: "3",
			})
		}
	}}
	client := clientOf(t, broker.serve(t, "127.0.0.1:0"))
	request := &asyncflowpb.WatchTasksRequest{TaskIds: []string{"a"}}
	var seen []string
	for news, err := range client.Watch(within(t, 20*time.Second), request) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, news.GetTask().GetId()+news.GetDeletedTaskId())
	}
	if !slices.Equal(seen, []string{"a", "a"}) || !slices.Equal(tokens, []string{"", "2", "2"}) {
		t.Error(seen, tokens)
	}
	if request.GetResumeToken() != "" {
		t.Error("the caller's message was changed")
	}
}

func TestAWatchEndsWithARefusal(t *testing.T) {
	var opened atomic.Int32
	broker := &fake{watch: func(*asyncflowpb.WatchTasksRequest,
		grpc.ServerStreamingServer[asyncflowpb.WatchTasksResponse]) error {
		opened.Add(1)
		return status.Error(codes.OutOfRange, "the token is too old")
	}}
	client := clientOf(t, broker.serve(t, "127.0.0.1:0"))
	var last error
	for _, err := range client.Watch(within(t, 20*time.Second), &asyncflowpb.WatchTasksRequest{}) {
		last = err
	}
	var told *Error
	if !errors.As(last, &told) || told.Code != codes.OutOfRange || opened.Load() != 1 {
		t.Error(last, opened.Load())
	}
}

func TestAfterABreakOnlyTheNewPartOfALogIsGivenOut(t *testing.T) {
	var seen position
	for _, one := range []struct {
		attempt int32
		offset  int64
		data    string
		want    string
	}{
		{1, 0, "abc", "abc"}, {1, 0, "abc", ""}, {1, 2, "cde", "de"}, {1, 9, "x", "x"},
		{2, 0, "y", "y"}, {1, 20, "late", ""},
	} {
		chunk := &asyncflowpb.StreamTaskLogsResponse{
			Attempt: one.attempt, Offset: one.offset, Data: []byte(one.data),
		}
		if got := string(seen.unseen(chunk).GetData()); got != one.want {
			t.Errorf("%+v: %q", one, got)
		}
	}
}

// answer gives each request's id back as the task's.
func answer(request *asyncflowpb.StreamCreateTasksRequest) *asyncflowpb.StreamCreateTasksResponse {
	response := &asyncflowpb.StreamCreateTasksResponse{}
	for _, one := range request.GetRequests() {
		result := &asyncflowpb.CreateTaskResult{TaskId: one.GetRequestId()}
		response.Results = append(response.Results, result)
	}
	return response
}

func TestAStreamOfCreatesSendsAgainWhatWasNotAnswered(t *testing.T) {
	var connections atomic.Int32
	broker := &fake{create: func(stream grpc.BidiStreamingServer[
		asyncflowpb.StreamCreateTasksRequest, asyncflowpb.StreamCreateTasksResponse]) error {
		number := connections.Add(1)
		for count := 0; ; count++ {
			request, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if number <= 2 && count == 1 {
				return gone // it may have been written
			}
			if err := stream.Send(answer(request)); err != nil {
				return err
			}
		}
	}}
	client := clientOf(t, broker.serve(t, "127.0.0.1:0"))
	const all = 5_000
	requests := func(yield func(*asyncflowpb.CreateTaskRequest) bool) {
		for i := range all {
			if !yield(&asyncflowpb.CreateTaskRequest{RequestId: fmt.Sprint(i)}) {
				return
			}
		}
	}
	count := 0
	for result, err := range client.CreateStream(within(t, 30*time.Second), requests) {
		if err != nil {
			t.Fatal(err)
		}
		if result.GetTaskId() != fmt.Sprint(count) {
			t.Fatalf("%s instead of %d", result.GetTaskId(), count)
		}
		count++
	}
	if count != all || connections.Load() != 3 {
		t.Error(count, connections.Load())
	}
}

func TestAMessageOfCreatesIsBoundedInBytes(t *testing.T) {
	requests := func(yield func(*asyncflowpb.CreateTaskRequest) bool) {
		for i := range 100 {
			payload := &asyncflowpb.Content{Data: make([]byte, 60_000)}
			task := &asyncflowpb.TaskSpec{Payload: payload}
			id := fmt.Sprint(i)
			if !yield(&asyncflowpb.CreateTaskRequest{RequestId: id, Task: task}) {
				return
			}
		}
	}
	count := 0
	for message := range pull(within(t, 30*time.Second), requests) {
		if size := proto.Size(message); size > 520<<10 {
			t.Errorf("%d bytes", size)
		}
		for _, one := range message.GetRequests() {
			if one.GetRequestId() != fmt.Sprint(count) {
				t.Fatal(one.GetRequestId(), "instead of", count)
			}
			count++
		}
	}
	if count != 100 {
		t.Error(count)
	}
}

func TestAStreamOfCreatesThatIsLeftEnds(t *testing.T) {
	ended := make(chan struct{})
	broker := &fake{create: func(stream grpc.BidiStreamingServer[
		asyncflowpb.StreamCreateTasksRequest, asyncflowpb.StreamCreateTasksResponse]) error {
		defer close(ended)
		for {
			request, err := stream.Recv()
			if err != nil {
				return err
			}
			_ = stream.Send(answer(request))
		}
	}}
	client := clientOf(t, broker.serve(t, "127.0.0.1:0"))
	endless := func(yield func(*asyncflowpb.CreateTaskRequest) bool) {
		for yield(&asyncflowpb.CreateTaskRequest{}) {
		}
	}
	for result, err := range client.CreateStream(within(t, 30*time.Second), endless) {
		if err != nil || result.GetTaskId() == "" {
			t.Error(err, result)
		}
		break
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the stream goes on")
	}
}
