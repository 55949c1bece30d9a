package monitor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
)

// Options say what is watched and how often.
type Options struct {
	// Pipeline names the pipeline; Schema holds wal2vec's tables in the sink.
	Pipeline string
	Schema   string
	// Trusted reports whether the schema is there, or that it must not be read since another role
	// could run code by it; nil where all may be read.
	Trusted func(ctx context.Context) (exists bool, err error)
	// SourceRows says about how many rows the source has, which is asked while the sink may not
	// know all of them; nil where it cannot be asked. A NotAskedError says why this role does not
	// ask.
	SourceRows func(ctx context.Context) (int64, error)
	// Slot is the configured slot: it is looked at where the sink cannot tell.
	Slot string
	// Metrics, if any, show what Run finds.
	Metrics *Metrics
	// Interval is how often Run probes, 15 s when zero; RowsInterval how often it counts rows, 60 s
	// when zero.
	Interval     time.Duration
	RowsInterval time.Duration
	Logger       zerolog.Logger
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

const (
	defaultInterval     = 15 * time.Second
	defaultRowsInterval = time.Minute
	probeTimeout        = 10 * time.Second
	rowsTimeout         = time.Minute
	// rowsShare keeps the counting of a large table to a tenth of the time.
	rowsShare = 10
)

// Monitor probes one pipeline. Its methods may be called from several goroutines at once.
type Monitor struct {
	source, sink Querier
	opts         Options

	mu     sync.Mutex
	latest Report
	rows   *rowCounts // of Run's last count
}

// Report is the outcome of a probe.
type Report struct {
	// Status is filled as far as source and sink answered; its phase is Unknown unless both did.
	Status Status
	// SourceErr and SinkErr say why one did not; nil when it did.
	SourceErr error
	SinkErr   error
	// At is when the probe was made; zero before the first.
	At time.Time
}

// Err joins the errors of both sides.
func (r Report) Err() error { return errors.Join(r.SourceErr, r.SinkErr) }

// New returns a Monitor of a source and a sink; it connects to nothing.
func New(source, sink Querier, opts Options) *Monitor {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Schema == "" {
		opts.Schema = "wal2vec"
	}
	if opts.Interval <= 0 {
		opts.Interval = defaultInterval
	}
	if opts.RowsInterval <= 0 {
		opts.RowsInterval = defaultRowsInterval
	}
	return &Monitor{source: source, sink: sink, opts: opts}
}

// Probe asks both databases now, rows counted. With an error it returns what could be found out,
// under the phase Unknown.
func (m *Monitor) Probe(ctx context.Context) (Status, error) {
	report, k := m.probe(ctx)
	if k == nil || !k.registered {
		return report.Status, report.Err()
	}
	rows, err := m.countRows(ctx, k)
	if err != nil {
		report.Status.Phase, report.SinkErr = Unknown, errors.Join(report.SinkErr, err)
	}
	report.Status.setRows(rows)
	return report.Status, report.Err()
}

// Current asks both databases now, as Probe does, but takes the rows from Run's last count: a large
// table is not counted for everybody who asks. Before the first count it counts.
func (m *Monitor) Current(ctx context.Context) (Status, error) {
	m.mu.Lock()
	rows := m.rows
	m.mu.Unlock()
	if rows == nil {
		return m.Probe(ctx)
	}
	report, _ := m.probe(ctx)
	report.Status.setRows(rows)
	return report.Status, report.Err()
}

// probe asks everything but the row counts. The slot is read between two reads of the pipeline: the
// first names it, and a watermark that is read after the slot cannot lie behind what the slot has
// confirmed.
func (m *Monitor) probe(ctx context.Context) (Report, *sinkState) {
	report := Report{At: m.opts.Now().UTC()}
	report.Status = Status{
		SchemaVersion: SchemaVersion, Pipeline: m.opts.Pipeline, Phase: Unknown, Slot: m.opts.Slot, ReportedAt: report.At,
	}
	slot := m.opts.Slot
	k, err := m.readSink(ctx)
	if err == nil && k.registered {
		slot = k.slot
	}
	r, sourceErr := m.readSource(ctx, slot)
	if err == nil && sourceErr == nil {
		var again *sinkState
		if again, err = m.readSink(ctx); err == nil && again.registered && again.slot != slot {
			r, sourceErr = m.readSource(ctx, again.slot) // started again in between: rare, and the next probe is exact again
		}
		k = again
	}
	if err != nil {
		k = nil
	}
	if sourceErr != nil {
		r = nil
	}
	report.SinkErr, report.SourceErr = err, sourceErr
	report.Status.set(k, r)
	return report, k
}

func (s *Status) setRows(rows *rowCounts) {
	if rows == nil {
		return
	}
	stale := rows.live - rows.fresh
	s.RowsLive, s.RowsFresh, s.RowsStale, s.RowsCountedAt = &rows.live, &rows.fresh, &stale, &rows.at
	if rows.source != nil && s.FullBackfill != change.BackfillDone {
		missing := max(0, *rows.source-rows.live)
		s.SourceRows, s.RowsMissing = rows.source, &missing
	}
	if s.FullBackfill != change.BackfillDone {
		s.SourceRowsNotAsked = rows.notAsked
	}
}

// Latest returns the last report of Run: its rows may have been counted earlier, as
// Status.RowsCountedAt says.
func (m *Monitor) Latest() Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.latest
}

// Run probes at once and then at the intervals of the options, until ctx ends; it returns nil. What
// it finds goes to the metrics and to Latest. An error does not end it: it is logged when it comes
// and when it goes.
func (m *Monitor) Run(ctx context.Context) error {
	tick := time.NewTicker(m.opts.Interval)
	defer tick.Stop()
	var rows *rowCounts
	var due time.Time // of the next count
	for {
		report, k := m.timedProbe(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if k != nil && k.registered && !m.opts.Now().Before(due) {
			begun := m.opts.Now()
			counted, err := m.timedCount(ctx, k)
			if counted != nil {
				rows = counted
			}
			report.SinkErr = errors.Join(report.SinkErr, err)
			due = begun.Add(max(m.opts.RowsInterval, rowsShare*m.opts.Now().Sub(begun)) - m.opts.Interval/2)
		}
		report.Status.setRows(rows)
		if ctx.Err() != nil {
			return nil
		}
		m.publish(report, rows)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (m *Monitor) timedProbe(ctx context.Context) (Report, *sinkState) {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTimeout, timeoutError("probing", probeTimeout))
	defer cancel()
	return m.probe(ctx)
}

func (m *Monitor) timedCount(ctx context.Context, k *sinkState) (*rowCounts, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, rowsTimeout, timeoutError("counting rows", rowsTimeout))
	defer cancel()
	return m.countRows(ctx, k)
}

func timeoutError(doing string, after time.Duration) error {
	return fmt.Errorf("%s took longer than %s: %w", doing, after, context.DeadlineExceeded)
}

func (m *Monitor) publish(report Report, rows *rowCounts) {
	m.mu.Lock()
	before := m.latest
	m.latest, m.rows = report, rows
	m.mu.Unlock()
	m.tell("source", before.SourceErr, report.SourceErr)
	m.tell("sink", before.SinkErr, report.SinkErr)
	if m.opts.Metrics == nil {
		return
	}
	if report.Err() != nil {
		m.opts.Metrics.Failed(ClassProbe)
	}
	m.opts.Metrics.show(report)
}

// tell logs a change between answering and not answering.
func (m *Monitor) tell(side string, before, now error) {
	switch {
	case before == nil && now != nil:
		m.opts.Logger.Warn().Err(now).Str("side", side).Msg("monitoring gets no answer")
	case before != nil && now == nil:
		m.opts.Logger.Info().Str("side", side).Msg("monitoring gets answers again")
	}
}
