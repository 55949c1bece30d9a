package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/pipeline"
	"github.com/wal2vec/wal2vec/internal/pipeline/batch"
	"github.com/wal2vec/wal2vec/internal/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a source, an encoder and a sink in memory. Every test that uses it also checks what must
// hold always: nothing is confirmed above the committed watermark, the watermark never goes back,
// commits do not overlap, nothing is committed that was not visible, only the owner writes.
type world struct {
	t *testing.T

	mu sync.Mutex
	// The source. A transaction's xid is its LSN.
	log     []change.Fragment
	grown   chan struct{} // closed and made again when the log grows
	table   map[change.Key]change.Row
	current change.LSN
	visible map[uint32]bool
	// The sink.
	watermark change.LSN
	owner     int
	awaited   bool
	ledger    map[change.Key]change.Change
	vectors   map[change.Key]change.Hash
	letters   map[change.Key]string
	commits   []change.Commit
	committed []time.Time // when
	writing   bool
	reports   []report
	collected []time.Time
	// What was seen.
	confirmed  change.LSN
	confirms   []change.LSN
	farewell   []change.LSN // confirmed when a replication ended
	connects   []time.Time
	takeovers  int
	checks     int // of the source, without connecting
	encoded    [][]string
	urges      []bool
	journal    []string
	cuts       []string
	retried    []string
	active     []bool
	freshness  []int
	texts      int // that the observer heard of
	delivered  int // fragments
	fewer      int // vectors that the encoder leaves out
	rowsAtOnce int // of a read by key, the others are postponed; zero for all, -1 for none
	pendingNow time.Time

	// Faults and delays: an error is what the call returns. They may block; nil does nothing.
	onWatermark, onCurrent, onTakeover, onAwaited, onRows, onReport func(context.Context) error
	onStale, onCollect, onCheck, onHeartbeat                        func(context.Context) error
	onGap                                                           func(ctx context.Context, gap error) error
	retention                                                       pipeline.Retention
	swap                                                            pipeline.Swap
	onConnect, onCheckSource                                        func(ctx context.Context, attempt int) error
	onRun                                                           func(ctx context.Context, attempt int) error // may end a replication
	onStreaming                                                     func()                                       // a session has begun
	onGate                                                          func(ctx context.Context, xids []uint32) error
	onEncode                                                        func(ctx context.Context, texts []string) error
	onCommit                                                        func(ctx context.Context, c change.Commit) error // before it
	afterCommit                                                     func(ctx context.Context, c change.Commit) error // after it happened
}

// errEnded makes a replication end without an error.
var errEnded = errors.New("ended")

type report struct{ at, oldest time.Time }

func newWorld(t *testing.T) *world {
	return &world{
		t: t, grown: make(chan struct{}), table: make(map[change.Key]change.Row), visible: make(map[uint32]bool),
		watermark: 100, ledger: make(map[change.Key]change.Change), vectors: make(map[change.Key]change.Hash),
		letters: make(map[change.Key]string),
	}
}

// do runs a fault with the world unlocked.
func do(ctx context.Context, fault func(context.Context) error) error {
	if fault == nil {
		return nil
	}
	return fault(ctx)
}

func (w *world) notef(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.journal = append(w.journal, fmt.Sprintf(format, args...))
}

// write appends to the log and lets replications see it.
func (w *world) write(fragments ...change.Fragment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fragments...)
	close(w.grown)
	w.grown = make(chan struct{})
}

// look runs f with the world locked.
func (w *world) look(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) events() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.journal)
}

func (w *world) batches() []change.Commit {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.commits)
}

func (w *world) ports() pipeline.Ports {
	return pipeline.Ports{
		Source: (*worldSource)(w), Gate: (*worldGate)(w), Rows: (*worldRows)(w), Encoders: oneEncoder{(*worldEncoder)(w)}, Sink: (*worldSink)(w),
		Observer: (*worldObserver)(w), CheckTable: w.onCheck, Heartbeat: w.onHeartbeat, OnGap: w.onGap, Retention: w.retention, Swap: w.swap,
	}
}

type worldSource world

func (s *worldSource) Current(ctx context.Context) (change.LSN, error) {
	if err := do(ctx, s.onCurrent); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, nil
}

func (s *worldSource) Check(ctx context.Context, _ change.LSN) error {
	s.mu.Lock()
	s.checks++
	attempt := s.checks
	s.mu.Unlock()
	if s.onCheckSource == nil {
		return nil
	}
	return s.onCheckSource(ctx, attempt)
}

func (s *worldSource) Connect(ctx context.Context, place change.Place) (pipeline.Replication, error) {
	w := (*world)(s)
	var attempt int
	w.look(func() {
		w.connects = append(w.connects, time.Now())
		attempt = len(w.connects)
	})
	if w.onConnect != nil {
		if err := w.onConnect(ctx, attempt); err != nil {
			return nil, err
		}
	}
	return &replication{world: w, attempt: attempt, from: place.Watermark}, nil
}

type replication struct {
	*world
	attempt int
	from    change.LSN
}

func (r *replication) Run(ctx context.Context, out chan<- change.Fragment) error {
	defer r.look(func() { r.farewell = append(r.farewell, r.confirmed) })
	failed := make(chan error, 1)
	watching, stop := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer stop()
	if r.onRun != nil {
		watcher.Go(func() {
			if err := r.onRun(watching, r.attempt); err != nil && watching.Err() == nil {
				failed <- err
			}
		})
	}
	for next := 0; ; {
		var f change.Fragment
		var grown chan struct{}
		send := out
		r.look(func() {
			for next < len(r.log) && max(r.log[next].LSN, r.log[next].End) <= r.from {
				next++
			}
			if grown = r.grown; next < len(r.log) {
				f = r.log[next]
				f.Events = cloneEvents(f.Events) // they belong to the receiver
			} else {
				send = nil
			}
		})
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			if errors.Is(err, errEnded) {
				return nil
			}
			return err
		case send <- f:
			next++
			r.look(func() { r.delivered++ })
		case <-grown:
		}
	}
}

func cloneEvents(events []change.Event) []change.Event {
	out := slices.Clone(events)
	for i := range out {
		out[i].Fields = slices.Clone(out[i].Fields)
	}
	return out
}

func (r *replication) Confirm(lsn change.LSN) {
	r.look(func() {
		if lsn > r.watermark {
			r.t.Errorf("confirmed %s, the sink has %s", lsn, r.watermark)
		}
		if r.writing {
			r.t.Errorf("confirmed %s during a commit", lsn)
		}
		r.confirmed = max(r.confirmed, lsn)
		r.confirms = append(r.confirms, lsn)
		r.journal = append(r.journal, fmt.Sprintf("confirm %d", lsn))
	})
}

func (r *replication) Urge(urgent bool) {
	r.look(func() { r.urges = append(r.urges, urgent) })
}

type worldGate world

func (g *worldGate) Visible(ctx context.Context, xids []uint32) error {
	w := (*world)(g)
	w.notef("gate %d", xids)
	if g.onGate != nil {
		if err := g.onGate(ctx, xids); err != nil {
			return err
		}
	}
	w.look(func() {
		for _, xid := range xids {
			w.visible[xid] = true
		}
	})
	w.notef("visible %d", xids)
	return nil
}

type worldRows world

func (r *worldRows) Rows(ctx context.Context, keys []change.Key) ([]change.Row, change.LSN, error) {
	w := (*world)(r)
	w.notef("rows %s", keys)
	if err := do(ctx, r.onRows); err != nil {
		return nil, 0, err
	}
	var rows []change.Row
	var shown change.LSN
	w.look(func() {
		shown = w.current
		for _, k := range slices.Backward(keys) { // in no order that a caller may count on
			row, found := w.table[k]
			switch {
			case !found:
			case w.rowsAtOnce != 0 && len(rows) >= w.rowsAtOnce:
				rows = append(rows, change.Row{Key: k, Postponed: true})
			default:
				rows = append(rows, row)
			}
		}
	})
	return rows, shown, nil
}

type worldEncoder world

func (e *worldEncoder) Encode(ctx context.Context, texts []string) ([][]float32, error) {
	w := (*world)(e)
	w.look(func() {
		w.encoded = append(w.encoded, slices.Clone(texts))
		w.journal = append(w.journal, fmt.Sprintf("encode %s", texts))
	})
	if e.onEncode != nil {
		if err := e.onEncode(ctx, texts); err != nil {
			return nil, err
		}
	}
	return vectorsOf(texts)[e.fewer:], nil
}

func (e *worldEncoder) Dimension() int { return len(change.Hash{}) }

// vectorsOf makes vectors from which the hash of the text can be told.
func vectorsOf(texts []string) [][]float32 {
	out := make([][]float32, len(texts))
	for i, text := range texts {
		for _, b := range change.HashText(text) {
			out[i] = append(out[i], float32(b))
		}
	}
	return out
}

type worldSink world

func (s *worldSink) Place(ctx context.Context) (change.Place, error) {
	if err := do(ctx, s.onWatermark); err != nil {
		return change.Place{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return change.Place{Watermark: s.watermark}, nil
}

func (s *worldSink) Takeover(ctx context.Context) (pipeline.Writer, error) {
	if err := do(ctx, s.onTakeover); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takeovers++
	s.owner++
	return &writer{world: (*world)(s), owner: s.owner, at: s.watermark}, nil
}

func (s *worldSink) Awaited(ctx context.Context) (bool, error) {
	if err := do(ctx, s.onAwaited); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.awaited, nil
}

func (s *worldSink) CollectTombstones(ctx context.Context) (int64, error) {
	(*world)(s).look(func() { s.collected = append(s.collected, time.Now()) })
	return 1, do(ctx, s.onCollect)
}

type writer struct {
	*world
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
	if wr.owner != wr.world.owner || wr.Watermark() != wr.watermark {
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

type worldObserver world

func (o *worldObserver) StreamActive(active bool) {
	(*world)(o).look(func() { o.active = append(o.active, active) })
	if active && o.onStreaming != nil {
		o.onStreaming()
	}
}

func (o *worldObserver) BatchCommitted(cut string, _ map[change.Op]int, _ change.LSN) {
	(*world)(o).look(func() { o.cuts = append(o.cuts, cut) })
}

func (o *worldObserver) Freshness(age time.Duration, events int) {
	(*world)(o).look(func() {
		if age < 0 {
			o.t.Errorf("a freshness of %s", age)
		}
		o.freshness = append(o.freshness, events)
	})
}
func (o *worldObserver) Stage(string, time.Duration) {}
func (o *worldObserver) TextsEncoded(n int)          { (*world)(o).look(func() { o.texts += n }) }
func (o *worldObserver) Pending(oldest time.Time) {
	(*world)(o).look(func() { o.pendingNow = oldest })
}

func (o *worldObserver) Retried(class string) {
	(*world)(o).look(func() { o.retried = append(o.retried, class) })
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
