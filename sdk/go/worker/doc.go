// Package worker runs tasks by handlers written in Go.
//
//	             ┌── register ◀── UNKNOWN_SESSION ──┐
//	             ▼                                  │
//	acquire ─▶ held ─▶ handler ─▶ complete, fail or release
//	 (free     │ ▲        │        (until the broker answers)
//	  slots)   │ └ save, progress
//	           └ heartbeat (all leases in one call), pushed commands
//
// A worker holds a lease from the answer of AcquireTasks until the broker has confirmed how the
// attempt ended. The broker decides about every write; what is kept here is only a hint.
//
// # Handlers
//
// A [Handler] gets a context and a [Task], and gives back the result or an error. The context is
// cancelled when the attempt should stop: [Task.StopReason] says why. What the handler returns
// then with an error is taken as the consequence: a cancelled task is CANCELLED, a task of a
// worker that shuts down goes to another one. [Task.Save] still works under the cancelled context,
// unless the lease is lost.
//
// An error fails the attempt, and the task is tried again by its retry policy. [RetryAfter] asks
// for a wait before that, [Permanent] says that trying again cannot help. A panic is an error.
//
// A goroutine cannot be ended from outside. A handler that goes on for longer than [Options.Grace]
// after it was told to stop is given up: the broker is told, its writes are refused, but its slot
// stays taken until it returns.
package worker
