package pipeline_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
)

// Tests of single rules of the protocol (ARCHITECTURE.md) that the other tests do not pin.
// internal/test/mutants says which test holds which rule.

// Ledger: the version of an unchanged text rises too, or an older read with another text would win
// later.
func TestAnUnchangedTextIsCommittedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.vectors["a"] = change.HashText("same")
		r := w.start(settings(t))
		w.write(tx(200, put("a", "same"), put("b", "new")))
		synctest.Wait()
		w.halt(r)
		if c := w.ledger["a"]; c.LSN != 200 || len(w.commits) != 1 || len(w.commits[0].Changes) != 2 {
			t.Errorf("the ledger has %+v after %+v", c, w.commits)
		}
	})
}

// Ledger: a row whose vector is fresh is merged all the same, or the sweep would take it for one
// that is gone.
func TestAnUnchangedRowIsMergedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 15)
		for _, k := range m.keys {
			m.vectors[k], m.ledger[k] = change.HashText(m.table[k].Fields[0].Text), change.Version{Epoch: 1, LSN: 50}
		}
		got, err := m.run(m.options())
		if err != nil || got.UpToDate != 15 || got.Encoded != 0 || got.Swept != 0 {
			t.Errorf("got %+v, %v", got, err)
		}
		m.complete()
	})
}

// R3: a session that went on from the watermark that it had read would write again what the earlier
// owner has written since.
func TestAWatermarkThatMovedBeforeTheTakeoverBeginsAnotherSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onTakeover = func(context.Context) error {
			w.look(func() {
				if len(w.connects) == 1 {
					w.watermark = 205 // the earlier owner's last commit
				}
			})
			return nil
		}
		w.write(tx(200, put("a", "one")), tx(300, put("b", "two")))
		r := w.start(settings(t))
		synctest.Wait()
		w.halt(r)
		if len(w.connects) != 2 || r.totals.Sessions != 1 || w.watermark != 305 || len(w.encoded) != 1 {
			t.Errorf("%d connections, %d sessions, watermark %s, encoded %q", len(w.connects), r.totals.Sessions, w.watermark, w.encoded)
		}
	})
}

// R6: a chunk of the old epoch would wait for a position that the new one may reach never, or has
// passed long ago.
func TestAChangedEpochEndsTheWaitOfAChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 5)
		m.streaming = true // and does not move: the chunk waits
		go func() {
			<-time.After(10 * time.Second)
			m.look(func() { m.version, m.insert = change.Version{Epoch: m.version.Epoch.Next(), LSN: 10}, 10 })
			m.stream(t.Context(), 100*time.Millisecond)
		}()
		begun := time.Now()
		if got, err := m.run(m.options()); err != nil || got.Processed != 5 {
			t.Errorf("got %+v, %v", got, err)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("it took %s", took)
		}
		for _, c := range m.merged {
			if c.A.Epoch != m.version.Epoch {
				t.Errorf("a chunk read at %s was merged", c.A)
			}
		}
	})
}

// R13: who takes over before it holds the slot would end the process that streams.
func TestAProcessThatMerelyTriesFencesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onConnect = func(context.Context, int) error { return errBusy }
		r := w.start(settings(t))
		if err := r.end(); err == nil || w.takeovers != 0 || len(w.connects) < 2 {
			t.Errorf("ended with %v after %d tries and %d takeovers", err, len(w.connects), w.takeovers)
		}
	})
}
