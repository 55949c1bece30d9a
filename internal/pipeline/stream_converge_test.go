package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// unencodable is a text of a history that no call of the encoder takes.
const unencodable = "text 3"

var errPoison = errors.New("no tokens")

// weather makes any call of the outside slow or fail.
type weather struct {
	mu    sync.Mutex
	rng   *rand.Rand
	fails float64
}

func (f *weather) n(below int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rng.IntN(below)
}

func (f *weather) strike() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rng.Float64() < f.fails
}

func (f *weather) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails = 0
}

func (f *weather) call(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("waiting: %w", ctx.Err())
	case <-time.After(time.Duration(f.n(20)) * time.Millisecond):
	}
	if f.strike() {
		return errAway
	}
	return nil
}

// over puts every port of the world under the weather.
func (f *weather) over(w *world) {
	w.onTakeover, w.onRows, w.onStale, w.onWatermark = f.call, f.call, f.call, f.call
	w.onConnect = func(ctx context.Context, _ int) error { return f.call(ctx) }
	w.onGate = func(ctx context.Context, _ []uint32) error { return f.call(ctx) }
	w.onEncode = func(ctx context.Context, texts []string) error {
		if slices.Contains(texts, unencodable) {
			return errPoison
		}
		return f.call(ctx)
	}
	w.onCommit = func(ctx context.Context, _ change.Commit) error { return f.call(ctx) }
	w.afterCommit = func(ctx context.Context, _ change.Commit) error { return f.call(ctx) }
	w.onRun = func(ctx context.Context, _ int) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(50 * time.Millisecond):
			}
			if f.strike() {
				return errAway
			}
		}
	}
}

// history writes random transactions to the log and to the table, as a source does, and returns the
// end of the last.
func history(w *world, f *weather, transactions int) change.LSN {
	lsn := change.LSN(200)
	for range transactions {
		<-time.After(time.Duration(f.n(30)) * time.Millisecond)
		lsn += 20
		var parts []change.Fragment
		var table map[change.Key]change.Row
		w.look(func() { table = maps.Clone(w.table) })
		for range 1 + f.n(3) {
			var events []change.Event
			for range f.n(4) {
				events = append(events, randomEvent(f, table))
			}
			parts = append(parts, part(lsn, events...))
		}
		parts[len(parts)-1].End = lsn + 5
		if f.n(5) == 0 {
			parts = append(parts, position(lsn+10))
			lsn += 10
		}
		w.look(func() { w.table = table })
		w.write(parts...)
	}
	w.write(tx(lsn+20, drop("the last")))
	return lsn + 25
}

func randomEvent(f *weather, table map[change.Key]change.Row) change.Event {
	key := change.Key('a' + rune(f.n(8)))
	text := fmt.Sprint("text ", f.n(6))
	row, found := table[key]
	switch n := f.n(20); {
	case n == 0:
		clear(table)
		return change.Event{Op: change.Truncate}
	case n < 5 && found:
		delete(table, key)
		return drop(string(key))
	case n < 9 && found:
		row.Fields = value(row.Fields[0].Text) // another column changed
		table[key] = row
		return unread(string(key))
	case n == 9:
		table[key] = change.Row{Key: key, Fields: value("")}
		return put(string(key), "")
	default:
		table[key] = change.Row{Key: key, Fields: value(text)}
		return put(string(key), text)
	}
}

// compare checks that the sink holds the vector of every source row that has a text, or its dead
// letter, and no other.
func (w *world) compare() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	live, letters := 0, 0
	for k, row := range w.table {
		text := row.Fields[0].Text
		if text == "" {
			continue
		}
		if text == unencodable {
			letters++
			if w.letters[k] != "no tokens" || w.ledger[k].Document.Text != text {
				w.t.Errorf("key %s is no dead letter: the sink has %+v", k, w.ledger[k])
			}
			continue
		}
		live++
		if w.vectors[k] != change.HashText(text) || w.ledger[k].Deleted || w.ledger[k].Document.Text != text {
			w.t.Errorf("key %s: the source has %q, the sink %+v", k, text, w.ledger[k])
		}
	}
	if len(w.letters) != letters {
		w.t.Errorf("the sink has dead letters %q, the source %d rows that cannot be encoded", w.letters, letters)
	}
	if len(w.vectors) != live {
		w.t.Errorf("the sink has vectors of %d keys, the source %d rows with a text", len(w.vectors), live)
	}
}

func TestTheSinkConvergesWhateverFails(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { converge(t, seed) })
		})
	}
}

func converge(t *testing.T, seed uint64) {
	w := newWorld(t)
	f := &weather{rng: rand.New(rand.NewPCG(seed, 1)), fails: 0.02 * float64(seed%4)}
	f.over(w)
	opts := settings(t)
	opts.RetryMax = time.Second
	opts.Limits.Rows = 1 + f.n(12)
	opts.Limits.Age = 20 * time.Millisecond
	w.awaited = seed%2 == 0
	end := make(chan change.LSN)
	go func() { end <- history(w, f, 60) }()
	var last change.LSN
	for tries := 0; last == 0 || w.lagsBehind(last); tries++ {
		if tries > 1000 {
			t.Fatalf("the sink is at %s, the source at %s", w.watermark, last)
		}
		r := w.start(opts)
		select {
		case <-r.done:
			if r.err != nil && fault.KindOf(r.err) != fault.Unavailable {
				t.Fatalf("the stream ended with: %v", r.err)
			}
			<-time.After(10 * time.Millisecond) // somebody starts it again
		case last = <-end:
			f.clear()
		case <-time.After(time.Duration(500+f.n(1000)) * time.Millisecond):
		}
		if last != 0 {
			<-time.After(5 * time.Second)
		}
		r.stop()
		if err := r.end(); err != nil && fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("the stream ended with: %v", err)
		}
	}
	w.compare()
}

func (w *world) lagsBehind(end change.LSN) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.watermark < end
}
