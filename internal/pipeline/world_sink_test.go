package pipeline_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// fakeSink is a sink in memory, for one owner at a time.
type fakeSink struct {
	*recorder

	watermark change.LSN
	owner     int
	awaited   bool
	ledger    map[change.Key]change.Change
	vectors   map[change.Key]change.Hash
	letters   map[change.Key]string
	writing   bool

	// What was seen.
	commits   []change.Commit
	committed []time.Time // when
	reports   []report
	collected []time.Time
	takeovers int

	onWatermark, onTakeover, onAwaited, onReport, onStale, onCollect func(context.Context) error
	onCommit                                                         func(ctx context.Context, c change.Commit) error // before it
	afterCommit                                                      func(ctx context.Context, c change.Commit) error // after it happened
}

type report struct{ at, oldest time.Time }

func (s *fakeSink) batches() []change.Commit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commits)
}

func (s *fakeSink) Place(ctx context.Context) (change.Place, error) {
	if err := do(ctx, s.onWatermark); err != nil {
		return change.Place{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return change.Place{Watermark: s.watermark}, nil
}

func (s *fakeSink) Takeover(ctx context.Context) (pipeline.Writer, error) {
	if err := do(ctx, s.onTakeover); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takeovers++
	s.owner++
	return &writer{fakeSink: s, owner: s.owner, at: s.watermark}, nil
}

func (s *fakeSink) Awaited(ctx context.Context) (bool, error) {
	if err := do(ctx, s.onAwaited); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.awaited, nil
}

func (s *fakeSink) CollectTombstones(ctx context.Context) (int64, error) {
	s.look(func() { s.collected = append(s.collected, time.Now()) })
	return 1, do(ctx, s.onCollect)
}

type writer struct {
	*fakeSink
	owner int
	mine  sync.Mutex // guards at; it is read beside Commit
	at    change.LSN
}

func (wr *writer) Watermark() change.LSN {
	wr.mine.Lock()
	defer wr.mine.Unlock()
	return wr.at
}

func (wr *writer) Template() change.Template { return nameTemplate(wr.t) }

func (wr *writer) Stale(ctx context.Context, changes []change.Change) ([]change.Lack, error) {
	if err := do(ctx, wr.onStale); err != nil {
		return nil, err
	}
	var out []int
	wr.look(func() {
		for i, c := range changes {
			if !c.Deleted && wr.vectors[c.Key] != c.Document.Hash {
				out = append(out, i)
			}
		}
	})
	return lacking(out), nil
}

// lacking says that the only generation lacks these.
func lacking(at []int) []change.Lack {
	if len(at) == 0 {
		return nil
	}
	return []change.Lack{{Generation: 1, At: at}}
}

// needs is the error of a commit that lacks vectors.
type needs struct{ hashes []change.Hash } // of the first generation

func (n *needs) Error() string { return fmt.Sprintf("%d vectors are missing", len(n.hashes)) }
func (n *needs) NeededHashes() map[int][]change.Hash {
	return map[int][]change.Hash{1: n.hashes}
}

func (wr *writer) Commit(ctx context.Context, c change.Commit) error {
	wr.look(func() {
		if wr.writing {
			wr.t.Error("two commits at once")
		}
		wr.writing = true
		wr.journal = append(wr.journal, fmt.Sprintf("commit %d", c.Watermark))
	})
	defer wr.look(func() { wr.writing = false })
	if wr.onCommit != nil {
		if err := wr.onCommit(ctx, c); err != nil {
			return err
		}
	}
	if err := wr.apply(c); err != nil {
		return err
	}
	if wr.afterCommit != nil {
		if err := wr.afterCommit(ctx, c); err != nil {
			return err // it happened, and its writer does not know
		}
	}
	wr.mine.Lock()
	defer wr.mine.Unlock()
	wr.at = max(wr.at, c.Watermark)
	return nil
}

// apply does what the sink's transaction does.
func (wr *writer) apply(c change.Commit) error {
	wr.mu.Lock()
	defer wr.mu.Unlock()
	if wr.owner != wr.fakeSink.owner || wr.Watermark() != wr.watermark {
		return fmt.Errorf("writing: %w", protocol.ErrFenced)
	}
	var missing []change.Hash
	for _, ch := range c.Changes {
		if !wr.visible[uint32(ch.LSN)] {
			wr.t.Errorf("key %s of transaction %d was committed before it was visible", ch.Key, ch.LSN)
		}
		_, given := c.Encodings[1].Vectors[ch.Document.Hash]
		_, failed := c.Encodings[1].Failed[ch.Document.Hash]
		if given && failed {
			wr.t.Errorf("the text of key %s has a vector and cannot be encoded", ch.Key)
		}
		if !ch.Deleted && !given && !failed && wr.vectors[ch.Key] != ch.Document.Hash {
			missing = append(missing, ch.Document.Hash)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("writing: %w", &needs{missing})
	}
	if c.Watermark != 0 && c.Watermark <= wr.watermark {
		wr.t.Errorf("the watermark went from %s to %s", wr.watermark, c.Watermark)
	}
	if c.Truncated != 0 {
		clear(wr.ledger)
		clear(wr.vectors)
		clear(wr.letters)
	}
	for _, ch := range c.Changes {
		if old, found := wr.ledger[ch.Key]; found && old.LSN > ch.LSN {
			wr.t.Errorf("key %s of version %d was overwritten by %d", ch.Key, old.LSN, ch.LSN)
		}
		wr.ledger[ch.Key] = ch
		delete(wr.vectors, ch.Key)
		delete(wr.letters, ch.Key)
		if ch.Deleted {
			continue
		}
		if reason, failed := c.Encodings[1].Failed[ch.Document.Hash]; failed {
			wr.letters[ch.Key] = reason
			continue
		}
		wr.vectors[ch.Key] = ch.Document.Hash
		if v, given := c.Encodings[1].Vectors[ch.Document.Hash]; given && !slices.Equal(v, vectorsOf([]string{ch.Document.Text})[0]) {
			wr.t.Errorf("key %s got the vector of another text", ch.Key)
		}
	}
	wr.watermark = max(wr.watermark, c.Watermark)
	c.Encodings = change.Encodings{1: {Vectors: maps.Clone(c.Encodings[1].Vectors)}}
	wr.commits, wr.committed = append(wr.commits, c), append(wr.committed, time.Now())
	wr.journal = append(wr.journal, fmt.Sprintf("committed %d", c.Watermark))
	return nil
}

func (wr *writer) ReportPending(ctx context.Context, oldest time.Time) error {
	wr.look(func() { wr.reports = append(wr.reports, report{time.Now(), oldest}) })
	return do(ctx, wr.onReport)
}
