package connect

import (
	"cmp"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"

	"github.com/wal2vec/wal2vec/internal/change"
	"github.com/wal2vec/wal2vec/internal/config"
	"github.com/wal2vec/wal2vec/internal/monitor"
	"github.com/wal2vec/wal2vec/replication"
	"github.com/wal2vec/wal2vec/replication/rows"
	"github.com/wal2vec/wal2vec/sink"
)

// FollowsSwaps reports whether a stream goes on with a table that takes the name of the source
// table.
func FollowsSwaps(c config.Config) bool { return c.Stream.OnSwap == config.SwapFollow }

// ViewOf is the name of the pipeline's view: the recorded one where no other is wanted.
func ViewOf(c config.Config, state sink.State) string {
	if c.ViewIsDerived() && state.ViewName != "" {
		return config.Name{Schema: state.ViewSchema, Name: state.ViewName}.String()
	}
	return c.Sink.View.String()
}

// Inspect reads the source table's description from the catalogue.
func Inspect(ctx context.Context, c config.Config) (change.Table, error) {
	conn, err := Source(ctx, c, "inspect")
	if err != nil {
		return change.Table{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return replication.Inspect(ctx, conn, InspectOptions(c))
}

// InspectOptions say which table is inspected, and what of it is read.
func InspectOptions(c config.Config) replication.InspectOptions {
	return replication.InspectOptions{
		Reader: Reader(c), TrustOwner: c.Source.TrustOwner,
		Schema: c.Source.Table.Schema, Table: c.Source.Table.Name, Key: c.Source.Key,
		Template: c.Source.Template.Limited(c.Stream.MaxRowBytes), SoftDelete: c.Source.SoftDelete, Publication: c.Source.Publication,
	}
}

// InspectPipeline is inspect for what all the pipeline's generations read.
func InspectPipeline(ctx context.Context, c config.Config, state sink.State) (change.Table, error) {
	conn, err := Source(ctx, c, "inspect")
	if err != nil {
		return change.Table{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return InspectFor(ctx, conn, c, state)
}

// InspectFor is InspectPipeline over a connection.
func InspectFor(ctx context.Context, conn *pgx.Conn, c config.Config, state sink.State) (change.Table, error) {
	options, err := OptionsFor(c, state)
	if err != nil {
		return change.Table{}, err
	}
	return replication.Inspect(ctx, conn, options)
}

// OptionsFor are InspectOptions for what all the pipeline's generations read.
func OptionsFor(c config.Config, state sink.State) (replication.InspectOptions, error) {
	options := InspectOptions(c)
	template, err := state.Template()
	if err == nil && len(state.Generations) > 0 {
		options.Template = template
	}
	return options, err
}

// Reader is the role that reads rows of the table, where that is another than the one of
// source.dsn; else empty.
func Reader(c config.Config) string {
	if c.Source.ReadDSN == "" {
		return ""
	}
	settings, err := pgconn.ParseConfig(c.Source.ReadDSN.Reveal())
	if err != nil {
		return "" // who opens it says so
	}
	return cmp.Or(settings.RuntimeParams["role"], settings.User)
}

// ReaderOptions say how rows of a table are read: by which role, and what the server has to be that
// the connection string leads to.
func ReaderOptions(c config.Config, table change.Table) rows.Options {
	o := rows.Options{ConnString: c.ReadDSN().Reveal(), Table: table, TrustOwner: c.Source.TrustOwner, Publication: c.Source.Publication}
	if c.Source.ReadDSN != "" {
		if source, err := pgconn.ParseConfig(c.Source.DSN.Reveal()); err == nil {
			o.Database = cmp.Or(source.Database, source.User)
		}
	}
	return o
}

// NewReader reads rows of a table, from whatever server the connection string leads to.
func NewReader(c config.Config, table change.Table) *rows.Reader {
	return rows.NewReader(ReaderOptions(c, table))
}

// NewFollowingReader reads only from the server, and of the table, whose log the pipeline follows.
func NewFollowingReader(c config.Config, log zerolog.Logger, state sink.State, table change.Table) *rows.Reader {
	o := ReaderOptions(c, table)
	o.SystemID, o.Timeline, o.Followed, o.Warn = state.SystemID, state.Timeline, state.Table.OID, WarnOfCode(log)
	return rows.NewReader(o)
}

// WarnOfCode tells of a function that another role runs with the rights of this one.
func WarnOfCode(log zerolog.Logger) func(change.Code) {
	return func(code change.Code) {
		log.Warn().Str("code", code.String()).
			Msg("a read of the table calls a function of another role with this role's rights: wal2vec doctor says more (table.code)")
	}
}

// InspectFollowed is InspectPipeline for a stream: a table that has taken the place of the one that
// is followed may lack what the stream will give it.
func InspectFollowed(ctx context.Context, c config.Config, state sink.State) (change.Table, error) {
	conn, err := Source(ctx, c, "inspect")
	if err != nil {
		return change.Table{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return FollowedFor(ctx, conn, c, state)
}

// FollowedFor is InspectFollowed over a connection.
func FollowedFor(ctx context.Context, conn *pgx.Conn, c config.Config, state sink.State) (change.Table, error) {
	table, err := InspectFor(ctx, conn, c, state)
	if err == nil || !FollowsSwaps(c) {
		return table, err
	}
	// It may have been of a table that was replaced while it was looked at.
	oid, nameErr := replication.TableOID(ctx, conn, c.Source.Table.Schema, c.Source.Table.Name)
	if nameErr != nil || oid == 0 || oid == state.Table.OID {
		return change.Table{}, cmp.Or(nameErr, err)
	}
	options, err := OptionsFor(c, state)
	if err != nil {
		return change.Table{}, err
	}
	return replication.InspectSwapped(ctx, conn, options)
}

// SourceRows estimates the rows of the source table over a connection of its own, as a backfill
// would read them.
func SourceRows(c config.Config) func(context.Context) (int64, error) {
	return func(ctx context.Context) (int64, error) {
		table, err := Inspect(ctx, c)
		if err != nil {
			return 0, err
		}
		reader := NewReader(c, table)
		defer reader.Close(ctx)
		n, err := reader.AboutRows(ctx)
		if refused, ok := errors.AsType[*rows.PowersError](err); ok {
			return 0, &monitor.NotAskedError{Reason: refused.Error()}
		}
		return n, err
	}
}
