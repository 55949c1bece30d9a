package replication

import (
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
)

func TestPartedFromReadsAHistoryFile(t *testing.T) {
	t.Parallel()
	const history = "1\t0/3000148\tno recovery target specified\n\n# a comment\n3\t1/A0\tbefore 2026-01-01 00:00:00+00\n"
	f := func(timeline int32, want change.LSN) {
		t.Helper()
		got, err := partedFrom(history, timeline)
		if err != nil || got != want {
			t.Errorf("timeline %d was left at %s (%v), want %s", timeline, got, err, want)
		}
	}
	f(1, 0x3000148)
	f(3, 0x1000000A0)
	f(2, 0)
	if _, err := partedFrom("x\t0/1\n", 1); err == nil {
		t.Error("a timeline that is no number was read")
	}
	if _, err := partedFrom("1\tnowhere\n", 1); err == nil {
		t.Error("a position that is none was read")
	}
}
