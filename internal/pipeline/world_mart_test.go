package pipeline_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// mart is a table, an encoder and a sink with one job, in memory. It checks what must hold always:
// the version of a chunk was read before its rows, each chunk is merged once, behind the stream or
// flushed, over a connection that still stands, and the sweep comes when all of them are.
type mart struct {
	t *testing.T

	mu sync.Mutex
	// The source.
	keys    []change.Key
	table   map[change.Key]change.Row
	insert  change.LSN // end of the log
	flushed change.LSN
	session uint64
	// The stream.
	version   change.Version
	streaming bool
	// The sink.
	started   change.Version
	truncated change.Version
	cursor    change.Key
	ahead     map[change.Key]change.Key // chunks behind a gap: where they begin and end
	ledger    map[change.Key]change.Version
	vectors   map[change.Key]change.Hash
	letters   map[change.Key]string
	full      bool
	closed    string // how
	merged    []protocol.Chunk
	times     []time.Time
	partial   change.LSN
	// What was seen.
	journal []string
	encoded [][]string
	atWork  int // chunks read and not merged
	most    int

	// Faults and delays, as in a world.
	onVersion, onStreaming, onAlive, onFlush, onStale, onSweep, onFinish func(context.Context) error
	onChunk                                                              func(ctx context.Context, after change.Key) error
	onEncode                                                             func(ctx context.Context, texts []string) error
	onCommit                                                             func(ctx context.Context, c protocol.Chunk) error
}

func newMart(t *testing.T, rows int) *mart {
	v := change.Version{Epoch: 1 << 32, LSN: 100}
	m := &mart{
		t: t, table: make(map[change.Key]change.Row), insert: 100, flushed: 1 << 40, session: 1, version: v, started: v,
		ledger: make(map[change.Key]change.Version), vectors: make(map[change.Key]change.Hash),
		letters: make(map[change.Key]string), ahead: make(map[change.Key]change.Key),
	}
	for i := range rows {
		key := change.Key(fmt.Sprintf("%03d", i))
		m.keys = append(m.keys, key)
		m.table[key] = change.Row{Key: key, Fields: value(fmt.Sprint("text ", i))}
	}
	return m
}

func (m *mart) look(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *mart) notef(format string, args ...any) {
	m.look(func() { m.journal = append(m.journal, fmt.Sprintf(format, args...)) })
}

func (m *mart) ports() pipeline.BackfillPorts {
	return pipeline.BackfillPorts{Reader: (*martReader)(m), Job: (*martJob)(m), Positions: (*martPositions)(m), Encoders: oneEncoder{(*martEncoder)(m)}}
}

func (m *mart) options() pipeline.BackfillOptions {
	return pipeline.BackfillOptions{
		Template: nameTemplate(m.t), ChunkKeys: 10, InFlight: 4, WaitTimeout: time.Minute, RetryMax: 2 * time.Second, Full: m.full,
		Logger: zerolog.Nop(),
	}
}

func (m *mart) run(opts pipeline.BackfillOptions) (pipeline.Summary, error) {
	return pipeline.NewBackfill(m.ports(), opts).Run(m.t.Context())
}

// stream moves the watermark to the end of the log every so often, until ctx ends.
func (m *mart) stream(ctx context.Context, every time.Duration) {
	m.look(func() { m.streaming = true })
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(every):
			}
			m.look(func() { m.version.LSN = max(m.version.LSN, m.insert) })
		}
	}()
}

type martPositions mart

func (p *martPositions) Version(ctx context.Context) (change.Version, error) {
	if err := do(ctx, p.onVersion); err != nil {
		return change.Version{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.journal = append(p.journal, fmt.Sprintf("version %d", p.version.LSN))
	return p.version, nil
}

func (p *martPositions) Streaming(ctx context.Context) (bool, error) {
	if err := do(ctx, p.onStreaming); err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.streaming, nil
}

type martReader mart

// Chunk reads on; every read moves the log on a little, as a busy source does.
func (r *martReader) Chunk(ctx context.Context, after change.Key, limit int) (protocol.RowChunk, error) {
	m := (*mart)(r)
	m.notef("chunk after %q", string(after))
	if r.onChunk != nil {
		if err := r.onChunk(ctx, after); err != nil {
			return protocol.RowChunk{}, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.insert += 10
	c := protocol.RowChunk{High: m.insert, Session: m.session}
	for _, k := range m.keys {
		if k > after && len(c.Rows) < limit {
			c.Rows = append(c.Rows, m.table[k])
			c.Last = k
		}
	}
	slices.Reverse(c.Rows) // the source has an order of its own
	c.Done = len(c.Rows) < limit
	m.atWork++
	m.most = max(m.most, m.atWork)
	return c, nil
}

func (r *martReader) Alive(ctx context.Context, session uint64) error {
	if err := do(ctx, r.onAlive); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if session != r.session {
		return fault.New(fault.Unavailable, "", "connection %d is gone", session)
	}
	r.journal = append(r.journal, "alive")
	return nil
}

func (r *martReader) WaitFlushed(ctx context.Context, lsn change.LSN) error {
	(*mart)(r).notef("wait until %d is flushed", lsn)
	if err := do(ctx, r.onFlush); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flushed < lsn {
		return fault.New(fault.Unavailable, "", "not flushed")
	}
	return nil
}

type martEncoder mart

func (e *martEncoder) Encode(ctx context.Context, texts []string) ([][]float32, error) {
	(*mart)(e).look(func() { e.encoded = append(e.encoded, slices.Clone(texts)) })
	if e.onEncode != nil {
		if err := e.onEncode(ctx, texts); err != nil {
			return nil, err
		}
	}
	return vectorsOf(texts), nil
}

func (e *martEncoder) Dimension() int { return len(change.Hash{}) }

type martJob mart

func (j *martJob) Resume() change.Key {
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.ahead)
	return j.cursor
}

func (j *martJob) Started() change.Version { return j.started }

func (j *martJob) Stale(ctx context.Context, changes []change.Change) ([]change.Lack, error) {
	if err := do(ctx, j.onStale); err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []int
	for i, c := range changes {
		if !c.Deleted && (j.full || j.vectors[c.Key] != c.Document.Hash) {
			out = append(out, i)
		}
	}
	return lacking(out), nil
}

func (j *martJob) Commit(ctx context.Context, c protocol.Chunk) (protocol.ChunkResult, error) {
	m := (*mart)(j)
	m.notef("commit to %q at %d", string(c.Cursor), c.A.LSN)
	if j.onCommit != nil {
		if err := j.onCommit(ctx, c); err != nil {
			return protocol.ChunkResult{}, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	j.check(c)
	if c.A.Epoch != j.version.Epoch || c.A.Compare(j.truncated) < 0 {
		return protocol.ChunkResult{}, fmt.Errorf("writing: %w", protocol.ErrChunkStale)
	}
	var result protocol.ChunkResult
	for _, ch := range c.Changes {
		_, given := c.Encodings[1].Vectors[ch.Document.Hash]
		_, failed := c.Encodings[1].Failed[ch.Document.Hash]
		if !ch.Deleted && !given && !failed && j.vectors[ch.Key] != ch.Document.Hash {
			return protocol.ChunkResult{}, fmt.Errorf("writing: %w", &needs{[]change.Hash{ch.Document.Hash}})
		}
	}
	for _, ch := range c.Changes {
		_, given := c.Encodings[1].Vectors[ch.Document.Hash]
		reason, failed := c.Encodings[1].Failed[ch.Document.Hash]
		switch {
		case j.ledger[ch.Key].Compare(c.A) > 0:
			result.Superseded++
			continue
		case ch.Deleted:
			result.Deleted++
			delete(j.vectors, ch.Key)
		case failed:
			result.Failed++
			j.letters[ch.Key] = reason
			delete(j.vectors, ch.Key)
		case given:
			result.Written++
			j.vectors[ch.Key] = ch.Document.Hash
		default:
			result.Unchanged++
		}
		j.ledger[ch.Key] = c.A
	}
	j.ahead[c.After] = c.Cursor
	for next, found := j.ahead[j.cursor]; found; next, found = j.ahead[j.cursor] {
		delete(j.ahead, j.cursor)
		j.cursor = next
	}
	j.partial = max(j.partial, c.PartialUntil)
	j.atWork--
	j.merged, j.times = append(j.merged, c), append(j.times, time.Now())
	return result, nil
}

// check holds a chunk against the rules.
func (j *martJob) check(c protocol.Chunk) {
	if j.closed != "" {
		j.t.Errorf("a chunk of a job that was closed: %s", j.closed)
	}
	if _, twice := j.ahead[c.After]; twice || c.After < j.cursor || c.Cursor < c.After || c.Cursor == c.After && len(c.Changes) > 0 {
		j.t.Errorf("a chunk from %q up to %q when the cursor is %q, and written behind it are %q", c.After, c.Cursor, j.cursor, j.ahead)
	}
	if c.PartialUntil != 0 && c.PartialAhead < c.PartialUntil {
		j.t.Errorf("a chunk until %s whose followers go to %s", c.PartialUntil, c.PartialAhead)
	}
	if !slices.IsSortedFunc(c.Changes, func(a, b change.Change) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	}) {
		j.t.Error("a chunk whose keys are not sorted")
	}
	if c.A.Compare(j.started) < 0 {
		j.t.Errorf("a chunk read at %s, before its job started", c.A)
	}
	if c.Force != j.full {
		j.t.Errorf("a chunk with force %v", c.Force)
	}
}

func (j *martJob) Sweep(ctx context.Context) (int64, error) {
	(*mart)(j).notef("sweep")
	if err := do(ctx, j.onSweep); err != nil {
		return 0, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.ahead) > 0 {
		j.t.Errorf("a sweep while chunks behind %q are missing", j.cursor)
	}
	j.closed = "swept"
	var n int64
	for k, v := range j.ledger {
		if v.Compare(j.started) < 0 {
			delete(j.ledger, k)
			delete(j.vectors, k)
			n++
		}
	}
	return n, nil
}

func (j *martJob) Finish(ctx context.Context) error {
	if err := do(ctx, j.onFinish); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = "finished"
	return nil
}

// complete checks that the sink holds each row's vector, and none else.
func (m *mart) complete() {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	live := 0
	for _, k := range m.keys {
		row := m.table[k]
		if row.SoftDeleted || strings.TrimSpace(row.Fields[0].Text) == "" {
			continue
		}
		live++
		if m.vectors[k] != change.HashText(row.Fields[0].Text) {
			m.t.Errorf("key %s lacks its vector", k)
		}
	}
	if len(m.vectors) != live {
		m.t.Errorf("the sink has %d vectors, the source %d rows", len(m.vectors), live)
	}
}
