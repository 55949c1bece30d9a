package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// Tests of a backfill that encodes and writes several chunks at once.

// together counts how many are at it at once.
type together struct{ now, most int }

func (m *mart) enter(c *together) {
	m.look(func() {
		c.now++
		c.most = max(c.most, c.now)
	})
}

func (m *mart) leave(c *together) { m.look(func() { c.now-- }) }

func (m *mart) several() pipeline.BackfillOptions {
	opts := m.options()
	opts.InFlight, opts.Encoding, opts.Writers = 12, 5, 3
	return opts
}

func TestAQuickEncoderHasSeveralChunksAndASlowOneHasOne(t *testing.T) {
	for took, want := range map[time.Duration]int{time.Millisecond: 5, 5 * time.Second: 1} {
		t.Run(took.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMart(t, 400)
				var encoding together
				m.onEncode = func(context.Context, []string) error {
					m.enter(&encoding)
					defer m.leave(&encoding)
					<-time.After(took)
					return nil
				}
				got, err := m.run(m.several())
				if err != nil || got.Processed != 400 || got.Encoded != 400 || encoding.most != want {
					t.Errorf("got %+v, %v; %d chunks were encoded at once, want %d", got, err, encoding.most, want)
				}
				m.complete()
			})
		})
	}
}

func TestAnEncoderThatSlowsDownHasFewerChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 600)
		var encoding together
		calls := 0
		m.onEncode = func(context.Context, []string) error {
			m.enter(&encoding)
			defer m.leave(&encoding)
			took := time.Millisecond
			m.look(func() {
				if calls++; calls > 20 {
					took = 3 * time.Second
				}
				if calls == 40 {
					encoding.most = 0
				}
			})
			<-time.After(took)
			return nil
		}
		if got, err := m.run(m.several()); err != nil || got.Processed != 600 || encoding.most != 1 {
			t.Errorf("got %+v, %v; %d chunks at once", got, err, encoding.most)
		}
	})
}

func TestWritersWriteAtOnceAndTheSummaryFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 95)
		var writing together
		first, release := hold()
		m.onCommit = func(ctx context.Context, c protocol.Chunk) error {
			m.enter(&writing)
			defer m.leave(&writing)
			if c.After == "" {
				return first(ctx) // the first chunk waits for the others
			}
			<-time.After(10 * time.Millisecond)
			return nil
		}
		var progress []int64
		opts := m.several()
		opts.Progress = func(s pipeline.Summary) { progress = append(progress, s.Processed) }
		done := make(chan error)
		go func() {
			_, err := m.run(opts)
			done <- err
		}()
		pass(time.Second)
		m.look(func() {
			if len(m.merged) != 9 || m.cursor != "" || len(progress) != 0 || m.closed != "" {
				t.Errorf("%d chunks are merged, the cursor is %q, progress %d, closed %q", len(m.merged), m.cursor, progress, m.closed)
			}
		})
		release()
		if err := <-done; err != nil || writing.most != 3 {
			t.Errorf("ended with %v; %d chunks were written at once", err, writing.most)
		}
		expect(t, "progress", progress, []int64{10, 20, 30, 40, 50, 60, 70, 80, 90, 95})
		m.complete()
	})
}

func TestWhatIsMergedBehindAFailureCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 95)
		failed := false
		m.onCommit = func(_ context.Context, c protocol.Chunk) error {
			if c.After != "009" || failed {
				return nil
			}
			<-time.After(time.Second) // the others are merged in the meantime
			failed = true
			return errAway
		}
		got, err := m.run(m.several())
		want := pipeline.Summary{Processed: 95, Encoded: 20, UpToDate: 75, Batches: 10, Done: true, Duration: got.Duration}
		if err != nil || got != want {
			t.Errorf("got %+v, %v\nwant %+v", got, err, want)
		}
		if n := len(m.merged); n != 9+9 {
			t.Errorf("%d chunks were merged", n)
		}
		m.complete()
	})
}

func TestALimitHoldsWithSeveralWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 95)
		commits := 0
		m.onCommit = func(context.Context, protocol.Chunk) error {
			var n int
			m.look(func() {
				commits++
				n = commits
			})
			if n%4 == 0 {
				return errAway
			}
			return nil
		}
		opts := m.several()
		opts.Limit = 47
		if got, err := m.run(opts); err != nil || got.Processed != 47 || len(m.vectors) != 47 || m.closed != "finished" {
			t.Errorf("got %+v, %v; %d vectors", got, err, len(m.vectors))
		}
	})
}

func TestALostJobStopsEveryWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 400)
		commits := 0
		m.onCommit = func(context.Context, protocol.Chunk) error {
			var n int
			m.look(func() {
				commits++
				n = commits
			})
			if n > 8 {
				return fmt.Errorf("writing: %w", protocol.ErrJobLost)
			}
			return nil
		}
		got, err := m.run(m.several())
		if !errors.Is(err, protocol.ErrJobLost) || got.Done || m.closed != "" || commits > 8+3 || len(m.merged) != 8 {
			t.Errorf("got %+v, %v after %d commits, %d merged, closed %q", got, err, commits, len(m.merged), m.closed)
		}
	})
}

func TestAReaderThatWaitsHearsOfAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 400)
		opts := m.several()
		opts.Rate = 0.001 // the next chunk is due in hours
		m.onStale = func(context.Context) error { return protocol.ErrGenerations }
		begun := time.Now()
		if _, err := m.run(opts); !errors.Is(err, protocol.ErrGenerations) || time.Since(begun) > time.Minute {
			t.Errorf("ended with %v after %s", err, time.Since(begun))
		}
	})
}

// The reader reads no further ahead of a slow encoder than a few chunks, whatever may be at work at
// once: their texts are in memory, and a read grows old.
func TestASlowEncoderIsReadAheadOfByAFewChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 400)
		blocked, release := hold()
		m.onEncode = func(ctx context.Context, _ []string) error { return blocked(ctx) }
		done := make(chan error)
		go func() {
			_, err := m.run(m.several())
			done <- err
		}()
		synctest.Wait()
		m.look(func() {
			if m.atWork > 5 || len(m.encoded) != 1 {
				t.Errorf("%d chunks were read while the first is encoded", m.atWork)
			}
		})
		release()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Positions of chunks read later cover those before them, in their own epoch alone.
func TestTheChunksAheadAreOfTheSameEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 95)
		reads := 0
		m.onChunk = func(context.Context, change.Key) error {
			m.look(func() {
				if reads++; reads == 6 { // positions of the next epoch are below those of this one
					m.version, m.insert = change.Version{Epoch: m.version.Epoch.Next(), LSN: 10}, 10
				}
			})
			return nil
		}
		if _, err := m.run(m.several()); err != nil {
			t.Fatal(err)
		}
		for _, c := range m.merged {
			if c.A.Epoch == m.version.Epoch && c.PartialAhead > m.insert {
				t.Errorf("a chunk of epoch %d is ahead until %s, the log ends at %s", c.A.Epoch, c.PartialAhead, m.insert)
			}
		}
		if !slices.ContainsFunc(m.merged, func(c protocol.Chunk) bool { return c.PartialAhead > c.PartialUntil }) {
			t.Error("no chunk knew of those that follow")
		}
	})
}
