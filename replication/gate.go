package replication

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/sql"
)

// GateOptions are the settings of a Gate.
type GateOptions struct {
	// ConnString leads to the primary that is streamed.
	ConnString string
	// SystemID and Timeline are those that the server must have; not checked when empty or zero.
	SystemID string
	Timeline int32
	// Slot is part of the session's application name.
	Slot string
}

// Gate is the visibility gate: a commit can be streamed before new snapshots see it (its backend
// flushes the log, tells the walsender, and only then, with synchronous replication after a
// standby's answer, leaves the list of running transactions). A row read in between is older than
// the stream, whatever position the reader noted. Gate waits that out.
//
// It keeps one connection open and may be used by several goroutines, one at a time inside.
type Gate struct {
	opts GateOptions
	now  func() time.Time

	mu   sync.Mutex
	conn *pgx.Conn
	// xmin is that of the last snapshot, read at: every transaction before it is visible.
	xmin uint32
	read time.Time
}

// xminLifetime bounds the use of a remembered xmin. Ids are compared modulo 2^32, so an old one
// would some day lie in the future of new transactions; no server hands out 2^31 ids within a
// minute.
const xminLifetime = time.Minute

// NewGate returns a gate that has not connected yet.
func NewGate(opts GateOptions) *Gate { return &Gate{opts: opts, now: time.Now} }

// Visible returns nil once every new snapshot on the primary sees all these transactions, which
// have committed. Any error means that this is not known: a lost connection, a standby, another
// server, the end of ctx.
func (g *Gate) Visible(ctx context.Context, xids []uint32) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.unknown(xids)) == 0 {
		return nil
	}
	if err := g.open(ctx); err != nil {
		return err
	}
	err := poll(ctx, func() (bool, error) { return g.ask(ctx, xids) })
	if err != nil {
		g.drop(ctx)
		return fmt.Errorf("waiting for transactions to be visible: %w", err)
	}
	return nil
}

// Close closes the connection. The gate may be used again afterwards.
func (g *Gate) Close(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drop(ctx)
}

// unknown returns the transactions that the last snapshot does not settle.
func (g *Gate) unknown(xids []uint32) []uint32 {
	if g.read.IsZero() || g.now().Sub(g.read) > xminLifetime {
		return xids
	}
	for i, xid := range xids {
		if int32(xid-g.xmin) >= 0 { //nolint:gosec // xids are compared on their circle
			return xids[i:]
		}
	}
	return nil
}

func (g *Gate) ask(ctx context.Context, xids []uint32) (bool, error) {
	read := g.now()
	s, err := currentSnapshot(ctx, g.conn)
	if err != nil {
		return false, err
	}
	g.xmin, g.read = uint32(s.xmin), read //nolint:gosec // an xid without its epoch
	for _, xid := range xids {
		if !s.sees(xid) {
			return false, nil
		}
	}
	return true, nil
}

// open connects if need be. The remembered xmin goes with the connection it came from.
func (g *Gate) open(ctx context.Context) error {
	if g.conn != nil && !g.conn.IsClosed() {
		return nil
	}
	g.read = time.Time{}
	conn, err := connect(ctx, g.opts.ConnString, applicationName(g.opts.Slot))
	if err != nil {
		return err
	}
	g.conn = conn
	if err := g.identify(ctx); err != nil {
		g.drop(ctx)
		return err
	}
	return nil
}

// identify makes sure that the server is the one that is streamed: another one knows nothing of its
// transactions.
func (g *Gate) identify(ctx context.Context) error {
	var id string
	var timeline int32
	var recovering bool
	if err := g.conn.QueryRow(ctx, sql.Query("source_identity")).Scan(&id, &timeline, &recovering); err != nil {
		return fmt.Errorf("identifying the source server: %w", err)
	}
	switch {
	case recovering:
		return errStandby
	case g.opts.SystemID != "" && id != g.opts.SystemID:
		return otherSystem(id, g.opts.SystemID)
	case g.opts.Timeline != 0 && timeline != g.opts.Timeline:
		// Whether that is a gap is for the stream's own connection to say.
		return fault.New(fault.Unavailable, "", "the source is on timeline %d, the stream is on timeline %d", timeline, g.opts.Timeline)
	default:
		return nil
	}
}

func (g *Gate) drop(ctx context.Context) {
	if g.conn != nil {
		closeQuietly(ctx, g.conn)
	}
	g.conn, g.read = nil, time.Time{}
}

func otherSystem(got, want string) error {
	return fault.New(fault.Gap, resync, "the source is another server: its system identifier is %s, the watermark belongs to %s", got, want)
}
