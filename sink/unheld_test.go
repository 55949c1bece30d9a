package sink_test

import (
	"strings"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// TestARowThatTheLedgerCannotHaveIsADeadLetter, of a stream and of a chunk, and stops no other row.
func TestARowThatTheLedgerCannotHaveIsADeadLetter(t *testing.T) {
	t.Parallel()
	p := productPipeline()
	p.Table.Key = []change.Column{{Name: "code", Type: "text"}}
	b := setupWith(t, p, generation(dimension))
	stream := b.takeover()
	wide := change.Key(pgtest.One[string](t, b.db, "SELECT string_agg(md5(g::text), '') FROM generate_series(1, 100) AS g"))
	row := func(key change.Key, lsn change.LSN, text string) change.Change {
		return change.Change{Key: key, LSN: lsn, Document: change.NewDocument(text)}
	}
	// letter wants the text and the position of the wide key's letter; "" wants none.
	letter := func(when, text string, lsn change.LSN, attempts int) {
		t.Helper()
		letters, err := b.sink.DeadLetters(t.Context(), 0)
		b.ok(err)
		switch {
		case text == "" && len(letters) == 0:
		case text == "" || len(letters) != 1:
			t.Errorf("%s: %d letters", when, len(letters))
		case letters[0].Key != wide, letters[0].Hash != change.HashText(text), letters[0].Version.LSN != lsn, letters[0].Attempts != attempts,
			!strings.Contains(letters[0].Reason, "no room in an index of the sink for a key of 3200 bytes"):
			t.Errorf("%s: letter %+v", when, letters[0])
		}
	}
	held := func(when string, live, fresh int64) {
		t.Helper()
		if counts, err := b.sink.Counts(t.Context()); err != nil || counts.Live != live || counts.Fresh != fresh {
			t.Errorf("%s: counts %+v, %v", when, counts, err)
		}
	}
	b.commit(stream, 0x1200, row(wide, 0x1101, "one"), row("z", 0x1101, "two"))
	letter("written", "one", 0x1101, 1)
	held("written", 1, 1)
	if stream.Watermark() != 0x1200 || b.version().LSN != 0x1200 {
		t.Errorf("watermark %s, in the sink %s", stream.Watermark(), b.version().LSN)
	}
	b.commit(stream, 0x1300, row(wide, 0x1201, "one"))
	letter("written again", "one", 0x1201, 2)
	b.commit(stream, 0x1400, row(wide, 0x1301, "other"))
	letter("another text", "other", 0x1301, 1)
	b.commit(stream, 0x1500, change.Change{Key: wide, LSN: 0x1401, Deleted: true})
	letter("deleted", "", 0, 0)
	b.commit(stream, 0x1600, change.Change{Key: "z", LSN: 0x1501, Deleted: true}, change.Change{Key: wide, LSN: 0x1501, Deleted: true})
	held("nothing is left", 0, 0)

	job := b.job(everything)
	a := b.version()
	b.commit(stream, 0x1700, row("c", 0x1601, "of the stream"))
	result, err := b.chunk(job, a, row(wide, 0, "read"), row("x", 0, "read"))
	if want := (protocol.ChunkResult{Written: 1, Failed: 1}); err != nil || result != want {
		t.Errorf("a chunk: %+v, %v, want %+v", result, err, want)
	}
	letter("of a chunk", "read", 0x1600, 1)
	b.commit(stream, 0x1800, row(wide, 0x1701, "newer"))
	letter("newer", "newer", 0x1701, 1)
	if result, err = b.chunk(job, a, row(wide, 0, "read")); err != nil || result.Failed != 1 {
		t.Errorf("a chunk of an old read: %+v, %v", result, err)
	}
	letter("an old read", "newer", 0x1701, 1)
	_, err = job.Sweep(t.Context())
	b.ok(err)
	letter("swept by the job that saw it", "newer", 0x1701, 1)
	job = b.job(everything)
	_, err = job.Sweep(t.Context())
	b.ok(err)
	letter("swept by one that did not", "", 0, 0)

	b.commit(stream, 0x1900, row(wide, 0x1801, "before"))
	letter("before a truncation", "before", 0x1801, 1)
	b.ok(stream.Commit(t.Context(), change.Commit{Watermark: 0x1a00, Truncated: 0x1901}))
	letter("truncated", "", 0, 0)
}
