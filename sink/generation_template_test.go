package sink_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// brands is a generation of another template, of the same dimension.
func brands() sink.Generation {
	g := generation(dimension)
	g.Fingerprint, g.Template = "brands", "{brand}"
	return g
}

// texts is an upsert with a text by each of two templates; empty is none.
func texts(key int, lsn change.LSN, first, second string) change.Change {
	c := change.Change{Key: upsert(key, lsn, "").Key, LSN: lsn, Further: make([]change.Document, 1)}
	if first != "" {
		c.Document = change.NewDocument(first)
	}
	if second != "" {
		c.Further[0] = change.NewDocument(second)
	}
	return c
}

// byTemplate encodes the first texts for generation 1 and the second ones for generation 2.
func byTemplate(changes ...change.Change) change.Encodings {
	e := make(change.Encodings)
	for _, c := range changes {
		for i, d := range c.Texts() {
			if d.Text != "" {
				e.Of(i + 1).Vectors[d.Hash] = vectorOf(dimension, d.Hash)
			}
		}
	}
	return e
}

func TestEachTemplateHasItsOwnTexts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"), upsert(2, 0x1101, "two"), remove(3, 0x1101))
	g := b.build(brands())
	if g.HashColumn != "text_hash_2" {
		t.Errorf("built %+v", g)
	}
	// Nothing is known of the rows that are there.
	if r := b.report(2); r.Coverage != (sink.Coverage{Live: 2}) {
		t.Errorf("reported %+v", r.Coverage)
	}
	stream := b.takeover()
	if got := stream.Template().Columns(); !slices.Equal(got, []string{"name", "brand"}) {
		t.Errorf("the stream reads %v", got)
	}
	commit := func(w change.LSN, changes ...change.Change) {
		t.Helper()
		b.ok(stream.Commit(t.Context(), change.Commit{Changes: changes, Watermark: w, Encodings: byTemplate(changes...)}))
	}
	has := func(first, second []int64) {
		t.Helper()
		for table, want := range map[string][]int64{"vectors_product_1": first, "vectors_product_2": second} {
			if got := pgtest.Column[int64](t, b.db, "SELECT product_id FROM wal2vec."+table+" ORDER BY 1"); !slices.Equal(got, want) {
				t.Errorf("%s holds %v, want %v", table, got, want)
			}
		}
	}
	// A row that was deleted for its first template has a text by the second, and the other way
	// round.
	commit(0x1300, texts(1, 0x1201, "one", "acme"), texts(2, 0x1201, "two", ""), texts(3, 0x1201, "", "acme"))
	has([]int64{1, 2}, []int64{1, 3})
	if first, second := b.report(1).Coverage, b.report(2).Coverage; first != (sink.Coverage{Live: 2, Fresh: 2}) || second != (sink.Coverage{Live: 2, Fresh: 2}) {
		t.Errorf("covered %+v and %+v", first, second)
	}
	if c, err := b.sink.Counts(t.Context()); err != nil || c.Live != 2 || c.Fresh != 2 || c.Tombstones != 0 {
		t.Errorf("counted %+v, %v", c, err)
	}
	// An edit of one text leaves the other's vector alone.
	lacks, err := stream.Stale(t.Context(), []change.Change{texts(1, 0, "one", "other"), texts(2, 0, "two", "new"), texts(3, 0, "three", "acme")})
	want := []change.Lack{{Generation: 1, At: []int{2}}, {Generation: 2, Template: 1, At: []int{0, 1}}}
	if err != nil || !reflect.DeepEqual(lacks, want) {
		t.Errorf("lacking %+v, %v", lacks, err)
	}
	commit(0x1400, texts(1, 0x1301, "one", ""), texts(3, 0x1301, "three", "acme"))
	has([]int64{1, 2, 3}, []int64{3})
	// A change with the texts of one template is of another set.
	err = stream.Commit(t.Context(), change.Commit{Changes: []change.Change{upsert(5, 0x1401, "five")}, Watermark: 0x1500})
	b.wantKind(err, fault.Internal)
	if _, err := stream.Stale(t.Context(), []change.Change{upsert(5, 0x1401, "five")}); err == nil {
		t.Error("a look for the texts of one template")
	}
	commit(0x1500, remove(3, 0x1401))
	has([]int64{1, 2}, nil)
	commit(0x1600, texts(4, 0x1501, "", "last"), texts(5, 0x1501, "five", "fifth"))
	has([]int64{1, 2, 5}, []int64{4, 5})
	b.retireTemplates(stream.Template())
}

// TestABuildCountsRowsWithoutATextByItsTemplate: not as rows that are up to date.
func TestABuildCountsRowsWithoutATextByItsTemplate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.commit(b.takeover(), 0x1200, upsert(1, 0x1101, "one"), upsert(2, 0x1101, "two"), remove(3, 0x1101))
	g := b.build(brands())
	j := b.job(sink.JobParams{Mode: sink.Build, Generation: g.ID})
	rows := []change.Change{texts(1, 0, "one", "acme"), texts(2, 0, "two", ""), remove(3, 0)}
	got, err := j.Commit(t.Context(), protocol.Chunk{A: b.version(), Changes: rows, Encodings: byTemplate(rows...), Cursor: rows[2].Key})
	b.ok(err)
	if want := (protocol.ChunkResult{Written: 1, Deleted: 2}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// retireTemplates retires one generation after the other; what has no text by the templates that
// are left is deleted.
func (b *bench) retireTemplates(both change.Template) {
	b.tb.Helper()
	t := b.tb
	if _, err := b.sink.Activate(t.Context(), sink.Activation{ID: 2, Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.sink.Retire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ledger := pgtest.Column[string](t, b.db, "SELECT product_id || CASE WHEN deleted THEN ' dead' ELSE ' live' END FROM wal2vec.ledger_product ORDER BY 1")
	if want := []string{"1 dead", "2 dead", "3 dead", "4 live", "5 live"}; !slices.Equal(ledger, want) {
		t.Errorf("the ledger holds %q, want %q", ledger, want)
	}
	if columns := pgtest.One[int64](t, b.db, "SELECT count(*) FROM information_schema.columns WHERE table_name = 'ledger_product' AND column_name LIKE 'text_hash%'"); columns != 1 {
		t.Errorf("the ledger has %d columns for hashes", columns)
	}
	stream := b.takeover()
	if got := stream.Template(); got.Same(both) || got.String() != "{brand}" || len(got.All()) != 1 {
		t.Errorf("the stream renders %q", got)
	}
	one := upsert(1, 0x1601, "again")
	b.ok(stream.Commit(t.Context(), change.Commit{
		Changes: []change.Change{one, remove(4, 0x1601)}, Watermark: 0x1700, Encodings: encoded(vectorsOf(dimension, one), nil),
	}))
	if c, err := b.sink.Counts(t.Context()); err != nil || c.Live != 2 || c.Fresh != 2 || c.Tombstones != 3 {
		t.Errorf("counted %+v, %v", c, err)
	}
	// The first template comes back with a column of its own.
	if g := b.build(generation(dimension)); g.ID != 3 || g.HashColumn != "text_hash_3" {
		t.Errorf("built %+v", g)
	}
	stream = b.takeover()
	again := texts(6, 0x1701, "by brand", "by name") // in the order of the generations
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{again}, Watermark: 0x1800, Encodings: change.Encodings{
		2: {Vectors: vectorsOf(dimension, again)}, 3: {Vectors: map[change.Hash][]float32{again.Further[0].Hash: vectorOf(dimension, again.Further[0].Hash)}},
	}}))
	b.ok(stream.Commit(t.Context(), change.Commit{Truncated: 0x1801, Watermark: 0x1900}))
	if n := pgtest.One[int64](t, b.db, "SELECT count(*) FROM wal2vec.ledger_product WHERE NOT deleted OR text_hash_2 IS NOT NULL OR text_hash_3 IS NOT NULL"); n != 0 {
		t.Errorf("%d rows are live after a TRUNCATE", n)
	}
}

// TestALetterIsOfItsTemplatesText: an edit of the other template's text neither heals nor forgets
// it.
func TestALetterIsOfItsTemplatesText(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.build(brands())
	stream := b.takeover()
	bad := texts(1, 0x1101, "name", "bad")
	e := byTemplate(bad)
	e[2] = change.Encoded{Failed: map[change.Hash]string{bad.Further[0].Hash: "no tokens"}}
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{bad}, Watermark: 0x1200, Encodings: e}))
	letters := func() int {
		t.Helper()
		all, err := b.sink.DeadLetters(t.Context(), 0)
		b.ok(err)
		failed := pgtest.One[int](t, b.db, "SELECT count(*)::int FROM wal2vec.ledger_product WHERE failed_at IS NOT NULL")
		if failed != len(all) {
			t.Errorf("%d letters, %d rows that failed", len(all), failed)
		}
		return len(all)
	}
	if letters() != 1 {
		t.Fatal("no letter")
	}
	renamed := texts(1, 0x1201, "new name", "bad")
	if lacks, err := stream.Stale(t.Context(), []change.Change{renamed}); err != nil || !reflect.DeepEqual(lacks, lacksFirst(0)) {
		t.Errorf("lacking %+v, %v", lacks, err)
	}
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{renamed}, Watermark: 0x1300, Encodings: change.Encodings{1: byTemplate(renamed)[1]}}))
	if letters() != 1 {
		t.Error("the letter went with another text")
	}
	none := texts(1, 0x1301, "new name", "")
	b.ok(stream.Commit(t.Context(), change.Commit{Changes: []change.Change{none}, Watermark: 0x1400}))
	if letters() != 0 {
		t.Error("the letter outlived its text")
	}
}
