package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
)

// refusing fails each call with a text that holds the word poison, and says so in words of its own.
func refusing(_ context.Context, texts []string) error {
	for _, text := range texts {
		if strings.Contains(text, "poison") {
			return fmt.Errorf("no tokens in a text of %d bytes", len(text))
		}
	}
	return nil
}

func TestOnePoisonLeavesTheRestOfItsBatchAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onEncode = refusing
		w.vectors["k07"] = change.HashText("before")
		r := w.start(settings(t))
		var events []change.Event
		for i := range 20 {
			text := fmt.Sprint("text ", i)
			if i == 7 {
				text = "poison"
			}
			events = append(events, put(fmt.Sprintf("k%02d", i), text))
		}
		w.write(tx(200, events...))
		pass(time.Second)
		w.look(func() {
			if len(w.commits) != 1 || w.watermark != 205 || w.confirmed != 205 || len(w.vectors) != 19 || w.texts != 19 {
				t.Errorf("%d commits, watermark %s, confirmed %s, %d vectors, %d texts", len(w.commits), w.watermark, w.confirmed, len(w.vectors), w.texts)
			}
			if len(w.letters) != 1 || w.letters["k07"] != "no tokens in a text of 6 bytes" || w.vectors["k07"] != (change.Hash{}) {
				t.Errorf("letters %q", w.letters)
			}
		})
		if h := r.Health(); !h.Ready() || len(w.retried) != 0 {
			t.Errorf("health %+v, retried %q", h, w.retried)
		}
		if log := r.log.String(); strings.Count(log, "set aside") != 1 || !strings.Contains(log, `"keys":["k07"]`) || strings.Contains(log, "poison") {
			t.Errorf("log: %s", log)
		}
		// Another text heals it.
		w.write(tx(300, put("k07", "good")))
		pass(time.Second)
		w.halt(r)
		if len(w.letters) != 0 || w.vectors["k07"] != change.HashText("good") || r.totals.TextsFailed != 1 || r.totals.TextsEncoded != 20 {
			t.Errorf("letters %q, totals %+v", w.letters, r.totals)
		}
	})
}

func TestAVectorThatIsGoneAtTheCommitMayTurnOutAsPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onEncode = refusing
		w.vectors["a"] = change.HashText("poison") // an earlier model could; the first batch replaces it after the second was looked up
		blocked, release := hold()
		w.onCommit = func(ctx context.Context, _ change.Commit) error { return blocked(ctx) }
		r := w.start(settings(t))
		w.write(tx(200, put("a", "two")))
		synctest.Wait()
		w.write(tx(300, put("a", "poison")))
		synctest.Wait()
		release()
		pass(time.Second)
		w.halt(r)
		if w.watermark != 305 || len(w.letters) != 1 || len(w.vectors) != 0 {
			t.Errorf("watermark %s, letters %q, vectors %v", w.watermark, w.letters, w.vectors)
		}
	})
}

func TestManyPoisonsMakeOneLineThatNamesAFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.onEncode = refusing
		r := w.start(settings(t))
		var events []change.Event
		for i := range 30 {
			events = append(events, put(fmt.Sprintf("k%02d", i), fmt.Sprint("poison ", i)))
		}
		w.write(tx(200, events...))
		pass(time.Second)
		w.halt(r)
		log := r.log.String()
		if len(w.letters) != 30 || strings.Count(log, "set aside") != 1 || !strings.Contains(log, `"rows":30`) || !strings.Contains(log, "k09") || strings.Contains(log, "k10") {
			t.Errorf("%d letters, log: %s", len(w.letters), log)
		}
	})
}

func TestAnEncoderThatRepeatsATextIsNotRepeated(t *testing.T) {
	const secret = "the recipe of the sauce"
	for name, breakIt := range map[string]func(texts []string) error{
		"poison": func(texts []string) error {
			if slices.Contains(texts, secret) {
				return fmt.Errorf("cannot encode %q", secret)
			}
			return nil
		},
		"outage": func(texts []string) error { return fmt.Errorf("cannot encode %q", texts) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.onEncode = func(_ context.Context, texts []string) error { return breakIt(texts) }
				r := w.start(settings(t))
				w.write(tx(200, put("a", secret), put("b", "other")))
				pass(5 * time.Second)
				health := fmt.Sprint(r.Health().Err)
				r.stop()
				seen := []string{fmt.Sprint(r.end()), health, r.log.String(), fmt.Sprint(w.letters)}
				if (len(w.letters) == 1) != (name == "poison") || !strings.Contains(strings.Join(seen, ""), "withheld") {
					t.Errorf("letters %q in %q", w.letters, seen)
				}
				for _, text := range seen {
					if strings.Contains(text, "sauce") {
						t.Errorf("a text of a row in: %s", text)
					}
				}
			})
		})
	}
}

func TestAnOutageIsRedUntilItsBatchIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var down atomic.Bool
		down.Store(true)
		w.onEncode = func(context.Context, []string) error {
			<-time.After(50 * time.Millisecond) // so that there is time to look while it tries
			if down.Load() {
				return errors.New("the device is lost")
			}
			return nil
		}
		r := w.start(settings(t))
		w.write(tx(200, drop("z"))) // needs no encoder
		pass(time.Second)
		if !r.Health().Ready() {
			t.Fatalf("health: %+v", r.Health())
		}
		w.write(tx(300, put("a", "one"), put("b", "two")), tx(400, drop("y")))
		pass(time.Second) // the first session with the encoder down ends
		streaming := 0
		for range 10_000 {
			<-time.After(10 * time.Millisecond)
			h := r.Health()
			if h.Ready() {
				t.Fatalf("ready in an outage: %+v", h)
			}
			if h.Streaming {
				streaming++
			}
		}
		w.look(func() {
			if w.watermark != 205 || w.confirmed != 205 || len(w.letters) != 0 {
				t.Errorf("watermark %s, confirmed %s, letters %q", w.watermark, w.confirmed, w.letters)
			}
			if streaming == 0 || len(w.connects) < 10 {
				t.Errorf("%d sessions, seen streaming %d times", len(w.connects), streaming)
			}
			down.Store(false)
		})
		pass(11 * time.Second)
		if h := r.Health(); !h.Ready() || w.watermark != 405 || len(w.vectors) != 2 {
			t.Errorf("after the outage: %+v, watermark %s", h, w.watermark)
		}
		w.halt(r)
	})
}

func TestAPoisonRowDoesNotStopABackfill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMart(t, 35)
		m.onEncode = refusing
		m.table["013"] = change.Row{Key: "013", Fields: value("poison")}
		m.table["027"] = change.Row{Key: "027", Fields: value("poison")}
		m.table["028"] = change.Row{Key: "028", Fields: value("more poison")}
		got, err := m.run(m.options())
		if err != nil || got.Processed != 35 || got.Failed != 3 || got.Encoded != 32 || got.UpToDate != 0 || !got.Done {
			t.Errorf("got %+v, %v", got, err)
		}
		if len(m.letters) != 3 || len(m.vectors) != 32 || m.closed != "swept" {
			t.Errorf("letters %q, %d vectors, closed %q", m.letters, len(m.vectors), m.closed)
		}
	})
}
