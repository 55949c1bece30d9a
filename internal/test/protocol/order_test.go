package protocol_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// TestWhatChangesAfterAChunkWasReadKeepsItsChange (Order): the source changes between a chunk's
// SELECT and its merge, and the stream has passed the change by then. The chunk must be older: its
// version A was read before its SELECT.
func TestWhatChangesAfterAChunkWasReadKeepsItsChange(t *testing.T) { //nolint:tparallel // a slot is created when no transaction of the server is open
	t.Parallel()
	host := server(t)
	for name, statement := range map[string]string{
		"update":     "UPDATE item SET name = 'new' WHERE id = 1",
		"delete":     "DELETE FROM item WHERE id = 1",
		"key change": "UPDATE item SET id = 11 WHERE id = 1",
		"truncate":   "TRUNCATE item",
		// A new key is below the cursor: only the stream knows it.
		"insert": "INSERT INTO item VALUES (0, 'new', 'text')",
	} {
		t.Run(name, func(t *testing.T) {
			r := setUp(t, host)
			var once sync.Once
			r.afterRead = func(protocol.RowChunk) {
				once.Do(func() {
					r.db.Exec(t, statement)
					r.passed(r.end())
				})
			}
			r.ok(r.backfill())
			r.settled()
		})
	}
}

// TestACommitAtTheWatermarkIsNewerThanIt (Versions): the watermark can stand where the commit
// record of an open transaction will begin. A chunk read then carries that position and the row
// from before the commit; the streamed row's version is one higher.
func TestACommitAtTheWatermarkIsNewerThanIt(t *testing.T) {
	t.Parallel()
	r := setUp(t, server(t))
	writer := r.db.Conn(t)
	run := func(statement string) {
		if _, err := writer.Exec(t.Context(), statement); err != nil {
			t.Error(err)
		}
	}
	for try := range 10 { // the server may write a record of its own in between
		run("BEGIN")
		run(fmt.Sprintf("UPDATE item SET name = 'new %d' WHERE id = 1", try))
		r.passed(r.end())
		a := r.watermark()
		var at change.LSN
		var once sync.Once
		r.afterRead = func(protocol.RowChunk) {
			once.Do(func() {
				run("COMMIT")
				x := await(t, r.streamed, "the update is streamed")
				at = x.LSN - 1
				r.passed(x.End)
			})
		}
		r.ok(r.backfill())
		r.settled()
		if at == a {
			return
		}
	}
	t.Error("no commit record began at the watermark: the test shows nothing")
}
