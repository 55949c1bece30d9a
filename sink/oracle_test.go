package sink_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/sink"
)

// oracle is what the sink's tables must hold, in plain maps: the rules again, without SQL.
type oracle struct {
	version   change.Version
	truncated change.Version
	ledger    map[change.Key]entry
	vectors   map[change.Key]change.Hash
	// started are the versions of the open jobs.
	started []change.Version
}

type entry struct {
	version change.Version
	hash    change.Hash
	deleted bool
}

func (o *oracle) clone() *oracle {
	c := *o
	c.ledger, c.vectors = maps.Clone(o.ledger), maps.Clone(o.vectors)
	return &c
}

// write applies changes and returns the texts that it lacked; then the oracle is spoilt.
func (o *oracle) write(changes []change.Change, epoch change.Epoch, given map[change.Hash][]float32) map[change.Hash]bool {
	needed := make(map[change.Hash]bool)
	for _, c := range changes {
		version := change.Version{Epoch: epoch, LSN: c.LSN}
		stored, known := o.ledger[c.Key]
		if !known || stored.version.Compare(version) <= 0 {
			stored = entry{version: version, hash: c.Document.Hash, deleted: c.Deleted}
			o.ledger[c.Key] = stored
		}
		switch _, have := given[c.Document.Hash]; {
		case stored.deleted:
			if c.Deleted {
				delete(o.vectors, c.Key)
			}
		case c.Deleted || stored.hash != c.Document.Hash || o.vectors[c.Key] == stored.hash:
		case have:
			o.vectors[c.Key] = stored.hash
		default:
			needed[stored.hash] = true
		}
	}
	return needed
}

// kill makes tombstones at version of the live keys that match.
func (o *oracle) kill(version change.Version, match func(entry) bool) (killed int64) {
	for key, e := range o.ledger {
		if !e.deleted && match(e) {
			o.ledger[key] = entry{version: version, deleted: true}
			delete(o.vectors, key)
			killed++
		}
	}
	return killed
}

// collect removes the tombstones that nobody needs.
func (o *oracle) collect() (collected int64) {
	for key, e := range o.ledger {
		needed := slices.ContainsFunc(o.started, func(v change.Version) bool { return v.Compare(e.version) < 0 })
		if e.deleted && e.version.Compare(o.version) <= 0 && !needed {
			delete(o.ledger, key)
			collected++
		}
	}
	return collected
}

func (o *oracle) String() string {
	var lines []string
	for key, e := range o.ledger {
		hash := e.hash.String()
		if e.deleted {
			hash = "dead"
		}
		vector := "none"
		if v, found := o.vectors[key]; found {
			vector = v.String()
		}
		lines = append(lines, fmt.Sprintf("%s %s %s vector %s", key, e.version, hash, vector))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// read fills an oracle from the tables.
func (b *bench) read(conn *pgx.Conn) (*oracle, error) {
	o := &oracle{ledger: make(map[change.Key]entry), vectors: make(map[change.Key]change.Hash)}
	rows, err := conn.Query(b.tb.Context(), "SELECT product_id::text, epoch, lsn, deleted, l.text_hash, v.text_hash "+
		"FROM wal2vec.ledger_product l FULL JOIN wal2vec.vectors_product_1 v USING (product_id)")
	if err != nil {
		return nil, err
	}
	var key string
	var e entry
	var hash, vector []byte
	_, err = pgx.ForEachRow(rows, []any{&key, &e.version.Epoch, &e.version.LSN, &e.deleted, &hash, &vector}, func() error {
		if e.hash = (change.Hash{}); hash != nil {
			e.hash = change.Hash(hash)
		}
		o.ledger[change.Key(key)] = e
		if vector != nil {
			o.vectors[change.Key(key)] = change.Hash(vector)
		}
		return nil
	})
	return o, err
}

// machine draws operations and applies each to the sink and to the oracle.
type machine struct {
	*rapid.T
	b      *bench
	o      *oracle
	stream *sink.Stream
	job    *sink.Job
	// seen are versions that a chunk may have been read at.
	seen []change.Version
}

func (m *machine) must(err error, doing string) {
	if err != nil {
		m.Fatalf("%s: %v", doing, err)
	}
}

var positions = rapid.Uint64Range(1, 40)

func (m *machine) changes(low change.LSN) []change.Change {
	keys := rapid.SliceOfNDistinct(rapid.IntRange(0, 5), 0, 6, rapid.ID[int]).Draw(m.T, "keys")
	var changes []change.Change
	for _, key := range keys {
		lsn := low
		if low == 0 {
			lsn = m.o.version.LSN - 20 + change.LSN(positions.Draw(m.T, "lsn"))
		}
		text := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(m.T, "text")
		if text == "" {
			changes = append(changes, remove(key, lsn))
		} else {
			changes = append(changes, upsert(key, lsn, text))
		}
	}
	slices.SortFunc(changes, func(x, y change.Change) int { return cmp.Compare(x.Key, y.Key) })
	return changes
}

// some returns some of the vectors.
func (m *machine) some(vectors map[change.Hash][]float32) map[change.Hash][]float32 {
	some := make(map[change.Hash][]float32)
	for _, hash := range slices.SortedFunc(maps.Keys(vectors), func(x, y change.Hash) int { return slices.Compare(x[:], y[:]) }) {
		if rapid.Bool().Draw(m.T, "encoded") {
			some[hash] = vectors[hash]
		}
	}
	return some
}

// either runs commit with some vectors, and with all of them when the oracle says that some are lacking.
func (m *machine) either(changes []change.Change, apply func(*oracle, map[change.Hash][]float32) map[change.Hash]bool,
	commit func(map[change.Hash][]float32) error,
) {
	all := vectorsOf(dimension, changes...)
	given := m.some(all)
	after := m.o.clone()
	needed := apply(after, given)
	err := commit(given)
	var need *sink.NeedVectorsError
	switch {
	case len(needed) == 0:
		m.must(err, "committing")
	case !errors.As(err, &need):
		m.Fatalf("got %v, want a need for %d texts", err, len(needed))
	default:
		for _, hash := range need.Hashes {
			if !needed[hash] {
				m.Fatalf("the sink needs %s, the oracle does not", hash)
			}
			delete(needed, hash)
		}
		if len(needed) != 0 {
			m.Fatalf("the sink does not ask for %v", needed)
		}
		after = m.o.clone()
		apply(after, all)
		m.must(commit(all), "committing with every vector")
	}
	m.o = after
}

func (m *machine) Stream(*rapid.T) {
	c := change.Commit{Changes: m.changes(0)}
	if rapid.IntRange(0, 5).Draw(m.T, "truncate") == 0 {
		c.Truncated = m.o.version.LSN - 20 + change.LSN(positions.Draw(m.T, "truncated"))
	}
	if rapid.IntRange(0, 3).Draw(m.T, "part") > 0 {
		c.Watermark = m.o.version.LSN + change.LSN(positions.Draw(m.T, "watermark"))
	}
	epoch := m.o.version.Epoch
	m.either(c.Changes, func(o *oracle, given map[change.Hash][]float32) map[change.Hash]bool {
		if v := (change.Version{Epoch: epoch, LSN: c.Truncated}); c.Truncated != 0 {
			o.kill(v, func(e entry) bool { return e.version.Compare(v) <= 0 })
			if v.Compare(o.truncated) > 0 {
				o.truncated = v
			}
		}
		o.version.LSN = max(o.version.LSN, c.Watermark)
		return o.write(c.Changes, epoch, given)
	}, func(given map[change.Hash][]float32) error {
		c.Vectors = given
		return m.stream.Commit(m.b.tb.Context(), c)
	})
	m.seen = append(m.seen, m.o.version)
}

func (m *machine) Open(*rapid.T) {
	if m.job != nil {
		return
	}
	job, err := m.b.sink.OpenJob(m.b.tb.Context(), everything)
	m.must(err, "opening a job")
	m.job = job
	if !job.Resumed() {
		m.o.started = append(m.o.started, m.o.version)
	}
	m.seen = []change.Version{m.o.version}
}

func (m *machine) Chunk(*rapid.T) {
	if m.job == nil {
		return
	}
	a := rapid.SampledFrom(m.seen).Draw(m.T, "read at")
	if m.o.truncated.Compare(a) > 0 {
		if _, err := m.job.Commit(m.b.tb.Context(), sink.Chunk{A: a}); !errors.Is(err, sink.ErrChunkStale) {
			m.Fatalf("got %v after a truncate", err)
		}
		return
	}
	changes := m.changes(a.LSN)
	m.either(changes, func(o *oracle, given map[change.Hash][]float32) map[change.Hash]bool {
		return o.write(changes, a.Epoch, given)
	}, func(given map[change.Hash][]float32) error {
		_, err := m.job.Commit(m.b.tb.Context(), sink.Chunk{A: a, Changes: changes, Vectors: given, Cursor: "1"})
		return err
	})
}

func (m *machine) Sweep(*rapid.T) {
	if m.job == nil {
		return
	}
	started := m.job.Started()
	want := m.o.kill(started, func(e entry) bool { return e.version.Compare(started) < 0 })
	got, err := m.job.Sweep(m.b.tb.Context())
	m.must(err, "sweeping")
	if got != want {
		m.Fatalf("swept %d, want %d", got, want)
	}
	m.job.Close()
	m.job, m.o.started = nil, nil
}

func (m *machine) Collect(*rapid.T) {
	want := m.o.collect()
	got, err := m.b.sink.CollectTombstones(m.b.tb.Context())
	m.must(err, "collecting")
	if got != want {
		m.Fatalf("%d tombstones went, want %d", got, want)
	}
}

func (m *machine) Restart(*rapid.T) {
	if m.job != nil {
		m.job.Close()
		m.job = nil
	}
	m.o.version = m.b.start(true)
	m.o.started = []change.Version{m.o.version}
	m.stream = m.b.takeover()
}

// check compares the tables with the oracle after every operation.
func (m *machine) check(conn *pgx.Conn) {
	got, err := m.b.read(conn)
	m.must(err, "reading the tables")
	if got.String() != m.o.String() {
		m.Fatalf("the sink holds\n%s\nthe oracle\n%s", got, m.o)
	}
	if v := m.b.version(); v != m.o.version {
		m.Fatalf("the watermark is %s, want %s", v, m.o.version)
	}
}

func TestRandomCommitsChunksAndSweepsFollowTheRules(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := b.db.Conn(t)
	rapid.Check(t, func(rt *rapid.T) {
		_, err := conn.Exec(t.Context(), "TRUNCATE wal2vec.ledger_product, wal2vec.vectors_product_1")
		if err != nil {
			rt.Fatal(err)
		}
		m := &machine{T: rt, b: b, o: &oracle{ledger: make(map[change.Key]entry), vectors: make(map[change.Key]change.Hash)}}
		m.Restart(rt)
		defer func() {
			if m.job != nil {
				m.job.Close()
			}
		}()
		operations := []func(*rapid.T){m.Stream, m.Stream, m.Stream, m.Open, m.Chunk, m.Chunk, m.Sweep, m.Collect, m.Restart}
		for range rapid.IntRange(1, 12).Draw(rt, "operations") {
			operations[rapid.IntRange(0, len(operations)-1).Draw(rt, "operation")](rt)
			m.check(conn)
		}
	})
}
