package asyncflow

// Must gives the value of a call that cannot go on without it, and panics with its error, as
// [text/template.Must] does: for short programs, examples and tests.
//
//	client := asyncflow.Must(asyncflow.NewClient(asyncflow.Config{}))
func Must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
