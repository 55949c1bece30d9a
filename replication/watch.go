package replication

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/fault"
)

// watch is what CheckTable keeps from one call to the next.
type watch struct {
	mu   sync.Mutex
	conn *pgx.Conn
	// published is when the publication was last looked at.
	published time.Time

	naming sync.Mutex
	// nameless is since when no table has the name; zero while one has.
	nameless time.Time
}

// publicationInterval is how often CheckTable looks at the publication: that may wait for a lock,
// the name does not.
const publicationInterval = 10 * time.Second

// CheckTable returns a fault of kind Gap when the publication no longer brings the changes of the
// table that has the configured name: a replaced table (SwapError) would otherwise be followed no
// more without a word. It keeps its connection; see Close.
func (s *Source) CheckTable(ctx context.Context) error {
	w := &s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn == nil {
		conn, err := connect(ctx, s.opts.ConnString, applicationName(s.opts.Slot))
		if err != nil {
			return err
		}
		w.conn = conn
	}
	err := s.checkName(ctx, w.conn)
	if err == nil && time.Since(w.published) >= publicationInterval {
		if err = s.checkPublication(ctx, w.conn); err == nil {
			w.published = time.Now()
		}
	}
	if w.conn.IsClosed() {
		w.conn = nil
	}
	return err
}

// Close closes the connection that CheckTable keeps.
func (s *Source) Close(ctx context.Context) {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	if s.watch.conn != nil {
		closeQuietly(ctx, s.watch.conn)
		s.watch.conn = nil
	}
}

// named is the table as the one that must have its name.
func (s *Source) named() change.Table {
	table := s.opts.Table
	if s.opts.Successor != 0 {
		table.OID = s.opts.Successor
	}
	return table
}

// checkName is CheckName, with patience where no table has the name: a job that builds it again may
// drop the old one first.
func (s *Source) checkName(ctx context.Context, db Querier) error {
	err := CheckName(ctx, db, s.named())
	s.watch.naming.Lock()
	defer s.watch.naming.Unlock()
	if !errors.Is(err, ErrNoTable) {
		s.watch.nameless = time.Time{}
		return s.swapped(err)
	}
	if s.watch.nameless.IsZero() {
		s.watch.nameless = time.Now()
	}
	if time.Since(s.watch.nameless) < s.opts.NamelessTimeout {
		return fault.Wrap(err, fault.Unavailable, "create it", "waiting for the table")
	}
	return err
}

// swapped names the table that is followed as the one that was replaced, not one that was to take
// its place.
func (s *Source) swapped(err error) error {
	if swap, ok := errors.AsType[*SwapError](err); ok {
		swap.Was = s.opts.Table.OID
	}
	return err
}

// checkPublication is CheckPublication. Of a table whose place another has taken, it is enough that
// the publication is there.
func (s *Source) checkPublication(ctx context.Context, db Querier) error {
	if err := s.checkName(ctx, db); err != nil {
		return err
	}
	if s.opts.Successor == 0 {
		err := CheckPublication(ctx, db, s.opts.Publication, s.opts.Table)
		if errors.Is(err, ErrNoTable) {
			return s.checkName(ctx, db)
		}
		return s.swapped(err)
	}
	p, err := readPublication(ctx, db, s.opts.Publication, s.opts.Table)
	if err == nil && !p.exists {
		err = fault.New(fault.Gap, resync, "publication %q does not exist", s.opts.Publication)
	}
	return err
}
