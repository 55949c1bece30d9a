package monitor

import (
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/wal2vec/wal2vec/internal/change"
)

// Classes of wal2vec_errors_total: what a stream tries again, and what the monitor could not read.
const (
	ClassConnection = "connection"
	ClassEncoder    = "encoder"
	ClassSlotBusy   = "slot_busy"
	ClassGap        = "gap"
	ClassProbe      = "probe"
)

// Label sets that are exported with 0 from the start, so that a rate over the first event is right.
var (
	knownClasses = []string{ClassConnection, ClassEncoder, ClassSlotBusy, ClassGap, ClassProbe}
	knownCuts    = []string{"idle", "rows", "tokens", "bytes", "age", "position"}
	knownStages  = []string{"encode", "gate", "commit"}
	knownOps     = []change.Op{change.Upsert, change.Delete, change.Truncate}
)

// MetricsOptions say what the constant series show.
type MetricsOptions struct {
	Pipeline string
	// Version and Revision are the program's.
	Version  string
	Revision string
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Metrics is the Prometheus side of a stream: the stream calls its methods, which are safe for
// concurrent use and do not block; a Monitor shows the slow figures. Every series but those of the
// Go runtime and the process carries the label pipeline.
type Metrics struct {
	registry *prometheus.Registry
	now      func() time.Time

	batches   *prometheus.CounterVec
	changes   *prometheus.CounterVec
	errors    *prometheus.CounterVec
	encoded   prometheus.Counter
	truncated prometheus.Counter
	retries   prometheus.Counter
	freshness prometheus.Histogram
	stages    map[string]prometheus.Observer
	stage     *prometheus.HistogramVec

	mu        sync.Mutex
	active    bool
	oldest    time.Time  // commit time of the oldest change that is not applied
	watermark change.LSN // of this process's stream, else of the last probe
	advanced  time.Time  // when it last moved
	report    Report
}

// freshnessBuckets reach from half of what an idle pipeline needs to the ten minutes after which
// alerts fire.
var freshnessBuckets = []float64{.005, .01, .015, .02, .025, .035, .05, .075, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 600}

// stageBuckets double from 1 ms to half a minute.
var stageBuckets = prometheus.ExponentialBuckets(.001, 2, 16)

// NewMetrics returns the metrics of a stream that is not running.
func NewMetrics(opts MetricsOptions) *Metrics {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wal2vec_" + name, Help: help}, labels)
	}
	plain := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "wal2vec_" + name, Help: help})
	}
	m := &Metrics{
		registry:  prometheus.NewRegistry(),
		now:       opts.Now,
		batches:   counter("batches_total", "Batches committed to the sink, by what cut them.", "cut"),
		changes:   counter("changes_total", "Row changes committed to the sink, by operation.", "op"),
		errors:    counter("errors_total", "Errors that did not end the process, by class.", "class"),
		encoded:   plain("texts_encoded_total", "Texts that were encoded."),
		truncated: plain("texts_truncated_total", "Texts that were longer than the model reads."),
		retries:   plain("stream_retries_total", "Sessions of the stream that ended with an error and were followed by another."),
		freshness: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wal2vec_freshness_seconds", Help: "Time from a change's commit on the source to its commit in the sink.",
			Buckets: freshnessBuckets,
		}),
		stage: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wal2vec_stage_seconds", Help: "Time that a batch spent in a stage.", Buckets: stageBuckets,
		}, []string{"stage"}),
	}
	m.zero()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "wal2vec_build_info", Help: "1, with the program's version.",
		ConstLabels: prometheus.Labels{"version": opts.Version, "revision": opts.Revision, "go_version": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	prometheus.WrapRegistererWith(prometheus.Labels{"pipeline": opts.Pipeline}, m.registry).MustRegister(
		build, m.batches, m.changes, m.errors, m.encoded, m.truncated, m.retries, m.freshness, m.stage, gauges{m})
	return m
}

func (m *Metrics) zero() {
	for _, class := range knownClasses {
		m.errors.WithLabelValues(class)
	}
	for _, cut := range knownCuts {
		m.batches.WithLabelValues(cut)
	}
	for _, op := range knownOps {
		m.changes.WithLabelValues(op.String())
	}
	m.stages = map[string]prometheus.Observer{}
	for _, stage := range knownStages {
		m.stages[stage] = m.stage.WithLabelValues(stage)
	}
}

// Registry returns what /metrics serves.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// StreamActive notes whether this process streams.
func (m *Metrics) StreamActive(active bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.active = active
	if !active {
		m.oldest = time.Time{}
	}
}

// BatchCommitted notes a sink transaction: what cut it, its changes by operation, and the watermark
// it wrote, zero if it left it.
func (m *Metrics) BatchCommitted(cut string, events map[change.Op]int, watermark change.LSN) {
	m.batches.WithLabelValues(cut).Inc()
	for op, n := range events {
		m.changes.WithLabelValues(op.String()).Add(float64(n))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advance(watermark)
}

// advance notes a watermark, under the lock. The first one counts as an advance: a stall is
// measured from there on.
func (m *Metrics) advance(watermark change.LSN) {
	if watermark != 0 && watermark != m.watermark {
		m.watermark, m.advanced = watermark, m.now()
	}
}

// Freshness notes the age, at its commit in the sink, of a transaction of so many events.
func (m *Metrics) Freshness(age time.Duration, events int) {
	seconds := age.Seconds()
	for range events {
		m.freshness.Observe(seconds)
	}
}

// Stage notes the time that a batch spent in a stage: encode, gate or commit.
func (m *Metrics) Stage(stage string, took time.Duration) {
	observer, found := m.stages[stage]
	if !found {
		observer = m.stage.WithLabelValues(stage)
	}
	observer.Observe(took.Seconds())
}

// TextsEncoded notes texts that were encoded.
func (m *Metrics) TextsEncoded(n int) { m.encoded.Add(float64(n)) }

// TextsTruncated notes texts that were longer than the model reads.
func (m *Metrics) TextsTruncated(n int) { m.truncated.Add(float64(n)) }

// Pending notes the commit time of the oldest change that is not applied; zero when there is none.
func (m *Metrics) Pending(oldest time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.oldest = oldest
}

// Retried notes a session of the stream that ended with an error of a class and will be followed by
// another.
func (m *Metrics) Retried(class string) {
	m.retries.Inc()
	m.Failed(class)
}

// Failed notes an error of a class that did not end the process. Classes are few: they are label
// values.
func (m *Metrics) Failed(class string) { m.errors.WithLabelValues(class).Inc() }

// show takes over a report of the monitor. What a side did not answer stays as it was.
func (m *Metrics) show(r Report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.report.Status
	if r.SourceErr != nil {
		s := &r.Status
		s.CurrentWALLSN, s.ConfirmedFlushLSN, s.SlotActive = old.CurrentWALLSN, old.ConfirmedFlushLSN, old.SlotActive
		s.WALStatus, s.SafeWALBytes, s.RetainedWALBytes = old.WALStatus, old.SafeWALBytes, old.RetainedWALBytes
	}
	if r.SinkErr != nil {
		r.Status.WatermarkLSN, r.Status.DeadLetters, r.Status.FullBackfill = old.WatermarkLSN, old.DeadLetters, old.FullBackfill
	}
	if r.Err() != nil {
		r.Status.LagBytes, r.At = old.LagBytes, m.report.At
	}
	m.report = r
	if w := r.Status.WatermarkLSN; w != nil && *w > m.watermark {
		m.advance(*w)
	}
}

// seconds is a time as Prometheus wants it.
func seconds(t time.Time) float64 { return math.Round(float64(t.UnixMilli())) / 1000 }
