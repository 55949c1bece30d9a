package pipeline_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/pipeline/batch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a source, an encoder and a sink in memory, with a recorder of what they saw. Every test
// that uses it also checks what must hold always: nothing is confirmed above the committed
// watermark, the watermark never goes back, commits do not overlap, nothing is committed that was
// not visible, only the owner writes.
//
// The hooks of its parts (on..., and afterCommit) are faults and delays: an error is what the call
// returns. They may block; nil does nothing.
type world struct {
	*recorder
	*fakeSource
	*fakeSink
	*fakeEncoder

	onGap     func(ctx context.Context, gap error) error
	retention pipeline.Retention
	swap      pipeline.Swap
}

func newWorld(t *testing.T) *world {
	r := &recorder{t: t, visible: make(map[uint32]bool)}
	s := &fakeSink{
		recorder: r, watermark: 100, ledger: make(map[change.Key]change.Change), vectors: make(map[change.Key]change.Hash),
		letters: make(map[change.Key]string),
	}
	return &world{
		recorder: r, fakeSink: s, fakeEncoder: &fakeEncoder{recorder: r},
		fakeSource: &fakeSource{recorder: r, sink: s, grown: make(chan struct{}), table: make(map[change.Key]change.Row)},
	}
}

// do runs a fault with the world unlocked.
func do(ctx context.Context, fault func(context.Context) error) error {
	if fault == nil {
		return nil
	}
	return fault(ctx)
}

func (w *world) ports() pipeline.Ports {
	return pipeline.Ports{
		Source: w.fakeSource, Gate: w.fakeSource, Rows: w.fakeSource, Encoders: oneEncoder{w.fakeEncoder}, Sink: w.fakeSink,
		Observer: w.recorder, CheckTable: w.onCheck, Heartbeat: w.onHeartbeat, OnGap: w.onGap, Retention: w.retention, Swap: w.swap,
	}
}

// running is a stream in a goroutine.
type running struct {
	*pipeline.Stream
	stop   context.CancelFunc
	done   chan struct{}
	totals pipeline.Totals
	err    error
	log    *bytes.Buffer
}

// nameTemplate is the template of both worlds.
func nameTemplate(t *testing.T) change.Template {
	t.Helper()
	template, err := change.ParseTemplate("{name}")
	if err != nil {
		t.Fatal(err)
	}
	return template
}

func settings(*testing.T) pipeline.StreamOptions {
	return pipeline.StreamOptions{
		Limits:       batch.Limits{Rows: 1000, Tokens: 1 << 20, Bytes: 1 << 20, Age: 100 * time.Millisecond},
		IdleInterval: 10 * time.Second, DrainTimeout: 5 * time.Second, SlotWait: 3 * time.Second, RetryMax: 10 * time.Second,
	}
}

// start runs a stream; its end is the end of the test's bubble at the latest.
func (w *world) start(opts pipeline.StreamOptions) *running {
	ctx, cancel := context.WithCancel(w.t.Context())
	r := &running{stop: cancel, done: make(chan struct{}), log: &bytes.Buffer{}}
	opts.Logger = zerolog.New(zerolog.SyncWriter(r.log))
	r.Stream = pipeline.NewStream(w.ports(), opts)
	go func() {
		defer close(r.done)
		r.totals, r.err = r.Run(ctx)
	}()
	return r
}

// end waits until the stream has ended and returns its error.
func (r *running) end() error {
	<-r.done
	r.stop()
	return r.err
}

// halt asks for the end, waits, and fails the test on an error.
func (w *world) halt(r *running) {
	w.t.Helper()
	r.stop()
	if err := r.end(); err != nil {
		w.t.Errorf("the stream ended with: %v", err)
	}
}

// value and the others write the log.
func value(text string) []change.Field {
	return []change.Field{{Text: text, State: change.FieldValue}}
}

func put(key, text string) change.Event {
	return change.Event{Op: change.Upsert, Key: change.Key(key), Fields: value(text)}
}

func unread(key string) change.Event {
	return change.Event{Op: change.Upsert, Key: change.Key(key), Fields: []change.Field{{State: change.FieldUnchanged}}}
}

func drop(key string) change.Event { return change.Event{Op: change.Delete, Key: change.Key(key)} }

// part is a piece of a transaction without its end.
func part(lsn change.LSN, events ...change.Event) change.Fragment {
	return change.Fragment{XID: uint32(lsn), LSN: lsn, CommitTime: time.Now(), Events: events, Bytes: 10 * len(events)}
}

// tx is a whole transaction that ends 5 after its version.
func tx(lsn change.LSN, events ...change.Event) change.Fragment {
	f := part(lsn, events...)
	f.End = lsn + 5
	return f
}

func position(end change.LSN) change.Fragment { return change.Fragment{End: end} }

// oneEncoder encodes for a sink that has one generation, whatever its number.
type oneEncoder struct{ pipeline.Encoder }

func (o oneEncoder) Of(context.Context, int) (pipeline.Encoder, error) { return o.Encoder, nil }
