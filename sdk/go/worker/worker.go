package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	asyncflow "github.com/asyncflow/asyncflow/sdk/go"
	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

const (
	slotsMax = 10_000
	// How long the last outcomes may take to be told when the worker shuts down.
	lastWordsMax = 30 * time.Second
	leaveMax     = 3 * time.Second
)

// Options say how a worker presents itself and behaves. The zero value is ready to use.
type Options struct {
	// ID names the worker across restarts; 1 to 64 characters A-Z a-z 0-9 . _ -. Each worker needs
	// its own. Default: host name and process id.
	ID string
	// Slots is how many tasks it runs at once, 1 to 10,000. Default 1.
	Slots int
	// Host is the host's name. Default: what the system says.
	Host string
	// Labels are for tasks that ask for workers with them; at most 32.
	Labels map[string]string
	// DrainTimeout is how long tasks may go on, when the context of Run ends, before they are told
	// to stop. Default 30 s; negative: not at all.
	DrainTimeout time.Duration
	// Grace is how long a handler that was told to stop may go on before it is given up. Default
	// 10 s.
	Grace time.Duration
	// Logger hears what goes on. Default [slog.Default].
	Logger *slog.Logger
}

// Worker takes tasks and runs them by its handlers. It runs once.
type Worker struct {
	options  Options
	logger   *slog.Logger
	handlers map[string]Handler
	link     *link
	held     *held
	board    *board

	attempts   sync.WaitGroup
	registered chan struct{}
	once       sync.Once
	draining   chan struct{}
	drainTime  time.Duration
	// It runs, has run, or is closed.
	isUsed atomic.Bool
	// Ends when the worker has nothing more to say to the broker.
	life context.Context
}

// New prepares a worker; it connects when it runs. One that is not run is to be closed.
//
// Errors: the address, the token or the CA file is unusable; bad options.
func New(config asyncflow.Config, options Options) (*Worker, error) {
	options, err := options.complete()
	if err != nil {
		return nil, err
	}
	link, err := openLink(config, options.Logger)
	if err != nil {
		return nil, err
	}
	held := newHeld(options.Slots, options.Logger)
	return &Worker{
		options: options, logger: options.Logger, handlers: map[string]Handler{},
		link: link, held: held, board: newBoard(link, held, options.Logger),
		registered: make(chan struct{}), draining: make(chan struct{}),
	}, nil
}

var validID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
var invalidInID = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

func (o Options) complete() (Options, error) {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	if o.Host == "" {
		o.Host = host
	}
	if o.ID == "" {
		name := invalidInID.ReplaceAllString(host, "-")
		o.ID = fmt.Sprintf("%s-go-%d", name[:min(len(name), 40)], os.Getpid())
	}
	if !validID.MatchString(o.ID) {
		return o, fmt.Errorf("worker: ID %q: it must be 1 to 64 characters A-Z a-z 0-9 . _ -", o.ID)
	}
	if o.Slots == 0 {
		o.Slots = 1
	}
	if o.Slots < 1 || o.Slots > slotsMax {
		return o, fmt.Errorf("worker: Slots = %d: it must be 1 to %d", o.Slots, slotsMax)
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = 30 * time.Second
	}
	if o.Grace <= 0 {
		o.Grace = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

// Handle has tasks of a type run by a handler. It must not be called once the worker runs.
func (w *Worker) Handle(taskType string, handler Handler) {
	w.handlers[taskType] = handler
}

func (w *Worker) taskTypes() []string {
	return slices.Sorted(maps.Keys(w.handlers))
}

// Registered is closed when the broker has accepted the worker.
func (w *Worker) Registered() <-chan struct{} {
	return w.registered
}

// Shutdown makes Run end: nothing new is taken, tasks that run get so long to end by themselves,
// and are told to stop then. It does not wait. Only the first call counts, or the end of Run's
// context, if that came first.
func (w *Worker) Shutdown(drain time.Duration) {
	w.once.Do(func() {
		w.drainTime = drain
		close(w.draining)
	})
}

func (w *Worker) isDraining() bool {
	select {
	case <-w.draining:
		return true
	default:
		return false
	}
}

// Close ends the connection of a worker that is not to be run. One that runs, or has run, does so
// by itself; Close leaves it alone.
func (w *Worker) Close() error {
	if w.isUsed.CompareAndSwap(false, true) {
		return w.link.conn.Close()
	}
	return nil
}

// Run works until the context ends or Shutdown is called, then until what runs has ended, see
// [Options.DrainTimeout] and [Options.Grace], and until its outcomes are told, 30 s more at most;
// it gives nil then. An unreachable broker is no error: the worker tries until there is one.
//
// Errors: there is no handler; it runs or has run already, or is closed; the broker refuses this
// worker; another worker has registered under the same ID.
func (w *Worker) Run(ctx context.Context) error {
	if len(w.handlers) == 0 {
		return errors.New("worker: there is no handler: call Handle first")
	}
	if !w.isUsed.CompareAndSwap(false, true) {
		return errors.New("worker: it runs, has run or is closed: make a new one")
	}
	return w.run(ctx)
}

func (w *Worker) run(ctx context.Context) error {
	defer func() { _ = w.link.conn.Close() }()
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	w.life = life
	defer context.AfterFunc(ctx, func() { w.Shutdown(w.options.DrainTimeout) })()

	refused := make(chan error, 1)
	var loops sync.WaitGroup
	loops.Go(func() {
		if err := w.keepSession(life); err != nil {
			refused <- err
		}
	})
	loops.Go(func() { w.beat(life) })
	loops.Go(func() { w.followCommands(life) })
	loops.Go(func() { w.board.run(life) })
	taking, stopTaking := context.WithCancel(life)
	defer stopTaking()
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		w.acquire(taking)
	}()

	var err error
	select {
	case <-w.draining:
	case err = <-refused:
	}
	stopTaking()
	<-taken
	if err == nil {
		err = w.windDown(refused)
	}
	if err != nil {
		// Whoever else has this id has the tasks, too.
		w.held.raiseAll(LeaseLost)
	}
	end()
	loops.Wait()
	if err == nil {
		// After the last heartbeat: one that came later would find the session unknown.
		w.leave()
	}
	return err
}

// windDown lets tasks end, and tells those that do not to stop.
func (w *Worker) windDown(refused <-chan error) error {
	ended := make(chan struct{})
	go func() {
		w.attempts.Wait()
		close(ended)
	}()
	drained := time.NewTimer(max(w.drainTime, 0))
	defer drained.Stop()
	select {
	case <-ended:
		return nil
	case err := <-refused:
		return err
	case <-drained.C:
	}
	w.logger.Info("asking tasks to end", "running", len(w.held.leases()))
	w.held.raiseAll(Drained)
	late := time.NewTimer(w.options.Grace + lastWordsMax)
	defer late.Stop()
	select {
	case <-ended:
	case err := <-refused:
		return err
	case <-late.C:
		w.logger.Error("the broker has not heard of all outcomes", "tasks", len(w.held.leases()))
	}
	return nil
}

// leave ends the session. Not while something is held: its tasks would be given back, although
// their outcome may be recorded already.
func (w *Worker) leave() {
	current, _ := w.link.look()
	if current == nil || len(w.held.leases()) > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveMax)
	defer cancel()
	request := &asyncflowpb.DeregisterWorkerRequest{SessionId: current.id}
	if _, err := w.link.broker.DeregisterWorker(ctx, request); err != nil {
		w.logger.Warn("could not deregister", "error", err)
		return
	}
	w.logger.Info("deregistered", "worker_id", w.options.ID)
}
