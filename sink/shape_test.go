package sink_test

import (
	"errors"
	"maps"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/sink"
)

func TestAShapeIsNotedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	want := func(want change.Shape) {
		t.Helper()
		got, err := b.sink.Shape(t.Context())
		b.ok(err)
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	want(change.Shape{})
	b.ok(b.sink.NoteShape(t.Context(), change.Shape{"column 1 a": "1", "partition 1 2": "7"}))
	want(change.Shape{"column 1 a": "1"})
	b.ok(b.sink.NoteShape(t.Context(), change.Shape{"column 1 a": "2", "column 1 b": "1"}))
	want(change.Shape{"column 1 a": "1", "column 1 b": "1"})
	b.db.Exec(t, "DELETE FROM wal2vec.shape") // a schema from before
	want(nil)
	b.ok(b.sink.NoteShape(t.Context(), change.Shape{"column 1 a": "2", "partition 1 2": "7"}))
	want(change.Shape{"column 1 a": "2", "partition 1 2": "7"})
}

func TestAChangedShapeOpensItsOwnRefresh(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stream := b.takeover()
	b.ok(b.sink.NoteShape(t.Context(), change.Shape{"column 1 a": "1"}))
	b.commit(stream, 0x1300, upsert(1, 0x1201, "one"))
	reshape := func(r sink.Reshape, want bool) {
		t.Helper()
		done, err := b.sink.Reshape(t.Context(), r)
		b.ok(err)
		if done != want {
			t.Errorf("%+v: done %v, want %v", r, done, want)
		}
	}
	first, second := change.Shape{"column 1 a": "1"}, change.Shape{"column 1 a": "2"}
	reshape(sink.Reshape{Epoch: b.state().Epoch + 1, Was: first, Now: second, Refresh: true}, false)
	reshape(sink.Reshape{Epoch: b.state().Epoch, Was: second, Now: first, Refresh: true}, false)
	if jobs := b.state().Jobs; len(jobs) != 0 {
		t.Fatalf("jobs %+v", jobs)
	}
	reshape(sink.Reshape{Epoch: b.state().Epoch, Was: first, Now: second, Refresh: true}, true)
	refresh := b.job(everything)
	if !refresh.Resync() || refresh.Started() != b.version() {
		t.Errorf("the refresh is %+v, the watermark %s", refresh, b.version())
	}
	// What it has read is of a shape that is over by now.
	reshape(sink.Reshape{Epoch: b.state().Epoch, Was: second, Now: first, Refresh: true}, true)
	if _, err := b.chunk(refresh, b.version(), upsert(1, 0, "as it was")); !errors.Is(err, protocol.ErrJobLost) {
		t.Errorf("got %v from a refresh of the shape before", err)
	}
	if jobs := b.state().Jobs; len(jobs) != 1 || !jobs[0].Resync || jobs[0].ID == refresh.ID() {
		t.Errorf("jobs %+v", jobs)
	}
	reshape(sink.Reshape{Epoch: b.state().Epoch, Was: first, Now: second}, true)
	if jobs := b.state().Jobs; len(jobs) != 1 {
		t.Errorf("jobs %+v", jobs)
	}
}
