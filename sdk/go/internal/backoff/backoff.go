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

// Rest waits, with jitter, and for `atLeast` in any case. False when the context ends before that,
// at once where its deadline tells.
func (w *Waits) Rest(ctx context.Context, atLeast time.Duration) bool {
	w.next = min(max(w.next*2, waitMin), waitMax)
	return Sleep(ctx, max(Jittered(w.next), atLeast))
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
