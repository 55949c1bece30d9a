package pipeline_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

// edit is a transaction of one row that the stream has not applied yet.
type edit struct {
	lsn  change.LSN
	key  change.Key
	text string // empty: a delete
}

// live edits the table at random and lets a stream follow it, late and now and then not at all,
// until ctx ends. It returns when the stream has applied everything.
func (m *mart) live(ctx context.Context, f *weather) {
	var queue []edit
	for ctx.Err() == nil {
		<-time.After(time.Duration(f.n(10)) * time.Millisecond)
		m.look(func() { queue = append(queue, m.edit(f)) })
		if f.n(3) == 0 {
			n := f.n(len(queue) + 1)
			m.look(func() { m.follow(queue[:n]) })
			queue = queue[n:]
		}
		if f.n(20) == 0 {
			m.look(func() { m.streaming = !m.streaming })
		}
	}
	m.look(func() { m.follow(queue) })
}

// edit changes a row in the source.
func (m *mart) edit(f *weather) edit {
	m.insert += 10
	e := edit{lsn: m.insert - 5, key: change.Key(fmt.Sprintf("%03d", f.n(60)))}
	at, found := slices.BinarySearch(m.keys, e.key)
	if f.n(3) == 0 {
		if found {
			m.keys = slices.Delete(slices.Clone(m.keys), at, at+1)
		}
		delete(m.table, e.key)
		return e
	}
	e.text = fmt.Sprint("text ", f.n(50))
	if !found {
		m.keys = slices.Insert(slices.Clone(m.keys), at, e.key)
	}
	m.table[e.key] = change.Row{Key: e.key, Fields: value(e.text)}
	return e
}

// follow applies edits to the sink as the stream does, and moves the watermark behind them.
func (m *mart) follow(edits []edit) {
	for _, e := range edits {
		v := change.Version{Epoch: m.version.Epoch, LSN: e.lsn}
		if m.ledger[e.key].Compare(v) <= 0 {
			m.ledger[e.key] = v
			delete(m.vectors, e.key)
			if e.text != "" {
				m.vectors[e.key] = change.HashText(e.text)
			}
		}
		m.version.LSN = e.lsn + 5
	}
}

func TestABackfillBesideAStreamConverges(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { beside(t, seed) })
		})
	}
}

func beside(t *testing.T, seed uint64) {
	m := newMart(t, 55)
	f := &weather{rng: rand.New(rand.NewPCG(seed, 2)), fails: 0.01 * float64(seed%4)}
	m.vectors["gone"], m.ledger["gone"] = change.HashText("gone"), change.Version{Epoch: 1, LSN: 50}
	m.onVersion, m.onStreaming, m.onFlush, m.onStale = f.call, f.call, f.call, f.call
	m.onChunk = func(ctx context.Context, _ change.Key) error { return f.call(ctx) }
	m.onEncode = func(ctx context.Context, _ []string) error { return f.call(ctx) }
	m.onCommit = func(ctx context.Context, _ protocol.Chunk) error { return f.call(ctx) }
	m.onAlive = func(ctx context.Context) error {
		if f.strike() {
			m.look(func() { m.session++ })
		}
		return f.call(ctx)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.live(ctx, f)
	}()
	opts := m.options()
	opts.ChunkKeys, opts.InFlight, opts.Encoding, opts.Writers = 1+f.n(12), 1+f.n(8), 1+f.n(4), 1+f.n(4)
	for {
		got, err := m.run(opts)
		opts.Before += got.Processed
		if err == nil {
			break
		}
		if kind := fault.KindOf(err); kind != fault.Unavailable && kind != fault.Internal { // Internal: vectors that were gone too often
			t.Fatalf("ended with: %v", err)
		}
	}
	stop()
	<-done
	m.complete()
}
