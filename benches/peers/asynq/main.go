// asynq on Redis.
package main

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"

	"peers/measure"
)

const (
	concurrency = 256
	// asynq asks an empty queue again and again; the second that it waits by default would be all
	// that the latency shows.
	checkInterval = 2 * time.Millisecond
	// A slow disk may hold an answer back for longer than the 3 s of the default; a task whose answer
	// is given up waits for the recoverer, more than a minute.
	readTimeout = 30 * time.Second
	// How often the end of a drain is looked for, once all handlers have run.
	look = time.Millisecond
)

type queue struct {
	client    *asynq.Client
	inspector *asynq.Inspector
	server    *asynq.Server
	task      *asynq.Task
	handled   atomic.Int64
}

func open(_ context.Context, settings measure.Settings) (measure.Queue, error) {
	redis, err := asynq.ParseRedisURI(os.Getenv("REDIS_URL"))
	if err != nil {
		return nil, err
	}
	options := redis.(asynq.RedisClientOpt)
	// A call holds a connection until it is answered.
	options.PoolSize = settings.InFlight
	options.ReadTimeout = readTimeout
	return &queue{
		client:    asynq.NewClient(options),
		inspector: asynq.NewInspector(options),
		server: asynq.NewServer(options, asynq.Config{
			Concurrency:       concurrency,
			TaskCheckInterval: checkInterval,
			LogLevel:          asynq.ErrorLevel,
		}),
		task: asynq.NewTask("bench", []byte(settings.Payload)),
	}, nil
}

func (q *queue) EnqueueOne(ctx context.Context) error {
	_, err := q.client.EnqueueContext(ctx, q.task)
	return err
}

func (q *queue) Work(_ context.Context, begun func()) error {
	return q.server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		begun()
		q.handled.Add(1)
		return nil
	}))
}

func (q *queue) Completed(_ context.Context, count int) error {
	for q.handled.Load() < int64(count) {
		time.Sleep(look)
	}
	// A handler's return is not yet the acknowledgement: that takes the task out of the queue.
	for {
		info, err := q.inspector.GetQueueInfo("default")
		if err != nil || info.Size == 0 {
			return err
		}
		time.Sleep(look)
	}
}

func main() { measure.Main(open) }
