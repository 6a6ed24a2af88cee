// Package asyncflow is a client of asyncflow: it creates tasks, follows them and reads their
// results. Package worker, beside it, runs tasks by handlers written in Go; package asyncflowpb
// holds the messages and the bare stubs, made from the protocol.
//
// # Calls
//
// Every call takes a context. One without a deadline gets [Config.Timeout]. A call that failed is
// repeated until that deadline, with growing, jittered waits, when the broker cannot be reached or
// asks for it, and only if repeating does no harm: creates always carry a request id.
//
// # Errors
//
// Every error of a call is an [*Error], to be found by [errors.As], and says code, reason and all
// violations. [errors.Is] compares it with [ErrNotFound], [ErrLeaseLost] and the like, and with
// [context.DeadlineExceeded] and [context.Canceled].
package asyncflow

// Version is the version of this module, as the broker sees it.
const Version = "0.1.0"
