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
	"github.com/wal2vec/wal2vec/internal/protocol"
	"github.com/wal2vec/wal2vec/sink"
)

// oracle is what the sink's tables must hold, in plain maps: the rules again, without SQL.
type oracle struct {
	version   change.Version
	truncated change.Version
	ledger    map[change.Key]entry
	vectors   map[change.Key]change.Hash
	letters   map[change.Key]deadLetter
	// started are the versions of the open jobs.
	started []change.Version
}

type entry struct {
	version change.Version
	hash    change.Hash
	deleted bool
	failed  bool
}

type deadLetter struct {
	version  change.Version
	hash     change.Hash
	attempts int
}

func newOracle() *oracle {
	return &oracle{ledger: make(map[change.Key]entry), vectors: make(map[change.Key]change.Hash), letters: make(map[change.Key]deadLetter)}
}

// outcome is what became of texts: vectors, and those that failed.
type outcome struct {
	given  map[change.Hash][]float32
	failed map[change.Hash]string
}

func (o *oracle) clone() *oracle {
	c := *o
	c.ledger, c.vectors, c.letters = maps.Clone(o.ledger), maps.Clone(o.vectors), maps.Clone(o.letters)
	return &c
}

// write applies changes and returns the texts that it lacked; then the oracle is spoilt.
func (o *oracle) write(changes []change.Change, epoch change.Epoch, texts outcome) map[change.Hash]bool {
	needed := make(map[change.Hash]bool)
	for _, c := range changes {
		version := change.Version{Epoch: epoch, LSN: c.LSN}
		stored, known := o.ledger[c.Key]
		if !known || stored.version.Compare(version) <= 0 {
			same := known && !c.Deleted && !stored.deleted && stored.hash == c.Document.Hash
			stored = entry{version: version, hash: c.Document.Hash, deleted: c.Deleted, failed: same && stored.failed}
		}
		_, have := texts.given[c.Document.Hash]
		_, bad := texts.failed[c.Document.Hash]
		switch {
		case stored.deleted:
			if c.Deleted {
				delete(o.vectors, c.Key)
			}
		case c.Deleted || stored.hash != c.Document.Hash || o.vectors[c.Key] == stored.hash:
		case have:
			o.vectors[c.Key], stored.failed = stored.hash, false
		case bad:
			delete(o.vectors, c.Key)
			stored.failed = true
			attempts := 1
			if l := o.letters[c.Key]; l.hash == stored.hash {
				attempts += l.attempts
			}
			o.letters[c.Key] = deadLetter{version: stored.version, hash: stored.hash, attempts: attempts}
		case !stored.failed:
			needed[stored.hash] = true
		}
		if o.ledger[c.Key] = stored; !stored.failed {
			delete(o.letters, c.Key)
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
			delete(o.letters, key)
			killed++
		}
	}
	return killed
}

// collect removes the tombstones that no process needs.
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
		lines = append(lines, fmt.Sprintf("%s %s %s vector %s failed %v", key, e.version, hash, vector, e.failed))
	}
	for key, l := range o.letters {
		lines = append(lines, fmt.Sprintf("letter %s %s %s x%d", key, l.version, l.hash, l.attempts))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// read fills an oracle from the tables.
func (b *bench) read(conn *pgx.Conn) (*oracle, error) {
	o := newOracle()
	rows, err := conn.Query(b.tb.Context(), "SELECT product_id::text, epoch, lsn, deleted, failed_at IS NOT NULL, l.text_hash, v.text_hash "+
		"FROM wal2vec.ledger_product l FULL JOIN wal2vec.vectors_product_1 v USING (product_id)")
	if err != nil {
		return nil, err
	}
	var key string
	var e entry
	var hash, vector []byte
	_, err = pgx.ForEachRow(rows, []any{&key, &e.version.Epoch, &e.version.LSN, &e.deleted, &e.failed, &hash, &vector}, func() error {
		if e.hash = (change.Hash{}); hash != nil {
			e.hash = change.Hash(hash)
		}
		o.ledger[change.Key(key)] = e
		if vector != nil {
			o.vectors[change.Key(key)] = change.Hash(vector)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	letters, err := b.sink.DeadLetters(b.tb.Context(), 0)
	for _, l := range letters {
		o.letters[l.Key] = deadLetter{version: l.Version, hash: l.Hash, attempts: l.Attempts}
	}
	return o, err
}

// machine draws operations and applies each to the sink and to the oracle.
type machine struct {
	*rapid.T
	b      *bench
	o      *oracle
	stream *sink.Stream
	job    *sink.Job
	opened int64 // the last job that began
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

// some returns some of the vectors; some of the other texts failed.
func (m *machine) some(vectors map[change.Hash][]float32) outcome {
	some := outcome{given: make(map[change.Hash][]float32), failed: make(map[change.Hash]string)}
	for _, hash := range slices.SortedFunc(maps.Keys(vectors), func(x, y change.Hash) int { return slices.Compare(x[:], y[:]) }) {
		switch rapid.IntRange(0, 3).Draw(m.T, "encoded") {
		case 0, 1:
			some.given[hash] = vectors[hash]
		case 2:
			some.failed[hash] = "no tokens"
		}
	}
	return some
}

// either runs commit with some vectors, and with all of them when the oracle says that some are
// lacking.
func (m *machine) either(changes []change.Change, apply func(*oracle, outcome) map[change.Hash]bool,
	commit func(outcome) error,
) {
	all := vectorsOf(dimension, changes...)
	some := m.some(all)
	after := m.o.clone()
	needed := apply(after, some)
	err := commit(some)
	var need *sink.NeedVectorsError
	switch {
	case len(needed) == 0:
		m.must(err, "committing")
	case !errors.As(err, &need):
		m.Fatalf("got %v, want a need for %d texts", err, len(needed))
	default:
		for _, hash := range need.Hashes[1] {
			if !needed[hash] {
				m.Fatalf("the sink needs %s, the oracle does not", hash)
			}
			delete(needed, hash)
		}
		if len(needed) != 0 {
			m.Fatalf("the sink does not ask for %v", needed)
		}
		after = m.o.clone()
		apply(after, outcome{given: all})
		m.must(commit(outcome{given: all}), "committing with every vector")
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
	// As a stream says of what it writes ahead of its watermark.
	ahead := c.Truncated
	for _, one := range c.Changes {
		ahead = max(ahead, one.LSN)
	}
	if ahead > max(m.o.version.LSN, c.Watermark) {
		c.PartialUntil = ahead
	}
	epoch := m.o.version.Epoch
	m.either(c.Changes, func(o *oracle, texts outcome) map[change.Hash]bool {
		if v := (change.Version{Epoch: epoch, LSN: c.Truncated}); c.Truncated != 0 {
			o.kill(v, func(e entry) bool { return e.version.Compare(v) <= 0 })
			if v.Compare(o.truncated) > 0 {
				o.truncated = v
			}
		}
		o.version.LSN = max(o.version.LSN, c.Watermark)
		return o.write(c.Changes, epoch, texts)
	}, func(texts outcome) error {
		c.Encodings = encoded(texts.given, texts.failed)
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
	if job.ID() != m.opened {
		m.opened = job.ID()
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
		if _, err := m.job.Commit(m.b.tb.Context(), protocol.Chunk{A: a}); !errors.Is(err, protocol.ErrChunkStale) {
			m.Fatalf("got %v after a truncate", err)
		}
		return
	}
	changes := m.changes(a.LSN)
	m.either(changes, func(o *oracle, texts outcome) map[change.Hash]bool {
		return o.write(changes, a.Epoch, texts)
	}, func(texts outcome) error {
		_, err := m.job.Commit(m.b.tb.Context(), protocol.Chunk{A: a, Changes: changes, Encodings: encoded(texts.given, texts.failed), After: m.job.Cursor(), Cursor: "1"})
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

func (m *machine) Drop(*rapid.T) {
	var keys []change.Key
	var want int
	for _, key := range rapid.SliceOfNDistinct(rapid.IntRange(0, 5), 0, 3, rapid.ID[int]).Draw(m.T, "dropped") {
		k := change.Key(fmt.Sprint(key))
		if _, found := m.o.letters[k]; found {
			want++
			delete(m.o.letters, k)
			e := m.o.ledger[k]
			e.failed = false
			m.o.ledger[k] = e
		}
		keys = append(keys, k)
	}
	got, err := m.b.sink.DropDeadLetters(m.b.tb.Context(), keys)
	m.must(err, "dropping")
	if len(got) != want {
		m.Fatalf("dropped %q, want %d", got, want)
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
		_, err := conn.Exec(t.Context(), "TRUNCATE wal2vec.ledger_product, wal2vec.vectors_product_1, wal2vec.dead_letter_product")
		if err != nil {
			rt.Fatal(err)
		}
		m := &machine{T: rt, b: b, o: newOracle()}
		m.Restart(rt)
		defer func() {
			if m.job != nil {
				m.job.Close()
			}
		}()
		operations := []func(*rapid.T){m.Stream, m.Stream, m.Stream, m.Open, m.Chunk, m.Chunk, m.Sweep, m.Collect, m.Drop, m.Restart}
		for range rapid.IntRange(1, 12).Draw(rt, "operations") {
			operations[rapid.IntRange(0, len(operations)-1).Draw(rt, "operation")](rt)
			m.check(conn)
		}
	})
}
