package pipeline

import (
	"context"
	"time"
)

// heartbeat moves a log from which nothing came for as long as stream.heartbeat says (0, the
// default, is off), at most once in that time: not what is queued or at work, and not a position
// either. It calls replication.Source.Heartbeat, which writes. What fails here harms nothing until
// the source runs out of room for its log, so it is said once and tried again.
func (a *attendant) heartbeat(ctx context.Context) {
	if a.opts.HeartbeatAfter == 0 || a.ports.Heartbeat == nil || !a.Stream.pending.oldest().IsZero() || len(a.fragments) > 0 {
		return
	}
	now := a.opts.Now()
	if now.Sub(time.Unix(0, a.heard.Load())) < a.opts.HeartbeatAfter || now.Sub(a.beaten) < a.opts.HeartbeatAfter {
		return
	}
	a.beaten = now
	err := a.ports.Heartbeat(ctx)
	if err != nil && !a.unbeaten && ctx.Err() == nil {
		a.opts.Logger.Warn().Err(err).Msg("writing a heartbeat; it is tried again")
	}
	a.unbeaten = err != nil
}
