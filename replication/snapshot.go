package replication

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/internal/pause"
	"github.com/wal2vec/wal2vec/internal/pgname"
	"github.com/wal2vec/wal2vec/internal/statement"
	"github.com/wal2vec/wal2vec/sql"
)

// snapshot is a pg_snapshot: every transaction below xmin has ended, none at or above xmax had, and
// xip lists, in order, those in between that had not.
type snapshot struct {
	xmin, xmax uint64
	xip        []uint64
}

func parseSnapshot(text string) (snapshot, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return snapshot{}, fmt.Errorf("parsing snapshot %q: not three parts", text)
	}
	var s snapshot
	var err error
	if s.xmin, err = strconv.ParseUint(parts[0], 10, 64); err != nil {
		return snapshot{}, fmt.Errorf("parsing snapshot %q: %w", text, err)
	}
	if s.xmax, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return snapshot{}, fmt.Errorf("parsing snapshot %q: %w", text, err)
	}
	if parts[2] == "" {
		return s, nil
	}
	for part := range strings.SplitSeq(parts[2], ",") {
		xid, err := strconv.ParseUint(part, 10, 64)
		if err != nil {
			return snapshot{}, fmt.Errorf("parsing snapshot %q: %w", text, err)
		}
		s.xip = append(s.xip, xid)
	}
	return s, nil
}

// sees reports whether a transaction that has committed is visible. The log knows the lower 32 bits
// of an id only; the comparison is modular, which is right as long as the id is within 2^31 of the
// present. The slot's catalog_xmin holds vacuum, and with it the counter, to that.
func (s snapshot) sees(xid uint32) bool {
	if int32(xid-uint32(s.xmax)) >= 0 { //nolint:gosec // xids are compared on their circle
		return false
	}
	return !slices.ContainsFunc(s.xip, func(open uint64) bool { return uint32(open) == xid }) //nolint:gosec // an xid without its epoch
}

// seesFull is sees for an id with all its bits.
func (s snapshot) seesFull(xid uint64) bool {
	_, open := slices.BinarySearch(s.xip, xid)
	return xid < s.xmin || xid < s.xmax && !open
}

// dominates reports whether s sees every transaction that other sees: none that is open in s, or
// too new for s, is visible in other.
func (s snapshot) dominates(other snapshot) bool {
	if slices.ContainsFunc(s.xip, other.seesFull) {
		return false
	}
	for xid := s.xmax; xid < other.xmax; xid++ {
		if other.seesFull(xid) {
			return false
		}
	}
	return true
}

// errStandby stops everything that asks a standby what is visible: pg_current_snapshot has an empty
// list of open transactions there, so every answer would be yes.
var errStandby = fault.New(fault.Unavailable, "connect to the primary",
	"the source server is in recovery: it cannot say which transactions are visible")

func currentSnapshot(ctx context.Context, db Querier) (snapshot, error) {
	var inRecovery bool
	var text string
	if err := db.QueryRow(ctx, sql.Query("source_snapshot")).Scan(&inRecovery, &text); err != nil {
		return snapshot{}, fmt.Errorf("reading the current snapshot: %w", err)
	}
	if inRecovery {
		return snapshot{}, errStandby
	}
	return parseSnapshot(text)
}

// importSnapshot reads the bounds of a snapshot that another session exported.
func importSnapshot(ctx context.Context, conn *pgx.Conn, name string) (snapshot, error) {
	var s snapshot
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, conn, options, func(tx pgx.Tx) error {
		if err := statement.Run(ctx, tx, "SET TRANSACTION SNAPSHOT "+pgname.Literal(name)); err != nil { // it takes no parameter
			return err
		}
		var err error
		s, err = currentSnapshot(ctx, tx)
		return err
	})
	if err != nil {
		return snapshot{}, fmt.Errorf("importing snapshot %q: %w", name, err)
	}
	return s, nil
}

const (
	pollFirst = time.Millisecond
	pollLast  = 250 * time.Millisecond
)

// poll calls done, at first every millisecond and more and more seldom, until it returns true or an
// error, or ctx ends.
func poll(ctx context.Context, done func() (bool, error)) error {
	for pauses := pause.Growing(pollFirst, pollLast); ; {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if err := pauses.Wait(ctx); err != nil {
			return err
		}
	}
}
