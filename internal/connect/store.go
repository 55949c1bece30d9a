package connect

import (
	"context"
	"runtime"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/pgsession"
	"github.com/wal2vec/wal2vec/sink"
)

// SinkName is where the sink's connection string stands.
func SinkName(c config.Config) string {
	if c.Sink.DSN == "" {
		return "source"
	}
	return "sink"
}

// Pool opens a pool and makes sure that the database answers. It may open as many connections as
// least says, or as the connection string says.
func Pool(ctx context.Context, dsn config.DSN, where, purpose string, least ...int32) (*pgxpool.Pool, error) {
	settings, err := poolSettings(dsn, where, purpose, least...)
	if err != nil {
		return nil, err
	}
	return openPool(ctx, settings, where)
}

func poolSettings(dsn config.DSN, where, purpose string, least ...int32) (*pgxpool.Config, error) {
	settings, err := pgxpool.ParseConfig(dsn.Reveal())
	if err != nil {
		return nil, UnreadableDSN(err, where)
	}
	settings.ConnConfig.RuntimeParams["application_name"] = "wal2vec/" + purpose
	settings.ConnConfig.MaxProtocolMessageBodyLen = sink.LargestMessage
	if !strings.Contains(dsn.Reveal(), "pool_max_conns") {
		for _, n := range least {
			settings.MaxConns = max(settings.MaxConns, n)
		}
	}
	return settings, nil
}

func openPool(ctx context.Context, settings *pgxpool.Config, where string) (*pgxpool.Pool, error) {
	pool, err := pgsession.Pool(ctx, settings)
	if err != nil {
		return nil, Unconnected(err, where)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, Unconnected(err, where)
	}
	return pool, nil
}

// EncodeAtOnce is the most chunks that are encoded at once: some thousand texts, so that a device
// of 100,000 texts a second always finds the next run waiting.
const EncodeAtOnce = 8

// Writers is the number of chunks that are written at once. PostgreSQL copies 100,000 vectors a
// second and core; four writers are more than any encoder that was measured.
func Writers(c config.Backfill) int {
	if c.Writers > 0 {
		return c.Writers
	}
	const most = 4
	return min(most, runtime.GOMAXPROCS(0))
}

// Store is the sink with its pool.
type Store struct {
	*sink.Sink
	Pool *pgxpool.Pool
}

// Close closes the pool.
func (s *Store) Close() { s.Pool.Close() }

// OpenStore opens the sink for a purpose, which its sessions are named for.
func OpenStore(ctx context.Context, c config.Config, log zerolog.Logger, purpose string) (*Store, error) {
	if err := c.RequireSource(); err != nil {
		return nil, err
	}
	// Each writer has one connection and asks over another; chunks that are encoded look up
	// vectors.
	conns := int32(2*Writers(c.Backfill) + EncodeAtOnce) //nolint:gosec // some dozens
	settings, err := poolSettings(c.SinkDSN(), SinkName(c), purpose, conns)
	if err != nil {
		return nil, err
	}
	// Who waits for one of its sessions sees whose it is.
	settings.ConnConfig.RuntimeParams["application_name"] = pgsession.Application(purpose, c.Pipeline)
	pool, err := openPool(ctx, settings, SinkName(c))
	if err != nil {
		return nil, err
	}
	return NewStore(pool, c, log), nil
}

// OpenReadOnlyStore is OpenStore for who must not write: the server refuses it.
func OpenReadOnlyStore(ctx context.Context, c config.Config, log zerolog.Logger, purpose string) (*Store, error) {
	if err := c.RequireSource(); err != nil {
		return nil, err
	}
	settings, err := poolSettings(c.SinkDSN(), SinkName(c), purpose)
	if err != nil {
		return nil, err
	}
	settings.AfterConnect = ReadOnly
	pool, err := openPool(ctx, settings, SinkName(c))
	if err != nil {
		return nil, err
	}
	return NewStore(pool, c, log), nil
}

// ReadOnly makes the server refuse what a session would write.
func ReadOnly(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "SET default_transaction_read_only = on")
	return err
}

// NewStore is the sink of the configuration over a pool, which it closes.
func NewStore(pool *pgxpool.Pool, c config.Config, log zerolog.Logger) *Store {
	return &Store{Pool: pool, Sink: sink.New(sink.Options{
		Pool: pool, Schema: c.Sink.Schema, Pipeline: c.Pipeline, Owner: c.Sink.Owner, View: c.Sink.View.String(), KeepView: c.ViewIsDerived(),
		IndexMemory: c.Sink.IndexMemory, MaxRowBytes: c.Stream.MaxRowBytes, RetryMax: c.Stream.RetryMax, Logger: log,
	})}
}
