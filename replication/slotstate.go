package replication

import (
	"context"
	"fmt"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/sql"
)

// SlotState is what the server knows of a slot. Everything behind Exists is zero when the slot does
// not exist.
type SlotState struct {
	Name string
	// CurrentDatabase is the database that was asked; WALEnd the end of the flushed log, zero on a
	// standby.
	CurrentDatabase string
	WALEnd          change.LSN

	Exists    bool
	Active    bool
	ActivePID int32 // zero when no process reads the slot
	Plugin    string
	Database  string
	// RestartLSN is where the server must keep the log from, ConfirmedFlush what the reader has
	// confirmed.
	RestartLSN     change.LSN
	ConfirmedFlush change.LSN
	WALStatus      string // reserved, extended, unreserved or lost
	// SafeWALSize is the headroom: how many bytes of log may still be written before the slot is
	// lost; nil when there is no bound.
	SafeWALSize *int64
	// InvalidationReason is not empty for a slot that can no longer be read.
	InvalidationReason string
	Failover           bool
}

// Unconfirmed is how many bytes of log the reader has not confirmed; zero when there is no slot, or
// on a standby. The server may keep more for a slot, as long as a transaction is open that began
// before: that is not the reader's doing.
func (s SlotState) Unconfirmed() int64 {
	if s.ConfirmedFlush == 0 || s.WALEnd < s.ConfirmedFlush {
		return 0
	}
	return int64(s.WALEnd - s.ConfirmedFlush) //nolint:gosec // a log is shorter than 2^63 bytes
}

// ReadSlot asks for a slot's state; a missing slot is no error.
func ReadSlot(ctx context.Context, db Querier, name string) (SlotState, error) {
	s := SlotState{Name: name}
	err := db.QueryRow(ctx, sql.Query("source_slot"), name).Scan(&s.CurrentDatabase, &s.WALEnd, &s.Exists, &s.Active, &s.ActivePID,
		&s.Plugin, &s.Database, &s.RestartLSN, &s.ConfirmedFlush, &s.WALStatus, &s.SafeWALSize, &s.InvalidationReason, &s.Failover)
	if err != nil {
		return SlotState{}, fmt.Errorf("reading slot %q: %w", name, err)
	}
	return s, nil
}

// CheckSlot returns a fault of kind Gap when the slot cannot bring everything after the watermark.
func CheckSlot(s SlotState, watermark change.LSN) error {
	gap := func(what string, args ...any) error {
		return fault.New(fault.Gap, resync, "slot %q %s", s.Name, fmt.Sprintf(what, args...))
	}
	switch {
	case !s.Exists:
		return gap("does not exist")
	case s.Plugin != plugin:
		return gap("uses the plugin %q, not %s", s.Plugin, plugin)
	case s.Database != s.CurrentDatabase:
		return gap("belongs to database %q, not %q", s.Database, s.CurrentDatabase)
	case s.InvalidationReason != "":
		return gap("was invalidated by the server (%s)", s.InvalidationReason)
	case s.WALStatus == "lost":
		return gap("is lost: the server has removed log that it needs (max_slot_wal_keep_size)")
	case s.ConfirmedFlush > watermark:
		return gap("is confirmed to %s, ahead of the watermark %s: what lies between is gone", s.ConfirmedFlush, watermark)
	case s.WALEnd != 0 && watermark > s.WALEnd:
		return gap("cannot reach the watermark %s: the server's log ends at %s, it was restored from an older state", watermark, s.WALEnd)
	default:
		return nil
	}
}
