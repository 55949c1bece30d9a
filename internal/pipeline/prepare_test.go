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
)

// order fails the test unless the notes occur in the journal in this order.
func (w *world) order(notes ...string) {
	w.t.Helper()
	journal, at := w.events(), 0
	for _, n := range notes {
		i := slices.Index(journal[at:], n)
		if i < 0 {
			w.t.Errorf("no %q after the ones before it (%q) in\n%s", n, notes, strings.Join(journal, "\n"))
			return
		}
		at += i + 1
	}
}

func TestACommitWaitsForTheGateAndEncodingDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		blocked, release := hold()
		w.onGate = func(ctx context.Context, _ []uint32) error { return blocked(ctx) }
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one"), put("b", "two")))
		pass(time.Minute)
		w.look(func() {
			if len(w.commits) != 0 || len(w.encoded) != 1 {
				t.Errorf("behind a closed gate: %d commits, encoded %q", len(w.commits), w.encoded)
			}
		})
		release()
		synctest.Wait()
		w.order("gate [200]", "visible [200]", "commit 205")
		w.halt(r)
	})
}

func TestAGateThatFailsEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		asked := 0
		w.onGate = func(context.Context, []uint32) error {
			if asked++; asked > 1 {
				return nil
			}
			return fault.New(fault.Unavailable, "", "the primary went away")
		}
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		synctest.Wait()
		w.look(func() {
			if len(w.commits) != 0 || len(w.farewell) != 1 || w.confirmed != 100 {
				t.Errorf("after the gate's error: %d commits, %d sessions ended, confirmed %s", len(w.commits), len(w.farewell), w.confirmed)
			}
		})
		if h := r.Health(); h.Streaming || h.Err == nil || !strings.Contains(h.Err.Error(), "the primary went away") || h.Attempts != 1 {
			t.Errorf("health: %+v", h)
		}
		pass(time.Second)
		w.look(func() { expect(t, "confirmed", w.confirms, []change.LSN{100, 100, 205}) })
		if h := r.Health(); !h.Streaming || h.Err != nil || h.Attempts != 0 {
			t.Errorf("health after a commit: %+v", h)
		}
		w.halt(r)
		expect(t, "retried", w.retried, []string{"connection"})
	})
}

func TestAGateThatFailsForGoodEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onGate = func(context.Context, []uint32) error { return fault.New(fault.Gap, "", "another server") }
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		if err := r.end(); fault.KindOf(err) != fault.Gap || len(w.commits) != 0 || len(w.connects) != 1 {
			t.Errorf("ended with %v after %d commits", err, len(w.commits))
		}
	})
}

func TestRowsThatTheLogLeftOutAreReadBehindTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		// Of four rows whose text was left out, one is there, one gone, one soft-deleted, one
		// without text.
		w.table["b"] = change.Row{Key: "b", Fields: value("the long text")}
		w.table["d"] = change.Row{Key: "d", Fields: value("soft"), SoftDeleted: true}
		w.table["e"] = change.Row{Key: "e", Fields: value("  ")}
		w.vectors["c"], w.vectors["d"], w.vectors["e"] = change.HashText("x"), change.HashText("y"), change.HashText("z")
		w.current = 300 // the rows are read at the end of the log
		r := w.start(settings(t))
		w.write(tx(200, put("a", "in the log"), unread("b"), unread("c"), unread("d"), unread("e"), put("f", "too")))
		synctest.Wait()
		w.order("gate [200]", "visible [200]", "rows [b c d e]", "encode [the long text]", "commit 205")
		w.order("encode [in the log too]", "commit 205")
		w.look(func() { expect(t, "commits", grep(w.journal, "commit"), []string{"commit 205", "committed 205"}) })
		if partial := w.batches()[0].PartialUntil; partial != 300 {
			t.Errorf("rows that may show what happened up to 300 are written as partial until %d", partial)
		}
		var seen []string
		for _, c := range w.batches()[0].Changes {
			seen = append(seen, fmt.Sprintf("%s %d %v %s", c.Key, c.LSN, c.Deleted, c.Document.Text))
			if !c.Deleted && c.Document.Hash != change.HashText(c.Document.Text) {
				t.Errorf("key %s has the hash of another text", c.Key)
			}
		}
		expect(t, "changes", seen, []string{
			"a 200 false in the log", "b 200 false the long text", "c 200 true ", "d 200 true ", "e 200 true ", "f 200 false too",
		})
		w.halt(r)
		if len(w.vectors) != 3 {
			t.Errorf("vectors of %d keys, want those of a, b and f", len(w.vectors))
		}
	})
}

// TestRowsThatArePostponedAreAskedForAgain until all are read, each rendered by then.
func TestRowsThatArePostponedAreAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, key := range []change.Key{"a", "b", "d"} {
			w.table[key] = change.Row{Key: key, Fields: value("text of " + string(key))}
		}
		w.current, w.rowsAtOnce = 300, 1
		r := w.start(settings(t))
		w.write(tx(200, unread("a"), unread("b"), unread("c"), unread("d")))
		pass(time.Second)
		w.order("rows [a b c d]", "rows [a b]", "rows [a]", "commit 205")
		w.halt(r)
		for _, key := range []change.Key{"a", "b", "d"} {
			if w.vectors[key] != change.HashText("text of "+string(key)) {
				t.Errorf("vector of %s is of %s", key, w.vectors[key])
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.table["a"], w.rowsAtOnce = change.Row{Key: "a", Fields: value("text")}, -1
		r := w.start(settings(t))
		w.write(tx(200, unread("a")))
		if err := r.end(); err == nil || !strings.Contains(err.Error(), "1 rows were postponed and none was read") || len(w.commits) != 0 {
			t.Errorf("ended with %v after %d commits", err, len(w.commits))
		}
	})
}

func TestRowsThatCannotBeReadEndTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onRows = func(context.Context) error { return errors.New("no such column") }
		r := w.start(settings(t))
		w.write(tx(200, unread("a")))
		if err := r.end(); err == nil || !strings.Contains(err.Error(), "reading rows whose text the log left out: no such column") || len(w.commits) != 0 {
			t.Errorf("ended with %v after %d commits", err, len(w.commits))
		}
	})
}

func TestOnlyStaleTextsAreEncodedEachOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.vectors["a"], w.vectors["b"] = change.HashText("fresh"), change.HashText("old")
		r := w.start(settings(t))
		w.write(tx(200, put("a", "fresh"), put("b", "new"), put("c", "new"), put("d", "other"), put("e", "gone"), drop("e")))
		synctest.Wait()
		w.look(func() {
			if len(w.encoded) != 1 {
				t.Fatalf("encoded %q", w.encoded)
			}
			expect(t, "encoded", w.encoded[0], []string{"new", "other"})
		})
		w.write(tx(300, put("a", "fresh")), tx(400, drop("b")))
		synctest.Wait()
		w.halt(r)
		if len(w.encoded) != 1 || w.watermark != 405 {
			t.Errorf("encoded %q, watermark %s", w.encoded, w.watermark)
		}
		// Both transactions of e, and the deletes of e and b.
		if r.totals.Events != 8 || r.totals.Upserts != 6 || r.totals.Deletes != 2 || r.totals.TextsEncoded != 2 {
			t.Errorf("totals: %+v", r.totals)
		}
	})
}

func TestAVectorThatIsGoneAtTheCommitIsEncodedThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.vectors["a"] = change.HashText("one") // the first batch replaces it, after the second was looked up
		blocked, release := hold()
		w.onCommit = func(ctx context.Context, _ change.Commit) error { return blocked(ctx) }
		r := w.start(settings(t))
		w.write(tx(200, put("a", "two"), put("b", "rest")))
		synctest.Wait()
		w.write(tx(300, put("a", "one"), put("b", "rest"), drop("c")))
		synctest.Wait()
		w.look(func() {
			if len(w.encoded) != 2 || w.encoded[1][0] != "rest" {
				t.Errorf("encoded %q before the commits", w.encoded)
			}
		})
		release()
		synctest.Wait()
		w.look(func() {
			expect(t, "commits tried and done", grep(w.journal, "commit"), []string{"commit 205", "committed 205", "commit 305", "commit 305", "committed 305"})
			expect(t, "encoded last", w.encoded[2], []string{"one"})
			if w.vectors["a"] != change.HashText("one") || w.texts != 4 {
				t.Errorf("the observer heard of %d texts", w.texts)
			}
		})
		w.halt(r)
		if r.totals.TextsEncoded != 4 || r.totals.Batches != 2 {
			t.Errorf("totals: %+v", r.totals)
		}
	})
}

func TestASinkThatAsksForWhatItWasGivenIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onCommit = func(_ context.Context, c change.Commit) error {
			return &needs{[]change.Hash{c.Changes[0].Document.Hash}}
		}
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one")))
		if err := r.end(); err == nil || fault.KindOf(err) != fault.Internal || len(grep(w.journal, "commit ")) != 1 {
			t.Errorf("ended with %v after %q", err, grep(w.journal, "commit"))
		}
	})
}

func TestAnEncoderThatReturnsTooFewVectorsIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fewer = 1
		r := w.start(settings(t))
		w.write(tx(200, put("a", "one"), put("b", "two")))
		if err := r.end(); err == nil || !strings.Contains(err.Error(), "1 vectors for 2 texts") || len(w.commits) != 0 {
			t.Errorf("ended with %v after %d commits", err, len(w.commits))
		}
	})
}

func TestNoErrorAndNoLogLineHoldsAText(t *testing.T) {
	const secret = "confidential"
	for name, breakIt := range map[string]func(*world){
		"encoder": func(w *world) {
			w.onEncode = func(context.Context, []string) error { return errors.New("out of memory") }
		},
		"gate":  func(w *world) { w.onGate = func(context.Context, []uint32) error { return errors.New("closed") } },
		"stale": func(w *world) { w.onStale = func(context.Context) error { return errors.New("closed") } },
		"commit": func(w *world) {
			w.onCommit = func(context.Context, change.Commit) error { return errors.New("closed") }
		},
		"needs": func(w *world) {
			w.onCommit = func(_ context.Context, c change.Commit) error {
				return &needs{[]change.Hash{c.Changes[0].Document.Hash}}
			}
		},
		"rows": func(w *world) { w.onRows = func(context.Context) error { return errors.New("closed") } },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				breakIt(w)
				r := w.start(settings(t))
				w.write(tx(200, put("a", secret), unread("b")))
				synctest.Wait()
				r.stop()
				err := r.end()
				if h := r.Health().Err; err == nil && name != "encoder" {
					t.Errorf("no error; health: %v", h)
				}
				for _, text := range []string{fmt.Sprint(err), fmt.Sprint(r.Health().Err), r.log.String()} {
					if strings.Contains(text, secret) {
						t.Errorf("a text of a row in: %s", text)
					}
				}
			})
		})
	}
}
