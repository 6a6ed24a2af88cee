package worker

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
)

// key is a lease that can be compared.
type key struct {
	taskID  string
	attempt int32
}

func keyOf(lease *asyncflowpb.Lease) key {
	return key{lease.GetTaskId(), lease.GetAttempt()}
}

func (k key) lease() *asyncflowpb.Lease {
	return &asyncflowpb.Lease{TaskId: k.taskID, Attempt: k.attempt}
}

// held are all leases, from acquire until the broker has confirmed their end, and the slots that
// they and handlers that do not end take.
type held struct {
	slots  int
	logger *slog.Logger

	mu       sync.Mutex
	entries  map[key]*stopSignal
	runaways int
	// Replaced and closed when a slot may have become free.
	freed chan struct{}
}

func newHeld(slots int, logger *slog.Logger) *held {
	return &held{
		slots: slots, logger: logger,
		entries: map[key]*stopSignal{}, freed: make(chan struct{}),
	}
}

// add holds a lease and gives its signal; nil when it is held already.
func (h *held) add(lease *asyncflowpb.Lease) *stopSignal {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.entries[keyOf(lease)] != nil {
		return nil
	}
	stop := newStop()
	h.entries[keyOf(lease)] = stop
	return stop
}

func (h *held) remove(lease *asyncflowpb.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.entries, keyOf(lease))
	h.noteFreed()
}

// runaway counts handlers that were given up and still run.
func (h *held) runaway(change int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.runaways += change
	h.noteFreed()
}

func (h *held) noteFreed() {
	close(h.freed)
	h.freed = make(chan struct{})
}

func (h *held) leases() []*asyncflowpb.Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	leases := make([]*asyncflowpb.Lease, 0, len(h.entries))
	for key := range h.entries {
		leases = append(leases, key.lease())
	}
	return leases
}

// free waits until a slot is free and gives the number of free ones; 0 when the context ends.
func (h *held) free(ctx context.Context) int {
	for {
		h.mu.Lock()
		free, freed := h.slots-len(h.entries)-h.runaways, h.freed
		h.mu.Unlock()
		if free > 0 {
			return free
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return 0
		}
	}
}

func (h *held) raise(lease *asyncflowpb.Lease, reason Reason) {
	h.mu.Lock()
	stop := h.entries[keyOf(lease)]
	h.mu.Unlock()
	if stop != nil {
		stop.raise(reason)
	}
}

func (h *held) raiseAll(reason Reason) {
	for _, lease := range h.leases() {
		h.raise(lease, reason)
	}
}

// follow does what a broker said about leases.
func (h *held) follow(statuses []*asyncflowpb.LeaseStatus) {
	for _, status := range statuses {
		switch status.GetVerdict() {
		case asyncflowpb.LeaseVerdict_LEASE_VERDICT_CANCEL:
			h.raise(status.GetLease(), Cancelled)
		case asyncflowpb.LeaseVerdict_LEASE_VERDICT_LOST:
			h.raise(status.GetLease(), LeaseLost)
		}
	}
}

// keepAdopted: after a registration what was sent and not confirmed is lost.
func (h *held) keepAdopted(sent, adopted []*asyncflowpb.Lease) {
	for _, lease := range sent {
		isSame := func(one *asyncflowpb.Lease) bool { return keyOf(one) == keyOf(lease) }
		if !slices.ContainsFunc(adopted, isSame) {
			h.logger.Warn("lease not adopted", "task_id", lease.GetTaskId(),
				"attempt", lease.GetAttempt())
			h.raise(lease, LeaseLost)
		}
	}
}
