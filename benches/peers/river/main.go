// River on PostgreSQL, with the settings of its own benchmark.
package main

import (
	"context"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"peers/measure"
)

const (
	maxWorkers    = 2_000
	fetchCooldown = 2 * time.Millisecond
	fetchPoll     = 20 * time.Millisecond
	// More of them only wait for each other.
	connections = 32
)

type args struct {
	Payload string `json:"payload"`
}

func (args) Kind() string { return "bench" }

type worker struct {
	river.WorkerDefaults[args]
	begun func()
}

func (w *worker) Work(context.Context, *river.Job[args]) error {
	w.begun()
	return nil
}

type queue struct {
	client    *river.Client[pgx.Tx]
	worker    *worker
	completed <-chan *river.Event
	payload   string
}

func open(ctx context.Context, settings measure.Settings) (measure.Queue, error) {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return nil, err
	}
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	worker, workers := &worker{}, river.NewWorkers()
	river.AddWorker(workers, worker)
	client, err := river.NewClient(driver, &river.Config{
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: maxWorkers}},
		FetchCooldown:     fetchCooldown,
		FetchPollInterval: fetchPoll,
		Workers:           workers,
	})
	if err != nil {
		return nil, err
	}
	// An event comes after the completion is committed; a full channel would lose some.
	completed, _ := client.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: max(settings.Count, 1_000),
		Kinds:    []river.EventKind{river.EventKindJobCompleted},
	})
	return &queue{client, worker, completed, settings.Payload}, nil
}

func (q *queue) EnqueueOne(ctx context.Context) error {
	_, err := q.client.Insert(ctx, args{q.payload}, nil)
	return err
}

func (q *queue) EnqueueBulk(ctx context.Context, count int) error {
	jobs := make([]river.InsertManyParams, count)
	for i := range jobs {
		jobs[i].Args = args{q.payload}
	}
	_, err := q.client.InsertManyFast(ctx, jobs)
	return err
}

func (q *queue) Work(ctx context.Context, begun func()) error {
	q.worker.begun = begun
	return q.client.Start(ctx)
}

func (q *queue) Completed(_ context.Context, count int) error {
	for range count {
		<-q.completed
	}
	return nil
}

func main() { measure.Main(open) }
