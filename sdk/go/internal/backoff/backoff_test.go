package backoff

import (
	"testing"
	"time"
)

func TestThoseWhoAreAskedToWaitAlikeComeBackSpread(t *testing.T) {
	const asked = time.Second
	seen := map[time.Duration]bool{}
	for range 20 {
		var waits Waits
		wait := waits.after(asked)
		if wait <= asked || wait > asked+waitMin {
			t.Fatalf("%s for %s", wait, asked)
		}
		seen[wait] = true
	}
	if len(seen) == 1 {
		t.Fatalf("all wait %v", seen)
	}
}
