package asyncflow

import (
	"errors"
	"testing"
)

func TestMustGivesTheValueOrPanicsWithTheError(t *testing.T) {
	if got := Must(3, nil); got != 3 {
		t.Error(got)
	}
	bad := errors.New("bad")
	defer func() {
		if told := recover(); told != bad {
			t.Error(told)
		}
	}()
	Must(0, bad)
}
