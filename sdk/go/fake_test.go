package asyncflow

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

// call is what a fake broker has seen of one.
type call struct {
	request proto.Message
	headers metadata.MD
}

// fake answers each unary call with the next of its errors; without one, well.
type fake struct {
	asyncflowpb.UnimplementedBrokerServiceServer
	mu     sync.Mutex
	errors []error
	calls  []call

	watch func(*asyncflowpb.WatchTasksRequest,
		grpc.ServerStreamingServer[asyncflowpb.WatchTasksResponse]) error
	create func(grpc.BidiStreamingServer[
		asyncflowpb.StreamCreateTasksRequest, asyncflowpb.StreamCreateTasksResponse]) error
}

func (f *fake) intercept(
	ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (any, error) {
	headers, _ := metadata.FromIncomingContext(ctx)
	f.mu.Lock()
	f.calls = append(f.calls, call{request.(proto.Message), headers})
	var err error
	if len(f.errors) > 0 {
		err, f.errors = f.errors[0], f.errors[1:]
	}
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

func (f *fake) seen() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]call(nil), f.calls...)
}

func (f *fake) CreateTask(
	context.Context, *asyncflowpb.CreateTaskRequest,
) (*asyncflowpb.CreateTaskResponse, error) {
	return &asyncflowpb.CreateTaskResponse{Task: &asyncflowpb.Task{Id: "t"}}, nil
}

func (f *fake) RetryTask(
	context.Context, *asyncflowpb.RetryTaskRequest,
) (*asyncflowpb.RetryTaskResponse, error) {
	return &asyncflowpb.RetryTaskResponse{Task: &asyncflowpb.Task{Id: "t"}}, nil
}

func (f *fake) DeleteTask(
	context.Context, *asyncflowpb.DeleteTaskRequest,
) (*asyncflowpb.DeleteTaskResponse, error) {
	return nil, status.Error(codes.NotFound, "no such task")
}

func (f *fake) WatchTasks(
	request *asyncflowpb.WatchTasksRequest,
	stream grpc.ServerStreamingServer[asyncflowpb.WatchTasksResponse],
) error {
	return f.watch(request, stream)
}

func (f *fake) StreamCreateTasks(stream grpc.BidiStreamingServer[
	asyncflowpb.StreamCreateTasksRequest, asyncflowpb.StreamCreateTasksResponse]) error {
	return f.create(stream)
}

func plain(f *fake) *grpc.Server {
	return grpc.NewServer(grpc.UnaryInterceptor(f.intercept))
}

// serve starts the fake at an address, "127.0.0.1:0" for any, and gives where it is.
func (f *fake) serve(t *testing.T, address string, made ...func(*fake) *grpc.Server) string {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := append(made, plain)[0](f)
	asyncflowpb.RegisterBrokerServiceServer(server, f)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func clientOf(t *testing.T, address string) *Client {
	t.Helper()
	clearEnvironment(t)
	client, err := NewClient(Config{Address: "http://" + address, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}
