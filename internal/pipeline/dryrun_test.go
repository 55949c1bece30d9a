package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pipeline"
)

func TestADryRunCountsWhatABackfillWouldDo(t *testing.T) {
	f := func(limit int64, full bool, want pipeline.DryRunCounts) {
		t.Helper()
		m := newMart(t, 25)
		m.table["000"] = change.Row{Key: "000", Fields: value("soft"), SoftDeleted: true}
		m.table["001"] = change.Row{Key: "001", Fields: value(" ")}
		m.vectors["002"], m.vectors["003"] = change.HashText("text 2"), change.HashText("another text")
		got, err := pipeline.DryRun(t.Context(), m.martSource, m.martSink, pipeline.DryRunOptions{
			Template: nameTemplate(t), ChunkKeys: 10, Limit: limit, Full: full,
		})
		if err != nil || got != want {
			t.Errorf("limit %d, full %v: got %+v, %v, want %+v", limit, full, got, err, want)
		}
		if len(m.merged) != 0 || len(m.encoded) != 0 || m.closed != "" {
			t.Errorf("it changed something: %q", m.journal)
		}
	}
	f(0, false, pipeline.DryRunCounts{Rows: 25, Encode: 22, UpToDate: 1, Deleted: 2})
	f(0, true, pipeline.DryRunCounts{Rows: 25, Encode: 23, Deleted: 2})
	f(12, false, pipeline.DryRunCounts{Rows: 12, Encode: 9, UpToDate: 1, Deleted: 2})
	f(20, false, pipeline.DryRunCounts{Rows: 20, Encode: 17, UpToDate: 1, Deleted: 2})
	f(100, false, pipeline.DryRunCounts{Rows: 25, Encode: 22, UpToDate: 1, Deleted: 2})
}

func TestADryRunTellsWhatFailed(t *testing.T) {
	away := errors.New("away")
	f := func(breakIt func(*mart), want string) {
		t.Helper()
		m := newMart(t, 5)
		breakIt(m)
		_, err := pipeline.DryRun(t.Context(), m.martSource, m.martSink, pipeline.DryRunOptions{Template: nameTemplate(t), ChunkKeys: 10})
		if !errors.Is(err, away) || fmt.Sprint(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	f(func(m *mart) { m.onChunk = func(context.Context, change.Key) error { return away } }, "reading a chunk: away")
	f(func(m *mart) { m.onStale = func(context.Context) error { return away } }, "looking up vectors: away")
}
