package pipeline_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// martSink is a sink with one job, in memory, and the position of the stream beside it.
type martSink struct {
	*recorder
	source *martSource // whose chunks it merges

	// The stream.
	version   change.Version
	streaming bool
	// The job.
	full    bool
	started change.Version
	cursor  change.Key
	ahead   map[change.Key]change.Key // chunks behind a gap: where they begin and end
	closed  string                    // how
	// What the chunks and the stream write.
	truncated change.Version
	ledger    map[change.Key]change.Version
	vectors   map[change.Key]change.Hash
	letters   map[change.Key]string

	// What was seen.
	merged  []protocol.Chunk
	times   []time.Time
	partial change.LSN

	onVersion, onStreaming, onStale, onSweep, onFinish func(context.Context) error
	onCommit                                           func(ctx context.Context, c protocol.Chunk) error
}

func (s *martSink) Version(ctx context.Context) (change.Version, error) {
	if err := do(ctx, s.onVersion); err != nil {
		return change.Version{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = append(s.journal, fmt.Sprintf("version %d", s.version.LSN))
	return s.version, nil
}

func (s *martSink) Streaming(ctx context.Context) (bool, error) {
	if err := do(ctx, s.onStreaming); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streaming, nil
}

func (s *martSink) Resume() change.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.ahead)
	return s.cursor
}

func (s *martSink) Started() change.Version { return s.started }

func (s *martSink) Stale(ctx context.Context, changes []change.Change) ([]change.Lack, error) {
	if err := do(ctx, s.onStale); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []int
	for i, c := range changes {
		if !c.Deleted && (s.full || s.vectors[c.Key] != c.Document.Hash) {
			out = append(out, i)
		}
	}
	return lacking(out), nil
}

func (s *martSink) Commit(ctx context.Context, c protocol.Chunk) (protocol.ChunkResult, error) {
	s.notef("commit to %q at %d", string(c.Cursor), c.A.LSN)
	if s.onCommit != nil {
		if err := s.onCommit(ctx, c); err != nil {
			return protocol.ChunkResult{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.check(c)
	if c.A.Epoch != s.version.Epoch || c.A.Compare(s.truncated) < 0 {
		return protocol.ChunkResult{}, fmt.Errorf("writing: %w", protocol.ErrChunkStale)
	}
	var result protocol.ChunkResult
	for _, ch := range c.Changes {
		_, given := c.Encodings[1].Vectors[ch.Document.Hash]
		_, failed := c.Encodings[1].Failed[ch.Document.Hash]
		if !ch.Deleted && !given && !failed && s.vectors[ch.Key] != ch.Document.Hash {
			return protocol.ChunkResult{}, fmt.Errorf("writing: %w", &needs{[]change.Hash{ch.Document.Hash}})
		}
	}
	for _, ch := range c.Changes {
		_, given := c.Encodings[1].Vectors[ch.Document.Hash]
		reason, failed := c.Encodings[1].Failed[ch.Document.Hash]
		switch {
		case s.ledger[ch.Key].Compare(c.A) > 0:
			result.Superseded++
			continue
		case ch.Deleted:
			result.Deleted++
			delete(s.vectors, ch.Key)
		case failed:
			result.Failed++
			s.letters[ch.Key] = reason
			delete(s.vectors, ch.Key)
		case given:
			result.Written++
			s.vectors[ch.Key] = ch.Document.Hash
		default:
			result.Unchanged++
		}
		s.ledger[ch.Key] = c.A
	}
	s.ahead[c.After] = c.Cursor
	for next, found := s.ahead[s.cursor]; found; next, found = s.ahead[s.cursor] {
		delete(s.ahead, s.cursor)
		s.cursor = next
	}
	s.partial = max(s.partial, c.PartialUntil)
	s.source.atWork--
	s.merged, s.times = append(s.merged, c), append(s.times, time.Now())
	return result, nil
}

// check holds a chunk against the rules.
func (s *martSink) check(c protocol.Chunk) {
	if s.closed != "" {
		s.t.Errorf("a chunk of a job that was closed: %s", s.closed)
	}
	if _, twice := s.ahead[c.After]; twice || c.After < s.cursor || c.Cursor < c.After || c.Cursor == c.After && len(c.Changes) > 0 {
		s.t.Errorf("a chunk from %q up to %q when the cursor is %q, and written behind it are %q", c.After, c.Cursor, s.cursor, s.ahead)
	}
	if c.PartialUntil != 0 && c.PartialAhead < c.PartialUntil {
		s.t.Errorf("a chunk until %s whose followers go to %s", c.PartialUntil, c.PartialAhead)
	}
	if !slices.IsSortedFunc(c.Changes, func(a, b change.Change) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	}) {
		s.t.Error("a chunk whose keys are not sorted")
	}
	if c.A.Compare(s.started) < 0 {
		s.t.Errorf("a chunk read at %s, before its job started", c.A)
	}
	if c.Force != s.full {
		s.t.Errorf("a chunk with force %v", c.Force)
	}
}

func (s *martSink) Sweep(ctx context.Context) (int64, error) {
	s.notef("sweep")
	if err := do(ctx, s.onSweep); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ahead) > 0 {
		s.t.Errorf("a sweep while chunks behind %q are missing", s.cursor)
	}
	s.closed = "swept"
	var n int64
	for k, v := range s.ledger {
		if v.Compare(s.started) < 0 {
			delete(s.ledger, k)
			delete(s.vectors, k)
			n++
		}
	}
	return n, nil
}

func (s *martSink) Finish(ctx context.Context) error {
	if err := do(ctx, s.onFinish); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = "finished"
	return nil
}
