package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

func TestABackfillReadsEncodesAndSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 35)
		m.table["003"] = change.Row{Key: "003", Fields: value("text 4")} // one text twice
		m.table["005"] = change.Row{Key: "005", Fields: value("soft"), SoftDeleted: true}
		m.table["006"] = change.Row{Key: "006", Fields: value(" ")}
		m.vectors["007"] = change.HashText("text 7") // fresh
		m.ledger["008"] = change.Version{Epoch: m.version.Epoch, LSN: 1 << 30}
		m.vectors["008"] = change.HashText("text 8") // the stream knows better
		m.vectors["gone"], m.ledger["gone"] = change.HashText("gone"), change.Version{Epoch: 1, LSN: 50}
		var progress []int64
		opts := m.options()
		opts.Progress = func(s pipeline.Summary) { progress = append(progress, s.Processed) }
		got, err := m.run(opts)
		want := pipeline.Summary{
			Processed: 35, Encoded: 30, UpToDate: 1, Deleted: 2, Swept: 1, Superseded: 1, Batches: 4, Done: true,
		}
		if err != nil || got != want {
			t.Errorf("got %+v, %v\nwant %+v", got, err, want)
		}
		expect(t, "progress", progress, []int64{10, 20, 30, 35})
		m.complete()
		if m.closed != "swept" || slices.Index(m.journal, "sweep") != len(m.journal)-1 {
			t.Errorf("closed %q, journal %q", m.closed, m.journal)
		}
		expect(t, "encoded first", m.encoded[0], []string{"text 0", "text 1", "text 2", "text 4", "text 9"})
	})
}

func TestTheWatermarkIsReadBeforeTheRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 20)
		reads := 0
		m.onVersion = func(context.Context) error {
			m.look(func() { reads++ })
			return nil
		}
		m.onChunk = func(context.Context, change.Key) error {
			m.look(func() { m.version.LSN = m.insert }) // it moves between the two
			return nil
		}
		opts := m.options()
		opts.InFlight = 1
		if _, err := m.run(opts); err != nil {
			t.Fatal(err)
		}
		var seen []string
		for _, c := range m.merged {
			seen = append(seen, fmt.Sprint(uint64(c.A.LSN)))
		}
		expect(t, "versions of the chunks", seen, []string{"100", "100", "110"})
		for _, c := range m.merged {
			for _, ch := range c.Changes {
				if ch.LSN != c.A.LSN {
					t.Errorf("key %s of version %d in a chunk of %d", ch.Key, ch.LSN, c.A.LSN)
				}
			}
		}
	})
}

func TestBesideAStreamAChunkWaitsForTheWatermark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 25)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		m.stream(ctx, 400*time.Millisecond)
		m.onCommit = func(_ context.Context, c protocol.Chunk) error {
			m.look(func() {
				if m.version.LSN < 110 || c.PartialUntil != 0 {
					t.Errorf("merged at watermark %s with partial %s", m.version.LSN, c.PartialUntil)
				}
			})
			return nil
		}
		begun := time.Now()
		if _, err := m.run(m.options()); err != nil {
			t.Fatal(err)
		}
		if first := m.times[0].Sub(begun); first < 400*time.Millisecond || first > 450*time.Millisecond {
			t.Errorf("the first chunk was merged after %s", first)
		}
		if len(grep(m.journal, "wait")) != 0 {
			t.Errorf("journal: %q", m.journal)
		}
		m.complete()
	})
}

func TestWithoutAStreamAChunkWaitsUntilTheSourceHasFlushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 10)
		blocked, release := hold()
		m.onFlush = blocked
		done := make(chan error)
		go func() {
			_, err := m.run(m.options())
			done <- err
		}()
		pass(time.Minute)
		m.look(func() {
			if len(m.merged) != 0 {
				t.Error("merged before the source had flushed")
			}
		})
		release()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		expect(t, "waits", grep(m.journal, "wait"), []string{"wait until 110 is flushed", "wait until 120 is flushed"})
		if m.merged[0].PartialUntil != 110 || m.partial != 120 {
			t.Errorf("partial until %s, in all %s", m.merged[0].PartialUntil, m.partial)
		}
		// The ping comes after the wait.
		order := slices.DeleteFunc(slices.Clone(m.journal), func(s string) bool {
			return strings.HasPrefix(s, "version") || strings.HasPrefix(s, "chunk") || strings.HasPrefix(s, "encode")
		})
		expect(t, "order", order[:3], []string{"wait until 110 is flushed", "alive", `commit to "009" at 100`})
	})
}

func TestAStreamThatStopsEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 5)
		m.streaming = true
		go func() {
			<-time.After(10 * time.Second)
			m.look(func() { m.streaming = false })
		}()
		begun := time.Now()
		if _, err := m.run(m.options()); err != nil || m.partial != 110 {
			t.Errorf("got %v, partial until %s", err, m.partial)
		}
		if took := time.Since(begun); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestAStreamThatDoesNotMoveEndsTheBackfill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 15)
		m.streaming = true
		begun := time.Now()
		got, err := m.run(m.options())
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "did not pass 0/6E within 1m0s, it is at 0/64") {
			t.Errorf("ended with %v", err)
		}
		if took := time.Since(begun); took < time.Minute || took > time.Minute+time.Second {
			t.Errorf("it took %s", took)
		}
		if got.Done || got.Processed != 0 || got.Duration < time.Minute || m.closed != "" || len(m.encoded) != 2 {
			t.Errorf("got %+v, closed %q, encoded %d times", got, m.closed, len(m.encoded))
		}
	})
}

// rereadCauses are the ways to make a backfill read again: each calls once, whose third call fails.
var rereadCauses = map[string]func(m *mart, once func() error){
	"stale": func(m *mart, once func() error) {
		m.onCommit = func(context.Context, protocol.Chunk) error {
			if once() != nil {
				m.look(func() {
					m.truncated = change.Version{Epoch: m.version.Epoch, LSN: m.version.LSN + 1}
					m.version.LSN += 2
				})
			}
			return nil
		}
	},
	"needs": func(m *mart, once func() error) {
		m.onCommit = func(context.Context, protocol.Chunk) error {
			if once() != nil {
				return fmt.Errorf("writing: %w", &needs{make([]change.Hash, 1)})
			}
			return nil
		}
	},
	"source connection": func(m *mart, once func() error) {
		m.onAlive = func(context.Context) error {
			if once() != nil {
				m.look(func() { m.session++ })
			}
			return nil
		}
	},
	"ping": func(m *mart, once func() error) { m.onAlive = func(context.Context) error { return once() } },
	"commit": func(m *mart, once func() error) {
		m.onCommit = func(context.Context, protocol.Chunk) error { return once() }
	},
	"version": func(m *mart, once func() error) { m.onVersion = func(context.Context) error { return once() } },
	"stream?": func(m *mart, once func() error) { m.onStreaming = func(context.Context) error { return once() } },
	"flush":   func(m *mart, once func() error) { m.onFlush = func(context.Context) error { return once() } },
	"look-up": func(m *mart, once func() error) { m.onStale = func(context.Context) error { return once() } },
	"chunk": func(m *mart, once func() error) {
		m.onChunk = func(context.Context, change.Key) error { return once() }
	},
	"epoch": func(m *mart, once func() error) {
		m.onStreaming = func(context.Context) error {
			if once() != nil {
				m.look(func() {
					// Positions of the new epoch are below those of the old one: no process must
					// compare them.
					m.version, m.insert, m.streaming = change.Version{Epoch: m.version.Epoch.Next(), LSN: 10}, 10, true
				})
			}
			m.look(func() {
				if m.version.Epoch.Count() > 1 {
					m.version.LSN, m.truncated = m.insert, change.Version{}
				}
			})
			return nil
		}
	},
}

func TestWhatWasNotCommittedIsReadAgain(t *testing.T) {
	away := fmt.Errorf("merging: %w", errAway)
	for name, breakIt := range rereadCauses {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMart(t, 45)
				calls := 0
				breakIt(m, func() error {
					m.mu.Lock()
					defer m.mu.Unlock()
					if calls++; calls == 3 {
						return away
					}
					return nil
				})
				begun := time.Now()
				got, err := m.run(m.options())
				if err != nil || got.Processed != 45 || got.Batches != 5 || got.Encoded != 45 || !got.Done || m.closed != "swept" {
					t.Errorf("got %+v, %v, closed %q", got, err, m.closed)
				}
				if calls < 4 || time.Since(begun) < 100*time.Millisecond {
					t.Errorf("%d calls, %s: nothing failed", calls, time.Since(begun))
				}
				m.complete()
			})
		})
	}
}

func TestErrorsThatTimeWillNotMendEndTheBackfill(t *testing.T) {
	for name, want := range map[string]error{
		"job lost":    protocol.ErrJobLost,
		"generations": protocol.ErrGenerations,
		"usage":       fault.New(fault.Usage, "", "no right"),
		"gap":         fault.New(fault.Gap, "", "the slot is gone"),
		"other":       errors.New("unexpected"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMart(t, 45)
				calls := 0
				m.onCommit = func(context.Context, protocol.Chunk) error {
					if calls++; calls == 3 {
						return fmt.Errorf("writing: %w", want)
					}
					return nil
				}
				got, err := m.run(m.options())
				if !errors.Is(err, want) || fault.KindOf(err) != fault.KindOf(want) || calls != 3 || got.Processed != 20 || got.Done || m.closed != "" {
					t.Errorf("got %+v, %v after %d commits, closed %q", got, err, calls, m.closed)
				}
				if m.cursor != "019" {
					t.Errorf("the cursor is %q", m.cursor)
				}
			})
		})
	}
}

func TestAnEncoderThatFailsEndsTheBackfill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 15)
		m.onEncode = func(context.Context, []string) error { return errors.New("no memory on the device") }
		begun := time.Now()
		_, err := m.run(m.options())
		if fault.KindOf(err) != fault.Unavailable || fault.Try(err) == "" || !strings.Contains(err.Error(), "encoding 10 texts: no memory on the device") {
			t.Errorf("ended with %v, try %q", err, fault.Try(err))
		}
		// Each of the eleven passes makes four calls: the chunk, its halves, and a text that surely
		// can be encoded.
		if took := time.Since(begun); len(m.encoded) != 11*4 || took < 5*time.Second || len(m.merged) != 0 || len(m.letters) != 0 {
			t.Errorf("%d calls in %s, %d chunks merged, letters %v", len(m.encoded), took, len(m.merged), m.letters)
		}
	})
}

func TestABackfillGivesUpAfterTenPassesWithoutProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 45)
		commits := 0
		m.onCommit = func(context.Context, protocol.Chunk) error {
			// Five passes fail, one chunk goes through, and then none.
			if commits++; commits == 6 {
				return nil
			}
			return errAway
		}
		begun := time.Now()
		got, err := m.run(m.options())
		if !errors.Is(err, errAway) || got.Batches != 1 || commits != 5+2+10 {
			t.Errorf("ended with %v after %d commits, %+v", err, commits, got)
		}
		// 0.2, 0.4, 0.8, 1.6, 2 s twice over, then 2 s at most.
		if took := time.Since(begun); took < 10*time.Second || took > 25*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// TestAChunkThatIsAlwaysStaleMayBeTriedAgain: the next run may meet a table that is not truncated
// all the time.
func TestAChunkThatIsAlwaysStaleMayBeTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 5)
		m.onCommit = func(context.Context, protocol.Chunk) error { return protocol.ErrChunkStale }
		if _, err := m.run(m.options()); !errors.Is(err, protocol.ErrChunkStale) || fault.KindOf(err) != fault.Unavailable {
			t.Errorf("ended with %v (kind %d)", err, fault.KindOf(err))
		}
	})
}

func TestALimitEndsWithoutASweep(t *testing.T) {
	for _, f := range []struct{ rows, limit, before, want int }{
		{45, 25, 0, 25}, {45, 20, 0, 20}, {45, 25, 20, 5}, {45, 25, 25, 0}, {15, 25, 0, 15}, {0, 25, 0, 0},
	} {
		t.Run(fmt.Sprint(f), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMart(t, f.rows)
				m.vectors["gone"], m.ledger["gone"] = change.HashText("gone"), change.Version{Epoch: 1, LSN: 50}
				if f.before > 0 {
					m.cursor = m.keys[f.before-1]
				}
				opts := m.options()
				opts.Limit, opts.Before = int64(f.limit), int64(f.before)
				got, err := m.run(opts)
				if err != nil || got.Processed != int64(f.want) || got.Swept != 0 || !got.Done || m.closed != "finished" {
					t.Errorf("got %+v, %v, closed %q", got, err, m.closed)
				}
				if len(m.vectors) != f.want+1 {
					t.Errorf("%d vectors", len(m.vectors))
				}
			})
		})
	}
}

func TestALimitHoldsAcrossPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 45)
		commits := 0
		m.onCommit = func(context.Context, protocol.Chunk) error {
			if commits++; commits%2 == 0 {
				return errAway
			}
			return nil
		}
		opts := m.options()
		opts.Limit = 25
		if got, err := m.run(opts); err != nil || got.Processed != 25 || got.Batches != 3 || len(m.vectors) != 25 {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestABackfillGoesOnFromItsCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 45)
		m.cursor = "019"
		for _, k := range m.keys[:20] {
			m.vectors[k], m.ledger[k] = change.HashText(m.table[k].Fields[0].Text), m.started
		}
		opts := m.options()
		opts.Before = 20
		got, err := m.run(opts)
		if err != nil || got.Processed != 25 || got.Batches != 3 || grep(m.journal, "chunk")[0] != `chunk after "019"` {
			t.Errorf("got %+v, %v, journal %q", got, err, grep(m.journal, "chunk"))
		}
		m.complete()
	})
}

func TestThatNothingFollowsIsMergedBeforeTheSweep(t *testing.T) {
	for _, rows := range []int{0, 20} { // in both the last read finds nothing
		t.Run(fmt.Sprint(rows, " rows"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMart(t, rows)
				m.vectors["gone"], m.ledger["gone"] = change.HashText("gone"), change.Version{Epoch: 1, LSN: 50}
				pings := 0
				m.onAlive = func(context.Context) error {
					m.mu.Lock()
					defer m.mu.Unlock()
					if pings++; pings == rows/10+1 {
						m.session++ // the source crashed after the last read
					}
					return nil
				}
				var progress int
				opts := m.options()
				opts.Progress = func(pipeline.Summary) { progress++ }
				got, err := m.run(opts)
				if err != nil || got.Processed != int64(rows) || got.Batches != int64(rows/10) || got.Swept != 1 || progress != rows/10 {
					t.Errorf("got %+v, %v after %d reports", got, err, progress)
				}
				// Once before the crash and once after it, behind what is flushed.
				if n := len(grep(m.journal, "wait")); n != rows/10+2 || m.partial != m.insert {
					t.Errorf("%d waits, partial until %s, the log ends at %s", n, m.partial, m.insert)
				}
				m.complete()
			})
		})
	}
}

func TestASweepThatFailsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 5)
		m.onSweep = func(context.Context) error { return errAway }
		if got, err := m.run(m.options()); !errors.Is(err, errAway) || got.Done || got.Processed != 5 {
			t.Errorf("got %+v, %v", got, err)
		}
		m = newMart(t, 5)
		m.onFinish = func(context.Context) error { return errAway }
		opts := m.options()
		opts.Limit = 3
		if got, err := m.run(opts); !errors.Is(err, errAway) || got.Done || got.Processed != 3 {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestAFullBackfillEncodesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 15)
		m.full = true
		for _, k := range m.keys {
			m.vectors[k] = change.HashText(m.table[k].Fields[0].Text)
		}
		if got, err := m.run(m.options()); err != nil || got.Encoded != 15 || got.UpToDate != 0 {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestInFlightBoundsTheChunksAtWork(t *testing.T) {
	for _, inFlight := range []int{1, 3} {
		t.Run(fmt.Sprint(inFlight), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMart(t, 200)
				blocked, release := hold()
				m.onCommit = func(ctx context.Context, _ protocol.Chunk) error { return blocked(ctx) }
				opts := m.options()
				opts.InFlight = inFlight
				done := make(chan error)
				go func() {
					_, err := m.run(opts)
					done <- err
				}()
				synctest.Wait()
				m.look(func() {
					if m.atWork != inFlight || len(m.encoded) != inFlight {
						t.Errorf("%d chunks read and %d encoded behind one that waits", m.atWork, len(m.encoded))
					}
				})
				release()
				if err := <-done; err != nil || m.most != inFlight {
					t.Errorf("ended with %v; %d chunks at most", err, m.most)
				}
				m.complete()
			})
		})
	}
}

func TestTheRateSpreadsTheReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 45)
		opts := m.options()
		opts.Rate = 5 // ten rows every two seconds
		begun := time.Now()
		got, err := m.run(opts)
		if err != nil || got.Processed != 45 || time.Since(begun) != 8*time.Second || got.Duration != 8*time.Second {
			t.Errorf("got %+v, %v after %s", got, err, time.Since(begun))
		}
		for i, at := range m.times {
			if at.Sub(begun) != time.Duration(2*i)*time.Second {
				t.Errorf("chunk %d came after %s", i, at.Sub(begun))
			}
		}
	})
}

func TestTheRateDoesNotSaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 45)
		opts := m.options()
		opts.Rate, opts.InFlight = 5, 1
		stuck := false
		m.onCommit = func(context.Context, protocol.Chunk) error {
			if !stuck {
				stuck = true
				<-time.After(time.Minute)
			}
			return nil
		}
		begun := time.Now()
		if _, err := m.run(opts); err != nil || time.Since(begun) < time.Minute+6*time.Second {
			t.Errorf("ended with %v after %s", err, time.Since(begun))
		}
	})
}

func TestACancelledBackfillKeepsWhatItCommitted(t *testing.T) {
	for name, block := range map[string]func(m *mart, blocked func(context.Context) error){
		"chunk": func(m *mart, f func(context.Context) error) {
			m.onChunk = func(ctx context.Context, _ change.Key) error { return f(ctx) }
		},
		"encode": func(m *mart, f func(context.Context) error) {
			m.onEncode = func(ctx context.Context, _ []string) error { return f(ctx) }
		},
		"flush": func(m *mart, f func(context.Context) error) { m.onFlush = f },
		"commit": func(m *mart, f func(context.Context) error) {
			m.onCommit = func(ctx context.Context, _ protocol.Chunk) error { return f(ctx) }
		},
		"pause": func(m *mart, f func(context.Context) error) {
			m.onCommit = func(context.Context, protocol.Chunk) error {
				m.mu.Lock()
				defer m.mu.Unlock()
				if len(m.merged) == 2 {
					return errAway
				}
				return nil
			}
		},
		"wait": func(m *mart, f func(context.Context) error) {
			m.onStreaming = func(context.Context) error {
				m.look(func() { m.streaming = len(m.merged) == 2 })
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMart(t, 45)
				calls := 0
				block(m, func(ctx context.Context) error {
					m.mu.Lock()
					calls++
					third := calls == 3
					m.mu.Unlock()
					if !third {
						return nil
					}
					<-ctx.Done()
					return fmt.Errorf("waiting: %w", ctx.Err())
				})
				stopped := errors.New("a signal stopped it")
				ctx, cancel := context.WithCancelCause(t.Context())
				type result struct {
					pipeline.Summary
					err error
				}
				done := make(chan result)
				go func() {
					s, err := pipeline.NewBackfill(m.ports(), m.options()).Run(ctx)
					done <- result{s, err}
				}()
				pass(150 * time.Millisecond)
				cancel(stopped)
				r := <-done
				if !errors.Is(r.err, stopped) || r.Done || m.closed != "" || r.Processed != 20 || m.cursor != "019" {
					t.Errorf("got %+v, %v, closed %q, cursor %q", r.Summary, r.err, m.closed, m.cursor)
				}
				m.onChunk, m.onEncode, m.onFlush, m.onCommit, m.onStreaming, m.streaming = nil, nil, nil, nil, nil, false
				opts := m.options()
				opts.Before = r.Processed
				if s, err := m.run(opts); err != nil || s.Processed != 25 {
					t.Errorf("the next run: %+v, %v", s, err)
				}
				m.complete()
			})
		})
	}
}
