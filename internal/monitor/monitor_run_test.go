package monitor_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/internal/pgserver"
	"github.com/wal2vec/wal2vec/internal/test/pgtest"
)

// start runs a monitor until the test ends.
func start(t *testing.T, m *monitor.Monitor) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the monitor ended with %v", err)
		}
	})
}

func series(text, name string) string {
	for line := range strings.Lines(text) {
		if found, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(found)
		}
	}
	return ""
}

func TestRunShowsWhatItFinds(t *testing.T) {
	t.Parallel()
	db := pgtest.Database(t)
	b := setup(t, db, db)
	b.install(t)
	b.rows(t)
	metrics := monitor.NewMetrics(monitor.MetricsOptions{Pipeline: "shop"})
	m := monitor.New(db.Pool(t), db.Pool(t), monitor.Options{
		Pipeline: "shop", Schema: "W2V", Metrics: metrics, Interval: 5 * time.Millisecond, RowsInterval: time.Hour,
		SourceRows: func(context.Context) (int64, error) { return 50, nil },
	})
	if !m.Latest().At.IsZero() {
		t.Error("there is no report before the first probe")
	}
	if s, err := m.Current(t.Context()); err != nil || *s.RowsLive != 5 {
		t.Errorf("before the first count it counts: %v, %+v", err, s)
	}
	start(t, m)
	shows := func(want map[string]string) {
		t.Helper()
		pgtest.Eventually(t, patience, func() (bool, string) {
			text := exposition(t, metrics)
			for name, value := range want {
				if got := series(text, name); got != value {
					return false, fmt.Sprintf("%s is %q, want %q", name, got, value)
				}
			}
			return true, ""
		})
	}
	shows(map[string]string{
		`wal2vec_rows{pipeline="shop",state="live"}`:                 "5",
		`wal2vec_rows{pipeline="shop",state="fresh"}`:                "2",
		`wal2vec_rows{pipeline="shop",state="stale"}`:                "3",
		`wal2vec_full_backfill{pipeline="shop",state="none"}`:        "1",
		`wal2vec_full_backfill{pipeline="shop",state="done"}`:        "0",
		`wal2vec_rows_missing{pipeline="shop"}`:                      "45",
		`wal2vec_dead_letters{pipeline="shop"}`:                      "1",
		`wal2vec_slot_active{pipeline="shop"}`:                       "0",
		`wal2vec_slot_wal_status{pipeline="shop",status="reserved"}`: "1",
		`wal2vec_slot_wal_status{pipeline="shop",status="lost"}`:     "0",
		`wal2vec_slot_safe_wal_bytes{pipeline="shop"}`:               "", // unlimited
		`wal2vec_lag_seconds{pipeline="shop"}`:                       "",
		`wal2vec_errors_total{class="probe",pipeline="shop"}`:        "0",
		`wal2vec_watermark_lsn_bytes{pipeline="shop"}`:               fmt.Sprintf("%v", float64(*b.probe(t).WatermarkLSN)),
	})
	report := m.Latest()
	if report.Err() != nil || report.Status.Phase != monitor.Stopped || *report.Status.RowsLive != 5 {
		t.Errorf("%+v", report)
	}
	// Rows are counted once an hour here: the new one must not show, its dead letter must.
	b.sink.Exec(t, `DELETE FROM "W2V".dead_letter_shop`)
	b.sink.Exec(t, `DELETE FROM "W2V".ledger_shop`)
	shows(map[string]string{
		`wal2vec_dead_letters{pipeline="shop"}`:      "0",
		`wal2vec_rows{pipeline="shop",state="live"}`: "5",
	})
	current, err := m.Current(t.Context())
	if err != nil || *current.RowsLive != 5 || *current.DeadLetters != 0 || !current.ReportedAt.After(*current.RowsCountedAt) {
		t.Errorf("now, but with the rows of the last count: %v, %+v", err, current)
	}
	if exact, err := m.Probe(t.Context()); err != nil || *exact.RowsLive != 0 {
		t.Errorf("%v, %+v", err, exact)
	}
	b.sink.Exec(t, `INSERT INTO "W2V".backfill (pipeline, mode, started_epoch, started_lsn, open, outcome) VALUES ('shop', 'full', 1, '0/1', false, 'swept')`)
	shows(map[string]string{
		`wal2vec_full_backfill{pipeline="shop",state="none"}`: "0",
		`wal2vec_full_backfill{pipeline="shop",state="done"}`: "1",
		`wal2vec_rows_missing{pipeline="shop"}`:               "",
	})
	// A stream of this process knows its watermark earlier than a probe.
	metrics.BatchCommitted("idle", nil, change.LSN(1)<<40)
	committed := time.Now()
	pgtest.Eventually(t, patience, func() (bool, string) { return m.Latest().At.After(committed), "no further probe" })
	shows(map[string]string{`wal2vec_watermark_lsn_bytes{pipeline="shop"}`: "1.099511627776e+12"})
}

// lines is a log that several goroutines may write and read.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestRunOutlivesASourceThatIsDown(t *testing.T) {
	t.Parallel()
	host := pgtest.Server(t)
	source := host.Database(t)
	b := setup(t, source, pgtest.Database(t))
	b.install(t)
	metrics := monitor.NewMetrics(monitor.MetricsOptions{Pipeline: "shop"})
	var log lines
	m := monitor.New(source.Pool(t), b.sink.Pool(t), monitor.Options{
		Pipeline: "shop", Schema: "W2V", Metrics: metrics, Interval: 5 * time.Millisecond, Logger: zerolog.New(&log),
	})
	start(t, m)
	phase := func(want monitor.Phase) {
		t.Helper()
		pgtest.Eventually(t, patience, func() (bool, string) {
			r := m.Latest()
			return r.Status.Phase == want, fmt.Sprintf("phase %s, %v", r.Status.Phase, r.Err())
		})
	}
	phase(monitor.Stopped)
	host.Kill(t)
	phase(monitor.Unknown)
	if r := m.Latest(); r.SourceErr == nil || r.SinkErr != nil || r.Status.WatermarkLSN == nil {
		t.Errorf("%+v", r)
	}
	text := exposition(t, metrics)
	if series(text, `wal2vec_slot_active{pipeline="shop"}`) != "0" || series(text, `wal2vec_errors_total{class="probe",pipeline="shop"}`) == "0" {
		t.Errorf("the last values stay, the errors count:\n%s", text)
	}
	if series(text, `wal2vec_lag_bytes{pipeline="shop"}`) == "" {
		t.Error("the last lag is gone")
	}
	before := series(text, `wal2vec_errors_total{class="probe",pipeline="shop"}`)
	pgtest.Eventually(t, patience, func() (bool, string) {
		return series(exposition(t, metrics), `wal2vec_errors_total{class="probe",pipeline="shop"}`) != before, "no further probe"
	})
	if age := series(exposition(t, metrics), `wal2vec_probe_timestamp_seconds{pipeline="shop"}`); age != series(text, `wal2vec_probe_timestamp_seconds{pipeline="shop"}`) {
		t.Error("a probe that failed is no probe")
	}
	probed := series(text, `wal2vec_probe_timestamp_seconds{pipeline="shop"}`)
	host.Restart(t, pgserver.Immediate)
	phase(monitor.Stopped)
	pgtest.Eventually(t, patience, func() (bool, string) {
		again := series(exposition(t, metrics), `wal2vec_probe_timestamp_seconds{pipeline="shop"}`)
		return again != probed, "the age of the figures does not move"
	})
	if n := strings.Count(log.String(), "gets no answer"); n != 1 || strings.Count(log.String(), "gets answers again") != 1 {
		t.Errorf("the log says it once each:\n%s", log.String())
	}
}
