package monitor_test

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/monitor"
)

var update = flag.Bool("update", false, "write golden files")

// clock is a clock that stands until it is moved.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newMetrics() (*monitor.Metrics, *clock) {
	c := &clock{now: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)}
	return monitor.NewMetrics(monitor.MetricsOptions{Pipeline: "products", Version: "v1.2.3", Revision: "abc", Now: c.Now}), c
}

var goVersion = regexp.MustCompile(`go_version="[^"]*"`)

// exposition is what /metrics shows of wal2vec itself.
func exposition(t *testing.T, m *monitor.Metrics) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	promhttp.HandlerFor(m.Registry(), promhttp.HandlerOpts{}).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if recorder.Code != http.StatusOK {
		t.Fatal(recorder.Body.String())
	}
	var b strings.Builder
	for line := range strings.Lines(recorder.Body.String()) {
		if strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE "), "wal2vec_") {
			b.WriteString(line)
		}
	}
	return goVersion.ReplaceAllString(b.String(), `go_version="go"`)
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update writes it); got\n%s", path, got)
	}
}

func TestMetricsOfARunningStream(t *testing.T) {
	m, c := newMetrics()
	golden(t, "testdata/idle.metrics", exposition(t, m))
	m.StreamActive(true)
	m.Pending(c.now.Add(-1500 * time.Millisecond))
	m.BatchCommitted("age", map[change.Op]int{change.Upsert: 3, change.Delete: 1}, 0x100)
	m.BatchCommitted("idle", map[change.Op]int{change.Truncate: 1}, 0) // part of a large transaction
	m.Freshness(30*time.Millisecond, 4)
	m.Stage("encode", 3*time.Millisecond)
	m.Stage("gate", 0)
	m.Stage("other", time.Second)
	m.TextsEncoded(3)
	m.TextsTruncated(1)
	m.Retried("connection")
	c.now = c.now.Add(time.Second)
	golden(t, "testdata/running.metrics", exposition(t, m))
}

func TestLagSecondsIsAbsentWithoutAStream(t *testing.T) {
	m, c := newMetrics()
	f := func(want string) {
		t.Helper()
		got := ""
		for line := range strings.Lines(exposition(t, m)) {
			if strings.HasPrefix(line, "wal2vec_lag_seconds{") {
				got = strings.Fields(line)[1]
			}
		}
		if got != want {
			t.Errorf("lag %q, want %q", got, want)
		}
	}
	f("")
	m.StreamActive(true)
	f("0")
	m.Pending(c.now.Add(-2 * time.Second))
	f("2")
	m.Pending(c.now.Add(time.Hour)) // the source's clock is ahead
	f("0")
	m.StreamActive(false)
	f("")
	m.StreamActive(true) // the pending change of the last session is another session's now
	f("0")
}

func TestWatermarkAdvanceIsTimed(t *testing.T) {
	m, c := newMetrics()
	at := func() string {
		var advanced string
		for line := range strings.Lines(exposition(t, m)) {
			if strings.HasPrefix(line, "wal2vec_watermark_advanced_timestamp_seconds{") {
				advanced = strings.Fields(line)[1]
			}
		}
		return advanced
	}
	m.BatchCommitted("idle", nil, 0x100)
	first := at()
	c.now = c.now.Add(time.Minute)
	m.BatchCommitted("idle", nil, 0x100)
	m.BatchCommitted("idle", nil, 0)
	if first == "" || at() != first {
		t.Errorf("%s, then %s", first, at())
	}
	m.BatchCommitted("idle", nil, 0x101)
	if at() == first {
		t.Error("the watermark advanced")
	}
}

// The names are a contract: alert rules and dashboards use them.
func TestMetricNamesFollowTheConventions(t *testing.T) {
	m, _ := newMetrics()
	problems, err := testutil.GatherAndLint(m.Registry())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
