package replication

import (
	"context"
	"fmt"
	"time"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/sql"
)

const (
	// oldestVersion is the oldest server whose catalogue and protocol are used here.
	oldestVersion = 140000
	// decodesOnDemand is the first version that decodes with wal_level = replica too, as long as it
	// has a logical slot.
	decodesOnDemand = 190000
)

// ServerInfo is what a source server says of itself.
type ServerInfo struct {
	Version    int    // server_version_num: 180004
	SystemID   string // the system identifier of the data, in decimal
	Timeline   int32
	InRecovery bool // a standby
	WALLevel   string
	// EffectiveWALLevel is what the server writes now: from PostgreSQL 19 on it may be more than
	// WALLevel.
	EffectiveWALLevel string
	// MaxSlotWALKeepSize bounds the log that a slot may hold back, in bytes; nil when there is no
	// bound.
	MaxSlotWALKeepSize *int64
	MaxSlots           int
	Slots              int           // slots that exist, but for those of REPACK
	WALSenderTimeout   time.Duration // zero when switched off
	Database           string
	User               string
}

// Server asks a server what it is. It judges nothing; see Check.
func Server(ctx context.Context, db Querier) (ServerInfo, error) {
	var i ServerInfo
	var timeoutMillis int64
	err := db.QueryRow(ctx, sql.Query("source_server")).Scan(&i.Version, &i.SystemID, &i.Timeline, &i.InRecovery, &i.WALLevel, &i.EffectiveWALLevel,
		&i.MaxSlotWALKeepSize, &i.MaxSlots, &i.Slots, &timeoutMillis, &i.Database, &i.User)
	if err != nil {
		return ServerInfo{}, fmt.Errorf("reading the source server's settings: %w", err)
	}
	i.WALSenderTimeout = time.Duration(timeoutMillis) * time.Millisecond
	return i, nil
}

// Check returns a fault of kind Usage when changes cannot be streamed from the server.
func (i ServerInfo) Check() error {
	switch {
	case i.Version < oldestVersion:
		return fault.New(fault.Usage, "use PostgreSQL 14 or later as source", "the source server is PostgreSQL %d", i.Version/10000)
	case i.InRecovery:
		return fault.New(fault.Usage, "connect to the primary", "the source server is a standby")
	case !i.decodes():
		return fault.New(fault.Usage, "ALTER SYSTEM SET wal_level = 'logical'; then restart the server",
			"wal_level of the source server is %q, not \"logical\"", i.WALLevel)
	default:
		return nil
	}
}

// decodes reports whether a slot can decode what is written from now on, or from when there is one.
func (i ServerInfo) decodes() bool {
	return i.EffectiveWALLevel == "logical" || i.Version >= decodesOnDemand && i.WALLevel == "replica"
}

// CheckFreeSlot returns a fault of kind Usage when no further slot can be made.
func (i ServerInfo) CheckFreeSlot() error {
	if i.Slots < i.MaxSlots {
		return nil
	}
	return fault.New(fault.Usage, fmt.Sprintf("ALTER SYSTEM SET max_replication_slots = %d; then restart the server", i.MaxSlots+5),
		"all %d replication slots of the source server are in use", i.MaxSlots)
}
