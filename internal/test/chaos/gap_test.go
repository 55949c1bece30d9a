package chaos

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// gap is a lost slot, until the pipeline has a new epoch.
type gap struct {
	// open is true from before the slot goes until the checker sees a new epoch.
	open atomic.Bool
	// ever is true once a slot was lost: processes may end because of it from then on.
	ever atomic.Bool
	// refused is true since a process ended because of a gap, until an operator has begun a new
	// epoch.
	refused atomic.Bool
}

// operate does what the error of a gap says, where the stream does not do it by itself and no slot
// was dropped: `init --resync`.
func (w *world) operate(ctx context.Context) error {
	const interval = 500 * time.Millisecond
	for wait(ctx, interval) {
		if w.plan.resync || !w.gap.refused.Load() || w.gap.open.Load() || w.windows.open() {
			continue
		}
		w.gap.open.Store(true)
		for wait(ctx, interval) {
			p, err := w.start("operator", nil, "init", "--resync")
			if err != nil {
				return err
			}
			select {
			case <-p.done:
			case <-ctx.Done():
				w.stop(p)
				return nil
			}
			if p.err == nil { // else a server was down, or somebody has the slot
				w.report.Saw("resyncs by an operator")
				w.gap.refused.Store(false)
				break
			}
			w.trace("operator", p.log.String())
		}
	}
	return nil
}

// loseSlot drops the slot under the stream. With on_gap: resync the stream repairs that by itself;
// else `init --resync` is run, as its error says.
func (w *world) loseSlot(_ side, _ *rand.Rand) *lasting {
	if w.gap.open.Load() {
		return nil // the last one is not repaired yet
	}
	const patience = 30 * time.Second
	var repairing *process
	dropped := false
	w.gap.ever.Store(true)
	w.gap.open.Store(true)
	return &lasting{
		until: time.Now().Add(patience),
		over: func() bool {
			switch {
			case !dropped:
				dropped = w.dropSlot()
				return dropped && w.plan.resync
			case repairing == nil:
				repairing, _ = w.start("repair", nil, "init", "--resync") // tried again with the next look
				return false
			}
			select {
			case <-repairing.done:
				if repairing.err != nil {
					repairing = nil // a server was down, or somebody has the slot
				}
				return repairing != nil
			default:
				return false
			}
		},
		end: func() {
			if repairing != nil {
				w.stop(repairing)
			}
			if !dropped {
				w.gap.open.Store(false)
			}
		},
	}
}

// dropSlot ends the stream's session and drops its slot; false where that has to be tried again.
func (w *world) dropSlot() bool {
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, w.source.DSN)
	if err != nil {
		return false
	}
	defer conn.Close(ctx)
	const end = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active"
	if _, err := conn.Exec(ctx, end, w.slot()); err != nil {
		return false
	}
	tag, err := conn.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", w.slot())
	return err == nil && tag.RowsAffected() == 1
}
