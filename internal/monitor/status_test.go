package monitor

import (
	"strings"
	"testing"
	"time"

	"github.com/wal2vec/wal2vec/internal/change"
)

var sourceNow = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

// healthy is a running stream with nothing to do.
func healthy() (*sinkState, *sourceState) {
	age := 1.0
	k := &sinkState{registered: true, slot: "s", systemID: "7", epoch: change.Epoch(3<<32 | 5), watermark: 0x1000, reportAge: &age}
	r := &sourceState{
		systemID: "7", now: sourceNow, current: 0x1000, slotExists: true, active: true, walStatus: "reserved", confirmed: 0x1000,
	}
	return k, r
}

func TestPhases(t *testing.T) {
	f := func(want Phase, reason string, alter func(k *sinkState, r *sourceState)) {
		t.Helper()
		k, r := healthy()
		alter(k, r)
		s := Status{Pipeline: "p", Phase: Unknown}
		s.set(k, r)
		if s.Phase != want || !strings.Contains(s.Reason, reason) || (reason == "") != (s.Reason == "") {
			t.Errorf("phase %s (%s), want %s (%s)", s.Phase, s.Reason, want, reason)
		}
	}
	minute := sourceNow.Add(-time.Minute)
	f(Streaming, "", func(*sinkState, *sourceState) {})
	f(NotInitialised, "wal2vec init", func(k *sinkState, _ *sourceState) { *k = sinkState{} })
	f(NotInitialised, "wal2vec init", func(k *sinkState, _ *sourceState) { k.watermark, k.epoch = 0, 0 })
	f(Stopped, "no process reads slot s", func(_ *sinkState, r *sourceState) { r.active = false })
	f(CatchingUp, "", func(k *sinkState, _ *sourceState) { k.oldestPending = &minute })
	f(CatchingUp, "", func(_ *sinkState, r *sourceState) { r.current = 1 << 40 })
	f(Streaming, "", func(_ *sinkState, r *sourceState) { r.current += 64 << 20 }) // a busy neighbour between two idle positions
	f(Backfilling, "", func(k *sinkState, _ *sourceState) { k.backfill = &Backfill{Running: true} })
	f(Backfilling, "", func(k *sinkState, r *sourceState) { k.backfill, r.active = &Backfill{Running: true}, false })
	f(Streaming, "", func(k *sinkState, _ *sourceState) { k.backfill = &Backfill{} }) // interrupted
	f(Gap, "slot s does not exist", func(_ *sinkState, r *sourceState) { r.slotExists, r.active = false, false })
	f(Gap, "slot s is lost", func(_ *sinkState, r *sourceState) { r.walStatus = "lost" })
	f(Gap, "invalidated: idle_timeout", func(_ *sinkState, r *sourceState) { r.invalidation = "idle_timeout" })
	f(Gap, "server 8", func(_ *sinkState, r *sourceState) { r.systemID = "8" })
	f(Gap, "ahead of the watermark", func(_ *sinkState, r *sourceState) { r.confirmed++ })
}

func TestASideThatDoesNotAnswerLeavesThePhaseUnknown(t *testing.T) {
	k, r := healthy()
	s := Status{Phase: Unknown}
	s.set(k, nil)
	if s.Phase != Unknown || s.WatermarkLSN == nil || s.LagBytes != nil || s.SlotActive != nil {
		t.Errorf("%+v", s)
	}
	s = Status{Phase: Unknown}
	s.set(nil, r)
	if s.Phase != Unknown || s.CurrentWALLSN == nil || s.LagBytes != nil || s.RetainedWALBytes == nil {
		t.Errorf("%+v", s)
	}
}

func TestLag(t *testing.T) {
	const null = -1.0
	f := func(wantBytes, wantSeconds float64, alter func(k *sinkState, r *sourceState)) {
		t.Helper()
		k, r := healthy()
		alter(k, r)
		var s Status
		s.set(k, r)
		bytes, seconds := null, null
		if s.LagBytes != nil {
			bytes = float64(*s.LagBytes)
		}
		if s.LagSeconds != nil {
			seconds = *s.LagSeconds
		}
		if bytes != wantBytes || seconds != wantSeconds {
			t.Errorf("%v bytes, %v s, want %v and %v", bytes, seconds, wantBytes, wantSeconds)
		}
	}
	earlier, later := sourceNow.Add(-1500*time.Millisecond), sourceNow.Add(time.Second)
	old := 31.0
	f(0, 0, func(*sinkState, *sourceState) {})
	f(0, 0, func(k *sinkState, _ *sourceState) { k.watermark = 0x2000 }) // it moved after the source was asked
	f(0x100, 1.5, func(k *sinkState, r *sourceState) { r.current, k.oldestPending = 0x1100, &earlier })
	f(0, 0, func(k *sinkState, _ *sourceState) { k.oldestPending = &later })
	f(0x100, null, func(k *sinkState, r *sourceState) { r.current, r.active, k.oldestPending = 0x1100, false, &earlier })
	f(0, null, func(k *sinkState, _ *sourceState) { k.reportAge = nil })
	f(0, null, func(k *sinkState, _ *sourceState) { k.reportAge = &old })                           // who knows
	f(0, 1.5, func(k *sinkState, _ *sourceState) { k.reportAge, k.oldestPending = &old, &earlier }) // still not applied
	f(null, null, func(k *sinkState, _ *sourceState) { k.watermark = 0 })
	f(null, null, func(_ *sinkState, r *sourceState) { r.systemID = "8" })
	f(0, null, func(_ *sinkState, r *sourceState) { *r = sourceState{systemID: "7", current: 0x1000} })
}
