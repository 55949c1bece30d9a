package sink_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
	"github.com/wal2vec/wal2vec/sink"
)

// keyKinds are keys with values as the source prints them.
var keyKinds = map[string]struct {
	key    []change.Column
	values [][]string // of each column
}{
	"bigint": {[]change.Column{{Name: "product_id", Type: "bigint"}}, [][]string{{"-9223372036854775808", "-1", "0", "7", "12", "9223372036854775807"}}},
	"text":   {[]change.Column{{Name: "sku", Type: "text"}}, [][]string{{"", "a,b", `"quoted"`, `back\slash`, "{brace}", "ä €", "NULL"}}},
	"uuid":   {[]change.Column{{Name: "id", Type: "uuid"}}, [][]string{{"6f9619ff-8b86-d011-b42d-00c04fc964ff", "00000000-0000-0000-0000-000000000000"}}},
	"several": {
		[]change.Column{{Name: "shop", Type: "character varying"}, {Name: "at", Type: "integer"}, {Name: "n", Type: "smallint"}},
		[][]string{{"a", "B"}, {"2147483647", "-2147483648"}, {"-32768", "5"}},
	},
}

// components are floats at which rounding to 16 bits is hard.
var components = rapid.OneOf(
	rapid.Float32Range(-1, 1), rapid.Float32Range(-65000, 65000),
	rapid.SampledFrom([]float32{
		0, float32(math.Copysign(0, -1)), 1, 65504, -65519, 0x1p-14, 0x1p-24, 0x1p-25, 0x1.8p-25, 0x1.000002p-25, 0x1p-26, -0x1p-149,
		2049, 2051, 0x1.ffcp-15, 0x1.ffep-15, 0x1.fffp-15, 0x1.002p0, 0x1.006p0, 0x1.0020002p0, 0x1.001ffep0,
	}),
	rapid.Map(rapid.Uint16(), func(bits uint16) float32 { // halves and the middle between two
		return float32(math.Ldexp(float64(bits&0x7ff)+0.5, int(bits>>11)%26-24)) / 0x1p11
	}),
)

// contents are a pipeline's tables as texts.
func (b *bench) contents() []string {
	names := make([]string, len(b.key))
	for i, column := range b.key {
		names[i] = fmt.Sprintf("%q::text", column.Name)
	}
	key := strings.Join(names, " || ' ' || ")
	rows := pgtest.Column[string](b.tb, b.db, "SELECT 'ledger ' || "+key+" || ' ' || coalesce(encode(text_hash, 'hex'), 'dead') FROM wal2vec.ledger_product")
	rows = append(rows, pgtest.Column[string](b.tb, b.db,
		"SELECT 'vector ' || "+key+" || ' ' || encode(text_hash, 'hex') || ' ' || embedding::text FROM wal2vec.vectors_product_1")...)
	slices.Sort(rows)
	return rows
}

// TestWhatIsCopiedIsWhatIsInserted writes the same changes as chunks, which copy, and as a stream,
// which does not.
func TestWhatIsCopiedIsWhatIsInserted(t *testing.T) {
	t.Parallel()
	for name, kind := range keyKinds {
		for _, storage := range []sink.Storage{sink.Vector, sink.HalfVec} {
			t.Run(fmt.Sprint(name, " ", storage), func(t *testing.T) {
				t.Parallel()
				p, g := productPipeline(), generation(dimension)
				p.Table.Key, g.Storage = kind.key, storage
				copies, inserts := setupWith(t, p, g), setupWith(t, p, g)
				job, stream := copies.job(everything), inserts.takeover()
				lsn := job.Started().LSN
				rapid.Check(t, func(rt *rapid.T) {
					lsn += 16
					copies.db.Exec(t, "UPDATE wal2vec.pipeline SET watermark = $1::text::pg_lsn", lsn.String())
					changes, vectors := drawChanges(rt, kind.values, lsn)
					_, err := job.Commit(t.Context(), protocol.Chunk{A: copies.version(), Changes: changes, Encodings: encoded(vectors, nil)})
					if err != nil {
						rt.Fatalf("copying: %v", err)
					}
					err = stream.Commit(t.Context(), change.Commit{Changes: changes, Watermark: lsn, Encodings: encoded(vectors, nil)})
					if err != nil {
						rt.Fatalf("inserting: %v", err)
					}
					if got, want := copies.contents(), inserts.contents(); !slices.Equal(got, want) {
						rt.Fatalf("copied\n%s\ninserted\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
					}
				})
			})
		}
	}
}

// drawChanges draws one change for some of the keys, every upsert with its vector.
func drawChanges(rt *rapid.T, values [][]string, lsn change.LSN) ([]change.Change, map[change.Hash][]float32) {
	byKey := make(map[change.Key]change.Change)
	vectors := make(map[change.Hash][]float32)
	for range rapid.IntRange(1, 6).Draw(rt, "rows") {
		var parts []string
		for _, v := range values {
			parts = append(parts, rapid.SampledFrom(v).Draw(rt, "part"))
		}
		c := change.Change{Key: change.KeyOf(parts...), LSN: lsn, Deleted: rapid.IntRange(0, 4).Draw(rt, "deleted") == 0}
		if !c.Deleted {
			c.Document = change.NewDocument(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(rt, "text"))
			if _, known := vectors[c.Document.Hash]; !known {
				vectors[c.Document.Hash] = rapid.SliceOfN(components, dimension, dimension).Draw(rt, "vector")
			}
		}
		byKey[c.Key] = c
	}
	var changes []change.Change
	for _, c := range byKey {
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(x, y change.Change) int { return strings.Compare(string(x.Key), string(y.Key)) })
	return changes, vectors
}

// A chunk that copies leaves no trace of an upsert: the rows came in by COPY, all of a first load.
func TestAFirstLoadIsCopied(t *testing.T) {
	t.Parallel()
	b := setup(t)
	// An upsert fires it, COPY too; the statement tells which it was.
	b.db.Exec(t, `CREATE TABLE seen (query text); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO seen VALUES (split_part(current_query(), ' ', 1)); RETURN NULL; END $$;
		CREATE TRIGGER note AFTER INSERT ON wal2vec.vectors_product_1 FOR EACH STATEMENT EXECUTE FUNCTION note(); `+pgtest.ServersOwn("wal2vec.vectors_product_1"))
	j := b.job(everything)
	result, err := b.chunk(j, b.version(), upsert(1, 0, "one"), upsert(2, 0, "two"), remove(3, 0))
	if want := (protocol.ChunkResult{Written: 2, Deleted: 1}); err != nil || result != want {
		t.Errorf("got %+v, %v, want %+v", result, err, want)
	}
	result, err = b.chunk(j, b.version(), upsert(4, 0, "four"), upsert(5, 0, "five"))
	if want := (protocol.ChunkResult{Written: 2}); err != nil || result != want {
		t.Errorf("got %+v, %v, want %+v", result, err, want)
	}
	if got := pgtest.Column[string](t, b.db, "SELECT query FROM seen"); !slices.Equal(got, []string{"COPY", "COPY"}) {
		t.Errorf("statements %q", got)
	}
}

func TestAComponentThatIsTooLargeForAHalfIsRefused(t *testing.T) {
	t.Parallel()
	g := generation(dimension)
	g.Storage = sink.HalfVec
	b := setupWith(t, productPipeline(), g)
	one := upsert(1, 0, "one")
	vector := make([]float32, dimension)
	vector[3] = 65520
	j := b.job(everything)
	_, err := j.Commit(t.Context(), protocol.Chunk{
		A: b.version(), Changes: []change.Change{one}, Encodings: encoded(map[change.Hash][]float32{one.Document.Hash: vector}, nil), Cursor: "1",
	})
	if err == nil || j.Cursor() != "" {
		t.Errorf("got %v, the cursor is %q", err, j.Cursor())
	}
	b.want(1, "")
}
