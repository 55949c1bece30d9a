package doctor

import (
	"fmt"
	"time"

	"github.com/wal2vec/wal2vec/internal/monitor"
)

// judgeRetained compares what the slot holds back with what it may, and tells the headroom: how
// much more of the log may be written before the server drops what the slot needs.
func (e *examination) judgeRetained(retained int64) {
	limit := e.opts.Config.Stream.RetainedLimit
	stream := inShell("wal2vec stream")
	if retained > limit/2 {
		e.warn("slot.retained", stream, "the slot holds back %s of log; stream.retained_limit is %s", monitor.BytesText(retained), monitor.BytesText(limit))
	} else {
		e.ok("slot.retained", "the slot holds back %s of log", monitor.BytesText(retained))
	}
	bound, safe := e.source.info.MaxSlotWALKeepSize, e.slot.SafeWALSize
	switch {
	case bound == nil || safe == nil:
		e.ok("slot.budget", "no bound is set (source.wal_limit)")
	case *safe < *bound/2:
		e.warn("slot.budget", stream, "%s more of log and the server drops what the slot needs%s", monitor.BytesText(max(0, *safe)), e.untilThen(*safe))
	default:
		e.ok("slot.budget", "%s more may be written before the slot is lost%s", monitor.BytesText(*safe), e.untilThen(*safe))
	}
}

// untilThen says how long so many bytes take at the rate at which the server has written so far.
func (e *examination) untilThen(bytes int64) string {
	if e.source.walRate < 1 || bytes <= 0 {
		return ""
	}
	const longest = 365 * 24 * 3600
	if seconds := float64(bytes) / e.source.walRate; seconds < longest {
		return fmt.Sprintf(", about %s at the server's average rate", time.Duration(seconds*float64(time.Second)).Round(time.Minute))
	}
	return ""
}
