// Package measure runs the four scenarios against a queue of Go: the loops, the clock and the one
// line of JSON are the same for each, so that only the queue differs.
package measure

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	batch = 500
	// Before the samples that count: connections, prepared statements, caches.
	warmUp = 20
	// Between two tasks, so that the worker is idle again.
	pause = 20 * time.Millisecond
)

// Queue is what a peer has to be able to do.
type Queue interface {
	// EnqueueOne returns when the task is acknowledged.
	EnqueueOne(ctx context.Context) error
	// Work starts a worker, which calls begun in the handler of each task.
	Work(ctx context.Context, begun func()) error
	// Completed waits until so many tasks are completed and that is acknowledged.
	Completed(ctx context.Context, count int) error
}

// BulkQueue has a call that enqueues many at once.
type BulkQueue interface {
	Queue
	EnqueueBulk(ctx context.Context, count int) error
}

// Settings are those of the command line that all peers share.
type Settings struct {
	Count, InFlight, Samples int
	Span                     time.Duration
	Payload                  string
}

// Main runs the scenario that the command line names, and prints what it found.
func Main(open func(context.Context, Settings) (Queue, error)) {
	if err := run(context.Background(), open); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, open func(context.Context, Settings) (Queue, error)) error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: %s enqueue_one|enqueue_bulk|drain|latency", os.Args[0])
	}
	scenario := os.Args[1]
	settings := Settings{
		Count:    number("COUNT", 20_000),
		InFlight: number("IN_FLIGHT", 64),
		Samples:  number("SAMPLES", 200),
		Span:     time.Duration(number("SECONDS", 5)) * time.Second,
		Payload:  strings.Repeat("x", number("PAYLOAD_BYTES", 256)),
	}
	queue, err := open(ctx, settings)
	if err != nil {
		return err
	}
	var result map[string]any
	switch scenario {
	case "enqueue_one":
		result, err = rate(settings, 1, func() error { return queue.EnqueueOne(ctx) })
	case "enqueue_bulk":
		bulk, able := queue.(BulkQueue)
		if !able {
			return fmt.Errorf("it has no call for many tasks")
		}
		result, err = rate(settings, batch, func() error { return bulk.EnqueueBulk(ctx, batch) })
	case "drain":
		result, err = drain(ctx, queue, settings)
	case "latency":
		result, err = latency(ctx, queue, settings)
	default:
		return fmt.Errorf("there is no scenario %s", scenario)
	}
	if err != nil {
		return err
	}
	result["scenario"] = scenario
	return json.NewEncoder(os.Stdout).Encode(result)
}

func number(name string, otherwise int) int {
	value, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return otherwise
	}
	return value
}

// all runs a function in so many goroutines and returns the first error.
func all(goroutines int, function func() error) error {
	errs := make(chan error, goroutines)
	for range goroutines {
		go func() { errs <- function() }()
	}
	var first error
	for range goroutines {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// rate repeats a step of so many tasks in each caller; the first of each opens its connection and
// does not count.
func rate(settings Settings, tasks int, step func() error) (map[string]any, error) {
	if err := all(settings.InFlight, step); err != nil {
		return nil, err
	}
	var count atomic.Int64
	start := time.Now()
	err := all(settings.InFlight, func() error {
		for time.Since(start) < settings.Span {
			if err := step(); err != nil {
				return err
			}
			count.Add(int64(tasks))
		}
		return nil
	})
	return map[string]any{"count": count.Load(), "seconds": time.Since(start).Seconds()}, err
}

func drain(ctx context.Context, queue Queue, settings Settings) (map[string]any, error) {
	if err := preload(ctx, queue, settings); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := queue.Work(ctx, func() {}); err != nil {
		return nil, err
	}
	if err := queue.Completed(ctx, settings.Count); err != nil {
		return nil, err
	}
	seconds := time.Since(start).Seconds()
	return map[string]any{"count": settings.Count, "seconds": seconds}, nil
}

func preload(ctx context.Context, queue Queue, settings Settings) error {
	if bulk, able := queue.(BulkQueue); able {
		for left := settings.Count; left > 0; left -= batch {
			if err := bulk.EnqueueBulk(ctx, min(left, batch)); err != nil {
				return err
			}
		}
		return nil
	}
	var sent atomic.Int64
	return all(settings.InFlight, func() error {
		for sent.Add(1) <= int64(settings.Count) {
			if err := queue.EnqueueOne(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

func latency(ctx context.Context, queue Queue, settings Settings) (map[string]any, error) {
	begins := make(chan time.Time, 1)
	if err := queue.Work(ctx, func() { begins <- time.Now() }); err != nil {
		return nil, err
	}
	var samples []float64
	for sample := range settings.Samples + warmUp {
		time.Sleep(pause)
		sent := time.Now()
		if err := queue.EnqueueOne(ctx); err != nil {
			return nil, err
		}
		begun := <-begins
		if sample >= warmUp {
			samples = append(samples, begun.Sub(sent).Seconds()*1_000)
		}
	}
	slices.Sort(samples)
	return map[string]any{
		"p50_ms": quantile(samples, 0.5), "p99_ms": quantile(samples, 0.99),
		"samples": len(samples),
	}, nil
}

// quantile of sorted samples: the smallest that so large a part of them does not exceed.
func quantile(sorted []float64, part float64) float64 {
	return sorted[max(int(math.Ceil(part*float64(len(sorted))))-1, 0)]
}
