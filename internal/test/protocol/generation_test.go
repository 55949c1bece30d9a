package protocol_test

import (
	"testing"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/backfill"
	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/sink"
)

// TestAGenerationThatIsBuiltMissesNothing: rows that change, go, come or are on their way while its
// job reads them are all in it, no matter what writes them, and it is active only when that is so.
func TestAGenerationThatIsBuiltMissesNothing(t *testing.T) {
	r := setUp(t, server(t))
	before := r.hang("UPDATE item SET name = 'on its way ' || id WHERE id IN (2, 9)") // in the log and in no snapshot
	other := r.config
	other.Sink.Storage = change.StorageHalfvec
	build, err := backfill.OpenBuild(t.Context(), r.opener, other, zerolog.Nop())
	r.ok(err)
	defer build.Close(t.Context())
	if build.Resumed {
		t.Error("there was one already")
	}
	g := build.Engines.Configured
	refused := func(when string) {
		t.Helper()
		if _, err := r.sink.Activate(t.Context(), sink.Activation{ID: g.ID}); fault.KindOf(err) != fault.Usage {
			t.Errorf("an activation %s: %v", when, err)
		}
	}
	refused("of an empty generation")
	chunks := 0
	r.afterRead = func(protocol.RowChunk) {
		chunks++
		switch chunks {
		case 1: // what was read is out of date before it is merged, and what follows is not what it was
			r.db.Exec(t, "UPDATE item SET name = 'changed ' || id WHERE id IN (1, 6); DELETE FROM item WHERE id = 3; INSERT INTO item VALUES (0, 'late', 'row'), (20, 'last', 'row')")
			r.release(before)
		case 2:
			refused("in the middle")
			r.db.Exec(t, "UPDATE item SET id = 30 WHERE id = 5; UPDATE item SET name = 'changed again' WHERE id = 7")
		}
	}
	build.Around = r.watched
	built, err := build.Finish(t.Context(), backfill.Quiet{}, nil)
	r.ok(err)
	r.afterRead = nil
	if chunks < 3 || !built.Report.Coverage.Full() {
		t.Errorf("%d chunks were read, the generation is %+v", chunks, built.Report)
	}
	r.settled()
	r.vectorsOf(g.Table)
	_, err = r.sink.Activate(t.Context(), sink.Activation{ID: g.ID})
	r.ok(err)
	r.db.Exec(t, "UPDATE item SET name = 'after it' WHERE id = 1; DELETE FROM item WHERE id = 2")
	r.settled() // the one that was active is written on
	r.vectorsOf(g.Table)
	_, err = r.sink.Retire(t.Context(), 1)
	r.ok(err)
	r.db.Exec(t, "INSERT INTO item VALUES (40, 'written', 'once'); TRUNCATE item; INSERT INTO item VALUES (41, 'the', 'rest')")
	r.passed(r.end())
	r.vectorsOf(g.Table)
}
