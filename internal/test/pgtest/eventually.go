package pgtest

import (
	"testing"
	"time"
)

// Eventually calls check every 10 ms until it returns true, and fails the test with check's last
// message after timeout.
func Eventually(tb testing.TB, timeout time.Duration, check func() (bool, string)) {
	tb.Helper()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		done, message := check()
		if done {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline.C:
			tb.Fatalf("not within %s: %s", timeout, message)
		}
	}
}
