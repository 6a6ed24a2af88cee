package worker

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

const patience = 20 * time.Second

// fake hands out tasks, and says of leases what a test wants.
type fake struct {
	asyncflowpb.UnimplementedWorkerServiceServer
	tasks chan *asyncflowpb.Task
	// Every request in its order.
	seen chan proto.Message

	mu sync.Mutex
	// By the name of the request: the errors of the next calls, after they are done.
	lost     map[string][]error
	verdicts map[string]asyncflowpb.LeaseVerdict
	handed   map[string][]*asyncflowpb.LeasedTask
	// SaveContext waits while it is not nil and open.
	savesWait chan struct{}
	adopts    bool
	leaseTTL  time.Duration
	sessions  int
}

func newFake(tasks ...*asyncflowpb.Task) *fake {
	f := &fake{
		tasks: make(chan *asyncflowpb.Task, 100), seen: make(chan proto.Message, 10_000),
		lost: map[string][]error{}, verdicts: map[string]asyncflowpb.LeaseVerdict{},
		handed: map[string][]*asyncflowpb.LeasedTask{}, adopts: true,
		leaseTTL: 10 * time.Millisecond,
	}
	for _, task := range tasks {
		f.tasks <- task
	}
	return f
}

func (f *fake) intercept(
	ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (any, error) {
	message := request.(proto.Message)
	f.seen <- message
	answer, err := handler(ctx, request)
	f.mu.Lock()
	defer f.mu.Unlock()
	name := string(message.ProtoReflect().Descriptor().Name())
	if next := f.lost[name]; len(next) > 0 {
		f.lost[name] = next[1:]
		return nil, next[0]
	}
	return answer, err
}

func (f *fake) lose(name string, errors ...error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost[name] = append(f.lost[name], errors...)
}

func (f *fake) judge(taskID string, verdict asyncflowpb.LeaseVerdict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.verdicts[taskID] = verdict
}

func (f *fake) RegisterWorker(
	_ context.Context, request *asyncflowpb.RegisterWorkerRequest,
) (*asyncflowpb.RegisterWorkerResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions++
	answer := &asyncflowpb.RegisterWorkerResponse{
		SessionId:         string(rune('0' + f.sessions)),
		HeartbeatInterval: durationpb.New(50 * time.Millisecond),
		LeaseTtl:          durationpb.New(f.leaseTTL),
	}
	if f.adopts {
		answer.Adopted = request.GetAdopted()
	}
	return answer, nil
}

func (f *fake) AcquireTasks(
	ctx context.Context, request *asyncflowpb.AcquireTasksRequest,
) (*asyncflowpb.AcquireTasksResponse, error) {
	f.mu.Lock()
	before := f.handed[request.GetAcquireId()]
	f.mu.Unlock()
	if before != nil {
		return &asyncflowpb.AcquireTasksResponse{Tasks: before}, nil
	}
	select {
	case task := <-f.tasks:
		task.Attempt++
		task.StartTime = task.GetCreateTime()
		lease := &asyncflowpb.Lease{TaskId: task.GetId(), Attempt: task.GetAttempt()}
		tasks := []*asyncflowpb.LeasedTask{{Lease: lease, Task: task}}
		f.mu.Lock()
		f.handed[request.GetAcquireId()] = tasks
		f.mu.Unlock()
		return &asyncflowpb.AcquireTasksResponse{Tasks: tasks}, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

func (f *fake) statuses(leases []*asyncflowpb.Lease) []*asyncflowpb.LeaseStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*asyncflowpb.LeaseStatus
	for _, lease := range leases {
		verdict := f.verdicts[lease.GetTaskId()]
		if verdict == asyncflowpb.LeaseVerdict_LEASE_VERDICT_UNSPECIFIED {
			verdict = asyncflowpb.LeaseVerdict_LEASE_VERDICT_OK
		}
		out = append(out, &asyncflowpb.LeaseStatus{Lease: lease, Verdict: verdict})
	}
	return out
}

func (f *fake) Heartbeat(
	_ context.Context, request *asyncflowpb.HeartbeatRequest,
) (*asyncflowpb.HeartbeatResponse, error) {
	return &asyncflowpb.HeartbeatResponse{Leases: f.statuses(request.GetLeases())}, nil
}

func (f *fake) StreamCommands(
	_ *asyncflowpb.StreamCommandsRequest,
	stream grpc.ServerStreamingServer[asyncflowpb.StreamCommandsResponse],
) error {
	<-stream.Context().Done()
	return nil
}

func (f *fake) SaveContext(
	ctx context.Context, request *asyncflowpb.SaveContextRequest,
) (*asyncflowpb.SaveContextResponse, error) {
	f.mu.Lock()
	waits := f.savesWait
	f.mu.Unlock()
	if waits != nil {
		select {
		case <-waits:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	return &asyncflowpb.SaveContextResponse{ContextVersion: request.GetExpectedVersion() + 1}, nil
}

func (f *fake) ReportProgress(
	_ context.Context, request *asyncflowpb.ReportProgressRequest,
) (*asyncflowpb.ReportProgressResponse, error) {
	return &asyncflowpb.ReportProgressResponse{}, nil
}

func (f *fake) CompleteTask(
	context.Context, *asyncflowpb.CompleteTaskRequest,
) (*asyncflowpb.CompleteTaskResponse, error) {
	return &asyncflowpb.CompleteTaskResponse{}, nil
}

func (f *fake) FailTask(
	context.Context, *asyncflowpb.FailTaskRequest,
) (*asyncflowpb.FailTaskResponse, error) {
	return &asyncflowpb.FailTaskResponse{}, nil
}

func (f *fake) ReleaseTask(
	context.Context, *asyncflowpb.ReleaseTaskRequest,
) (*asyncflowpb.ReleaseTaskResponse, error) {
	return &asyncflowpb.ReleaseTaskResponse{}, nil
}

func (f *fake) DeregisterWorker(
	context.Context, *asyncflowpb.DeregisterWorkerRequest,
) (*asyncflowpb.DeregisterWorkerResponse, error) {
	return &asyncflowpb.DeregisterWorkerResponse{}, nil
}

// running is a worker of a test.
type running struct {
	*Worker
	t     *testing.T
	fake  *fake
	ended chan error
}

// start runs a worker against the fake with one handler, for type "x".
func (f *fake) start(t *testing.T, options Options, handler Handler) *running {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(f.intercept))
	asyncflowpb.RegisterWorkerServiceServer(server, f)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	options.ID = "w"
	options.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	made, err := New(asyncflow.Config{Address: "http://" + listener.Addr().String()}, options)
	if err != nil {
		t.Fatal(err)
	}
	made.Handle("x", handler)
	started := &running{Worker: made, t: t, fake: f, ended: make(chan error, 1)}
	go func() { started.ended <- made.Run(context.Background()) }()
	t.Cleanup(func() { made.Shutdown(0) })
	return started
}

// stop waits until the worker has ended.
func (r *running) stop(drain time.Duration) error {
	r.t.Helper()
	r.Shutdown(drain)
	return r.end()
}

func (r *running) end() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		r.t.Fatal("the worker does not end")
		return nil
	}
}

// next waits for the next request of a kind.
func next[T proto.Message](r *running) T {
	r.t.Helper()
	return until(r, func(T) bool { return true })
}

// until waits for a request of a kind that fits.
func until[T proto.Message](r *running, fits func(T) bool) T {
	r.t.Helper()
	late := time.After(patience)
	for {
		select {
		case message := <-r.fake.seen:
			if one, ok := message.(T); ok && fits(one) {
				return one
			}
		case <-late:
			var none T
			r.t.Fatalf("no %T", none)
			return none
		}
	}
}

// untilHeld waits until a heartbeat says that the worker holds something.
func untilHeld(r *running) {
	r.t.Helper()
	until(r, func(beat *asyncflowpb.HeartbeatRequest) bool { return len(beat.GetLeases()) > 0 })
}

// receive waits for what a handler says.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case said := <-from:
		return said
	case <-time.After(patience):
		t.Fatal("it is not said")
		panic("unreachable")
	}
}

// none fails if a request of a kind has come.
func none[T proto.Message](r *running) {
	r.t.Helper()
	for {
		select {
		case message := <-r.fake.seen:
			if one, ok := message.(T); ok {
				r.t.Errorf("%T: %v", one, one)
			}
		default:
			return
		}
	}
}

func refusal(code codes.Code, reason string, metadata ...string) error {
	info := &errdetails.ErrorInfo{Reason: reason, Metadata: map[string]string{}}
	for i := 0; i < len(metadata); i += 2 {
		info.Metadata[metadata[i]] = metadata[i+1]
	}
	told, err := status.New(code, reason).WithDetails(info)
	if err != nil {
		panic(err)
	}
	return told.Err()
}

func task(id string) *asyncflowpb.Task {
	return &asyncflowpb.Task{Id: id, TaskType: "x"}
}
