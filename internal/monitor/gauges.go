package monitor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wal2vec/wal2vec/internal/change"
)

// gauges is the collector of what is known at the moment of a scrape. A figure that is not known
// has no series.
type gauges struct{ m *Metrics }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("wal2vec_"+name, help, labels, nil)
}

var (
	descUp        = describe("up", "1 while the process answers.")
	descActive    = describe("stream_active", "1 while this process reads the slot.")
	descLagBytes  = describe("lag_bytes", "Log between the watermark and the end of the source's log.")
	descLag       = describe("lag_seconds", "Age of the oldest commit that is not applied, 0 without one; absent without a stream here.")
	descWatermark = describe("watermark_lsn_bytes", "Position up to which the sink holds everything.")
	descAdvanced  = describe("watermark_advanced_timestamp_seconds", "When the watermark last moved.")
	descSlot      = describe("slot_active", "1 while some process reads the slot; absent when there is no slot.")
	descLocked    = describe("stream_waiting_for_lock", "1 while the stream waits for a lock that another session keeps in the sink.")
	descRetained  = describe("slot_retained_wal_bytes", "Log that the source keeps for the slot.")
	descSafe      = describe("slot_safe_wal_bytes", "Log that may still be written before the slot is lost; absent without a limit.")
	descWALStatus = describe("slot_wal_status", "1 for the state of the slot's log, 0 for the others.", "status")
	descRows      = describe("rows", "Rows of the source as the sink knows them: live, and of these with a fresh or a stale vector.", "state")
	descFull      = describe("full_backfill", "1 for the present state, 0 for the others: whether every row of the source was read.", "state")
	descMissing   = describe("rows_missing", "About how many rows of the source the sink does not know; absent once a full backfill was made.")
	descDead      = describe("dead_letters", "Rows set aside because they failed by themselves.")
	descProbed    = describe("probe_timestamp_seconds", "When both source and sink last answered; slot and row figures are as old.")
)

var walStatuses = []string{"reserved", "extended", "unreserved", "lost"}

var fullBackfills = []change.FullBackfill{change.BackfillDone, change.BackfillRefreshing, change.BackfillNone}

// Describe implements prometheus.Collector.
func (g gauges) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descUp, descActive, descLagBytes, descLag, descWatermark, descAdvanced, descSlot, descLocked, descRetained, descSafe, descWALStatus,
		descRows, descFull, descMissing, descDead, descProbed,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (g gauges) Collect(out chan<- prometheus.Metric) {
	g.m.mu.Lock()
	defer g.m.mu.Unlock()
	set := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	bytes := func(d *prometheus.Desc, value *int64, labels ...string) {
		if value != nil {
			set(d, float64(*value), labels...)
		}
	}
	set(descUp, 1)
	set(descActive, truth(g.m.active))
	if g.m.active {
		set(descLag, g.m.lag().Seconds())
	}
	if g.m.watermark != 0 {
		set(descWatermark, float64(g.m.watermark))
		set(descAdvanced, seconds(g.m.advanced))
	}
	s := g.m.report.Status
	bytes(descLagBytes, s.LagBytes)
	if s.SlotActive != nil {
		set(descSlot, truth(*s.SlotActive))
	}
	if s.Phase != "" && s.Phase != Unknown {
		set(descLocked, truth(s.Phase == WaitingForLock))
	}
	bytes(descRetained, s.RetainedWALBytes)
	bytes(descSafe, s.SafeWALBytes)
	if s.WALStatus != nil {
		for _, status := range walStatuses {
			set(descWALStatus, truth(status == *s.WALStatus), status)
		}
	}
	bytes(descRows, s.RowsLive, "live")
	bytes(descRows, s.RowsFresh, "fresh")
	bytes(descRows, s.RowsStale, "stale")
	if s.FullBackfill != "" {
		for _, state := range fullBackfills {
			set(descFull, truth(state == s.FullBackfill), string(state))
		}
	}
	bytes(descMissing, s.RowsMissing)
	bytes(descDead, s.DeadLetters)
	if !g.m.report.At.IsZero() {
		set(descProbed, seconds(g.m.report.At))
	}
}

// lag is the age of the oldest pending change, under the lock.
func (m *Metrics) lag() time.Duration {
	if m.oldest.IsZero() {
		return 0
	}
	return max(0, m.now().Sub(m.oldest)) // the source's clock may be ahead of ours
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
