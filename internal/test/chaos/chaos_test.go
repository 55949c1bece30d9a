package chaos

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestChaos is a short run of a fixed seed, or what CHAOS_SEED and CHAOS_MINUTES ask for.
func TestChaos(t *testing.T) {
	t.Parallel()
	seed, length := uint64(1), 20*time.Second
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
		seed = n
	}
	if text := os.Getenv("CHAOS_MINUTES"); text != "" {
		minutes, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatalf("CHAOS_MINUTES: %v", err)
		}
		length = time.Duration(minutes * float64(time.Minute))
	}
	p := newPlan(seed, length)
	p.small = os.Getenv("CHAOS_SEED") != ""
	t.Logf("the plan: %+v", p)
	report, err := newWorld(t, p).play()
	if err != nil {
		t.Error(err)
	}
	if report == nil {
		return
	}
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", text)
	if path := os.Getenv("CHAOS_REPORT"); path != "" {
		if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
			t.Error(err)
		}
	}
}
