package monitor

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var descName = regexp.MustCompile(`fqName: "(wal2vec_[a-z_]+)"`)

// names lists every metric, those without a series too.
func names(t *testing.T) []string {
	t.Helper()
	m := NewMetrics(MetricsOptions{Pipeline: "p"})
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "wal2vec_") {
			all = append(all, family.GetName())
		}
	}
	descs := make(chan *prometheus.Desc, 100)
	gauges{m}.Describe(descs)
	close(descs)
	for d := range descs {
		all = append(all, descName.FindStringSubmatch(d.String())[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// The names are a contract: rules and dashboards use them.
func TestMetricNames(t *testing.T) {
	want := []string{
		"wal2vec_batches_total", "wal2vec_build_info", "wal2vec_changes_total", "wal2vec_dead_letters", "wal2vec_errors_total",
		"wal2vec_freshness_seconds", "wal2vec_full_backfill", "wal2vec_lag_bytes", "wal2vec_lag_seconds", "wal2vec_probe_timestamp_seconds",
		"wal2vec_rows", "wal2vec_rows_missing", "wal2vec_slot_active", "wal2vec_slot_retained_wal_bytes", "wal2vec_slot_safe_wal_bytes", "wal2vec_slot_wal_status",
		"wal2vec_stage_seconds", "wal2vec_stream_active", "wal2vec_stream_retries_total", "wal2vec_stream_waiting_for_lock",
		"wal2vec_texts_encoded_total",
		"wal2vec_texts_truncated_total", "wal2vec_up", "wal2vec_watermark_advanced_timestamp_seconds", "wal2vec_watermark_lsn_bytes",
	}
	if got := names(t); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestAlertRulesUseMetricsThatExist(t *testing.T) {
	rules, err := os.ReadFile("../../deploy/prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	known := names(t)
	used := regexp.MustCompile(`\bwal2vec_[a-z_]+`).FindAllString(string(rules), -1)
	if len(used) < 5 {
		t.Fatalf("found only %q", used)
	}
	for _, name := range used {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
		if !slices.Contains(known, name) {
			t.Errorf("no metric %s", name)
		}
	}
}

// docs/status.md is the contract: it has every field and every metric, and no other metric.
func TestEveryFieldAndMetricIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/status.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []reflect.Type{reflect.TypeFor[Status](), reflect.TypeFor[Backfill]()} {
		for field := range kind.Fields() {
			if name := field.Tag.Get("json"); name == "" || !strings.Contains(string(page), "`"+name+"`") {
				t.Errorf("%s.%s (%s) is not documented", kind.Name(), field.Name, name)
			}
		}
	}
	known := names(t)
	documented := regexp.MustCompile("`(wal2vec_[a-z_]+)`").FindAllStringSubmatch(string(page), -1)
	for _, name := range known {
		if !slices.ContainsFunc(documented, func(found []string) bool { return found[1] == name }) {
			t.Errorf("%s is not documented", name)
		}
	}
	for _, found := range documented {
		if !slices.Contains(known, found[1]) {
			t.Errorf("there is no metric %s", found[1])
		}
	}
}
