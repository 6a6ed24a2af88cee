// Package backoff waits between tries.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	waitMin = 100 * time.Millisecond
	waitMax = 5 * time.Second
)

// Waits grow from one call of Rest to the next, up to 5 s. The zero value begins anew.
type Waits struct {
	next time.Duration
}

// Rest waits for what the broker asked for, and longer. False when the context ends before that, at
// once where its deadline tells.
func (w *Waits) Rest(ctx context.Context, asked time.Duration) bool {
	return Sleep(ctx, w.after(asked))
}

// The wait with jitter comes on top of what was asked for, which is asked of everybody alike.
func (w *Waits) after(asked time.Duration) time.Duration {
	w.next = min(max(w.next*2, waitMin), waitMax)
	return asked + Jittered(w.next)
}

// Sleep waits; false when the context ends before that, at once where its deadline tells.
func Sleep(ctx context.Context, wait time.Duration) bool {
	if deadline, limited := ctx.Deadline(); limited && time.Until(deadline) <= wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Jittered gives a half to the whole of a wait.
func Jittered(wait time.Duration) time.Duration {
	return wait/2 + rand.N(wait/2+1)
}
