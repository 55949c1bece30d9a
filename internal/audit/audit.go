package audit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/failpoint"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sink"
)

// Positions tells where the stream is.
type Positions interface {
	// Version is the watermark as committed in the sink.
	Version(ctx context.Context) (change.Version, error)
	// Streaming reports whether a stream reads the slot.
	Streaming(ctx context.Context) (bool, error)
	// WaitFor returns when the watermark has reached lsn.
	WaitFor(ctx context.Context, lsn change.LSN) error
	// Jobs lists the open backfills. It fails when, at the call, another table has the name of the
	// one that is followed: rows that were read before may be of that, and no watermark says when
	// the sink has them.
	Jobs(ctx context.Context) ([]sink.JobState, error)
}

// Log is the source's log as the slot would bring it.
type Log interface {
	// Peek calls each with the events of the transactions between two positions. Its error is of
	// kind Busy or Unavailable when a stream came.
	Peek(ctx context.Context, from, to change.LSN, each func(change.Event)) error
}

// Encoder turns texts into vectors: result i belongs to texts[i].
type Encoder interface {
	Encode(ctx context.Context, texts []string) ([][]float32, error)
}

// Ports are the outside of an audit.
type Ports struct {
	Reader    *rows.Reader
	Sink      *sink.Audit
	Positions Positions
	Log       Log
	// Encoder encodes a sample of the texts again; nil where none is asked for.
	Encoder Encoder
	// Repair reads keys again and writes them as a backfill does; nil where nothing is repaired.
	Repair func(ctx context.Context, keys []change.Key) error
	// Save keeps a report to go on from; nil where that is not asked for.
	Save func(Report) error
}

// Options are the settings of an audit.
type Options struct {
	// Rows renders the texts of all generations; Template is the number of the generation's among
	// them.
	Rows     change.Template
	Template int
	// Normalised says that the model makes vectors of length 1.
	Normalised bool
	// MinCosine is the least cosine between a vector and its text encoded again.
	MinCosine float64
	// Sample is the number of rows to compare, and of keys of the sink to look up; zero compares
	// all.
	Sample int
	// Reencode is about the number of texts to encode again.
	Reencode int
	// ChunkKeys is the number of keys read at once.
	ChunkKeys int
	// WaitTimeout bounds each wait for the stream.
	WaitTimeout time.Duration
	// Progress is called after each chunk; may be nil.
	Progress func(*Report)
}

const (
	// mostSuspects is how many suspects are kept between two flushes, and looked at together.
	mostSuspects = 5000
	// flushChunks is how many chunks are compared between two flushes: what an interruption costs
	// at most.
	flushChunks = 50
)

// suspect is a key that the first look found to differ; encode says that its vector is to be
// compared with its text's.
type suspect struct {
	key    change.Key
	encode bool
}

// Auditor compares. It runs once, in one goroutine.
type Auditor struct {
	ports  Ports
	opts   Options
	report Report

	suspects []suspect
	listed   map[change.Key]bool // keys with a finding that is not repaired
	refused  map[change.Key]bool // keys whose text the last settle found to be a dead letter's
	samples  []sample
	chunks   int
	every    int64 // one of so many rows is encoded again
	seen     int64
	begun    time.Time
	before   float64 // seconds of earlier runs
}

// errTooMany ends an audit that has found enough.
var errTooMany = errors.New("too many findings")

// New returns an audit that goes on from a report: the zero Report begins again.
func New(ports Ports, opts Options, from Report) *Auditor {
	if ports.Save == nil {
		ports.Save = func(Report) error { return nil }
	}
	if opts.Progress == nil {
		opts.Progress = func(*Report) {}
	}
	return &Auditor{ports: ports, opts: opts, report: from, before: from.Seconds, listed: make(map[change.Key]bool)}
}

// Run compares and returns what it found. After an error the report says how far it came: nothing
// in it is proven that was not before.
func (a *Auditor) Run(ctx context.Context) (Report, error) {
	a.begun = time.Now()
	err := a.run(ctx)
	if errors.Is(err, errTooMany) {
		a.report.Stopped, err = true, nil
	}
	a.report.Seconds = a.before + time.Since(a.begun).Seconds()
	return a.report, err
}

func (a *Auditor) run(ctx context.Context) error {
	v, err := a.ports.Positions.Version(ctx)
	if err != nil {
		return fmt.Errorf("reading the watermark: %w", err)
	}
	if a.report.Epoch != v.Epoch { // nothing of another history is gone on with
		a.report = Report{Identity: a.report.Identity, Epoch: v.Epoch, Phase: PhaseRows, From: v.LSN, Cosine: 1}
		a.before = 0
	}
	if a.suspects = a.report.suspects(); len(a.suspects) > 0 {
		if err := a.flush(ctx); err != nil {
			return err
		}
	}
	problem, err := a.ports.Sink.CheckView(ctx)
	if err != nil {
		return err
	}
	if problem != "" {
		a.report.add(Finding{Kind: WrongGeneration, Detail: problem})
	}
	if err := a.pace(ctx); err != nil {
		return err
	}
	if a.opts.Sample > 0 {
		err = a.sampled(ctx)
	} else {
		err = a.all(ctx)
	}
	if err != nil {
		return err
	}
	v, err = a.ports.Positions.Version(ctx)
	if err != nil {
		return fmt.Errorf("reading the watermark: %w", err)
	}
	if v.Epoch != a.report.Epoch {
		return fault.New(fault.Unavailable, "run it again", "the pipeline was started again in a new epoch during the audit")
	}
	a.report.At, a.report.Phase = v.LSN, PhaseDone
	return nil
}

// pace spreads the texts that are encoded again over the rows.
func (a *Auditor) pace(ctx context.Context) error {
	if a.ports.Encoder == nil || a.opts.Reencode <= 0 {
		return nil
	}
	rows, err := a.ports.Reader.EstimateRows(ctx)
	if err != nil {
		return err
	}
	if a.opts.Sample > 0 {
		rows = min(rows, int64(a.opts.Sample))
	}
	a.every = max(1, rows/int64(a.opts.Reencode))
	a.seen = rand.Int64N(a.every) //nolint:gosec // which row is encoded again is no secret
	return nil
}

// all compares everything, phase by phase, each from the cursor on.
func (a *Auditor) all(ctx context.Context) error {
	phases := []struct {
		phase Phase
		step  func(ctx context.Context) (more bool, err error)
	}{{PhaseRows, a.rows}, {PhaseLedger, a.ledger}, {PhaseVectors, a.vectors}}
	for i, p := range phases {
		if a.report.Phase != p.phase {
			continue
		}
		for more := true; more; {
			var err error
			if more, err = p.step(ctx); err != nil {
				return err
			}
			failpoint.Hit("audit_chunk")
			a.chunks++
			if !more || a.chunks%flushChunks == 0 || len(a.suspects) >= mostSuspects {
				if err := a.flush(ctx); err != nil {
					return err
				}
			}
			a.opts.Progress(&a.report)
		}
		a.report.Phase, a.report.Cursor = PhaseDone, ""
		if i+1 < len(phases) {
			a.report.Phase = phases[i+1].phase
		}
	}
	return nil
}

// rows compares the next rows of the source with the sink.
func (a *Auditor) rows(ctx context.Context) (more bool, err error) {
	chunk, err := a.ports.Reader.Chunk(ctx, a.report.Cursor, a.opts.ChunkKeys)
	if err != nil {
		return false, err
	}
	if err := a.compare(ctx, chunk.Rows); err != nil {
		return false, err
	}
	if chunk.Last != "" {
		a.report.Cursor = chunk.Last
	}
	return !chunk.Done, nil
}

// compare takes the first look at rows.
func (a *Auditor) compare(ctx context.Context, rows []change.Row) error {
	keys := make([]change.Key, len(rows))
	for i := range rows {
		keys[i] = rows[i].Key
	}
	look, err := a.ports.Sink.Look(ctx, keys)
	if err != nil {
		return err
	}
	a.report.Rows += int64(len(rows))
	for i := range rows {
		c := change.RenderRow(a.opts.Rows, rows[i], 0)
		switch v := a.opts.judge(&c, &look.Holdings[i]); {
		case v.kind != "":
			a.suspects = append(a.suspects, suspect{key: c.Key})
		case v.letter:
			a.report.DeadLetters++
		case look.Holdings[i].HasVector:
			a.pick(&c)
		}
	}
	return nil
}

// ledger looks the next live rows of the ledger up on the source.
func (a *Auditor) ledger(ctx context.Context) (more bool, err error) {
	keys, err := a.ports.Sink.LiveKeys(ctx, a.report.Cursor, a.opts.ChunkKeys)
	if err != nil || len(keys) == 0 {
		return false, err
	}
	if err := a.lookUp(ctx, keys); err != nil {
		return false, err
	}
	a.report.Cursor = keys[len(keys)-1]
	return len(keys) == a.opts.ChunkKeys, nil
}

// vectors looks the next vectors without a live row in the ledger up on the source.
func (a *Auditor) vectors(ctx context.Context) (more bool, err error) {
	keys, last, err := a.ports.Sink.Unlisted(ctx, a.report.Cursor, a.opts.ChunkKeys)
	if err != nil || last == "" {
		return false, err
	}
	if err := a.lookUp(ctx, keys); err != nil {
		return false, err
	}
	a.report.Cursor = last
	return true, nil
}

// lookUp suspects the keys that the source has not.
func (a *Auditor) lookUp(ctx context.Context, keys []change.Key) error {
	there, err := a.ports.Reader.Fetch(ctx, keys, nil)
	if err != nil {
		return err
	}
	a.report.Keys += int64(len(keys))
	for _, key := range keys {
		if _, found := there[key]; !found {
			a.suspects = append(a.suspects, suspect{key: key})
		}
	}
	return nil
}

// sampled compares rows of the source and keys of the sink that are taken at random.
func (a *Auditor) sampled(ctx context.Context) error {
	rows, err := a.ports.Reader.EstimateRows(ctx)
	if err != nil {
		return err
	}
	keys, err := a.ports.Reader.Sample(ctx, a.opts.Sample, sink.SamplePercent(a.opts.Sample, rows))
	if err != nil {
		return err
	}
	reader := a.ports.Reader.Keys(keys)
	for after, done := change.Key(""), false; !done; {
		chunk, err := reader.Chunk(ctx, after, a.opts.ChunkKeys)
		if err != nil {
			return err
		}
		if err := a.compare(ctx, chunk.Rows); err != nil {
			return err
		}
		if after, done = chunk.Last, chunk.Done; len(a.suspects) >= mostSuspects {
			if err := a.flush(ctx); err != nil {
				return err
			}
		}
		a.opts.Progress(&a.report)
	}
	if keys, err = a.ports.Sink.SampleKeys(ctx, a.opts.Sample); err != nil {
		return err
	}
	for len(keys) > 0 {
		n := min(len(keys), a.opts.ChunkKeys)
		if err := a.lookUp(ctx, keys[:n]); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return a.flush(ctx)
}

// flush takes the second look at what is suspected, repairs what is found, and saves how far the
// audit is.
func (a *Auditor) flush(ctx context.Context) error {
	if err := a.encodeSamples(ctx); err != nil {
		return err
	}
	// One that was found in an earlier phase is not found twice.
	suspects := slices.DeleteFunc(a.suspects, func(s suspect) bool { return a.listed[s.key] })
	a.suspects = nil
	for len(suspects) > 0 {
		n := min(len(suspects), mostSuspects)
		a.report.Again += int64(n)
		found, err := a.settle(ctx, suspects[:n])
		if err != nil {
			return err
		}
		if a.ports.Repair != nil && len(found) > 0 {
			if err := a.repair(ctx, found); err != nil {
				return err
			}
		}
		a.report.add(found...)
		for _, f := range found {
			a.listed[f.Key] = !f.Repaired
		}
		suspects = suspects[n:]
	}
	a.report.Seconds = a.before + time.Since(a.begun).Seconds()
	if err := a.ports.Save(a.report); err != nil {
		return err
	}
	if a.ports.Repair == nil && len(a.report.Findings) >= mostFindings {
		return errTooMany
	}
	return nil
}
