package connect

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/fault"
	"github.com/wal2vec/wal2vec/replication"
)

// NewPositions asks a sink for the watermark, and the source whether its slot is read.
func NewPositions(c config.Config, s *Store) *Positions {
	return &Positions{store: s, config: c}
}

// Positions tells where the stream is.
type Positions struct {
	store  *Store
	config config.Config

	mu    sync.Mutex // several chunks ask
	probe *pgx.Conn
}

// Version is the watermark as committed in the sink.
func (s *Positions) Version(ctx context.Context) (change.Version, error) { return s.store.Version(ctx) }

// Streaming reports whether a process reads the slot.
func (s *Positions) Streaming(ctx context.Context) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.probe == nil {
		conn, err := Source(ctx, s.config, "backfill")
		if err != nil {
			return false, err
		}
		s.probe = conn
	}
	state, err := replication.ReadSlot(ctx, s.probe, s.config.Source.Slot)
	if err != nil {
		s.disconnect(ctx) // the next call connects again
		return false, err
	}
	if !state.Exists {
		return false, fault.New(fault.Gap, "wal2vec init --resync, then wal2vec backfill", "slot %q does not exist", state.Name)
	}
	return state.Active, nil
}

// Close closes the connection, whatever has become of ctx.
func (s *Positions) Close(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disconnect(ctx)
}

func (s *Positions) disconnect(ctx context.Context) {
	if s.probe != nil {
		_ = s.probe.Close(context.WithoutCancel(ctx))
		s.probe = nil
	}
}
